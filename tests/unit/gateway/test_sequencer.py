"""The fleet log: what goes in, in which order, under which head, with which snapshot, and when nothing may be
signed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from edgeseal import merkle, statements
from edgeseal.cose import decode as decode_cose
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal.head import FleetHead, Seen, SignedFleetHead
from edgeseal.receipt import Receipt
from edgeseal.snapshot import AbsenceProof, SnapshotProof, recompute
from edgeseal.statements.snapshot import Snapshot
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer
from edgeseal_gateway.store import anchors, devicelog, devices, fleetlog, guard, orders, subjects
from edgeseal_gateway.store.database import Database
from tests.gatewaystore import Founded
from tests.tenant import segment_of


def heads(founded: Founded) -> list[FleetHead]:
    """Return every signed head, each checked against key, leaves and the head before."""
    found: list[FleetHead] = []
    for stored in founded.read(lambda c: fleetlog.heads(c, founded.profile.fleet_log, 0, 10_000)):
        head = SignedFleetHead.decode(stored.signed).verify(founded.signer.public_key)
        assert head.root == merkle.root(leaf.leaf for leaf in founded.leaves()[: head.size])
        assert head.prev == ((found[-1].size, found[-1].root) if found else (0, bytes(32)))
        found.append(head)
    return found


def test_the_log_begins_with_keyset_and_snapshot(founded: Founded) -> None:
    assert [leaf.typ for leaf in founded.leaves()] == ["keyset", "snapshot"]
    assert [head.size for head in heads(founded)] == [2]
    assert founded.read(anchors.newest_wanted) is not None


def test_statements_and_heads_of_devices_go_in(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    founded.sequence()
    assert [leaf.typ for leaf in founded.leaves()] == ["keyset", "snapshot", "enrolment", "device-head"]
    assert founded.leaves()[3].statement == device.heads[0]
    assert heads(founded)[-1].size == 4


def test_of_many_heads_in_one_step_the_largest_stands_for_all(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    for _ in range(3):
        start = device.last[0]
        device.infer(2)
        device.seal()
        founded.take(device, segment_of(device, start))
    founded.sequence()
    assert [leaf.statement for leaf in founded.leaves()[3:]] == [device.heads[-1]]
    known = founded.known(device)
    covering = founded.read(lambda c: devicelog.covering(c, known.id, 1))
    assert covering is not None and (covering[0].size, covering[1]) == (device.size, 3)


def test_nothing_to_do_signs_nothing(founded: Founded) -> None:
    before = len(founded.signer.signed)
    assert not founded.sequencer.step()
    assert len(founded.signer.signed) == before


def test_a_snapshot_comes_by_number_and_by_time(tmp_path: Path) -> None:
    founded = Founded(tmp_path, policy=AnchorPolicy(3, 60))
    founded.finish_anchor(2)
    founded.device("one")
    founded.device("two")
    assert [leaf.typ for leaf in founded.leaves()[2:]] == ["enrolment", "enrolment"]
    founded.device("three")
    assert founded.leaves()[-1].typ == "snapshot"
    size = len(founded.leaves())
    wanted = founded.read(anchors.newest_wanted)
    assert wanted is not None and wanted.size == size
    founded.device("four")
    assert len(founded.leaves()) == size + 1, "one anchor at a time"
    founded.finish_anchor(size)
    founded.monotonic += 59
    assert founded.sequence() == size + 1
    founded.monotonic += 60
    assert founded.sequence() == size + 2 and founded.leaves()[-1].typ == "snapshot"
    founded.finish_anchor(size + 2)
    founded.monotonic += 1_000
    assert founded.sequence() == size + 2, "nothing new, nothing to anchor"


def test_snapshots_say_what_the_statements_say(tmp_path: Path) -> None:
    founded = Founded(tmp_path, policy=AnchorPolicy(1, 60))
    founded.finish_anchor(2)
    device = founded.device()
    for _ in range(4):
        founded.take(device, segment_of(device, founded.known(device).size))
        founded.finish_anchor(founded.sequence())
        device.infer(2)
        device.seal()
    founded.hand_in(founded.tenant.revocation(device.key.kid, 3))
    founded.finish_anchor(founded.sequence())
    made = [(leaf.pos, statements.decode(leaf.statement)) for leaf in founded.leaves()]
    stated = [(pos, one.content) for pos, one in made if isinstance(one.content, Snapshot)]
    assert len(stated) >= 5 and [pos for pos, _ in stated] == founded.read(subjects.snapshots)
    for pos, content in stated:
        assert isinstance(content, Snapshot)
        tree = recompute(made[:pos])
        assert (content.size, content.root, content.count) == (pos + 1, tree.root, len(tree.entries))
        kept = founded.ask(subjects.tree_at, pos)
        assert kept is not None and kept.root == tree.root
        for entry in tree.entries:
            proof = kept.prove(entry.sub, pos)
            assert isinstance(proof, SnapshotProof) and proof.verify(content) == entry
        absent = kept.prove("nobody", pos)
        assert isinstance(absent, AbsenceProof)
        absent.verify(content)
        last = kept.prove(device.log.hex(), pos)
    assert isinstance(last, SnapshotProof) and isinstance(content, Snapshot)
    assert last.verify(content).valid_until == 3


def test_receipts_hold_under_every_later_head(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    founded.sequence()
    founded.device("other")
    leaf = founded.leaves()[3]
    for stored in founded.read(lambda c: fleetlog.heads(c, founded.profile.fleet_log, 4, 100)):
        data = founded.ask(fleetlog.receipt, stored, 3)
        head = Receipt.decode(data).verify_inclusion(founded.signer.public_key, leaf.leaf)
        assert head.size == stored.head.size


def test_a_revoked_devices_heads_stay_out(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    founded.hand_in(founded.tenant.revocation(device.key.kid, 2))
    founded.sequence()
    assert [leaf.typ for leaf in founded.leaves()[2:]] == ["enrolment", "revocation"]
    assert founded.known(device).state == "revoked"


def test_a_reinstated_key_has_the_state_it_had(founded: Founded) -> None:
    device = founded.device()
    with founded.database.write() as connection:
        devices.set_state(connection, device.log, devices.FROZEN)
        orders.set_revoked(connection, device.key.kid, "device", 2, "registry")
        orders.set_revoked(connection, device.key.kid, "device", 1, "registry")
    assert founded.known(device).state == "revoked"
    with founded.database.write() as connection:
        orders.reinstate(connection, device.key.kid)
    assert founded.known(device).state == "frozen"


def test_a_key_that_ended_while_its_enrolment_waited(founded: Founded) -> None:
    device = founded.tenant.device_of("cam")
    founded.hand_in(founded.tenant.enrolment(device))
    with founded.database.write() as connection:
        orders.set_revoked(connection, device.key.kid, "device", 2, "registry")
    founded.sequence()
    assert founded.known(device).state == "revoked"


# ---- Never two histories
# -----------------------------------------------------------------------------------------------


def blocked(founded: Founded) -> str | None:
    founded.hand_in(founded.tenant.next_keyset())
    founded.sequencer.step()
    return None if founded.sequencer.blocked is None else founded.sequencer.blocked.code


def test_nothing_is_signed_before_the_chain_was_looked_at(founded: Founded) -> None:
    with founded.database.write() as connection:
        guard.forget_chain(connection)
    assert blocked(founded) == "chain_unknown"
    founded.chain_holds(0)
    assert founded.sequence() == 3 and founded.sequencer.blocked is None


def test_nothing_is_signed_below_the_chains_size(founded: Founded) -> None:
    founded.chain_holds(9)
    assert blocked(founded) == "behind_chain"
    assert len(founded.leaves()) == 2


def test_another_history_on_the_chain_stops_the_gateway(founded: Founded) -> None:
    with pytest.raises(InvariantBroken, match="chain_contradicts"), founded.database.write() as connection:
        guard.note_chain(connection, 2, bytes(32))


def test_nothing_is_signed_below_what_a_device_has_seen(founded: Founded) -> None:
    device = founded.device()
    device.seen = Seen(founded.profile.fleet_log, 1 << 63, bytes(32))
    device.infer(1)
    device.seal()
    founded.take(device, segment_of(device, 0))
    assert blocked(founded) == "behind_device"
    with founded.database.write() as connection:
        orders.set_revoked(connection, device.key.kid, "device", 3, "registry")
    assert founded.sequence() > 3 and founded.sequencer.blocked is None


def test_a_restored_backup_signs_nothing(founded: Founded, tmp_path: Path) -> None:
    device = founded.device()
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as copy:
        founded.database.connection.backup(copy)
    founded.take(device, segment_of(device, 0))
    founded.sequence()
    restored = Database(tmp_path / "old.db")
    sequencer = Sequencer(restored, founded.signer, founded.profile.fleet_log, founded.policy, lambda: 0.0)
    with restored.write() as connection:
        guard.note_chain(connection, 4, bytes(32))
    signed = len(founded.signer.signed)
    assert not sequencer.step() and sequencer.blocked is not None and sequencer.blocked.code == "behind_chain"
    assert len(founded.signer.signed) == signed


def test_another_key_signs_nothing_that_was_decided_for_ours(founded: Founded) -> None:
    class Down:
        public_key = founded.signer.public_key

        def sign(self, message: bytes) -> bytes:
            raise Unavailable("token_failed", "gone")

    founded.hand_in(founded.tenant.next_keyset())
    sequencer = Sequencer(founded.database, Down(), founded.profile.fleet_log, founded.policy, lambda: 0.0)
    with pytest.raises(Unavailable):
        sequencer.step()
    other = type(founded.signer)(78)
    sequencer = Sequencer(founded.database, other, founded.profile.fleet_log, founded.policy, lambda: 0.0)
    with pytest.raises(InvariantBroken, match="gateway_key"):
        sequencer.step()
    assert other.signed == []
    assert founded.sequence() == 3
    stored = founded.read(lambda c: fleetlog.head_at(c, founded.profile.fleet_log, 3))
    assert stored is not None
    decode_cose(stored.signed, limit=2048).verify(founded.signer.public_key)


def test_a_store_that_was_tampered_with_is_not_built_on(founded: Founded) -> None:
    founded.device()
    founded.read(fleetlog.check)
    with founded.database.write() as connection:
        connection.execute("UPDATE leaf SET leaf = ? WHERE pos = 2", (bytes(32),))
    with pytest.raises(InvariantBroken, match="store_contradicts"):
        founded.read(fleetlog.check)
    with founded.database.write() as connection:
        connection.execute("DELETE FROM leaf WHERE pos = 2")
    with pytest.raises(InvariantBroken, match="store_contradicts"):
        founded.read(fleetlog.check)


def test_a_broken_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgesealError, match="store_missing"):
        Database(tmp_path / "none.db")
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(EdgesealError, match="store_foreign"):
        Database(tmp_path / "other.db")
    (tmp_path / "junk.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(InvariantBroken, match="store_corrupt"):
        Database(tmp_path / "junk.db")
    Database.create(tmp_path / "new.db")
    with pytest.raises(EdgesealError, match="store_exists"):
        Database.create(tmp_path / "new.db")
    database = Database(tmp_path / "new.db")
    database.connection.execute("PRAGMA user_version=999")
    with pytest.raises(EdgesealError, match="store_version"):
        Database(tmp_path / "new.db")


def test_one_subjects_statements_are_found_among_many(founded: Founded) -> None:
    """A device that was silent for long costs no more than any other."""
    device = founded.device()
    with founded.database.write() as connection:
        connection.execute("DROP INDEX leaf_subject")
        connection.execute("CREATE INDEX leaf_sub ON leaf (sub, pos)")  # as an earlier release made it
        start = fleetlog.size(connection)
        rows = [
            (pos, bytes(32), b"s%d" % pos, b"d%d" % pos, "enrolment", f"{pos:064x}", b"")
            for pos in range(start, start + 20_000)
        ]
        connection.executemany("INSERT INTO leaf VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        fleetlog.prepare(connection)
        fleetlog.prepare(connection)
    steps: list[int] = []
    with founded.database.read() as connection:
        connection.set_progress_handler(lambda: steps.append(1), 1_000)
        found = fleetlog.last_of_subject(connection, device.log.hex(), "enrolment")
        assert found is not None and found.pos < start
        assert [one.pos for one in fleetlog.of_subject(connection, device.log.hex(), "enrolment")] == [found.pos]
        assert fleetlog.last_of_subject(connection, "0" * 63 + "x", "enrolment") is None
        connection.set_progress_handler(None, 1)
    assert steps == []
