"""What those who bring the chain's word can do: an RPC endpoint or a gateway that lies, an author who picks proofs.

The chain is public, its blocks are in the trust file, no endpoint is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.evmproof import decode_header
from edgeseal.network import Deployed
from edgeseal.stateevidence import AccountEvidence, CommandChain, StorageEvidence
from edgeseal.trust import Trust
from tests.chainstate import ACTIVE, COMMAND_LOG, MODELS, OPEN, REVOKED, SUSPENDED, Contracts
from tests.tamper.evidence import AUTHOR, DEVICE, GATEWAY, RPC, Evidence, row
from tests.world import CODE, CONTRACT, MODEL, REGISTRY, Device, World

PROOFS = "account and storage proofs under a trusted block"
Files = dict[str, bytes]


def told(
    after: Callable[[Contracts, Device], None] | None = None,
    granted: bool = True,
    code: bytes = CODE,
    operator: tuple[int, int] | None = (0, OPEN),
    named: bool = True,
) -> tuple[World, Device]:
    """Return a world whose contracts' state is proved after every anchor; ``after`` changes it before the last one."""
    world = World(1)
    made = world.contracts = Contracts(world, (CONTRACT, REGISTRY, COMMAND_LOG, MODELS), code)
    if operator:
        made.key(world.operator.kid, 1, operator)
    made.key(world.gateway.kid, 2)
    made.model(MODEL, world.time_s)
    world.anchor(tell=False)
    device = world.device("cam-1")
    made.key(device.key.kid)
    if granted:
        made.grant(MODEL, "all", (world.time_s, OPEN >> 25))
    world.anchor(tell=named)
    sent = world.send(device, "model.activate", {"model": MODEL})
    device.obey(sent)
    device.infer(5)
    device.heartbeat()
    device.seal()
    world.deliver(device)
    made.log_command(device.log, sent.digest, sent.position)
    world.anchor()
    device.infer(3)
    device.heartbeat()
    device.seal()
    world.deliver(device)
    if after:
        after(made, device)
    world.anchor(tell=False)
    return world, device


def one_more(world: World, device: Device) -> None:
    """Let a device record one thing more, and anchor its head."""
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()


def trust_of(world: World) -> Trust:
    """Return a trust file's content that names all four contracts and every block."""
    trust = world.trust()
    assert trust.chain is not None
    command_log, model_registry = Deployed(COMMAND_LOG, CODE), Deployed(MODELS, CODE)
    return replace(trust, chain=replace(trust.chain, command_log=command_log, model_registry=model_registry))


def proved(world: World, change: Callable[[Contracts, Files], None] | None = None, **options: Any) -> Evidence:
    """Return all statements and all proofs, after ``change``."""
    assert world.contracts is not None
    files = world.contracts.files()
    if change:
        change(world.contracts, files)
    return Evidence(Bundle(MemorySource(world.files(**options) | files)), trust_of(world))


def last(made: Contracts) -> bytes:
    return list(made.blocks)[-1]


def named(files: Files, found: AccountEvidence | StorageEvidence) -> str:
    """Return the name of a file of proofs, which is among the files."""
    name = found.name if isinstance(found, AccountEvidence) else found.name(0)
    assert name in files
    return name


def registry_of(made: Contracts, block: bytes) -> StorageEvidence:
    return made.storage(block, REGISTRY, made.asked(block, REGISTRY))


@row("none: the state is proved, nobody is asked", "nobody", PROOFS, "key_valid", "ok", "PROVED")
def key_is_proved() -> Evidence:
    return proved(told()[0])


@row("none: the model was approved and granted", "nobody", PROOFS, "model_identity", "ok", "ATTESTED")
def model_is_granted() -> Evidence:
    return proved(told()[0])


@row("none: the anchors' events are left out", "nobody", PROOFS, "existed_by", "ok", "PROVED")
def no_events() -> Evidence:
    return proved(told()[0], anchors=[])


@row("hide a revocation", GATEWAY, PROOFS, "key_valid", "failed", "key_revoked")
def hidden_revocation_proved() -> Evidence:
    world, device = told()
    made, size = world.contracts, world.size
    assert made is not None
    made.key(device.key.kid, 0, (0, size), status=REVOKED)
    world.anchor()
    one_more(world, device)
    return proved(world)


@row("hide a suspension", GATEWAY, PROOFS, "key_valid", "failed", "key_revoked")
def hidden_suspension() -> Evidence:
    world, device = told()
    made, size = world.contracts, world.size
    assert made is not None
    made.key(device.key.kid, 0, (0, size), status=SUSPENDED)
    world.anchor()
    one_more(world, device)
    made.key(device.key.kid, 0, (0, size), (world.size, OPEN), status=ACTIVE)
    world.anchor()
    return proved(world)


@row("repudiate what was received", GATEWAY, PROOFS, "key_valid", "not_answered", "repudiated")
def repudiated_proved() -> Evidence:
    return proved(told(lambda made, device: made.key(device.key.kid, 0, (0, 6), status=REVOKED))[0])


@row("let a revoked operator command", GATEWAY, PROOFS, "command_authority", "failed", "key_revoked")
def revoked_operator_proved() -> Evidence:
    return proved(told(operator=(0, 2))[0])


@row("leave a device unregistered", GATEWAY, PROOFS, "key_valid", "not_answered", "not_registered")
def never_registered() -> Evidence:
    def take_out(made: Contracts, device: Device) -> None:
        made.slots[REGISTRY].clear()
        made.key(made.world.operator.kid, 1)

    return proved(told(take_out)[0])


@row("register a device's key as an operator's", GATEWAY, PROOFS, "key_valid", "failed", "wrong_role")
def wrong_role() -> Evidence:
    return proved(told(lambda made, device: made.key(device.key.kid, 1))[0])


def altered_header(made: Contracts, files: Files, place: bytes, other: bytes) -> None:
    found = made.accounts(last(made))
    files[named(files, found)] = replace(found, header=found.header.replace(place, other)).encode()


@row("lie about the state root", RPC, PROOFS, "key_valid", "failed", "block_hash_mismatch")
def other_state_root() -> Evidence:
    return proved(
        told()[0], lambda made, files: altered_header(made, files, made.blocks[last(made)].state.root, b"\x66" * 32)
    )


@row("lie about the time of a block", RPC, PROOFS, "key_valid", "failed", "block_hash_mismatch")
def other_time() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        time = decode_header(made.blocks[last(made)].header).timestamp
        altered_header(made, files, time.to_bytes(4, "big"), (time - 3_600).to_bytes(4, "big"))

    return proved(told()[0], change)


@row("run other code at a contract's address", GATEWAY, PROOFS, "key_valid", "failed", "code_mismatch")
def other_code() -> Evidence:
    return proved(told(code=b"\xee" * 32)[0])


@row("run other code at a contract's address", GATEWAY, PROOFS, "existed_by", "failed", "code_mismatch")
def other_code_of_the_log() -> Evidence:
    return proved(told(code=b"\xee" * 32)[0])


@row("lie about the code", RPC, PROOFS, "key_valid", "failed", "trie_node_hash")
def forged_code() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        found = made.accounts(last(made))
        nodes = tuple(node.replace(b"\xee" * 32, CODE) for node in found.nodes)
        files[named(files, found)] = replace(found, nodes=nodes).encode()

    def other(made: Contracts, device: Device) -> None:
        made.code = b"\xee" * 32

    return proved(told(other)[0], change)


def forge_registry(change: Callable[[Contracts, StorageEvidence], StorageEvidence]) -> Callable[..., None]:
    def put(made: Contracts, files: Files) -> None:
        found = registry_of(made, last(made))
        files[named(files, found)] = change(made, found).encode()

    return put


@row("lie about a value in the state", RPC, PROOFS, "key_valid", "failed", "trie_node_hash")
def forged_value() -> Evidence:
    world, _ = told(lambda made, device: made.key(device.key.kid, 0, (0, 6), status=REVOKED))

    def lie(made: Contracts, found: StorageEvidence) -> StorageEvidence:
        ended, open_ = (6).to_bytes(8, "big"), OPEN.to_bytes(8, "big")
        return replace(found, nodes=tuple(node.replace(ended + bytes(8), open_ + bytes(8)) for node in found.nodes))

    return proved(world, forge_registry(lie))


@row("forge that a slot holds nothing", RPC, PROOFS, "key_valid", "failed", "trie_node_missing")
def forged_exclusion() -> Evidence:
    def lie(made: Contracts, found: StorageEvidence) -> StorageEvidence:
        return replace(found, nodes=found.nodes[:-1])

    return proved(told()[0], forge_registry(lie))


@row("prove a slot that is not there by another's path", RPC, PROOFS, "key_valid", "failed", "trie_node_hash")
def another_slots_path() -> Evidence:
    def lie(made: Contracts, found: StorageEvidence) -> StorageEvidence:
        other = made.blocks[last(made)].storage[MODELS]
        return replace(found, nodes=other.prove(sorted(made.slots[MODELS])))

    return proved(told()[0], forge_registry(lie))


def revoked_last(made: Contracts, device: Device) -> None:
    made.key(device.key.kid, 0, (0, 6), status=REVOKED)


@row(
    "show the state of an older block, the newer anchor too", AUTHOR, PROOFS, "key_valid", "not_answered", "state_stale"
)
def older_state() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        del files[named(files, made.accounts(last(made)))]

    return proved(told(revoked_last)[0], change)


@row("give an older block's slots for the newest's", GATEWAY, PROOFS, "key_valid", "not_answered", "state_stale")
def older_slots() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        del files[named(files, registry_of(made, last(made)))]

    return proved(told(revoked_last)[0], change)


@row("leave every slot of the registry out", AUTHOR, PROOFS, "key_valid", "not_answered", "state_missing")
def no_slots() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        for block in made.blocks:
            files.pop(registry_of(made, block).name(0), None)

    return proved(told(revoked_last)[0], change)


@row("give another contract's slots for the registry's", GATEWAY, PROOFS, "key_valid", "not_answered", "state_missing")
def another_contract() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        for block in made.blocks:
            files.pop(registry_of(made, block).name(0), None)
            asked = made.storage(block, MODELS, made.asked(block, REGISTRY))
            files[asked.name(1)] = asked.encode()

    return proved(told(revoked_last)[0], change)


@row("bring a state of his own chain", AUTHOR, PROOFS, "key_valid", "not_answered", "state_stale")
def own_chain() -> Evidence:
    world, _ = told(revoked_last)
    evidence = proved(world)
    trust = evidence.trust
    assert trust is not None and trust.chain is not None and world.contracts is not None
    forged, _ = told()
    assert forged.contracts is not None
    mine = forged.contracts
    files = world.files() | {n: d for n, d in world.contracts.files().items() if last(world.contracts).hex() not in n}
    files[mine.accounts(last(mine)).name] = mine.accounts(last(mine)).encode()
    return replace(evidence, bundle=Bundle(MemorySource(files)))


@row("activate a model that nobody approved", "operator", PROOFS, "model_identity", "failed", "model_not_approved")
def not_approved() -> Evidence:
    world, _ = told()
    return over(world, lambda made: made.model(MODEL, world.time_s + 1_000))


@row("activate a model that was revoked", "operator", PROOFS, "model_identity", "failed", "model_revoked")
def model_revoked() -> Evidence:
    world, _ = told()
    start = world.time_s - 48
    return over(world, lambda made: made.model(MODEL, start, start + 6))


@row("activate a model not granted to the device", "operator", PROOFS, "model_identity", "failed", "model_not_granted")
def not_granted() -> Evidence:
    return proved(told(granted=False)[0])


@row("activate a model as its grant begins", "operator", PROOFS, "model_identity", "not_answered", "grant_edge")
def grant_edge() -> Evidence:
    world, _ = told()
    return over(world, lambda made: made.grant(MODEL, "all", (world.time_s - 17, OPEN >> 25)))


@row("name no block before the activation", DEVICE, PROOFS, "model_identity", "not_answered", "grant_edge")
def no_lower_bound() -> Evidence:
    return proved(told(named=False)[0])


@row("leave out who was granted a model", AUTHOR, PROOFS, "model_identity", "not_answered", "state_missing")
def no_grants() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        block = last(made)
        found = made.storage(block, MODELS, made.asked(block, MODELS))
        grants = sorted(found.slots)[1:]
        files[named(files, found)] = made.storage(block, MODELS, grants).encode()
        for earlier in list(made.blocks)[:-1]:
            files.pop(made.storage(earlier, MODELS, made.asked(earlier, MODELS)).name(0), None)
        files[found.name(0)] = made.storage(block, MODELS, grants).encode()

    return proved(told()[0], change)


@row("show the model registry of an older block", AUTHOR, PROOFS, "model_identity", "not_answered", "state_stale")
def older_models() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        for block in list(made.blocks)[2:]:
            del files[named(files, made.accounts(block))]

    return proved(told()[0], change)


def over(world: World, change: Callable[[Contracts], None]) -> Evidence:
    """Return what is proved when the contracts hold something else after one more anchor."""
    assert world.contracts is not None
    change(world.contracts)
    world.anchor(tell=False)
    return proved(world)


@row(
    "drop an entry from the commands on chain",
    AUTHOR,
    "the rest of them: whether they were logged there is no longer shown, and no rule asks it",
    "command_authority",
    "ok",
    "PROVED",
)
def dropped_entry() -> Evidence:
    def change(made: Contracts, files: Files) -> None:
        (name,) = (name for name in files if name.startswith("chain/commands/"))
        whole = CommandChain.decode(files[name])
        files[name] = replace(whole, entries=whole.entries[1:]).encode()

    def more(made: Contracts, device: Device) -> None:
        made.log_command(device.log, b"\x31" * 32, 9)

    return proved(told(more)[0], change)
