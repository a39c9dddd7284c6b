"""Format 10: receipts that bind size and log, with each defect; and an RFC 9942 receipt that others verified."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good
from tests.vectors.encoding import (
    ZEROS,
    Key,
    Pairs,
    Raw,
    cbor,
    consistency,
    envelope,
    hashed,
    inclusion,
    leaf_hash,
    protected,
    root,
    to_be_signed,
    token,
)
from tests.vectors.world import (
    FLEET,
    FLEET_HEADER_8,
    FLEET_LEAVES,
    FLEET_LEAVES_5,
    FLEET_ROOT_2,
    FLEET_ROOT_8,
    GATEWAY,
    STRANGER,
)

ROOT_5 = root(FLEET_LEAVES_5)
PATH_4 = inclusion(4, FLEET_LEAVES)
PATH_5_8 = consistency(5, FLEET_LEAVES)


def included(receipt: Any, leaf: bytes = FLEET_LEAVES[4], key: Key = GATEWAY) -> dict[str, Any]:
    return {"receipt": receipt, "key": key.point, "leaf": leaf}


def extends(receipt: Any, root1: bytes = ROOT_5, root2: bytes = FLEET_ROOT_8) -> dict[str, Any]:
    return {"receipt": receipt, "key": GATEWAY.point, "root1": root1, "root2": root2}


def made(proof: Any, kind: int = -1, header: Any = FLEET_HEADER_8) -> bytes:
    return world.receipt(header, FLEET_ROOT_8, proof, kind)


def cases() -> Cases:
    """Every case of this part."""
    for index, leaf in enumerate(FLEET_LEAVES):
        given = included(made([8, index, inclusion(index, FLEET_LEAVES)]), leaf)
        outcome = {"log": FLEET, "size": 8, "index": index, "root": FLEET_ROOT_8}
        yield good(f"inclusion-{index}", f"statement {index} under the head of size 8", "receipt", given, **outcome)
    given = included(world.COMMAND_RECEIPT)
    yield good(
        "pending", "the receipt a command travels with", "receipt", given, log=FLEET, size=5, index=4, root=ROOT_5
    )
    for old, old_root in ((2, FLEET_ROOT_2), (5, ROOT_5)):
        given = extends(made([old, 8, consistency(old, FLEET_LEAVES)], -2), old_root)
        yield good(
            f"consistency-{old}", f"from size {old} to 8", "consistency-receipt", given, size=8, root=FLEET_ROOT_8
        )
    yield from proofs()
    yield from frames()
    yield from consistencies()
    yield from known_answer()


def proofs() -> Cases:
    other_leaf, short = FLEET_LEAVES[3], PATH_4[:-1]
    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "size-larger": ("receipt_size", "size 9 in the proof, 8 signed", included(made([9, 4, PATH_4]))),
        "size-smaller": ("receipt_size", "size 7 in the proof, 8 signed", included(made([7, 4, PATH_4]))),
        "size-forged": (
            "bad_signature",
            "size 9 in proof and claims, signed for 8",
            included(resized(9)),
        ),
        "index-above": ("receipt_index", "an index above the size", included(made([8, 8, PATH_4]))),
        "index-other": ("bad_signature", "another index", included(made([8, 5, PATH_4]))),
        "leaf-other": ("bad_signature", "another leaf", included(made([8, 4, PATH_4]), other_leaf)),
        "path-short": ("path_length", "a hash missing", included(made([8, 4, short]))),
        "path-long": ("path_length", "a hash too many", included(made([8, 4, [*PATH_4, ZEROS]]))),
        "path-empty": ("range", "no hash", included(made([8, 4, []]))),
        "path-65": ("range", "more hashes than any tree needs", included(made([8, 4, [ZEROS] * 65]))),
        "path-hash-31": ("range", "a hash of 31 bytes", included(made([8, 4, [PATH_4[0][:31], *PATH_4[1:]]]))),
        "path-order": ("bad_signature", "two hashes exchanged", included(made([8, 4, PATH_4[::-1]]))),
        "path-bit": (
            "bad_signature",
            "a bit of a hash changed",
            included(made([8, 4, [flipped(PATH_4[0]), *PATH_4[1:]]])),
        ),
        "index-negative": ("range", "a negative index", included(made([8, -1, PATH_4]))),
        "proof-two": ("range", "two parts for three", included(made([8, 4]))),
        "proof-map": ("type", "a map for the proof", included(made({"size": 8}))),
        "proof-trailing": (
            "cbor_trailing",
            "a byte after the proof",
            included(made(Raw(cbor([8, 4, PATH_4]) + b"\x00"))),
        ),
        "wrong-key": ("wrong_key", "asked for another key", included(made([8, 4, PATH_4]), key=STRANGER)),
    }
    for name, (code, description, given) in defects.items():
        yield bad(name, code, description, "receipt", given)


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def resized(size: int) -> bytes:
    """A receipt whose claim and proof say another size, with the signature of the head of size 8."""
    raw = cbor(FLEET_HEADER_8)
    signature = GATEWAY.sign(to_be_signed(raw, FLEET_ROOT_8))
    header = cbor(FLEET_HEADER_8 | {15: FLEET_HEADER_8[15] | {-70001: size}})
    leaves = [*FLEET_LEAVES, token("ninth leaf")]
    return envelope(header, {396: {-1: [cbor([size, 4, inclusion(4, leaves)])]}}, None, signature)


def frames() -> Cases:
    raw = cbor(FLEET_HEADER_8)
    signature = GATEWAY.sign(to_be_signed(raw, FLEET_ROOT_8))
    proof = cbor([8, 4, PATH_4])

    def frame(unprotected: Any, payload: Any = None) -> dict[str, Any]:
        return included(envelope(raw, unprotected, payload, signature))

    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "payload": ("receipt_payload", "the root attached", frame({396: {-1: [proof]}}, FLEET_ROOT_8)),
        "no-proof": ("receipt_proof", "no proof", frame({})),
        "empty-proofs": ("receipt_proof", "an empty array of proofs", frame({396: {-1: []}})),
        "two-proofs": ("receipt_proof", "two inclusion proofs", frame({396: {-1: [proof, proof]}})),
        "both-kinds": ("receipt_proof", "inclusion and consistency", frame({396: {-1: [proof], -2: [proof]}})),
        "unknown-kind": ("receipt_proof", "a proof of kind -3", frame({396: {-3: [proof]}})),
        "other-label": ("receipt_proof", "something beside the proof", frame({396: {-1: [proof]}, 4: b"kid"})),
        "proof-not-wrapped": ("receipt_proof", "the proof not wrapped in bytes", frame({396: {-1: [[8, 4, PATH_4]]}})),
        "proofs-map": ("receipt_proof", "an array of kinds", frame({396: [-1, proof]})),
        "unprotected-order": (
            "cbor_key_order",
            "labels in falling order",
            frame(Pairs(((396, {-1: [proof]}), (4, b"k")))),
        ),
        "too-large": ("too_large", "above MAX_RECEIPT", included(Zeros(4_097))),
    }
    for name, (code, description, given) in defects.items():
        yield bad(name, code, description, "receipt", given)
    head = included(world.FLEET_HEAD_8)
    yield bad("fleet-head", "receipt_payload", "a fleet head for its receipt", "receipt", head)
    device = envelope(*device_frame(proof))
    yield bad("device-head", "wrong_typ", "a receipt of a device head", "receipt", included(device))
    no_vds = {k: v for k, v in FLEET_HEADER_8.items() if k != 395}
    yield bad(
        "no-vds", "claims_mismatch", "no tree algorithm", "receipt", included(made([8, 4, PATH_4], header=no_vds))
    )
    claims = {k: v for k, v in FLEET_HEADER_8[15].items() if k != -70001}
    no_size = FLEET_HEADER_8 | {15: claims}
    yield bad(
        "no-size",
        "claims_mismatch",
        "a plain RFC 9942 receipt, size not signed",
        "receipt",
        included(made([8, 4, PATH_4], header=no_size)),
    )


def device_frame(proof: bytes) -> tuple[Any, ...]:
    raw = cbor(protected(world.DEVICE.kid, "device-head", world.LOG.hex(), size=8, log=world.LOG))
    return raw, {396: {-1: [proof]}}, None, world.DEVICE.sign(to_be_signed(raw, FLEET_ROOT_8))


def consistencies() -> Cases:
    proof = made([5, 8, PATH_5_8], -2)
    forked = root([*FLEET_LEAVES_5[:4], token("another fifth leaf")])
    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "old-root": ("path_old_root", "another old root", extends(proof, forked)),
        "new-root": ("bad_signature", "another new root", extends(proof, root2=FLEET_ROOT_2)),
        "size": ("receipt_size", "size 9 in the proof, 8 signed", extends(made([5, 9, PATH_5_8], -2))),
        "old-size": ("path_old_root", "from size 6", extends(made([6, 8, consistency(6, FLEET_LEAVES)], -2))),
        "old-size-0": ("receipt_index", "from size 0", extends(made([0, 8, PATH_5_8], -2))),
        "same-size": ("receipt_index", "from size 8", extends(made([8, 8, PATH_5_8], -2))),
        "path-short": ("path_length", "a hash missing", extends(made([5, 8, PATH_5_8[:-1]], -2))),
        "path-empty": ("range", "no hash", extends(made([5, 8, []], -2))),
        "inclusion": ("receipt_proof", "an inclusion receipt", extends(made([8, 4, PATH_4]))),
    }
    for name, (code, description, given) in defects.items():
        yield bad(f"consistency-{name}", code, description, "consistency-receipt", given)
    yield bad("inclusion-of-consistency", "receipt_proof", "a consistency receipt", "receipt", included(proof))


# An inclusion and a consistency receipt over the tree of RFC 6962, signed with the COSE working group's public test
# key "11"; scitt-cose 0.5.0 and pycose 1.1.0 accept both.
PUBLISHED_KID = bytes.fromhex("b71d9fc27ee9ce61a60560b2eeeef7f6934a6b9d57ce122b2b12e932cacbf1d9")
PUBLISHED_KEY = [
    bytes.fromhex("bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"),
    bytes.fromhex("20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"),
]
PUBLISHED_SIGNATURE = bytes.fromhex(
    "1eb3a66563f51d3375cc45f6a6cd141178e2bd9cfd96c6dab8534d5c3221fb13"
    "043e7651deff403e2ae861e0bf832954805ffe0841534e6ddfdc2f9ea9f99327"
)
PUBLISHED_LEAVES = [
    leaf_hash(bytes.fromhex(entry))
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]


def known_answer() -> Cases:
    header = cbor({1: -7, 4: PUBLISHED_KID, 15: {1: "gw.example", 2: "log/dev-42", 6: 1_760_000_000}, 395: 1})
    head_root = root(PUBLISHED_LEAVES)
    message = to_be_signed(header, head_root)
    assert (
        hashed(bytes.fromhex("a40102200121 5820"), PUBLISHED_KEY[0], b"\x22\x58\x20", PUBLISHED_KEY[1]) == PUBLISHED_KID
    )
    for name, kind, proof in (
        ("inclusion", -1, [8, 5, inclusion(5, PUBLISHED_LEAVES)]),
        ("consistency", -2, [6, 8, consistency(6, PUBLISHED_LEAVES)]),
    ):
        receipt = envelope(header, {396: {kind: [cbor(proof)]}}, None, PUBLISHED_SIGNATURE)
        signed = {"key": PUBLISHED_KEY, "protected": header, "payload": head_root, "signature": PUBLISHED_SIGNATURE}
        outcome = {"kid": PUBLISHED_KID, "to_be_signed": message}
        yield good(
            f"published-{name}-signature", "the signature of a published receipt", "signature", signed, **outcome
        )
        given = {"receipt": receipt, "key": PUBLISHED_KEY, "leaf": PUBLISHED_LEAVES[5]}
        yield bad(
            f"published-{name}",
            "extra_key",
            "a receipt of RFC 9942 alone: other claims, size not signed",
            "receipt",
            given,
        )
