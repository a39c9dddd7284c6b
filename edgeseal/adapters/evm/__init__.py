"""One EVM node over JSON-RPC: the only importer of web3 and its relatives.

:class:`EvmClient` asks; it never fills in a nonce, a fee or a chain id and never sends twice: who owns an account
decides that. :class:`Account` signs. :class:`Contract` encodes calls and decodes answers, errors and events by a
committed ABI. Nothing here retries: a call either answers or raises, and the caller knows what a second try would mean.
"""

from __future__ import annotations

import sys

from edgeseal.adapters.evm.abi import BoundContract, Contract
from edgeseal.adapters.evm.account import (
    Account,
    SignedTransaction,
    Transaction,
    TransactionSigner,
    check_signed,
    read_private_key,
)
from edgeseal.adapters.evm.client import TIMEOUT_S, EvmClient, check_chain
from edgeseal.adapters.evm.reading import (
    MAX_RPC_TEXT,
    Block,
    BlockHeader,
    Busy,
    FoundLog,
    FoundTransaction,
    Rejected,
    Reverted,
    TxReceipt,
)

# py_ecc, which web3 imports, raises Python's recursion limit to 100,000. There, deeply nested JSON from any stranger
# ends the process with a segmentation fault, in place of a RecursionError.
sys.setrecursionlimit(1_000)

__all__ = [
    "MAX_RPC_TEXT",
    "TIMEOUT_S",
    "Account",
    "Block",
    "BlockHeader",
    "BoundContract",
    "Busy",
    "Contract",
    "EvmClient",
    "FoundLog",
    "FoundTransaction",
    "Rejected",
    "Reverted",
    "SignedTransaction",
    "Transaction",
    "TransactionSigner",
    "TxReceipt",
    "check_chain",
    "check_signed",
    "read_private_key",
]
