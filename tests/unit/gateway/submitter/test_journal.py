"""The journal of signed transactions: durable before sending, the same bytes after a crash (S01–S07)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeseal.adapters.evm import Account, Transaction
from edgeseal.errors import Unavailable
from edgeseal_gateway.chain.anchor import call_data
from edgeseal_gateway.store import anchors, attempts, fleetlog
from edgeseal_gateway.store.database import Database
from tests.fakes.chain import Tx
from tests.fakes.submitter import ETHER, Crash, Rig


def test_S01_the_bytes_are_durable_before_they_are_sent(rig: Rig) -> None:
    """Another process, which shares nothing but the file, finds them while they are on their way to the node."""
    found = []

    def look(when: str) -> None:
        if when == "before":
            other = Database(rig.path)
            with other.read() as connection:
                found.extend(attempts.of_anchor(connection, 2))
            other.close()

    rig.node.on_send = look
    rig.step()
    (kept,) = found
    tx = Tx.read(rig.node.sent[0])
    assert (kept.raw, kept.hash, kept.nonce, kept.size) == (tx.raw, tx.hash, tx.nonce, 2)
    assert (kept.max_fee, kept.tip, kept.gas) == (tx.max_fee, tx.tip, tx.gas)
    assert tx.chain_id == rig.profile.chain_id
    fresh = Database(rig.path)
    assert fresh.connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: fsync at each commit"


@pytest.mark.parametrize("spare", [0, 1], ids=["noted-since-when", "signed"])
@pytest.mark.parametrize("store", ["before-commit", "after-commit"])
def test_S02_killed_around_storing_the_same_bytes_go_out(rig: Rig, store: str, spare: int) -> None:
    rig.restart(store, spare)
    with pytest.raises(Crash):
        rig.step()
    stored = [one.raw for one in rig.attempts()]
    assert rig.node.sent == [] and bool(stored) == (store == "after-commit" and spare == 1)
    rig.restart()
    rig.step()
    assert len(rig.node.sent) == 1 and (not stored or rig.node.sent == stored)
    rig.work(2)
    rig.audit()
    assert rig.chain.state.nonces[rig.account.address] == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mined", [False, True])
def test_S03_killed_around_sending_the_same_bytes_go_out_again(rig: Rig, when: str, mined: bool) -> None:
    """That the node knows them already, or has mined them, is no failure: their hash tells what became of them."""

    def crash(now: str) -> None:
        if now == when:
            raise Crash

    rig.node.on_send = crash
    with pytest.raises(Crash):
        rig.step()
    rig.node.on_send = None
    if mined:
        rig.mine()
    rig.restart()
    rig.step()
    assert set(rig.node.sent) == {rig.attempts()[0].raw} and rig.sender.blocked is None
    rig.work(2)
    rig.audit()
    assert len(rig.account.signed) == 1


def test_S04_every_attempt_is_kept_and_any_one_settles_the_anchor_once(rig: Rig) -> None:
    rig.step()
    old = Tx.read(rig.node.sent[0])
    rig.wait(50)
    rig.step()
    first, second = rig.attempts()
    assert first.nonce == second.nonce and first.hash == old.hash
    assert rig.chain.mine([old]) == [old], "a miner had the older one"
    rig.node.drop()
    rig.work(2)
    rig.audit()
    final = rig.ask(anchors.newest_final)
    assert final is not None and final.tx == first.hash and len(rig.attempts()) == 2
    assert rig.ask(attempts.foreign) is None, "by its own hash, not as somebody else's"


def test_S05_a_size_is_one_intent_and_the_contract_the_second_line(rig: Rig) -> None:
    """Somebody brings our head while ours waits: ours fails with StaleSize, the chain is read, nothing sent again."""
    with rig.database.write() as connection:
        anchors.want(connection, 2)
        anchors.want(connection, 2)
        assert connection.execute("SELECT count(*) FROM anchor WHERE size = 2").fetchone() == (1,)
    rig.step()
    stranger = Account(b"\x09" * 32)
    rig.chain.fund(stranger.address, ETHER)
    head = rig.ask(fleetlog.head_at, rig.profile.fleet_log, 2)
    assert head is not None
    data = rig.ask(call_data, rig.means.contract, head, rig.signer.public_key, 0)
    theirs = Transaction(rig.profile.chain_id, 0, rig.profile.fleet_log_contract, data, 200_000, 10**11, 10**9)
    assert rig.chain.mine([Tx.read(stranger.sign(theirs).raw)])
    (ours,) = rig.mine()
    assert not rig.chain.blocks[-1].receipts[0].ok
    rig.work(2)
    rig.audit()
    final = rig.ask(anchors.newest_final)
    assert final is not None and final.tx != ours.hash
    assert len(rig.account.signed) == 1 and rig.anchored_events() == [2]


@pytest.mark.parametrize("cut", [1, 100, 3_000, 20_000])
@pytest.mark.parametrize("junk", [b"", b"\xa5" * 5_000])
def test_S06_a_torn_end_of_the_journal_is_left_out(rig: Rig, tmp_path: Path, cut: int, junk: bytes) -> None:
    """A power cut leaves part of a write behind, or junk: the store opens with all of a transaction or none."""
    rig.step()
    (kept,) = rig.attempts()
    torn = tmp_path / "torn" / "gateway.db"
    torn.parent.mkdir()
    shutil.copy(rig.path, torn)
    wal = Path(f"{rig.path}-wal").read_bytes()
    Path(f"{torn}-wal").write_bytes(wal[: max(0, len(wal) - cut)] + junk)
    database = Database(torn)
    with database.read() as connection:
        found = attempts.of_anchor(connection, 2)
        anchor = anchors.find(connection, 2)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert [one.raw for one in found] in ([], [kept.raw])
    assert anchor is not None and (anchor.state in (anchors.PREPARED, anchors.SENT)) == bool(found)


def lose_journal(rig: Rig) -> None:
    with rig.database.write() as connection:
        connection.execute("DELETE FROM attempt")
        connection.execute("DELETE FROM anchor")
        connection.execute("DELETE FROM meta WHERE key = 'nonce_floor'")
    rig.restart()


def test_S07_a_lost_journal_is_rebuilt_from_the_chain_before_anything_is_sent(rig: Rig) -> None:
    rig.work(2)
    size = rig.grow("one")
    lose_journal(rig)
    with rig.database.write() as connection:
        anchors.want(connection, size)
    rig.step()
    assert rig.state(2) == anchors.MINED, "found by the contract's own events"
    rig.work(size)
    rig.audit()
    assert rig.finals() == [2, size] and [tx.nonce for tx in rig.account.signed] == [0, 1]


def test_S07_what_the_chain_does_not_explain_is_not_signed_over(rig: Rig) -> None:
    rig.work(2)
    rig.foreign(1)
    lose_journal(rig)
    size = rig.grow("one")
    rig.step(4)
    assert rig.state(2) is not None and len(rig.account.signed) == 1
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "foreign_nonce"
    assert rig.state(size) == anchors.QUEUED


def test_S52_a_store_that_cannot_be_written_ends_all_signing(rig: Rig) -> None:
    """Disk full, or mounted read-only: nothing is sent that is not in the journal."""
    rig.database.connection.execute("PRAGMA query_only = 1")
    for _ in range(3):
        with pytest.raises(Unavailable, match="store_unavailable"):
            rig.step()
    assert rig.node.sent == [] and rig.attempts() == []
    rig.database.connection.execute("PRAGMA query_only = 0")
    rig.work(2)
    rig.audit()
