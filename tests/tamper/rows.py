"""The tamper table: who does what, what evidence is at hand, and what the verifier says of it. ARCHITECTURE.md
prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from edgeseal import cbor
from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.cose import ORDER
from edgeseal.head import FleetHead, Seen, SignedFleetHead
from edgeseal.receipt import Receipt
from edgeseal.record import Header, body_hash
from edgeseal.segment import bare_leaf, header_only, whole
from edgeseal.statements.keyset import Member
from edgeseal.statements.snapshot import Snapshot
from edgeseal.trust import Trust
from edgeseal.verify import ChainState, ChainView, Interval, Reexecution, RegistryKey
from tests.world import Device, Key, Sent, World, simple

AUTHOR, DEVICE, GATEWAY, BROKER, RPC = "bundle author", "root with the device key", "gateway", "broker", "RPC"
ALL = "all records, heads and statements; a trusted block"


@dataclass(frozen=True)
class Evidence:
    """What the verifier is given."""

    bundle: Bundle
    trust: Trust | None
    chain: ChainView | None = None
    reexecuted: dict[bytes, Reexecution] | None = None


@dataclass(frozen=True)
class Row:
    """One row of the table, and how to make its evidence."""

    tamper: str
    by: str
    evidence: str
    question: str
    answer: str
    reason: str
    make: Callable[[], Evidence]
    seq: int | None = None

    @property
    def exit_code(self) -> int:
        return {"ok": 0, "failed": 2, "not_answered": 3}[self.answer]


ROWS: Final[list[Row]] = []


def row(
    tamper: str, by: str, evidence: str, question: str, answer: str, reason: str, seq: int | None = None
) -> Callable[[Callable[[], Evidence]], Callable[[], Evidence]]:
    def keep(make: Callable[[], Evidence]) -> Callable[[], Evidence]:
        ROWS.append(Row(tamper, by, evidence, question, answer, reason, make, seq))
        return make

    return keep


def given(world: World, device: Device | None = None, trust: Trust | None = None, **options: Any) -> Evidence:
    devices = None if device is None else [device]
    return Evidence(world.bundle(devices, **options), trust or world.trust())


def state_of(world: World, device: Device, size: int | None = None, root: bytes | None = None, **key: Any) -> ChainView:
    """Return the chain's true state (or what a liar reports), from an endpoint that the trust file names."""
    entry = RegistryKey("device", (Interval(key.get("start", 0), key.get("until"), key.get("ended_at")),))
    size = size or world.size
    keys = {device.key.kid: entry}
    state = ChainState(b"\x99" * 32, 99, world.time_s + 12, size, root or world.root_hash(size), keys)
    return ChainView("endpoint named in the trust file", state=state)


# What a bundle's author can do


@row("edit a record's body", AUTHOR, ALL, "integrity", "failed", "body_mismatch", 12)
def edit_body() -> Evidence:
    world, device = simple()
    items = device.items()
    items[12] = whole(items[12].header or b"", (items[12].body or b"")[:-1] + b"\x00")
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


# What root with the device key can do


def second_branch(world: World, device: Device, size: int) -> Device:
    """Return the same key's other history, which parts from the first after ``size`` records."""
    other = replace(device, records=device.records[:size], heads=list(device.heads), inputs={}, openings=[])
    other.last = (device.last[0], device.last[1])
    return other


@row("sign two histories, same size", DEVICE, "both heads", "single_view_device", "failed", "fork", 38)
def fork_same_size() -> Evidence:
    world, device = simple()
    other = second_branch(world, device, 27)
    other.infer(11)
    head = other.seal(prev=(27, device.root(27)))
    return given(world, device_heads={device.log: [*device.heads, head]})


@row("sign two histories, staggered sizes", DEVICE, "heads of both", "single_view_device", "failed", "fork", 30)
def fork_staggered() -> Evidence:
    world, device = simple()
    other = second_branch(world, device, 27)
    other.infer(3)
    head = other.seal(prev=(27, device.root(27)))
    return given(world, device_heads={device.log: [*device.heads[:3], head, *device.heads[3:]]})


@row("sign two histories, the other one longer", DEVICE, "heads of both", "single_view_device", "failed", "fork", 38)
def fork_longer() -> Evidence:
    world, device = simple()
    other = second_branch(world, device, 27)
    other.infer(30)
    head = other.seal(prev=(27, device.root(27)))
    return given(world, device_heads={device.log: [*device.heads, head]})


@row(
    "sign two histories",
    DEVICE,
    "one of them, device's export alone",
    "single_view_device",
    "not_answered",
    "no_snapshot",
)
def fork_hidden() -> Evidence:
    world, _ = simple()
    return given(world, statements=(), heads=[], anchors=[])


@row("run two logs at once, two keys", DEVICE, ALL, "single_view_device", "failed", "parallel_logs")
def parallel_logs() -> Evidence:
    world, _ = simple()
    second = world.device("cam-1", epoch=2)
    world.deliver(second)
    world.anchor()
    return given(world)


@row("open a successor that the old key did not close", DEVICE, ALL, "completeness", "not_answered", "seam_open")
def open_seam() -> Evidence:
    world, device = simple()
    second = world.device("cam-1", epoch=2, prev=[device.log, device.size, device.root()])
    second.infer(1)
    second.seal()
    world.deliver(second)
    world.anchor()
    return given(world)


def successor(next_log: Callable[[Device], bytes]) -> Evidence:
    """Return a device whose first log was closed, under its own key, in favour of ``next_log(second)``."""
    world, device = simple()
    second = Device(world, Key(7_777), "cam-1", epoch=2)
    device.add("key.rotated", next=second.log, key=second.key.public.point)
    device.add("closed", reason="key rotation", next=next_log(second))
    device.seal()
    world.deliver(device)
    second.prev = [device.log, device.size, device.root()]
    second.begin()
    world.devices.append(second)
    world.enrol(second)
    second.infer(0)
    second.seal()
    world.deliver(second)
    world.anchor()
    return given(world)


@row("none: a key is rotated in order", DEVICE, ALL, "completeness", "ok", "PROVED")
def orderly_rotation() -> Evidence:
    return successor(lambda second: second.log)


@row("none: a key is rotated in order", DEVICE, ALL, "single_view_device", "ok", "PROVED")
def orderly_rotation_view() -> Evidence:
    return successor(lambda second: second.log)


@row("succeed a log that named another successor", DEVICE, ALL, "completeness", "failed", "seam_mismatch", 0)
def usurped() -> Evidence:
    return successor(lambda second: b"\x77" * 32)


@row("name a fleet head in genesis that no gateway signed", DEVICE, ALL, "attribution", "failed", "wrong_log", 0)
def false_genesis_head() -> Evidence:
    world = World()
    genuine = world.heads
    world.heads = simple(seed=2)[0].heads
    device = world.device("cam-1")
    world.heads = genuine
    world.deliver(device)
    world.anchor()
    return given(world)


@row("set the clock back", DEVICE, ALL, "integrity", "ok", "PROVED")
def clock_back_order() -> Evidence:
    return clock_back()


@row("set the clock back", DEVICE, ALL, "existed_by", "ok", "PROVED")
def clock_back_block() -> Evidence:
    return clock_back()


@row("set the clock back", DEVICE, ALL, "cadence", "not_answered", "clock_contradicts_chain")
def clock_back() -> Evidence:
    world, device = simple()
    world.anchor()
    device.t -= 40 * 86_400_000
    device.infer(3)
    device.seal()
    world.deliver(device)
    world.anchor(tell=False)
    return given(world)


@row("set the monotonic clock back", DEVICE, ALL, "integrity", "failed", "mono_fell", 38)
def mono_back() -> Evidence:
    world, device = simple()
    device.mono = 5
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("fall silent", DEVICE, ALL, "cadence", "failed", "silence", 38)
def silent() -> Evidence:
    world, device = simple()
    device.heartbeat(after_s=3600)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("act after its own verdict said no", DEVICE, ALL, "policy", "failed", "acted_after_denial", 40)
def act_after_denial() -> Evidence:
    world, device = simple()
    made: dict[str, Any] = {"agent": "pilot", "id": bytes(16), "data": None, "pub": {}}
    device.add("decision.intent", action="open valve", **made)
    device.add("decision.verdict", allow=False, rule="night", **made)
    device.add("decision.outcome", ok=True, **made)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("run another model than the activated one", DEVICE, ALL, "model_identity", "failed", "model_mismatch", 38)
def other_model() -> Evidence:
    world, device = simple()
    device.infer(1, model=b"\x55" * 32)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row(
    "run another model and name the activated one",
    DEVICE,
    "records alone: it is the device's word",
    "model_identity",
    "ok",
    "ATTESTED",
)
def lying_model() -> Evidence:
    world, _ = simple()
    return given(world)


@row(
    "run another model and name the activated one",
    DEVICE,
    "inputs, package, a re-execution",
    "reexecution",
    "failed",
    "output_mismatch",
    12,
)
def lying_model_reexecuted() -> Evidence:
    world, device = simple()
    done = Reexecution(29, ((12, "output differs"),), {}, "ai-edge-litert")
    return replace(given(world), reexecuted={device.log: done})


@row("invent a command", DEVICE, ALL, "command_authority", "failed", "bad_signature", 38)
def invent_command() -> Evidence:
    world, device = simple()
    sent = world.send(device, "ping", {"text": "x"})
    raw = sent.raw[:-1] + bytes([sent.raw[-1] ^ 1])
    device.obey(replace(sent, raw=raw))
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("record a command's result without the command", DEVICE, ALL, "command_authority", "failed", "command_unknown", 38)
def result_without_command() -> Evidence:
    world, device = simple()
    device.add("command.result", id=bytes(16), cmd=bytes(32), ok=True, reason=None, result=None, pub={})
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


# What a gateway can do


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


def registered(world: World, device: Device, **key: Any) -> ChainView:
    return state_of(world, device, **key)


@row("hide a revocation", GATEWAY, "all statements, no chain: it is the gateway's word", "key_valid", "ok", "ATTESTED")
def hidden_revocation() -> Evidence:
    world, _ = simple()
    return given(world)


@row("hide a revocation", GATEWAY, "the registry", "key_valid", "failed", "key_revoked")
def hidden_revocation_registry() -> Evidence:
    world, device = simple()
    return replace(given(world), chain=state_of(world, device, until=5, ended_at=8))


@row(
    "let a revoked operator command, whom no keyset removed",
    GATEWAY,
    "the registry",
    "command_authority",
    "failed",
    "key_revoked",
    38,
)
def revoked_operator() -> Evidence:
    world, device = simple()
    device.obey(world.send(device, "ping", {"text": "x"}))
    device.seal()
    world.deliver(device)
    world.anchor()
    view = state_of(world, device)
    assert view.state is not None
    keys = {**view.state.keys, world.operator.kid: RegistryKey("operator", (Interval(0, 9, 10),))}
    return replace(given(world), chain=replace(view, state=replace(view.state, keys=keys)))


@row("use a key revoked in the fleet log", DEVICE, ALL, "key_valid", "failed", "key_revoked")
def revoked() -> Evidence:
    world, device = simple()
    world.revoke(device, world.size)
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row(
    "repudiate what was received",
    DEVICE,
    "the registry: the key ended before",
    "key_valid",
    "not_answered",
    "repudiated",
)
def repudiated() -> Evidence:
    world, device = simple()
    return replace(given(world), chain=state_of(world, device, until=9, ended_at=world.size))


@row("write a false snapshot", GATEWAY, "all statements", "single_view_fleet", "failed", "snapshot_false", 12)
def false_snapshot() -> Evidence:
    world, _ = simple()
    tree = world.subjects.tree()
    world.add(world.gateway.state(Snapshot(world.log, world.size + 1, b"\x66" * 32, len(tree.entries))))
    world.head()
    world.put_on_chain(world.size, world.root_hash())
    return given(world)


@row("enrol a device itself", GATEWAY, ALL, "attribution", "not_answered", "not_enrolled")
def self_enrolled() -> Evidence:
    world = World()
    device = world.device("cam-1", enrol=False)
    world.enrol(device, by=world.gateway)
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("command a device itself", GATEWAY, ALL, "command_authority", "failed", "role_missing", 38)
def self_commanded() -> Evidence:
    return commanded(by=lambda world: world.gateway)


def commanded(by: Callable[[World], Key], **changes: Any) -> Evidence:
    world, device = simple()
    sent: Sent = world.send(device, "ping", {"text": "x"}, by=by(world), **changes)
    device.obey(sent)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("deliver another device's command", GATEWAY, ALL, "command_authority", "failed", "wrong_audience", 38)
def other_audience() -> Evidence:
    return commanded(by=lambda world: world.operator, audience=b"\x44" * 32)


@row("deliver a command that had expired", GATEWAY, ALL, "command_authority", "failed", "command_expired", 38)
def expired() -> Evidence:
    return commanded(by=lambda world: world.operator, expires_size=5)


@row("deliver a command twice", GATEWAY, ALL, "command_authority", "failed", "command_replayed", 42)
def command_twice() -> Evidence:
    world, device = simple()
    first = world.send(device, "ping", {"text": "x"})
    second = world.send(device, "ping", {"text": "y"})
    device.obey(second)
    device.infer(2)
    device.obey(first)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


@row("withhold a command and deliver the next", GATEWAY, ALL, "command_authority", "not_answered", "command_withheld")
def withheld_command() -> Evidence:
    world, device = simple()
    world.send(device, "ping", {"text": "x"})
    device.obey(world.send(device, "ping", {"text": "y"}))
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


def removed_operator() -> tuple[World, Device, int]:
    """Return a world whose newest keyset lets the operator command no longer, and who did all the same."""
    world, device = simple()
    members = (Member(world.gateway.public, "gateway"), Member(world.operator.public, "operator", ("enrol",)))
    removed = world.add(world.next_keyset(members))
    device.take_policy()
    device.obey(world.send(device, "ping", {"text": "x"}))
    device.seal()
    world.deliver(device)
    world.anchor()
    return world, device, removed


@row(
    "let an operator command whom the root has removed", GATEWAY, ALL, "command_authority", "failed", "out_of_scope", 39
)
def removed_commands() -> Evidence:
    world, _, _ = removed_operator()
    return given(world)


@row(
    "leave out the keyset that removed an operator",
    AUTHOR,
    "receipts, snapshot paths",
    "command_authority",
    "not_answered",
    "keysets_incomplete",
)
def hidden_keyset() -> Evidence:
    world, device, removed = removed_operator()
    return given(world, **partial(world, device, without={removed}))


@row(
    "leave out the keyset that removed an operator",
    AUTHOR,
    "receipts, snapshot paths",
    "attribution",
    "not_answered",
    "keysets_incomplete",
)
def hidden_keyset_attribution() -> Evidence:
    return hidden_keyset()


@row(
    "rewrite the log without a device",
    GATEWAY,
    "the device's export: receipts of its heads",
    "single_view_fleet",
    "failed",
    "fork",
)
def rewritten_without_device() -> Evidence:
    shown, device = simple()
    promised = [shown.receipt(p) for p, raw in enumerate(shown.statements) if raw in device.heads]
    world = World()
    world.anchor()
    world.device("cam-2")
    for _ in range(4):
        world.anchor()
    return given(world, device, receipts=promised)


# What an RPC can do (how it is believed: tests/unit/test_chaincheck.py)


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


def partial(world: World, device: Device, without: set[int]) -> dict[str, Any]:
    """Return the options of a bundle about one device: its own statements with receipts, and a snapshot path, not
    the whole log.
    """
    kid = device.key.kid.hex()
    mine = [p for p, raw in enumerate(world.statements) if raw in device.heads or device.log in raw]
    keysets = [p for p, raw in enumerate(world.statements) if raw in world.keysets]
    keep = sorted({*keysets, *mine, world.size - 1} - without)
    subjects = (device.log.hex(), kid, world.log.hex())
    tree = world.snapshot_tree()
    sizes = sorted({SignedFleetHead.decode(head).head.size for head in world.heads})
    return {
        "statements": keep,
        "receipts": [world.receipt(p) for p in keep],
        "heads": world.heads,
        "anchors": world.anchors[-1:],
        "consistency": pairwise(sizes),
        "snapshots": [tree.prove(sub, world.size - 1).as_map() for sub in subjects],
    }
