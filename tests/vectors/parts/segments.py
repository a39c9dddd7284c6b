"""Format 6: what a device sends, and each way an envelope or an item can be wrong."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import ZEROS, cbor, leaf_hash, token
from tests.vectors.world import DEVICE, LEAVES, LOG, RECORDS

WHOLE: list[list[Any]] = [[0, header, body] for header, body in RECORDS]
REASON = "quota"


def segment(start: int, items: list[Any], head: bytes = world.DEVICE_HEAD_6) -> dict[str, Any]:
    return {"v": 1, "log": LOG, "head": head, "from": start, "items": items}


def given(fields: Any) -> dict[str, Any]:
    return {"bytes": fields if isinstance(fields, bytes | Zeros) else cbor(fields), "key": DEVICE.point}


def cases() -> Cases:
    """Every case of this part."""
    first = segment(0, WHOLE[:2], world.DEVICE_HEAD_2)
    yield good("first", "genesis, key.bound and the first head", "segment", given(first), start=0, leaves=LEAVES[:2])
    yield good(
        "later", "from where the last one ended", "segment", given(segment(2, WHOLE[2:])), start=2, leaves=LEAVES[2:]
    )
    yield good("whole-log", "everything at once", "segment", given(segment(0, WHOLE)), start=0, leaves=LEAVES)
    yield good("head-alone", "no item", "segment", given(segment(6, [])), start=6, leaves=[])
    mixed = [WHOLE[2], [1, RECORDS[3][0], REASON], [2, LEAVES[4], "too_large"], WHOLE[5]]
    yield good("mixed", "an item of each form", "segment", given(segment(2, mixed)), start=2, leaves=LEAVES[2:])
    odd = [[0, b"not CBOR", b""]]
    head = world.signed_device_head(world.device_head(7, token("root of 7"), [6, world.DEVICE_ROOT_6]))
    leaves = [leaf_hash(b"not CBOR")]
    yield good(
        "opaque-item",
        "an item that is no record is carried",
        "segment",
        given(segment(6, odd, head)),
        start=6,
        leaves=leaves,
    )
    yield from envelopes()
    yield from items()


def envelopes() -> Cases:
    base = segment(2, WHOLE[2:])
    other = world.signed_device_head(
        world.device_head(6, world.DEVICE_ROOT_6, [2, world.DEVICE_ROOT_2], log=world.OTHER_LOG), world.OTHER_DEVICE
    )
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("topic_mismatch", "log", "of another device", world.OTHER_LOG),
        ("topic_mismatch", "head", "of another device", other),
        ("segment_size", "from", "one too many", 3),
        ("segment_size", "from", "one too few", 1),
        ("segment_size", "items", "one missing", WHOLE[3:]),
        ("segment_size", "items", "one doubled", [*WHOLE[2:], WHOLE[5]]),
        ("type", "items", "a map", {}),
        ("type", "head", "text", "head"),
        ("range", "head", "empty", b""),
        ("range", "head", "above MAX_HEAD", bytes(2_049)),
        ("cose_structure", "head", "no COSE_Sign1", b"\x80"),
        ("wrong_typ", "head", "a fleet head", world.FLEET_HEAD_8),
        ("range", "from", "negative", -1),
    ]
    for name, code, description, fields in spoiled(base, *changes):
        yield bad(f"envelope-{name}", code, description, "segment", given(fields))
    many = segment(0, [[2, ZEROS, REASON]] * 1_025)
    yield bad("envelope-items-1025", "range", "above MAX_SEGMENT_ITEMS", "segment", given(many))
    yield bad("envelope-too-large", "too_large", "above MAX_SEGMENT", "segment", given(Zeros(1_048_577)))
    yield bad("envelope-trailing", "cbor_trailing", "a byte after it", "segment", given(cbor(base) + b"\x00"))
    yield bad("envelope-array", "type", "an array for a map", "segment", given([1]))
    forged = world.signed_device_head(world.HEAD_6, high=True)
    yield bad(
        "head-high-s", "high_s", "its head has a high-S signature", "segment", given(segment(2, WHOLE[2:], forged))
    )


def items() -> Cases:
    header, body = RECORDS[5]
    changed: dict[str, tuple[str, str, Any]] = {
        "form-3": ("item_form", "no such form", [3, header, body]),
        "form-bool": ("item_form", "a bool for its form", [False, header, body]),
        "form-text": ("item_form", "text for its form", ["0", header, body]),
        "empty": ("item_form", "an empty array", []),
        "two": ("item_form", "no body", [0, header]),
        "four": ("item_form", "a fourth part", [0, header, body, REASON]),
        "map": ("item_form", "a map", {"header": header}),
        "header-text": ("type", "text for a header", [0, "header", body]),
        "body-text": ("type", "a reason for a body", [0, header, REASON]),
        "body-null": ("type", "null for a body", [0, header, None]),
        "header-too-large": ("too_large", "a header above MAX_HEADER", [0, bytes(513), body]),
        "body-too-large": ("too_large", "a body above MAX_BODY", [0, header, bytes(65_537)]),
        "reason-bytes": ("type", "a body for a reason", [1, header, body]),
        "reason-empty": ("name_invalid", "an empty reason", [1, header, ""]),
        "reason-words": ("name_invalid", "a sentence for a reason", [1, header, "No space left"]),
        "reason-long": ("name_invalid", "a reason of 65 characters", [1, header, "r" * 65]),
        "leaf-31": ("range", "a leaf of 31 bytes", [2, LEAVES[5][:31], REASON]),
        "leaf-header": ("range", "a header for a leaf", [2, header, REASON]),
        "leaf-no-reason": ("type", "null for a leaf's reason", [2, LEAVES[5], None]),
    }
    for name, (code, description, item) in changed.items():
        yield bad(f"item-{name}", code, description, "segment", given(segment(2, [*WHOLE[2:5], item])))
