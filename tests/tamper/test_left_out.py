"""Honest evidence of which something is left out: no answer says that anything is wrong.

A bundle's author, a broker or an accident can leave out a file, an entry of one, the end of a history, a body or a
record. Two things that may show: a signed head covers more records than are here, and some are missing between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import pytest

from edgeseal import cbor
from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.merkle import leaf_hash
from edgeseal.verify import verify
from tests.tamper.by_chain import proved, told
from tests.tamper.by_device import orderly_rotation
from tests.tamper.by_gateway import rotated
from tests.tamper.by_tpm import honest_tpm
from tests.tamper.evidence import Evidence, given, partial
from tests.world import simple

Files = dict[str, bytes]
SHOWN_BY_A_HEAD = {"tail_missing", "records_missing"}


def about_one() -> Evidence:
    world, device = simple()
    return given(world, device, **partial(world, device, set()))


def decided() -> Evidence:
    """A history with decisions, a changed keyset and a command after it."""
    world, device, _ = rotated()
    made: dict[str, Any] = {"agent": "pilot", "data": None, "pub": {}}
    for number, allow in enumerate((True, False)):
        device.add("decision.intent", id=bytes([number] * 16), action="open valve", **made)
        device.add("decision.verdict", id=bytes([number] * 16), allow=allow, rule="night", **made)
        device.add("decision.outcome", id=bytes([number] * 16), ok=allow, **made)
    device.obey(world.send(device, "ping", {"text": "x"}))
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()
    return given(world)


def entries(files: Files) -> Iterator[tuple[str, Files]]:
    """Without one file, or one entry of an array."""
    for name, data in files.items():
        if name in ("README", "index.json"):
            continue
        yield name, {n: d for n, d in files.items() if n != name}
        if name.startswith(("statements/", "proofs/", "heads/")):
            array = cbor.decode(data, max_size=1 << 24)
            for at in range(len(array)):
                yield f"{name}[{at}]", files | {name: cbor.encode(array[:at] + array[at + 1 :])}


def records(files: Files) -> Iterator[tuple[str, Files]]:
    """Without a body, a record's header too, the records from one on, one record in between."""
    for name in [name for name in files if name.startswith("records/")]:
        chunk = cbor.decode(files[name], max_size=1 << 24)
        items, rest = chunk["items"], {n: d for n, d in files.items() if n != name}
        for at, (_, header, _) in enumerate(items):
            for form in ([1, header, "withheld"], [2, leaf_hash(header), "withheld"]):
                yield (
                    f"{name}[{at}] as {form[0]}",
                    rest | {name: cbor.encode(chunk | {"items": [*items[:at], form, *items[at + 1 :]]})},
                )
            if at:
                yield f"{name}[{at}:]", rest | {name: cbor.encode(chunk | {"items": items[:at]})}
            if 0 < at < len(items) - 1:
                behind = name.replace(f"{0:020d}", f"{at + 1:020d}")
                first, second = {"items": items[:at]}, {"from": at + 1, "items": items[at + 1 :]}
                yield f"{name}[{at}]", rest | {name: cbor.encode(chunk | first), behind: cbor.encode(chunk | second)}


@pytest.mark.parametrize(
    "make",
    [about_one, decided, lambda: proved(told()[0]), honest_tpm, orderly_rotation],
    ids=["one device", "decisions", "chain state", "TPM", "two epochs"],
)
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.soak)])
def test_what_is_left_out_is_not_wrong(make: Callable[[], Evidence], step: int) -> None:
    evidence = make()
    source = evidence.bundle._source
    files = {name: source.read(name) for name in source.names()}
    assert verify(Bundle(MemorySource(files)), evidence.trust).failures == []
    every = chain(entries(files), islice(records(files), 2, None, step))
    for what, rest in every:
        verdict = verify(Bundle(MemorySource(rest)), evidence.trust, evidence.chain)
        wrong = [(q, f.reason, f.detail) for q, f in verdict.failures if f.reason not in SHOWN_BY_A_HEAD]
        assert not wrong, (what, wrong)
