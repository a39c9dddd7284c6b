"""What a gateway, and an RPC endpoint, can do to what others are shown."""

from __future__ import annotations

from dataclasses import replace

from edgeseal import cbor
from edgeseal.head import FleetHead, Seen
from edgeseal.receipt import Receipt
from edgeseal.statements.keyset import Member
from tests.tamper.evidence import ALL, GATEWAY, RPC, Evidence, given, partial, row, state_of
from tests.world import Device, Key, World, simple


@row(
    "drop a device: its last heads get no place",
    GATEWAY,
    "the device's export, all statements",
    "position",
    "not_answered",
    "not_sequenced",
)
def drop_device() -> Evidence:
    world, device = simple()
    device.infer(5)
    device.seal()
    world.anchor(tell=False)
    return given(world)


@row(
    "drop a device: its last heads get no place",
    GATEWAY,
    "the device's export, all statements",
    "existed_by",
    "not_answered",
    "not_anchored",
)
def drop_device_time() -> Evidence:
    return drop_device()


@row(
    "drop a device's heads but count them in the snapshot",
    GATEWAY,
    "a snapshot path",
    "single_view_device",
    "not_answered",
    "statements_missing",
)
def drop_statements() -> Evidence:
    world, device = simple()
    lost = max(p for p, raw in enumerate(world.statements) if raw in device.heads)
    heads = [h for h in device.heads if h != world.statements[lost]]
    return given(world, device_heads={device.log: heads}, **partial(world, device, without={lost}))


@row("show two branches, same size", GATEWAY, "both signed heads", "single_view_fleet", "failed", "fork")
def two_branches() -> Evidence:
    world, _ = simple()
    other = world.gateway.fleet_head(FleetHead(world.log, world.size, b"\x66" * 32, (4, b"\x65" * 32)))
    return given(world, heads=[*world.heads, other])


@row(
    "show two branches, staggered sizes",
    GATEWAY,
    "a signed head of the other, all statements",
    "single_view_fleet",
    "failed",
    "fork",
)
def two_branches_staggered() -> Evidence:
    world, _ = simple()
    other = world.gateway.fleet_head(FleetHead(world.log, 9, b"\x66" * 32, (4, b"\x65" * 32)))
    return given(world, heads=[*world.heads, other])


@row(
    "show two branches",
    GATEWAY,
    "what a device says it was shown",
    "single_view_fleet",
    "not_answered",
    "witness_contradicts",
)
def two_branches_witness() -> Evidence:
    world, device = simple()
    device.seen = Seen(world.log, 7, b"\x66" * 32)
    device.seen = replace(device.seen, size=world.size)
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor(tell=False)
    return given(world)


@row(
    "show a device another branch, where a command stands",
    GATEWAY,
    "the command's receipt in the record",
    "single_view_fleet",
    "failed",
    "fork",
)
def branch_in_record() -> Evidence:
    world, device = simple()
    other = simple()[0]
    other.add(other.enrol_statement(device, groups=("other",)))
    sent = other.send(device, "ping", {"text": "x"})
    device.obey(sent)
    device.seal()
    world.deliver(device)
    world.anchor(tell=False)
    return given(world)


@row(
    "sign a head not shown to extend the others",
    GATEWAY,
    "no consistency proof",
    "single_view_fleet",
    "not_answered",
    "unlinked",
)
def unlinked() -> Evidence:
    world, _ = simple()
    other = world.gateway.fleet_head(FleetHead(world.log, world.size + 9, b"\x66" * 32, world.last))
    return given(world, heads=[*world.heads, other])


@row("anchor a rewritten log", GATEWAY, "the anchor, all statements", "single_view_fleet", "failed", "fork")
def rewritten() -> Evidence:
    world, _ = simple()
    world.put_on_chain(world.size, b"\x66" * 32)
    return given(world)


@row("anchor a rewritten log", GATEWAY, "the anchor, all statements", "existed_by", "not_answered", "not_anchored")
def rewritten_time() -> Evidence:
    world, device = simple()
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.snapshot()
    world.head()
    world.put_on_chain(world.size, b"\x66" * 32)
    return given(world)


@row("forge a receipt's size in the proof", GATEWAY, "the receipt", "position", "failed", "receipt_size")
def forged_size() -> Evidence:
    world, _ = simple()
    raw = world.receipt(3)
    read = Receipt.decode(raw)
    old, new = (cbor.encode([size, read.index, list(read.path)]) for size in (read.size, read.size + 1))
    return given(world, receipts=[raw.replace(old, new)])


@row(
    "sign a receipt for a size the log has not",
    GATEWAY,
    "the receipt, all statements",
    "single_view_fleet",
    "failed",
    "fork",
)
def signed_false_size() -> Evidence:
    world, _ = simple()
    false = world.gateway.fleet_head(FleetHead(world.log, 10, world.root_hash(9), (4, world.root_hash(4))))
    return given(world, heads=[*world.heads, false])


@row("lie about the root", RPC, "named in the trust file; all statements", "single_view_fleet", "failed", "fork")
def rpc_root() -> Evidence:
    world, device = simple()
    return replace(given(world), chain=state_of(world, device, root=b"\x66" * 32))


@row(
    "lie about the size",
    RPC,
    "named in the trust file; all statements",
    "single_view_fleet",
    "not_answered",
    "unlinked",
)
def rpc_size() -> Evidence:
    world, device = simple()
    return replace(given(world), chain=state_of(world, device, size=world.size + 5, root=b"\x66" * 32))


def rotated() -> tuple[World, Device, Key]:
    """Return a world whose gateway's key was rotated in order, and the old key."""
    world, device = simple()
    old, new = world.gateway, world.outsider
    members = (
        Member(new.public, "gateway"),
        Member(world.operator.public, "operator", ("enrol", "revoke", "command/*")),
    )
    world.add(world.next_keyset(members))
    world.anchor()  # the old key's last head ends in (new keyset, snapshot)
    world.gateway = new
    device.take_policy()
    device.infer(3)
    device.seal()
    world.deliver(device)
    world.anchor(tell=False)
    return world, device, old


@row("none: the gateway's key is rotated in order", GATEWAY, ALL, "single_view_fleet", "ok", "PROVED")
def gateway_rotation() -> Evidence:
    world, _, _ = rotated()
    return given(world)


@row("contradict the log with a retired gateway key", GATEWAY, ALL, "single_view_fleet", "not_answered", "retired_key")
def retired_key() -> Evidence:
    world, _, old = rotated()
    other = old.fleet_head(FleetHead(world.log, world.size, b"\x66" * 32, (4, b"\x65" * 32)))
    return given(world, heads=[*world.heads, other])


@row("contradict the log's past with a retired gateway key", GATEWAY, ALL, "single_view_fleet", "failed", "fork")
def retired_key_past() -> Evidence:
    world, _, old = rotated()
    other = old.fleet_head(FleetHead(world.log, 9, b"\x66" * 32, (4, b"\x65" * 32)))
    return given(world, heads=[*world.heads, other])
