"""Format 9: entries, the tree over them, proofs of an entry and of an absence."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import ZEROS, cbor, domain, hashed, inclusion, leaf_hash, token
from tests.vectors.world import ENTRIES_8, FLEET_LEAVES, LOG

LEAVES = [leaf_hash(entry) for entry in ENTRIES_8]
SNAPSHOT = cbor(world.snapshot(8, ENTRIES_8))
SUBJECTS = sorted([world.FLEET.hex(), LOG.hex(), world.OTHER_DEVICE.kid.hex()])
HERE = SUBJECTS.index(LOG.hex())


def proof(index: int = HERE, **changes: Any) -> dict[str, Any]:
    return {"v": 1, "pos": 7, "index": index, "entry": ENTRIES_8[index], "path": inclusion(index, LEAVES)} | changes


def located(index: int) -> list[Any]:
    return [index, ENTRIES_8[index], inclusion(index, LEAVES)]


def absence(sub: str, left: Any, right: Any) -> dict[str, Any]:
    return {"v": 1, "pos": 7, "sub": sub, "left": left, "right": right}


def given(fields: Any, snapshot: bytes = SNAPSHOT) -> dict[str, Any]:
    return {"proof": cbor(fields), "snapshot": snapshot}


def cases() -> Cases:
    """Every case of this part."""
    fields = {"sub": LOG.hex(), "n": 1, "h": token("h"), "pos": 2, "head": None, "from": 2, "until": None, "cmd": None}
    yield good("entry", "an enrolled device that sent nothing", "snapshot-entry", cbor(fields), entry=fields)
    full = fields | {"n": 9, "pos": 80, "head": [70, token("root")], "until": 60, "cmd": token("command")}
    yield good("entry-full", "every field set", "snapshot-entry", cbor(full), entry=full)
    changes: list[tuple[str, str, str, Any]] = [
        ("missing_key", "h", "missing", ...),
        ("extra_key", "v", "a version", 1),
        ("range", "n", "zero", 0),
        ("range", "sub", "empty", ""),
        ("range", "head", "size alone", [7]),
        ("range", "cmd", "of 31 bytes", ZEROS[:31]),
        ("type", "from", "text", "2"),
    ]
    for name, code, description, changed in spoiled(fields, *changes):
        yield bad(f"entry-{name}", code, description, "snapshot-entry", cbor(changed))
    yield bad("entry-too-large", "cbor_too_large", "above MAX_ENTRY", "snapshot-entry", Zeros(1_025))
    rolling = hashed(domain("roll"), ZEROS, FLEET_LEAVES[0])
    yield good("roll", "the first step of a rolling hash", "roll", {"h": ZEROS, "leaf": FLEET_LEAVES[0]}, h=rolling)
    statements = {"statements": world.STATEMENTS[:7]}
    outcome = {"root": world.snapshot(8, ENTRIES_8)["root"], "entries": ENTRIES_8}
    yield good("tree", "what seven statements add up to", "snapshot-tree", statements, **outcome)
    yield from inclusions()
    yield from absences()


def inclusions() -> Cases:
    for index, sub in enumerate(SUBJECTS):
        yield good(f"proof-{index}", f"entry {index} of three", "snapshot-proof", given(proof(index)), sub=sub)
    base = proof()
    other = (HERE + 1) % 3
    smaller = cbor(world.snapshot(2, world.ENTRIES_2))
    forged = ENTRIES_8[HERE].replace(b"an\x04", b"an\x03")
    defects: dict[str, tuple[str, str, Any, bytes]] = {
        "entry-other": ("path_root", "another entry", base | {"entry": ENTRIES_8[other]}, SNAPSHOT),
        "entry-forged": ("path_root", "a statement fewer", base | {"entry": forged}, SNAPSHOT),
        "index": (
            "path_root" if HERE < 2 else "path_length",
            "another index",
            base | {"index": 1 - min(HERE, 1)},
            SNAPSHOT,
        ),
        "index-count": ("path_index", "an index above the count", base | {"index": 3}, SNAPSHOT),
        "path-short": ("path_length", "a hash missing", base | {"path": base["path"][:-1]}, SNAPSHOT),
        "path-long": ("path_length", "a hash too many", base | {"path": [*base["path"], ZEROS]}, SNAPSHOT),
        "another-snapshot": ("path_index" if HERE else "path_length", "of another snapshot", base, smaller),
    }
    for name, (code, description, fields, snapshot) in defects.items():
        yield bad(f"proof-{name}", code, description, "snapshot-proof", given(fields, snapshot))
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("range", "entry", "empty", b""),
        ("range", "path", "65 hashes", [ZEROS] * 65),
        ("type", "index", "null", None),
    ]
    for name, code, description, fields in spoiled(base, *changes):
        yield bad(f"proof-{name}", code, description, "snapshot-proof", given(fields))


def between(index: int) -> str:
    """A subject that sorts after the entry at this index and before the next."""
    return SUBJECTS[index] + "0"


def absences() -> Cases:
    empty = cbor(world.snapshot(1, []))
    yield good("absence-first", "before the first", "absence-proof", given(absence("#", None, located(0))))
    yield good("absence-middle", "between two", "absence-proof", given(absence(between(0), located(0), located(1))))
    yield good("absence-last", "after the last", "absence-proof", given(absence(between(2), located(2), None)))
    yield good("absence-empty", "in an empty tree", "absence-proof", given(absence("anyone", None, None), empty))
    defects: dict[str, tuple[str, str, Any]] = {
        "present": ("absence_gap", "a subject that is there", absence(SUBJECTS[1], located(0), located(1))),
        "present-left": ("absence_gap", "the left one is the subject", absence(SUBJECTS[0], located(0), located(1))),
        "gap": ("absence_gap", "an entry between the two", absence(between(0), located(0), located(2))),
        "no-right": ("absence_gap", "no right one, yet not at the end", absence(between(1), located(1), None)),
        "no-left": ("absence_gap", "no left one, yet not at the start", absence(between(0), None, located(1))),
        "neither": ("absence_gap", "neither, yet the tree is not empty", absence("x", None, None)),
        "exchanged": ("absence_gap", "left and right exchanged", absence(between(0), located(1), located(0))),
        "outside": ("absence_gap", "a subject not between the two", absence(between(1), located(0), located(1))),
        "left-forged": (
            "path_root",
            "a forged neighbour",
            absence(between(0), [0, ENTRIES_8[2], located(0)[2]], located(1)),
        ),
        "left-short": ("range", "two columns for three", absence(between(0), located(0)[:2], located(1))),
        "no-sub": ("range", "an empty subject", absence("", None, located(0))),
    }
    for name, (code, description, fields) in defects.items():
        yield bad(f"absence-{name}", code, description, "absence-proof", given(fields))
    without = {key: value for key, value in absence("#", None, located(0)).items() if key != "left"}
    yield bad("absence-left-missing", "missing_key", "left is not said", "absence-proof", given(without))
