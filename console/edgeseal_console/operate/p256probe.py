"""What a chain has at 0x100: P256VERIFY, nothing, or something that must not be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeseal.adapters.evm import EvmClient, Rejected
from edgeseal.cose import ORDER

P256VERIFY: Final = bytes(18) + b"\x01\x00"
"""Address of the precompile (EIP-7951, RIP-7212)."""
_X: Final = bytes.fromhex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6")
_Y: Final = bytes.fromhex("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")
_DIGEST: Final = bytes.fromhex("af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf")
_R: Final = bytes.fromhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716")
_HIGH_S: Final = bytes.fromhex("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")
_LOW_S: Final = (ORDER - int.from_bytes(_HIGH_S, "big")).to_bytes(32, "big")

HIGH: Final = _DIGEST + _R + _HIGH_S + _X + _Y
"""The signature of RFC 6979, A.2.5 (P-256, SHA-256, "sample"): good, with a high s."""
LOW: Final = _DIGEST + _R + _LOW_S + _X + _Y
"""Its low twin: good."""
BAD: Final = _DIGEST[:-1] + b"\xbe" + _R + _LOW_S + _X + _Y
"""The same over another digest: bad."""
_TRUE: Final = bytes(31) + b"\x01"
_INTRINSIC: Final = 21_000


@dataclass(frozen=True, slots=True)
class P256:
    """What was found: ``present``, ``absent`` (empty answers to all, as where nothing is), or ``wrong``; its gas.

    ``gas`` is the precompile's own, as the node estimates it (geth's estimates are up to 1.5 % of the whole
    transaction too high); None where it cannot be told.
    """

    state: str
    answers: dict[str, str]
    gas: int | None


def p256(client: EvmClient) -> P256:
    """Return what the chain has at 0x100. Raises Unavailable.

    A good signature answered with nothing means that there is no precompile: the same nothing answers a bad signature
    where there is one, so that only a known good one tells the two apart.
    """
    found = {name: _ask(client, data) for name, data in (("low_s", LOW), ("high_s", HIGH), ("bad", BAD))}
    shown = {name: "true" if data == _TRUE else "empty" if data == b"" else data.hex() for name, data in found.items()}
    if all(data == b"" for data in found.values()):
        return P256("absent", shown, None)
    if (found["low_s"], found["high_s"]) != (_TRUE, _TRUE) or found["bad"] not in (b"", bytes(32)):
        return P256("wrong", shown, None)
    return P256("present", shown, _gas(client))


def _ask(client: EvmClient, data: bytes) -> bytes:
    try:
        return client.call(P256VERIFY, data)
    except Rejected:
        return b"\xff"  # neither yes nor no: shown as what it is not


def _gas(client: EvmClient) -> int | None:
    try:
        whole = client.estimate_gas(bytes(19) + b"\x01", P256VERIFY, LOW)
    except Rejected:
        return None
    calldata = sum(16 if byte else 4 for byte in LOW)
    return max(0, whole - _INTRINSIC - calldata)
