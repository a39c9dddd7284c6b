"""What root with the device key can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgeseal.verify import Reexecution
from tests.tamper.evidence import ALL, DEVICE, Evidence, given, row
from tests.world import Device, Key, World, simple


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


@row("name a past that never was in a head", DEVICE, ALL, "append_only", "failed", "prev_contradicts", 15)
def false_past() -> Evidence:
    world, device = simple()
    device.infer(1)
    device.seal(prev=(15, b"\x77" * 32))
    world.deliver(device)
    world.anchor()
    return given(world)


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


@row("succeed a log of whose end nothing is known", DEVICE, ALL, "completeness", "not_answered", "seam_open")
def unknown_end() -> Evidence:
    world, device = simple()
    second = world.device("cam-1", epoch=2, prev=[device.log, 0, bytes(32)])
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
