"""Known answers for the signed bytes of the contracts, made with cbor2 and cryptography and nothing of ours.

`python contracts/test/vectors/generate.py` writes the JSON files beside this one, `--check` compares them instead and
exits 1 if one differs. Solidity (`contracts/test/`) and Python (`tests/contract/test_contracts_forge.py`) read them.
Keys are fixed numbers known to everybody; signatures are deterministic (RFC 6979), low-s.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

HERE = Path(__file__).parent
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GATEWAY = ec.derive_private_key(0x2002, ec.SECP256R1())
TENANT = ec.derive_private_key(0x1001, ec.SECP256R1())
CHAIN_ID = 31337
CONTRACT = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
ADMIN = bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266")
SIZES = (2, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def point(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


def thumbprint(key: ec.EllipticCurvePrivateKey) -> bytes:
    x, y = point(key)
    return sha256(cbor2.dumps({1: 2, -1: 1, -2: x, -3: y}, canonical=True))


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> tuple[bytes, bytes]:
    """r and s, 32 bytes each, s not above half the order."""
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big"), min(s, ORDER - s).to_bytes(32, "big")


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def signed(key: ec.EllipticCurvePrivateKey, message: bytes) -> dict[str, Any]:
    x, y = point(key)
    r, s = sign(key, message)
    return {
        "x": hexed(x),
        "y": hexed(y),
        "kid": hexed(thumbprint(key)),
        "message": hexed(message),
        "digest": hexed(sha256(message)),
        "r": hexed(r),
        "s": hexed(s),
    }


def fleet_head(size: int, prev_size: int) -> dict[str, Any]:
    """format.md 7.2: the Sig_structure of a fleet head, from a CBOR library's own encoding."""
    kid = thumbprint(GATEWAY)
    log_id = sha256(b"log", size.to_bytes(8, "big"))
    root = sha256(b"root", size.to_bytes(8, "big"))
    prev_root = sha256(b"root", prev_size.to_bytes(8, "big")) if prev_size else bytes(32)
    claims = {1: kid.hex(), 2: log_id.hex(), -70001: size, -70002: log_id, -70003: [prev_size, prev_root]}
    header = {1: -7, 4: kid, 15: claims, 16: "application/vnd.edgeseal.fleet-head+cose", 395: 1}
    message = cbor2.dumps(["Signature1", cbor2.dumps(header, canonical=True), b"", root], canonical=True)
    return {
        "logId": hexed(log_id),
        "size": size,
        "root": hexed(root),
        "prevSize": prev_size,
        "prevRoot": hexed(prev_root),
        **signed(GATEWAY, message),
    }


def heads() -> dict[str, Any]:
    pairs = [(size, 0) for size in SIZES]
    pairs += [(size, previous) for size in SIZES for previous in SIZES if previous < size]
    return {"section": "format.md 7.2", "heads": [fleet_head(size, previous) for size, previous in pairs]}


def consents() -> dict[str, Any]:
    """The tenant root key's agreement to an admin, as IIdentityRegistry states it."""
    tenant = thumbprint(TENANT)

    def message(what: bytes, nonce: int) -> bytes:
        return b"".join((what, b"\0", tenant, CHAIN_ID.to_bytes(32, "big"), CONTRACT, ADMIN, nonce.to_bytes(32, "big")))

    return {
        "chainId": CHAIN_ID,
        "contract": hexed(CONTRACT),
        "admin": hexed(ADMIN),
        "open": signed(TENANT, message(b"edgeseal/v1/tenant-open", 0)),
        "recover": signed(TENANT, message(b"edgeseal/v1/tenant-admin", 1)),
    }


def log_ids() -> dict[str, Any]:
    """format.md 2.4."""
    tenant = thumbprint(TENANT)
    nonce = sha256(b"nonce")
    log_id = sha256(b"edgeseal/v1/fleet-log\0", tenant, CHAIN_ID.to_bytes(32, "big"), CONTRACT, nonce)
    return {
        "section": "format.md 2.4",
        "tenant": hexed(tenant),
        "chainId": CHAIN_ID,
        "contract": hexed(CONTRACT),
        "nonce": hexed(nonce),
        "logId": hexed(log_id),
    }


FILES = {"fleet_head_tbs.json": heads, "tenant_consent.json": consents, "fleet_log_id.json": log_ids}


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = 0
    for name, make in FILES.items():
        text = json.dumps(make(), indent=1) + "\n"
        path = HERE / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path}: differs from what the generator makes")
            stale = 1
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
