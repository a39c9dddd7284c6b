"""One transaction at a time, from an operator's account, until it is mined.

The signed bytes are on disk before they are sent. A console that was stopped in between sends the same bytes again
before it does anything else, so that nothing is done twice and nothing signed is forgotten. The gateway's sender is
another and has its own account.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeseal.adapters.evm import (
    Account,
    Contract,
    EvmClient,
    Rejected,
    SignedTransaction,
    Transaction,
    TxReceipt,
    check_chain,
)
from edgeseal.chainrules import ChainRules
from edgeseal.errors import Unavailable, UsageError
from edgeseal_console.operate.contracterrors import advised

WAIT_S: Final = 180.0
POLL_S: Final = 0.2
GAS_MARGIN: Final = 1.25
KNOWN: Final = ("already known", "already imported", "known transaction", "nonce too low")
"""What nodes say of a transaction they have, or had: its hash, or what it made, tells the rest."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A transaction that was not sent: what it is for, its call data, the gas it would take, the most it may cost.

    ``gas`` and ``most_wei`` are None where it stands on one before it that was not sent either.
    """

    what: str
    to: bytes | None
    data: bytes
    wei: int
    gas: int | None
    most_wei: int | None

    def fields(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "what": self.what, "to": None if self.to is None else "0x" + self.to.hex(), "data": "0x" + self.data.hex(),
            "wei": self.wei, "gas": self.gas, "most_wei": self.most_wei,
        }  # fmt: skip

    def line(self) -> str:
        """Return it for people."""
        cost = "gas not known before the one above is sent" if self.gas is None else f"{self.gas:,} gas"
        return f"would send: {self.what} ({cost})"


class Transactor:
    """Sends the transactions of one account. Not thread-safe; one process a home at a time.

    With ``dry_run`` it sends nothing, also nothing that was begun earlier, and keeps :attr:`previews` instead.
    """

    def __init__(
        self,
        client: EvmClient,
        account: Account,
        chain_id: int,
        folder: Path,
        say: Callable[[str], None],
        *,
        rules: ChainRules | None = None,
        dry_run: bool = False,
    ) -> None:
        check_chain(client, chain_id)
        self.client = client
        self.account = account
        self.dry_run = dry_run
        self.sender = account.address
        """As whose call gas is estimated in a dry run: this account's, or of who would act in its place."""
        self.previews: list[Preview] = []
        self._chain_id = chain_id
        self._pending = folder / "pending-transaction.json"
        self._say = say
        self._rules = rules
        if not dry_run:
            self._finish_pending()

    def attempt(
        self, what: str, contract: Contract, to: bytes | None, data: bytes, wei: int = 0, *, stands_alone: bool = True
    ) -> TxReceipt | None:
        """Send as :meth:`send` does; in a dry run only look at it, and return None.

        ``stands_alone`` False: it needs an earlier one that a dry run did not send, so that nothing can be estimated.
        """
        if not self.dry_run:
            return self.send(what, contract, to, data, wei)
        gas = most = None
        if stands_alone:
            gas = self._estimate(contract, to, data)
            fee, _ = self._fees()
            most = int(gas * GAS_MARGIN) * fee + wei
        self.previews.append(Preview(what, to, data, wei, gas, most))
        return None

    def send(self, what: str, contract: Contract, to: bytes | None, data: bytes, wei: int = 0) -> TxReceipt:
        """Send one transaction and return its receipt once it is mined and succeeded.

        Args:
            what: one phrase for people.
            contract: whose errors to name when it is refused.
            to: 20-byte address, or None to create a contract.
            wei: what to send along.

        Raises:
            Reverted: the contract refuses it (nothing is sent then). UsageError ``funds``, ``fee_ceiling``.
            Unavailable.
        """
        gas = int(self._estimate(contract, to, data) * GAS_MARGIN)
        fee, tip = self._fees()
        if self.client.balance(self.account.address) < gas * fee + wei:
            raise UsageError(
                "funds",
                f"account 0x{self.account.address.hex()} cannot pay up to {gas * fee} wei for: {what}",
                "send it funds, or name another account_key_file in console.yaml",
            )
        nonce = self.client.transaction_count(self.account.address)
        signed = self.account.sign(Transaction(self._chain_id, nonce, to, data, gas, fee, tip, wei))
        self._store(what, signed)
        # Durable: the bytes that may be sent. A restart sends exactly these again and waits for them.
        return self._finish(what, signed.raw, signed.hash)

    def _estimate(self, contract: Contract, to: bytes | None, data: bytes) -> int:
        try:
            return self.client.estimate_gas(self.sender, to, data)
        except Rejected as error:
            if not error.data:
                raise
            refusal = contract.decode_error(error.data)
            if refusal.name.startswith("0x"):  # an AccessManager in front of the contract
                refusal = Contract("AccessManager").decode_error(error.data)
            raise advised(refusal) from error

    def _fees(self) -> tuple[int, int]:
        """Return what to offer for a gas and how much of it as tip, in wei, below the ceilings of the profile."""
        head = self.client.header("latest")
        if head is None:
            raise Unavailable("rpc_answer", "the node has no newest block")
        tip, rules = self.client.priority_fee(), self._rules
        fee = tip + 2 * head.base_fee
        if rules is None:
            return fee, tip
        tip = max(rules.min_tip_wei, min(tip, rules.max_tip_wei))
        if head.base_fee + tip > rules.max_fee_wei:
            raise UsageError(
                "fee_ceiling",
                f"a gas costs {head.base_fee + tip} wei now, the network profile allows {rules.max_fee_wei}",
                "wait until it is cheaper, or raise chain.max_fee_wei in the network profile",
            )
        return min(tip + 2 * head.base_fee, rules.max_fee_wei), tip

    def _finish(self, what: str, raw: bytes, tx: bytes) -> TxReceipt:
        self._say(f"{what}: sending 0x{tx.hex()[:16]}…")
        try:
            self.client.send_raw(raw)
        except Rejected as error:
            if not any(word in error.text.lower() for word in KNOWN):
                self._pending.unlink(missing_ok=True)
                raise
        receipt = self._wait(tx)
        self._pending.unlink(missing_ok=True)
        # Durable on chain: the transaction. A restart finds nothing pending and reads its effects from the contracts.
        if not receipt.ok:
            raise UsageError("tx_failed", f"{what}: the transaction was mined and failed: 0x{tx.hex()}")
        self._say(f"{what}: mined in block {receipt.block_number}, {receipt.gas_used:,} gas")
        return receipt

    def _wait(self, tx: bytes) -> TxReceipt:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            receipt = self.client.receipt(tx)
            if receipt is not None:
                return receipt
            time.sleep(POLL_S)
        raise Unavailable(
            "tx_pending",
            f"0x{tx.hex()} is not mined after {WAIT_S:.0f} s",
            "run the command again: it will go on waiting",
        )

    def _store(self, what: str, signed: SignedTransaction) -> None:
        record: dict[str, Any] = {"what": what, "raw": signed.raw.hex(), "hash": signed.hash.hex()}
        temporary = self._pending.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._pending)

    def _finish_pending(self) -> None:
        try:
            record = json.loads(self._pending.read_text())
        except FileNotFoundError:
            return
        self._finish(f"{record['what']} (begun earlier)", bytes.fromhex(record["raw"]), bytes.fromhex(record["hash"]))
