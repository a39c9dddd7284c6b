"""The TPM attests over the log's last head, and its counter rises only after the record is durable."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal import tpmstate
from edgeseal.cose import PublicKey
from edgeseal.errors import Unavailable
from edgeseal.record import decode_body
from edgeseal_agent.attestwatch import FAULT, AttestWatch
from edgeseal_agent.configkey import TpmConfig
from tests.softtpm import SoftTpm

from .conftest import Bench

CONFIG = TpmConfig(Path("unused"), "swtpm:", 3_600, "0x1500010")


def watching(bench: Bench, tpm: SoftTpm, config: TpmConfig = CONFIG) -> AttestWatch:
    return AttestWatch(config, bench.store, bench.journal, bench.identity.log, tpm)


def states(bench: Bench, tpm: SoftTpm) -> list[tuple[int, tpmstate.State]]:
    ak = PublicKey.of(tpm.ak.x, tpm.ak.y)
    rows = bench.rows("SELECT seq, body FROM records WHERE kind = 'attest' ORDER BY seq")
    return [
        (seq, tpmstate.check(decode_body("attest", body)["evidence"], bench.identity.log, ak)) for seq, body in rows
    ]


def test_each_record_is_over_the_head_before_it_and_counts(bench: Bench) -> None:
    tpm = SoftTpm("one")
    watch = watching(bench, tpm)
    assert watch.attest()
    bench.sealer.wait_for(3, 60)
    assert watch.attest()
    (first, one), (second, two) = states(bench, tpm)
    assert (first, one.size, second, two.size) == (2, 2, 3, 3)
    heads = dict(bench.rows("SELECT size, root FROM heads"))
    assert (one.root, two.root) == (heads[2], heads[3])
    assert (one.counter, two.counter, tpm.counter) == (7, 8, 9)


def test_without_a_counter_there_is_a_quote(bench: Bench) -> None:
    tpm = SoftTpm("one")
    assert watching(bench, tpm, TpmConfig(Path("unused"), "swtpm:", 60, None)).attest()
    ((_, state),) = states(bench, tpm)
    assert state.counter is None and tpm.counter == 7


class Failing(SoftTpm):
    """A TPM that is away at one step."""

    at = ""

    def quote(self, qualifier: bytes) -> tuple[bytes, bytes]:
        self.fail("quote")
        return super().quote(qualifier)

    def increment(self, index: str) -> None:
        self.fail("increment")
        super().increment(index)

    def fail(self, at: str) -> None:
        if self.at == at:
            raise Unavailable("tpm_failed", "away")


def test_a_counter_that_did_not_rise_is_shown_again(bench: Bench) -> None:
    tpm = Failing("one")
    tpm.at = "increment"
    watch = watching(bench, tpm)
    with pytest.raises(Unavailable):
        watch.attest()
    tpm.at = ""
    assert watch.attest()
    assert [state.counter for _, state in states(bench, tpm)] == [7, 7] and tpm.counter == 8


def test_a_tpm_that_is_away_is_one_fault_and_ends_nothing(bench: Bench) -> None:
    tpm = Failing("one")
    tpm.at = "quote"
    watch = watching(bench, tpm)
    assert watch._step() == watch._step() == 60.0
    bench.journal.append("state", {"name": "after", "pub": {}})
    assert bench.rows("SELECT count(*) FROM records WHERE kind = 'attest'") == [(0,)]
    ((body,),) = bench.rows("SELECT body FROM records WHERE kind = 'fault'")
    assert decode_body("fault", body)["what"] == FAULT
    tpm.at = ""
    assert watch._step() == 3_600.0
    tpm.at = "quote"
    watch._step()
    bench.journal.append("state", {"name": "again", "pub": {}})
    assert bench.rows("SELECT count(*) FROM records WHERE kind = 'fault'") == [(2,)]


def test_it_attests_at_the_start_and_ends_when_told(bench: Bench) -> None:
    tpm = SoftTpm("one")
    watch = watching(bench, tpm)
    watch.start()
    bench.sealer.wait_for(3, 60)
    watch.stop()
    assert [seq for seq, _ in states(bench, tpm)] == [2]
