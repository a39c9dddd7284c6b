"""Format 3: commitments, the salts of records, openings."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import ZEROS, cbor, hashed, token
from tests.vectors.world import INPUT, LOG, SECRET, TENSOR, commitment, record_salt

SALT = token("some salt")


def cases() -> Cases:
    """Every case of this part."""
    for field in ("input", "tensor", "output", "args", "result", "data"):
        for mode, salt in (("salted", SALT), ("plain", None)):
            description = f"field {field}, mode {mode}"
            made = {
                "field": field,
                "commitment": commitment(field, TENSOR, salt),
                "salt": salt or ZEROS,
                "data": TENSOR,
            }
            yield good(f"{mode}-{field}", description, "commitment", made)
    empty = {"field": "data", "commitment": commitment("data", b"", SALT), "salt": SALT, "data": b""}
    yield good("empty", "no data", "commitment", empty)
    yield from mismatches()
    for seq in (0, 3, 2**64 - 1):
        source = {"secret": SECRET, "log": LOG, "seq": seq, "field": "tensor"}
        yield good(f"salt-{seq}", "the salt of a record's field", "salt", source, salt=record_salt(seq, "tensor"))
    yield from openings()


def mismatches() -> Cases:
    salted = {"field": "tensor", "commitment": commitment("tensor", TENSOR, SALT), "salt": SALT, "data": TENSOR}
    plain = {"field": "tensor", "commitment": commitment("tensor", TENSOR, None), "salt": ZEROS, "data": TENSOR}
    digest = salted["commitment"][1]
    changes: dict[str, tuple[str, dict[str, Any]]] = {
        "data": ("another last byte", salted | {"data": TENSOR[:-1] + b"\x00"}),
        "data-longer": ("a byte more", salted | {"data": TENSOR + b"\x00"}),
        "salt": ("another salt", salted | {"salt": token("another salt")}),
        "salt-zero": ("the salt of mode plain", salted | {"salt": ZEROS}),
        "salt-short": ("a salt of 31 bytes", salted | {"salt": SALT[:31]}),
        "field": ("moved to another field", salted | {"field": "output"}),
        "mode": ("called plain", salted | {"commitment": [1, digest]}),
        "plain-called-salted": ("called salted", plain | {"commitment": [0, plain["commitment"][1]]}),
        "plain-digest": ("a plain SHA-256", plain | {"commitment": [1, hashed(TENSOR)]}),
    }
    for name, (description, made) in changes.items():
        yield bad(f"mismatch-{name}", "commitment_mismatch", description, "commitment", made)


def openings() -> Cases:
    base: dict[str, Any] = {"v": 1, "log": LOG, "seq": 3, "field": "tensor", "salt": record_salt(3, "tensor")}
    with_data, with_file = base | {"data": TENSOR}, base | {"field": "input", "salt": ZEROS, "file": hashed(INPUT)}
    yield good("opening-data", "the data itself", "opening", cbor(with_data), opening=with_data)
    yield good("opening-file", "the digest of a file", "opening", cbor(with_file), opening=with_file)
    yield bad("opening-neither", "opening_target", "neither data nor file", "opening", cbor(base))
    yield bad("opening-both", "opening_target", "data and file", "opening", cbor(with_data | {"file": hashed(INPUT)}))
    defects = [
        *shape(with_data, "field"),
        ("range", "log", "of 31 bytes", LOG[:31]),
        ("range", "salt", "of 33 bytes", bytes(33)),
        ("range", "seq", "negative", -1),
        ("range", "field", "empty", ""),
        ("type", "seq", "a bool", True),
        ("type", "data", "text", "data"),
    ]
    for name, code, description, fields in spoiled(with_data, *defects):
        yield bad(f"opening-{name}", code, description, "opening", cbor(fields))
    yield bad("opening-too-large", "cbor_too_large", "above MAX_OPENING", "opening", Zeros(16_777_217))
