"""What an EVM chain said, checked offline: block headers, receipts, trie proofs and the logs they lead to."""

from edgeseal.evmproof.header import HEADER_FIELDS, Header, decode_header, encode_header, verify_header
from edgeseal.evmproof.keccak import keccak256
from edgeseal.evmproof.logproof import ProvedLog, ReceiptProof, build_receipt_proof, verify_log
from edgeseal.evmproof.receipt import Log, Receipt, decode_receipt, encode_receipt

__all__ = [
    "HEADER_FIELDS",
    "Header",
    "Log",
    "ProvedLog",
    "Receipt",
    "ReceiptProof",
    "build_receipt_proof",
    "decode_header",
    "decode_receipt",
    "encode_header",
    "encode_receipt",
    "keccak256",
    "verify_header",
    "verify_log",
]
