"""A TPM that comes nearer to its lock-out is put on record, once for each step."""

from __future__ import annotations

from edgeseal.adapters.tpm import Lockout
from edgeseal.errors import Unavailable
from edgeseal.record import decode_body
from edgeseal_agent.lockwatch import EVERY_S, LockWatch

from .conftest import Bench


def faults(bench: Bench) -> list[str]:
    rows = bench.rows("SELECT body FROM records WHERE kind = 'fault' ORDER BY seq")
    return [decode_body("fault", body)["detail"] for (body,) in rows]


def watching(bench: Bench, counters: list[int | None]) -> LockWatch:
    """A watch over a TPM whose counter goes through these values; None: it does not answer."""
    left = iter(counters)

    def read(tcti: str) -> Lockout:
        counter = next(left)
        if counter is None:
            raise Unavailable("tpm_failed", "there is no TPM")
        return Lockout(counter, 32, 60, 60, counter >= 32, True)

    return LockWatch("device:/dev/tpmrm0", bench.journal, read)


def test_each_step_nearer_is_told_and_falling_is_not(bench: Bench) -> None:
    watch = watching(bench, [2, 2, 3, 1, None, 5, 32])
    for number in range(7):
        watch.look(number * EVERY_S)
        watch.look(number * EVERY_S + 1)  # too soon: the TPM is not asked
    assert faults(bench) == ["3 of 32 tries counted", "5 of 32 tries counted", "32 of 32 tries counted, locked"]


def test_half_way_at_the_start_is_told(bench: Bench) -> None:
    watching(bench, [16]).look(0.0)
    watching(bench, [15]).look(0.0)
    assert faults(bench) == ["16 of 32 tries counted"]


def test_without_a_tpm_nothing_is_asked(bench: Bench) -> None:
    LockWatch(None, bench.journal).look(0.0)
    assert faults(bench) == []
