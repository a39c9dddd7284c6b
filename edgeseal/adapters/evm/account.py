"""Transactions and who signs them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account as _EthAccount
from eth_account.signers.local import LocalAccount
from web3 import Web3

from edgeseal.adapters.evm.reading import to_hex
from edgeseal.errors import UsageError

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A type-2 transaction, complete: nothing in it comes from a node's defaults. Fees in wei a gas."""

    chain_id: int
    nonce: int
    to: bytes | None
    data: bytes
    gas: int
    max_fee: int
    max_priority_fee: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """The raw bytes to send, their hash, and the nonce they use: store these before sending."""

    raw: bytes
    hash: bytes
    nonce: int


class Account:
    """A secp256k1 account of this process. The key stays inside; signing is deterministic."""

    def __init__(self, key: bytes) -> None:
        self._account: LocalAccount = _EthAccount.from_key(key)
        self.address = bytes.fromhex(self._account.address[2:])

    @classmethod
    def from_file(cls, path: Path) -> Account:
        """Return the account whose private key, 64 hex digits, is in ``path``. Raises UsageError ``account_key``."""
        try:
            text = path.read_text("ascii").strip()
        except (OSError, UnicodeError) as error:
            raise UsageError("account_key", f"cannot read the account key {path}: {error}") from error
        if _KEY.fullmatch(text) is None:
            raise UsageError("account_key", f"{path} does not hold a private key of 64 hex digits")
        return cls(bytes.fromhex(text.removeprefix("0x")))

    def sign(self, transaction: Transaction) -> SignedTransaction:
        """Return ``transaction`` signed; the same input gives the same bytes."""
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "data": to_hex(transaction.data),
            "gas": transaction.gas,
            "maxFeePerGas": transaction.max_fee,
            "maxPriorityFeePerGas": transaction.max_priority_fee,
            "value": transaction.value,
        }
        if transaction.to is not None:
            fields["to"] = Web3.to_checksum_address(transaction.to)
        signed = self._account.sign_transaction(fields)
        return SignedTransaction(bytes(signed.raw_transaction), bytes(signed.hash), transaction.nonce)
