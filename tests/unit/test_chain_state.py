"""Chain state from proofs: what the contracts' storage says, how keys share a proof, what is shown beside answers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edgeseal import contractstate
from edgeseal.bundle import Bundle
from edgeseal.commandlog import audience_id
from edgeseal.container import MemorySource
from edgeseal.contractstate import KeyState
from edgeseal.errors import EvidenceError, FormatError, VerificationError
from edgeseal.evmproof import keccak256, multiproof, rlp
from edgeseal.evmproof.state import verify_slots
from edgeseal.stateevidence import CommandChain
from edgeseal.verify import Verdict, verify
from edgeseal.verify.standing import valid_at
from edgeseal_console.investigate.inspect import identify
from edgeseal_console.investigate.verify import render
from tests.chainstate import COMMAND_LOG, MODELS, OPEN, REVOKED, Contracts, Trie, place
from tests.tamper.by_chain import last, proved, registry_of, told, trust_of
from tests.world import CODE, CONTRACT, MODEL, REGISTRY, World


def contracts() -> Contracts:
    world = World(3)
    return Contracts(world, (CONTRACT, REGISTRY, COMMAND_LOG, MODELS), CODE)


def test_a_key_is_read_as_the_registry_keeps_it() -> None:
    made, kid = contracts(), b"\x05" * 32
    slots = made.slots.setdefault(REGISTRY, {})

    def read(slot: bytes) -> int:
        return slots.get(slot, 0)

    assert contractstate.key_state(read, made.world.log, kid) is None
    made.key(kid, 3, (5, 9), (20, 30), (40, OPEN))
    found = contractstate.key_state(read, made.world.log, kid)
    assert found == KeyState("publisher", "active", 7, ((5, 9), (20, 30), (40, None)))
    made.key(kid, 0, (5, 9), status=REVOKED)
    assert contractstate.key_state(read, made.world.log, kid) == KeyState("device", "revoked", 7, ((5, 9),))


@pytest.mark.parametrize(("role", "status", "earlier"), [(6, 1, 0), (0, 4, 0), (0, 1, 17)])
def test_what_the_registry_never_writes_is_refused(role: int, status: int, earlier: int) -> None:
    made, kid = contracts(), b"\x05" * 32
    made.key(kid, role, (0, OPEN), status=status)
    made.put(REGISTRY, place(2, made.world.log, kid), earlier)
    with pytest.raises(VerificationError) as caught:
        contractstate.key_state(lambda slot: made.slots[REGISTRY].get(slot, 0), made.world.log, kid)
    assert caught.value.code == "state_value"


def test_intervals_count_in_the_order_in_which_they_were_made() -> None:
    key = KeyState("device", "active", 1, ((0, 10), (20, 30), (25, 28)))
    valid = [position for position in range(40) if valid_at(key, position)]
    assert valid == [*range(10), *range(20, 28)]  # the last end also cuts what an earlier interval had opened
    assert [p for p in range(40) if valid_at(replace(key, intervals=((5, None), (2, 4))), p)] == [2, 3]


def test_models_and_grants_are_read_as_the_registry_keeps_them() -> None:
    made = contracts()
    made.model(MODEL, 1_000, 2_000)
    made.grant(MODEL, "all", (1_100, 1_200), (1_300, 1_400))
    tenant = made.world.root.kid

    def read(slot: bytes) -> int:
        return made.slots[MODELS].get(slot, 0)

    version = contractstate.version_state(read, tenant, MODEL)
    assert version is not None and (version.version, version.deployable_at, version.ended_at) == (3, 1_000, 2_000)
    assert contractstate.version_state(read, tenant, b"\x01" * 32) is None
    group = audience_id("all")
    assert contractstate.grants(read, tenant, MODEL, group) == [(1_100, 1_200), (1_300, 1_400)]
    assert contractstate.grants(read, tenant, MODEL, b"\x01" * 32) == []


def test_one_proof_serves_present_and_absent_slots_and_no_other_set() -> None:
    dice = random.Random(4)
    for count in (1, 2, 3, 20, 200):
        held = {dice.randbytes(32): dice.randrange(1, 2 ** (8 * dice.randrange(1, 33))) for _ in range(count)}
        trie = Trie.of({keccak256(slot): rlp.encode(rlp.encode_integer(value)) for slot, value in held.items()})
        asked = sorted([*dice.sample(sorted(held), min(count, 9)), *(dice.randbytes(32) for _ in range(9))])
        nodes = trie.prove(asked)
        assert verify_slots(trie.root, asked, nodes) == [held.get(slot, 0) for slot in asked]
        assert len(set(nodes)) == len(nodes)
        for wrong in (nodes[:-1], (*nodes, nodes[-1]), nodes[1:], tuple(reversed(nodes)) if len(nodes) > 1 else ()):
            with pytest.raises(EvidenceError):
                verify_slots(trie.root, asked, wrong)


def test_every_changed_byte_of_a_proof_is_noticed() -> None:
    world, _ = told()
    assert world.contracts is not None
    found = registry_of(world.contracts, last(world.contracts))
    good, dice = found.verify(), random.Random(1)
    for _ in range(200):
        at = dice.randrange(len(found.nodes))
        node = bytearray(found.nodes[at])
        node[dice.randrange(len(node))] ^= 1 << dice.randrange(8)
        with pytest.raises(EvidenceError):
            replace(found, nodes=(*found.nodes[:at], bytes(node), *found.nodes[at + 1 :])).verify()
    assert found.verify() == good


def test_no_changed_byte_of_accounts_leaves_the_key_proved() -> None:
    world, _ = told()
    made, dice = world.contracts, random.Random(2)
    assert made is not None
    files, trust = world.files() | made.files(), trust_of(world)
    name = made.accounts(last(made)).name
    for _ in range(40):
        data = bytearray(files[name])
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        try:
            verdict = verify(Bundle(MemorySource(files | {name: bytes(data)})), trust, ask=["key_valid"])
        except FormatError:
            continue
        assert verdict.questions["key_valid"].answer != "ok"


def test_an_empty_trie_holds_nothing_and_takes_no_node() -> None:
    slots = [bytes(32), b"\x01" * 32]
    assert verify_slots(multiproof.EMPTY_ROOT, slots, []) == [0, 0]
    with pytest.raises(VerificationError) as caught:
        verify_slots(multiproof.EMPTY_ROOT, slots, [b"\x80"])
    assert caught.value.code == "trie_node_extra"


def shown(world: World, files: dict[str, bytes]) -> Verdict:
    return verify(Bundle(MemorySource(world.files() | files)), trust_of(world))


def logged(verdict: Verdict) -> list[bool | None]:
    assert verdict.chain is not None
    return [held for _, _, _, held in verdict.chain.commands]


def test_whether_commands_were_also_logged_is_shown_and_changes_no_answer() -> None:
    world, device = told()
    made = world.contracts
    assert made is not None
    verdict = shown(world, made.files())
    assert logged(verdict) == [True]
    assert verdict.questions["command_authority"].answer == "ok"
    assert "1 of 1 commands also stand in the command log" in verdict.questions["command_authority"].detail
    assert "1 of 1 commands were also logged on chain" in render(verdict, trusted=True)
    block = verdict.as_json()["chain"]
    assert block["commands"][0]["log"] == device.log.hex() and block["blocks"][-1]["size"] == world.size


def test_a_command_that_was_not_logged_is_shown_as_such_only_where_all_entries_are_here() -> None:
    world, device = told()
    made = world.contracts
    assert made is not None
    made.logged.clear()
    made.log_command(device.log, b"\x31" * 32, 3)
    made.log_command(device.log, b"\x32" * 32, 4)
    world.anchor(tell=False)
    files = made.files()
    assert logged(shown(world, files)) == [False]
    (name,) = (name for name in files if name.startswith("chain/commands/"))
    whole = CommandChain.decode(files[name])
    dropped = replace(whole, entries=whole.entries[1:]).encode()
    assert logged(shown(world, files | {name: dropped})) == [None]
    suffix = replace(whole, start=whole.steps()[0], entries=whole.entries[1:]).encode()
    assert logged(shown(world, files | {name: suffix})) == [None]
    reordered = replace(whole, entries=whole.entries[::-1]).encode()
    assert logged(shown(world, files | {name: reordered})) == [None]
    del files[name]
    assert logged(shown(world, files)) == [None]


def test_an_invented_command_entry_is_logged_nowhere() -> None:
    world, device = told()
    made = world.contracts
    assert made is not None
    made.logged.clear()
    made.log_command(device.log, b"\x31" * 32, 3)
    world.anchor(tell=False)
    files = made.files()
    (name,) = (name for name in files if name.startswith("chain/commands/"))
    whole = CommandChain.decode(files[name])
    taken = next(raw for raw in world.statements if b"model.activate" in raw)
    from hashlib import sha256

    forged = replace(whole, entries=((sha256(taken).digest(), 4, 1), *whole.entries)).encode()
    assert logged(shown(world, files | {name: forged})) == [None]


def test_without_a_model_registry_the_answer_says_that_approval_was_not_asked() -> None:
    world, _ = told()
    found = verify(proved(world).bundle, world.trust()).questions["model_identity"]
    assert found.answer == "ok" and "approval was not asked" in found.detail


def test_on_a_chain_run_by_the_operator_its_state_is_attested() -> None:
    world, _ = told()
    trust = trust_of(world)
    assert trust.chain is not None
    theirs = replace(trust, chain=replace(trust.chain, kind="operator"))
    found = verify(proved(world).bundle, theirs).questions
    for question in ("key_valid", "existed_by", "model_identity"):
        assert (found[question].answer, found[question].ground) == ("ok", "ATTESTED")
        assert "operator-run chain" in (found[question].by or "")


def test_a_contract_without_a_trusted_code_hash_says_nothing() -> None:
    world, _ = told(lambda made, device: made.key(device.key.kid, 0, (0, 6), status=REVOKED))
    evidence = proved(world)
    trust = evidence.trust
    assert trust is not None and trust.chain is not None
    unknown = replace(trust, chain=replace(trust.chain, registry_code=None))
    found = verify(evidence.bundle, unknown).questions["key_valid"]
    assert (found.answer, found.ground) == ("ok", "ATTESTED")  # by the statements, on the gateway's word
    assert "the registry was not read" in found.detail


def test_a_device_that_signs_an_older_head_later_moves_no_bound() -> None:
    """An activation before its grant stays one, whatever heads of earlier sizes the key signs afterwards."""
    world, device = told(granted=False)
    made = world.contracts
    assert made is not None
    made.grant(MODEL, "all", (world.time_s + 1, OPEN >> 25))
    world.anchor()
    device.seal(2, (0, bytes(32)))  # names the newest block, of a size before the activation
    world.deliver(device)
    world.anchor(tell=False)
    found = verify(proved(world).bundle, trust_of(world)).questions["model_identity"]
    assert (found.answer, found.reason) == ("failed", "model_not_granted")


def test_a_state_of_the_same_second_before_the_anchors_block_is_too_old() -> None:
    """Where blocks are faster than seconds, the model may have been ended between the two."""
    world, device = told()
    made = world.contracts
    assert made is not None
    world.anchor()
    before = list(made.blocks)
    device.obey(world.send(device, "model.activate", {"model": MODEL}))
    device.infer(5)
    device.seal()
    world.deliver(device)
    made.model(MODEL, world.time_s - 100, world.time_s)
    world.time_s -= 12
    world.anchor(tell=False)
    found = verify(Bundle(MemorySource(world.files() | made.files(before))), trust_of(world))
    answer = found.questions["model_identity"]
    assert (answer.answer, answer.reason) == ("not_answered", "state_stale")


def test_inspect_reads_the_files_of_chain_state() -> None:
    world, _ = told()
    made = world.contracts
    assert made is not None
    files = made.files()
    titles = [identify(data)[0] for data in files.values()]
    assert {*titles} == {
        "accounts after a block (14.2)", "storage under a root (14.3)", "commands on chain (14.4)"
    }  # fmt: skip
    found = registry_of(made, last(made))
    _, shown = identify(found.encode())
    assert shown["proof"] == "holds under this root" and len(shown["slots"]) == len(found.slots)
    _, shown = identify(replace(found, nodes=found.nodes[:-1]).encode())
    assert shown["proof"].startswith("does not hold")
    accounts = made.accounts(last(made))
    assert identify(accounts.encode())[1]["number"] == len(made.blocks)
    assert identify(replace(accounts, nodes=accounts.nodes[1:]).encode())[1]["proof"].startswith("does not hold")
