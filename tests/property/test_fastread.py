"""The verifier's fast readers accept what the core's decoders accept, and say the same of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseal import cbor
from edgeseal.errors import FormatError
from edgeseal.record import CLOCK_SOURCES, Clock, Header, decode_body
from edgeseal.recordsfile import whole_items
from edgeseal.verify.fastread import inference_reader, reader

LOG = bytes(range(32))
uints = st.one_of(st.integers(0, 30), st.integers(0, 70_000), st.integers(0, 2**64 - 1))
digests = st.binary(min_size=32, max_size=32)
texts = st.text(max_size=20)
kinds = st.one_of(
    st.text("abdmno.", min_size=1, max_size=32),
    st.sampled_from(["inference", "dmono", "statedmono", "a" * 24, "b" * 32]),
)
headers = st.builds(
    Header,
    st.just(LOG),
    uints,
    uints,
    uints,
    uints,
    st.builds(Clock, st.sampled_from(CLOCK_SOURCES), st.one_of(st.none(), uints)),
    kinds,
    digests,
)
commits = st.tuples(st.sampled_from([0, 1]), digests).map(list)
bodies: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "s": digests,
        "model": digests,
        "file": digests,
        "rt": st.tuples(texts, texts, texts, texts, uints, texts).map(list),
        "input": commits,
        "tensor": commits,
        "output": commits,
        "pub": st.dictionaries(
            st.text(min_size=1, max_size=8),
            st.one_of(st.booleans(), texts, st.integers(-9, 999), st.binary(max_size=9)),
            max_size=3,
        ),
        "us": uints,
        "config": digests,
        "build": texts,
    }
)


def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Return ``data`` with up to two bytes changed, dropped or doubled."""
    out = bytearray(data)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(len(out) - 1, 0)))
        what = draw(st.integers(0, 2))
        if what == 0 and out:
            out[at] ^= draw(st.integers(1, 255))
        elif what == 1:
            del out[at : at + 1]
        else:
            out[at:at] = out[at : at + 1]
    return bytes(out)


@st.composite
def header_bytes(draw: st.DrawFn) -> bytes:
    return mutated(draw, draw(headers).encode())


@st.composite
def body_bytes(draw: st.DrawFn) -> bytes:
    return mutated(draw, cbor.encode(draw(bodies)))


def by_core(data: bytes) -> object:
    try:
        header = Header.decode(data)
    except FormatError as error:
        return error.code
    seq = header.seq if header.log == LOG else -1
    return seq, header.boot, header.t, header.mono, header.kind, header.body


def by_reader(data: bytes) -> object:
    try:
        return reader(LOG)(data)
    except FormatError as error:
        return error.code


@settings(max_examples=600, deadline=None)
@given(header_bytes())
def test_headers(data: bytes) -> None:
    assert by_reader(data) == by_core(data)


def test_each_width_of_an_integer_is_read_and_no_longer_form_is() -> None:
    for value in (0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1):
        data = Header(LOG, value, 1, value, value, Clock("ntp", value), "x", bytes(32)).encode()
        assert by_reader(data) == (value, 1, value, value, "x", bytes(32))
    short = Header(LOG, 5, 1, 0, 0, Clock("ntp", 1), "x", bytes(32)).encode()
    longer = short.replace(b"\x63seq\x05", b"\x63seq\x18\x05")
    assert by_reader(longer) == by_core(longer) == "cbor_not_minimal"


@settings(max_examples=600, deadline=None)
@given(st.lists(body_bytes(), min_size=1, max_size=3))
def test_inference_bodies(found: list[bytes]) -> None:
    read = inference_reader()  # one reader: what it remembers must change no answer
    for data in found * 2:
        try:
            fields = decode_body("inference", data)
            expected: object = (fields["model"], fields["file"])
        except FormatError as error:
            expected = error.code
        try:
            answer: object = read(data)
        except FormatError as error:
            answer = error.code
        assert answer == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=700)), max_size=40), uints, st.data())
def test_record_files(pairs: list[tuple[bytes, bytes]], start: int, data: st.DataObject) -> None:
    encoded = cbor.encode({"v": 1, "log": LOG, "from": start, "items": [[0, h, b] for h, b in pairs]})
    if data.draw(st.booleans()) and encoded:
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded = encoded[:at] + bytes([encoded[at] ^ data.draw(st.integers(1, 255))]) + encoded[at + 1 :]
    items = whole_items(encoded, LOG, start)
    if items is not None:
        assert cbor.decode(encoded, max_size=1 << 20) == {"v": 1, "log": LOG, "from": start, "items": items}
