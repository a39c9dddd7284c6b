"""The bundle's container rules, its reader and its writer."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable

import pytest

from edgeseal import cbor, limits
from edgeseal.bundle import AnchorEvidence, Bundle
from edgeseal.bundlewriter import Writer
from edgeseal.commitment import Opening
from edgeseal.container import MemorySource, ZipSource
from edgeseal.errors import FormatError

LOG = bytes(range(32))
ANCHOR = AnchorEvidence(31337, bytes(20), b"\x07" * 32, b"header", b"receipt", 3, (b"node",), 1)


def written() -> dict[str, bytes]:
    files: dict[str, bytes] = {}

    def put(name: str, data: bytes) -> None:
        assert name not in files
        files[name] = data

    writer = Writer(put)
    writer.records(LOG, [(0, b"h%d" % n, bytes(400)) for n in range(1000)])
    writer.heads(LOG, [b"head1", b"head2"])
    writer.statements([(0, b"keyset"), (7, b"snapshot")])
    writer.receipts([b"receipt"])
    writer.fleet(b"\x01" * 32, [b"fleet"], [(2, 8, [bytes(32)])], [])
    writer.anchor(ANCHOR)
    writer.input(b"pixels")
    writer.openings(LOG, [Opening(LOG, 5, "input", bytes(32), data=b"x")])
    writer.package(b"\x02" * 32, {"sub/model.tflite": b"m", "manifest.yaml": b"y"})
    writer.finish()
    return files


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("source", [MemorySource, lambda files: ZipSource(io.BytesIO(zipped(files)))])
def test_what_is_written_is_read(source: Callable[[dict[str, bytes]], MemorySource | ZipSource]) -> None:
    bundle = Bundle(source(written()))
    assert bundle.logs() == [LOG]
    chunks = list(bundle.records(LOG))
    assert [start for start, _ in chunks][:1] == [0] and len(chunks) > 2
    assert [item[1] for _, items in chunks for item in items] == [b"h%d" % n for n in range(1000)]
    assert all(len(cbor.encode(items)) < cbor.FAST_SIZE for _, items in chunks)
    assert list(bundle.heads(LOG)) == [b"head1", b"head2"]
    assert list(bundle.statements()) == [(0, b"keyset"), (7, b"snapshot")]
    assert list(bundle.receipts()) == [b"receipt"] and bundle.fleet_heads() == [b"fleet"]
    assert bundle.consistency() == [(2, 8, [bytes(32)])] and bundle.snapshot_proofs() == []
    assert list(bundle.anchors()) == [ANCHOR]
    assert [o.field for o in bundle.openings(LOG)] == ["input"]
    assert bundle.packages() == [b"\x02" * 32]
    assert bundle.package(b"\x02" * 32) == {"sub/model.tflite": b"m", "manifest.yaml": b"y"}
    assert bundle.index()["records"] == 1000


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../README", "records/../README", "a//b", "", "a\\b", "ä", "a" * 256, "."]
)
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(FormatError) as caught:
        MemorySource({name: b""})
    assert caught.value.code == "bundle_name"


def test_an_unknown_file_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        Bundle(MemorySource({"extra.txt": b""}))
    assert caught.value.code == "bundle_layout"


def entry(name: str = "README", **fields: int) -> bytes:
    out = io.BytesIO()
    info = zipfile.ZipInfo(name)
    info.external_attr = fields.get("attr", 0)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, b"text", compress_type=fields.get("method", 0))
    return out.getvalue()


def twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("README", b"one")
        archive.writestr("README", b"two")
    return out.getvalue()


def flagged() -> bytes:
    data = bytearray(entry())
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 8, 1)
    return bytes(data)


def overlapping() -> bytes:
    data = bytearray(zipped({"README": b"one", "index.json": b"{}"}))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into("<L", data, second + 42, 1)
    return bytes(data)


BOMB = zipped({"README": bytes(1 << 21)})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (twice(), "bundle_duplicate"),
        (entry(attr=(stat.S_IFLNK | 0o777) << 16), "bundle_link"),
        (flagged(), "bundle_encrypted"),
        (entry(method=zipfile.ZIP_LZMA), "bundle_method"),
        (entry("../../x"), "bundle_name"),
        (entry("READMEx.txt").replace(b"READMEx", b"README\0"), "bundle_name"),
        (BOMB, "bundle_ratio"),
        (overlapping(), "bundle_overlap"),
        (b"MZ" + entry(), "bundle_container"),
        (entry() + b"tail", "bundle_container"),
        (entry()[:-30], "bundle_container"),
        (b"", "bundle_container"),
    ],
)
def test_zip_tricks_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        ZipSource(io.BytesIO(data))
    assert caught.value.code == code


def test_damaged_content_is_refused_when_read() -> None:
    data = bytearray(zipped({"README": b"a text that is long enough to deflate" * 9}))
    data[45] ^= 1
    with pytest.raises(FormatError) as caught:
        ZipSource(io.BytesIO(bytes(data))).read("README")
    assert caught.value.code == "bundle_container"


def test_counts_and_sizes_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BUNDLE_FILES", 3)
    with pytest.raises(FormatError, match="bundle_file_count"):
        MemorySource({f"a{n}": b"" for n in range(4)})
    monkeypatch.setattr(limits, "MAX_BUNDLE_FILE", 3)
    with pytest.raises(FormatError, match="bundle_file_size"):
        MemorySource({"README": b"four"})
    monkeypatch.setattr(limits, "MAX_BUNDLE_TOTAL", 5)
    with pytest.raises(FormatError, match="bundle_total_size"):
        MemorySource({"a": b"abc", "b": b"abc"})


def test_chunks_that_overlap_are_refused() -> None:
    files = written()
    first, second = sorted(name for name in files if name.startswith("records/"))[:2]
    files[second] = files[first]
    with pytest.raises(FormatError, match="bundle_order"):
        list(Bundle(MemorySource(files)).records(LOG))


def test_a_file_numbered_past_64_bits_is_refused() -> None:
    files = {f"records/{LOG.hex()}/99999999999999999999.cbor": b"\xa0"}
    with pytest.raises(FormatError, match="bundle_layout"):
        list(Bundle(MemorySource(files)).records(LOG))
