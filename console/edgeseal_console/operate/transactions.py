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
from edgeseal.errors import Unavailable, UsageError

WAIT_S: Final = 180.0
POLL_S: Final = 0.2
GAS_MARGIN: Final = 1.25
_KNOWN: Final = ("already known", "already imported", "known transaction", "nonce too low")


class Transactor:
    """Sends the transactions of one account. Not thread-safe; one process a home at a time."""

    def __init__(
        self, client: EvmClient, account: Account, chain_id: int, folder: Path, say: Callable[[str], None]
    ) -> None:
        check_chain(client, chain_id)
        self.client = client
        self.account = account
        self._chain_id = chain_id
        self._pending = folder / "pending-transaction.json"
        self._say = say
        self._finish_pending()

    def send(self, what: str, contract: Contract, to: bytes | None, data: bytes, wei: int = 0) -> TxReceipt:
        """Send one transaction and return its receipt once it is mined and succeeded.

        Args:
            what: one phrase for people.
            contract: whose errors to name when it is refused.
            to: 20-byte address, or None to create a contract.
            wei: what to send along.

        Raises:
            Reverted: the contract refuses it (nothing is sent then). UsageError ``funds``. Unavailable.
        """
        try:
            gas = int(self.client.estimate_gas(self.account.address, to, data) * GAS_MARGIN)
        except Rejected as error:
            if error.data:
                raise contract.decode_error(error.data) from error
            raise
        head = self.client.header("latest")
        if head is None:
            raise Unavailable("rpc_answer", "the node has no newest block")
        tip = self.client.priority_fee()
        fee = tip + 2 * head.base_fee
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

    def _finish(self, what: str, raw: bytes, tx: bytes) -> TxReceipt:
        self._say(f"{what}: sending 0x{tx.hex()[:16]}…")
        try:
            self.client.send_raw(raw)
        except Rejected as error:
            if not any(word in error.text.lower() for word in _KNOWN):
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
