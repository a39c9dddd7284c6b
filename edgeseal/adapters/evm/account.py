"""Transactions and who signs them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eth_account import Account as _EthAccount
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from web3 import Web3

from edgeseal.adapters.evm.reading import to_hex
from edgeseal.errors import InvariantBroken, UsageError
from edgeseal.evmproof.keccak import keccak256

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


class TransactionSigner(Protocol):
    """Who signs for an account: a key in this process (:class:`Account`), in a token, or behind a service."""

    address: bytes

    def sign(self, transaction: Transaction) -> SignedTransaction:
        """Return ``transaction`` signed. The caller checks it with :func:`check_signed`."""
        ...


def read_private_key(path: Path) -> bytes:
    """Return the private key, 64 hex digits, in a file. Raises UsageError ``account_key``."""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise UsageError("account_key", f"cannot read the account key {path}: {error}") from error
    if _KEY.fullmatch(text) is None:
        raise UsageError("account_key", f"{path} does not hold a private key of 64 hex digits")
    return bytes.fromhex(text.removeprefix("0x"))


class Account:
    """A secp256k1 account of this process. The key stays inside; signing is deterministic."""

    def __init__(self, key: bytes) -> None:
        self._account: LocalAccount = _EthAccount.from_key(key)
        self.address = bytes.fromhex(self._account.address[2:])

    @classmethod
    def from_file(cls, path: Path) -> Account:
        """Return the account whose private key is in ``path``. Raises as :func:`read_private_key`."""
        return cls(read_private_key(path))

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


def check_signed(wanted: Transaction, signed: SignedTransaction, address: bytes) -> None:
    """Check that a signer signed just what it was asked to, as ``address``.

    Raises InvariantBroken ``signer_mismatch``: another transaction, account, or hash than that of the bytes.
    """
    try:
        found = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
        sender = bytes.fromhex(_EthAccount.recover_transaction(signed.raw)[2:])
        given = Transaction(
            found["chainId"], found["nonce"], bytes(found["to"]) or None, bytes(found["data"]), found["gas"],
            found["maxFeePerGas"], found["maxPriorityFeePerGas"], found["value"],
        )  # fmt: skip
        same = given == wanted and tuple(found["accessList"]) == () and found["type"] in (2, "0x2")
    except Exception as error:  # several unrelated types come out of bytes that a stranger made
        raise InvariantBroken("signer_mismatch", f"the signer gave no transaction: {error!r:.200}") from error
    if not same or sender != address or keccak256(signed.raw) != signed.hash or signed.nonce != wanted.nonce:
        raise InvariantBroken("signer_mismatch", "the signer signed another transaction than it was asked to")
