"""Keys folded from mirrored events count where the registry's rules, taken literally, say they do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeseal_gateway import standing
from edgeseal_gateway.store.registry import Row

HIGHEST = 30


def row(number: int, event: str, **fields: int) -> Row:
    return Row(number, 0, bytes(32), 0, event, b"\x01" * 32, b"", {"role": 1, **fields})


@st.composite
def lives(draw: st.DrawFn) -> list[Row]:
    """A key's events as the contract lets them happen: suspended when active, reinstated when suspended."""
    anchored = draw(st.integers(0, 10))
    rows = [row(0, "KeyRegistered", **{"from": draw(st.integers(0, HIGHEST))})]
    active = True
    for number, what in enumerate(draw(st.lists(st.sampled_from("srt"), max_size=8)), 1):
        anchored += draw(st.integers(0, 4))
        if what == "s" and active:
            rows.append(row(number, "KeySuspended", until=draw(st.integers(0, anchored))))
            active = False
        elif what == "r" and not active:
            rows.append(row(number, "KeyReinstated", **{"from": anchored + draw(st.integers(0, 4))}))
            active = True
        elif what == "t":
            rows.append(row(number, "KeyRevoked", until=draw(st.integers(0, anchored))))
            break
    return rows


@given(lives())
def test_each_from_opens_what_lies_above_and_each_until_closes_it(rows: list[Row]) -> None:
    valid = [False] * (HIGHEST + 40)
    until = standing.OPEN
    for one in rows:
        start = one.fields.get("from")
        if start is not None:
            until = standing.OPEN
            valid = [was or position >= start for position, was in enumerate(valid)]
        else:
            # The event carries the earlier of two ends: a revocation of a suspended key does not move it up.
            until = one.fields["until"] = min(until, one.fields["until"])
            valid = [was and position < until for position, was in enumerate(valid)]
    key = standing.key(rows)
    assert key is not None
    assert [key.counts_at(position) for position in range(len(valid))] == valid
