"""What those who hold authority, or lost it, and a gateway that helps them can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgeseal.statements.keyset import Member
from edgeseal.statements.snapshot import Snapshot
from edgeseal.verify import Interval, RegistryKey
from tests.tamper.evidence import ALL, AUTHOR, DEVICE, GATEWAY, Evidence, given, partial, row, state_of
from tests.world import Device, Key, Sent, World, simple


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
