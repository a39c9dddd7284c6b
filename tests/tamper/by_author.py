"""What the author of a bundle, and a broker, can do to the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.cose import ORDER
from edgeseal.record import Header, body_hash
from edgeseal.segment import bare_leaf, header_only, whole
from tests.tamper.evidence import ALL, AUTHOR, BROKER, DEVICE, Evidence, given, partial, row, state_of
from tests.world import Device, World, simple


@row("edit a record's body", AUTHOR, ALL, "integrity", "failed", "body_mismatch", 12)
def edit_body() -> Evidence:
    world, device = simple()
    items = device.items()
    items[12] = whole(items[12].header or b"", (items[12].body or b"")[:-1] + b"\x00")
    return given(world, items={device.log: items})


@row("edit a command's body", AUTHOR, ALL, "completeness", "not_answered", "bodies_missing")
def edit_command() -> Evidence:
    world, device = simple()
    items = device.items()
    items[3] = whole(items[3].header or b"", (items[3].body or b"")[:-1] + b"\x00")
    return given(world, items={device.log: items})


@row("edit a record, header and body to match", AUTHOR, ALL, "integrity", "failed", "root_mismatch", 4)
def edit_whole() -> Evidence:
    world, device = simple()
    made = device.records[12]
    body = made.body[:-1] + b"\x00"
    header = replace(Header.decode(made.header), body=body_hash(body)).encode()
    items = device.items()
    items[12] = whole(header, body)
    return given(world, items={device.log: items})


@row("delete a record and leave the hole", AUTHOR, ALL, "completeness", "failed", "records_missing", 12)
def delete_inside() -> Evidence:
    world, device = simple()
    files = world.files(items={device.log: device.items()[:12]})
    files |= {
        n: d for n, d in world.files(items={device.log: device.items()[13:]}, start=13).items() if "records/" in n
    }
    return Evidence(Bundle(MemorySource(files)), world.trust())


@row("delete a record and close the gap", AUTHOR, ALL, "integrity", "failed", "seq_mismatch", 12)
def delete_and_close() -> Evidence:
    world, device = simple()
    items = device.items()
    return given(world, items={device.log: items[:12] + items[13:]})


@row("insert a record", AUTHOR, ALL, "integrity", "failed", "seq_mismatch", 13)
def insert() -> Evidence:
    world, device = simple()
    items = device.items()
    return given(world, items={device.log: [*items[:13], items[12], *items[13:]]})


@row("swap two records", AUTHOR, ALL, "integrity", "failed", "seq_mismatch", 12)
def reorder() -> Evidence:
    world, device = simple()
    items = device.items()
    items[12], items[13] = items[13], items[12]
    return given(world, items={device.log: items})


@row("present another device's records as this one's", AUTHOR, ALL, "integrity", "failed", "log_mismatch", 0)
def swapped_records() -> Evidence:
    world, device = simple()
    other = world.device("cam-2")
    return given(world, device, items={device.log: other.items()})


@row("swap the head signatures of two devices", AUTHOR, ALL, "integrity", "failed", "wrong_key")
def swapped_keys() -> Evidence:
    world, device = simple()
    other = world.device("cam-2")
    return given(world, device, device_heads={device.log: [*device.heads, *other.heads]})


def cut(world: World, device: Device, size: int, signed: int, **options: Any) -> Evidence:
    return given(
        world, items={device.log: device.items()[:size]}, device_heads={device.log: device.heads[:signed]}, **options
    )


@row("drop the tail at a head's boundary", AUTHOR, ALL, "completeness", "failed", "tail_missing", 27)
def drop_tail() -> Evidence:
    world, device = simple()
    return cut(world, device, 27, 3)


@row(
    "drop the tail at a head's boundary", AUTHOR, "a newer snapshot path", "completeness", "failed", "tail_missing", 27
)
def drop_tail_snapshot() -> Evidence:
    world, device = simple()
    return cut(world, device, 27, 3, **partial(world, device, without={len(world.statements) - 2}))


@row(
    "drop the tail at a head's boundary",
    AUTHOR,
    "the device's export alone",
    "completeness",
    "not_answered",
    "no_snapshot",
)
def drop_tail_alone() -> Evidence:
    world, device = simple()
    return cut(world, device, 27, 3, statements=(), heads=[], anchors=[])


@row("drop the tail inside a head's reach", AUTHOR, "the head", "completeness", "failed", "tail_missing", 30)
def drop_tail_inside() -> Evidence:
    world, device = simple()
    return cut(world, device, 30, 4, statements=(), heads=[], anchors=[])


@row(
    "drop the tail inside a head's reach, and the head", AUTHOR, "older heads", "integrity", "not_answered", "uncovered"
)
def drop_tail_and_head() -> Evidence:
    world, device = simple()
    return cut(world, device, 30, 3, statements=(), heads=[], anchors=[])


def old_copy(world: World, device: Device) -> dict[str, Any]:
    """Everything as it stood at the second last anchor: an honest older bundle looks the same."""
    size = world.size - 2
    return {
        "items": {device.log: device.items()[:27]},
        "device_heads": {device.log: device.heads[:3]},
        "statements": range(size),
        "heads": world.heads[:-1],
        "anchors": world.anchors[:-1],
    }


@row(
    "cut everything back to an older anchor",
    AUTHOR,
    "no chain: it answers as of that anchor",
    "completeness",
    "ok",
    "PROVED",
)
def old_bundle() -> Evidence:
    world, device = simple()
    return given(world, **old_copy(world, device))


@row("cut everything back to an older anchor", AUTHOR, "chain state", "completeness", "not_answered", "newer_anchor")
def old_bundle_with_chain() -> Evidence:
    world, device = simple()
    return replace(given(world, **old_copy(world, device)), chain=state_of(world, device))


@row("strip a body that may go", AUTHOR, ALL, "completeness", "ok", "PROVED")
def strip_body() -> Evidence:
    world, device = simple()
    items = device.items()
    items[12] = header_only(items[12].header or b"", "withheld")
    return given(world, items={device.log: items})


@row("strip a command's body", BROKER, ALL, "completeness", "not_answered", "bodies_missing")
def strip_command() -> Evidence:
    world, device = simple()
    items = device.items()
    items[3] = header_only(items[3].header or b"", "withheld")
    return given(world, items={device.log: items})


@row("strip a record to its leaf hash", BROKER, ALL, "completeness", "not_answered", "bare_leaf")
def strip_record() -> Evidence:
    world, device = simple()
    items = device.items()
    items[12] = bare_leaf(items[12].leaf, "withheld")
    return given(world, items={device.log: items})


@row("send a segment twice", BROKER, "a byte-equal overlap is stored once", "integrity", "ok", "PROVED")
def replay_segment() -> Evidence:
    world, device = simple()
    return given(world, device_heads={device.log: [h for h in device.heads for _ in (0, 1)]})


@row("replay an old segment as new records", DEVICE, "a new head over them", "integrity", "failed", "seq_mismatch", 38)
def replay_as_new() -> Evidence:
    world, device = simple()
    device.records += device.records[10:15]
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("edit a statement", AUTHOR, ALL, "position", "failed", "bad_signature", 3)
def edit_statement() -> Evidence:
    world, _ = simple()
    raw = world.statements[3]
    world.statements[3] = raw[:-1] + bytes([raw[-1] ^ 1])
    return given(world)


@row("write a signature in its other form (n - s)", AUTHOR, ALL, "integrity", "failed", "high_s")
def twin_signature() -> Evidence:
    world, device = simple()
    raw = device.heads[-1]
    s = ORDER - int.from_bytes(raw[-32:], "big")
    return given(world, device_heads={device.log: [*device.heads, raw[:-32] + s.to_bytes(32, "big")]})


@row("edit a block header", AUTHOR, ALL, "existed_by", "failed", "block_hash_mismatch")
def edit_block() -> Evidence:
    world, _ = simple()
    last = world.anchors[-1]
    return given(world, anchors=[*world.anchors[:-1], replace(last, header=last.header[:-1] + b"\x08")])


@row(
    "bring his own chain",
    AUTHOR,
    "a block that nobody trusted names",
    "existed_by",
    "not_answered",
    "block_not_believed",
)
def own_chain() -> Evidence:
    world, _ = simple()
    return given(world, trust=world.trust(blocks=[b"\x01" * 32]))


@row("bring his own keys, root and all", AUTHOR, "no trust file", "attribution", "not_answered", "no_trust")
def own_keys() -> Evidence:
    world, _ = simple(seed=2)
    return Evidence(world.bundle(), None)


@row("bring his own keys, root and all", AUTHOR, "the trust file", "attribution", "failed", "foreign_root", 0)
def own_keys_with_trust() -> Evidence:
    world, _ = simple(seed=2)
    return Evidence(world.bundle(), simple()[0].trust())
