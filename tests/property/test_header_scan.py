"""headerscan: it reads every good header as the strict decoder does, and nothing that the strict decoder refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseal import cbor, headerscan, record
from edgeseal.bodies import BODIES
from edgeseal.errors import FormatError
from edgeseal.record import CLOCK_SOURCES, Clock, Header

uints = st.one_of(
    *[st.integers(min_value=0, max_value=(1 << bits) - 1) for bits in (5, 8, 16, 32, 64)],
    st.sampled_from([23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1]),
)
digests = st.binary(min_size=32, max_size=32)
headers = st.builds(
    Header,
    digests,
    uints,
    uints,
    uints,
    uints,
    st.builds(Clock, st.sampled_from(CLOCK_SOURCES), st.none() | uints),
    st.text("abdmno.yz", min_size=1, max_size=32),
    digests,
)


def strictly(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Header:
    """Decode without the scan."""
    with monkeypatch.context() as patched:
        patched.setattr(record, "scan", lambda _: None)
        return Header.decode(data)


@given(headers)
def test_every_good_header_is_read(header: Header) -> None:
    data = header.encode()
    found = headerscan.scan(data)
    assert found is not None
    log, seq, boot, t, mono, source, uncertainty, kind, body = found
    assert Header(log, seq, boot, t, mono, Clock(source, uncertainty), kind, body) == header
    assert Header.decode(data) == header


@given(headers, st.data())
def test_a_changed_header_is_read_as_the_strict_decoder_reads_it(header: Header, data: st.DataObject) -> None:
    raw = bytearray(header.encode())
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        at = data.draw(st.integers(min_value=0, max_value=len(raw) - 1))
        change: Any = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if change == "flip":
            raw[at] = data.draw(st.integers(min_value=0, max_value=255))
        elif change == "cut" and len(raw) > 1:
            del raw[at]
        else:
            raw.insert(at, data.draw(st.integers(min_value=0, max_value=255)))
    if headerscan.scan(bytes(raw)) is None:
        return
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            strict = strictly(bytes(raw), monkeypatch)
        except FormatError as refusal:
            raise AssertionError(f"the scan accepts what the decoder refuses: {refusal}") from refusal
    assert Header.decode(bytes(raw)) == strict


def test_the_kinds_of_the_format_take_the_fast_way() -> None:
    for kind in BODIES:
        header = Header(bytes(32), 7, 1, 2, 3, Clock("ntp", 20), kind, bytes(32))
        assert headerscan.scan(header.encode()) is not None


anything = st.one_of(
    headers,
    st.builds(
        Header,
        digests | st.binary(max_size=40),
        uints | st.integers(max_value=-1) | st.booleans() | st.integers(min_value=1 << 64),
        uints,
        uints | st.booleans(),
        uints,
        st.builds(Clock, st.sampled_from([*CLOCK_SOURCES, "gps", ""]), st.none() | uints | st.integers(max_value=-1)),
        st.text(max_size=40),
        digests | st.binary(max_size=40),
    ),
)


@given(anything)
def test_what_is_composed_is_what_the_encoder_writes(header: Header) -> None:
    clk = header.clk
    composed = headerscan.compose(
        header.log, header.seq, header.boot, header.t, header.mono, clk.source, clk.uncertainty_ms, header.kind,
        header.body,
    )  # fmt: skip
    fields = {
        "t": header.t, "v": 1, "clk": [clk.source, clk.uncertainty_ms], "log": header.log, "seq": header.seq,
        "body": header.body, "boot": header.boot, "kind": header.kind, "mono": header.mono,
    }  # fmt: skip
    if composed is not None:
        assert composed == cbor.encode(fields)
        assert Header.decode(composed) == header


@given(headers)
def test_every_good_header_is_composed(header: Header) -> None:
    clk = header.clk
    assert headerscan.compose(
        header.log, header.seq, header.boot, header.t, header.mono, clk.source, clk.uncertainty_ms, header.kind,
        header.body,
    ) == header.encode()  # fmt: skip
