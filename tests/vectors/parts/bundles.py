"""Format 14: zips of evidence, and what stands in them."""

from __future__ import annotations

import json
from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, bad, good
from tests.vectors.encoding import ZEROS, cbor, consistency, hashed, inclusion, leaf_hash, token
from tests.vectors.world import FLEET, FLEET_LEAVES, INPUT, LOG, RECORDS, STATEMENTS, TENSOR
from tests.vectors.zips import Member, archive, deflated

README = b"evidence\n"
RECORDS_NAME = f"records/{LOG.hex()}/{0:020}.cbor"
HEADS_NAME = f"heads/{LOG.hex()}/{0:020}.cbor"
OPENINGS_NAME = f"openings/{LOG.hex()}/{0:020}.cbor"
STATEMENTS_NAME, RECEIPTS_NAME = f"statements/{0:020}.cbor", f"proofs/receipts/{0:020}.cbor"
KEY_NAME = f"keys/{world.DEVICE.kid.hex()}.cbor"
INPUT_NAME = f"inputs/{hashed(INPUT).hex()}"
ANCHOR: dict[str, Any] = {
    "v": 1, "chain": world.CHAIN, "contract": world.CONTRACT, "block": token("block"), "header": b"header",
    "receipt": b"receipt", "index": 3, "nodes": [b"root node", b"leaf"], "log": 0,
}  # fmt: skip
ANCHOR_NAME = f"chain/{token('block').hex()}-0.cbor"
ACCOUNTS: dict[str, Any] = {
    "v": 1, "chain": world.CHAIN, "block": token("block"), "header": b"header",
    "contracts": [bytes(20), b"\x01" * 20], "nodes": [b"branch", b"leaf"],
}  # fmt: skip
ACCOUNTS_NAME = f"chain/accounts/{token('block').hex()}.cbor"
STORAGE: dict[str, Any] = {"v": 1, "root": token("storage"), "slots": [bytes(32), b"\x01" * 32], "nodes": [b"leaf"]}
STORAGE_NAME = f"chain/storage/{token('storage').hex()}-{0:020}.cbor"
LOGGED: dict[str, Any] = {
    "v": 1, "log": FLEET, "aud": LOG, "from": ZEROS,
    "entries": [[token("command"), 6, 1], [token("halt"), 2**64 - 1, 5]],
}  # fmt: skip
LOGGED_NAME = f"chain/commands/{LOG.hex()}-{0:020}.cbor"
OPENINGS = [
    {"v": 1, "log": LOG, "seq": 3, "field": "input", "salt": ZEROS, "file": hashed(INPUT)},
    {"v": 1, "log": LOG, "seq": 3, "field": "tensor", "salt": world.record_salt(3, "tensor"), "data": TENSOR},
]
SNAPSHOT_LEAVES = [leaf_hash(entry) for entry in world.ENTRIES_8]
SNAPSHOT_PROOF = {
    "v": 1, "pos": 7, "index": 0, "entry": world.ENTRIES_8[0], "path": inclusion(0, SNAPSHOT_LEAVES),
}  # fmt: skip


def index() -> dict[str, Any]:
    return {
        "schema": "edgeseal-bundle/1",
        "fleet_log": FLEET.hex(),
        "devices": [LOG.hex()],
        "statements": len(STATEMENTS),
        "records": len(RECORDS),
    }


def chunk(start: int, items: list[Any], **changes: Any) -> dict[str, Any]:
    return {"v": 1, "log": LOG, "from": start, "items": items} | changes


WHOLE: list[list[Any]] = [[0, header, body] for header, body in RECORDS]


def contents() -> dict[str, bytes]:
    """A bundle with one file of every sort."""
    made: dict[str, Any] = {
        RECORDS_NAME: chunk(0, WHOLE[:4]),
        f"records/{LOG.hex()}/{4:020}.cbor": chunk(4, [[1, RECORDS[4][0], "quota"], WHOLE[5]]),
        HEADS_NAME: [world.DEVICE_HEAD_2, world.DEVICE_HEAD_6],
        STATEMENTS_NAME: [[position, item] for position, item in enumerate(STATEMENTS)],
        RECEIPTS_NAME: [world.COMMAND_RECEIPT],
        "proofs/fleet-heads.cbor": [world.FLEET_HEAD_2, world.FLEET_HEAD_8],
        "proofs/consistency.cbor": [[2, 8, consistency(2, FLEET_LEAVES)]],
        "proofs/snapshots.cbor": [SNAPSHOT_PROOF],
        ANCHOR_NAME: ANCHOR,
        KEY_NAME: {1: 2, -1: 1, -2: world.DEVICE.x, -3: world.DEVICE.y},
        OPENINGS_NAME: OPENINGS,
    }
    files = {name: cbor(value) for name, value in made.items()}
    files |= {"README": README, "index.json": json.dumps(index()).encode(), INPUT_NAME: INPUT}
    return files | {f"models/{token('package').hex()}/model.tflite": b"TFL3"}


def chain_state() -> dict[str, bytes]:
    """One file of each sort of chain state."""
    proved = {ACCOUNTS_NAME: ACCOUNTS, STORAGE_NAME: STORAGE, LOGGED_NAME: LOGGED}
    return {name: cbor(value) for name, value in proved.items()}


def cases() -> Cases:
    """Every case of this part."""
    whole = contents()
    counts = {
        "records": 6,
        "heads": 2,
        "statements": 8,
        "receipts": 1,
        "keys": 1,
        "anchors": 1,
        "openings": 2,
    }
    yield good("whole", "a file of every sort", "bundle", {"files": whole}, **counts)
    none = dict.fromkeys(counts, 0)
    yield good("empty", "no file at all", "bundle", {"files": {}}, **none)
    only = {STATEMENTS_NAME: whole[STATEMENTS_NAME]}
    yield good("statements-only", "statements alone", "bundle", {"files": only}, **(none | {"statements": 8}))
    yield from layouts()
    yield from files(whole)
    yield good("states", "chain state of every sort", "bundle", {"files": chain_state()}, **none, states=3)
    yield from states()
    yield from zips()


def layouts() -> Cases:
    names = {
        "bundle_layout": [
            "extra.txt",
            "records/x.cbor",
            f"records/{LOG.hex()}/0.cbor",
            f"records/{LOG.hex().upper()}/{0:020}.cbor",
            f"heads/{LOG.hex()}/{0:020}.json",
            "proofs/other.cbor",
            f"inputs/{hashed(INPUT).hex()}/a",
            f"keys/{world.DEVICE.kid.hex()}",
            f"chain/{token('block').hex()}.cbor",
            "README/a",
            f"chain/accounts/{token('block').hex()}-0.cbor",
            f"chain/storage/{token('storage').hex()}.cbor",
            f"chain/commands/{LOG.hex()}-0.cbor",
        ],
        "bundle_name": [
            "/README",
            "../README",
            "models/../README",
            "./README",
            "models//a",
            "models/",
            "",
            "a b",
            "a\\b",
            "ümlaut",
            "a\nb",
            "n" * 256,
        ],
    }
    for code, wrong in names.items():
        for number, name in enumerate(wrong):
            yield bad(f"{code[7:]}-{number}", code, f"a file called {name[:70]!r}", "bundle", {"files": {name: b""}})
    for name, (code, description, data) in {
        "index-not-json": ("bundle_index", "an index that is not JSON", b"{"),
        "index-schema": ("bundle_index", "an index of another schema", b'{"schema": "edgeseal-bundle/2"}'),
        "index-array": ("bundle_index", "an index that is an array", b"[]"),
        "index-deep": ("bundle_index", "an index of 100,000 brackets", b"[" * 100_000),
    }.items():
        yield bad(name, code, description, "bundle", {"files": {"index.json": data}})


def files(whole: dict[str, bytes]) -> Cases:
    later = f"records/{LOG.hex()}/{3:020}.cbor"
    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "records-log": (
            "bundle_order",
            "records of another log",
            {RECORDS_NAME: chunk(0, WHOLE[:4], log=world.OTHER_LOG)},
        ),
        "records-from": ("bundle_order", "records from elsewhere", {RECORDS_NAME: chunk(1, WHOLE[1:4])}),
        "records-overlap": ("bundle_order", "two files overlap", {later: chunk(3, WHOLE[3:4])}),
        "records-shape": ("missing_key", "no items", {RECORDS_NAME: {"v": 1, "log": LOG, "from": 0}}),
        "records-many": ("range", "4,097 items", {RECORDS_NAME: chunk(0, [0] * 4_097)}),
        "statements-order": (
            "bundle_order",
            "positions fall",
            {STATEMENTS_NAME: [[1, STATEMENTS[1]], [0, STATEMENTS[0]]]},
        ),
        "statements-twice": (
            "bundle_order",
            "a position twice",
            {STATEMENTS_NAME: [[0, STATEMENTS[0]], [0, STATEMENTS[0]]]},
        ),
        "statements-shape": ("range", "no statement beside a position", {STATEMENTS_NAME: [[0]]}),
        "statements-large": ("range", "above MAX_STATEMENT", {STATEMENTS_NAME: [[0, bytes(32_769)]]}),
        "heads-shape": ("type", "a head as text", {HEADS_NAME: ["head"]}),
        "heads-large": ("range", "above MAX_HEAD", {HEADS_NAME: [bytes(2_049)]}),
        "receipts-map": ("type", "a map for an array", {RECEIPTS_NAME: {}}),
        "fleet-heads-empty": ("range", "an empty head", {"proofs/fleet-heads.cbor": [b""]}),
        "consistency-shape": ("range", "no path", {"proofs/consistency.cbor": [[2, 8]]}),
        "snapshots-shape": (
            "missing_key",
            "no path",
            {"proofs/snapshots.cbor": [{k: v for k, v in SNAPSHOT_PROOF.items() if k != "path"}]},
        ),
        "anchor-name": (
            "bundle_order",
            "another block's log",
            {ANCHOR_NAME: ANCHOR | {"block": token("another block")}},
        ),
        "anchor-log": ("bundle_order", "another log's number", {ANCHOR_NAME: ANCHOR | {"log": 1}}),
        "anchor-nodes": ("range", "no proof node", {ANCHOR_NAME: ANCHOR | {"nodes": []}}),
        "anchor-nodes-66": ("range", "66 proof nodes", {ANCHOR_NAME: ANCHOR | {"nodes": [b"n"] * 66}}),
        "anchor-contract": ("range", "a contract of 32 bytes", {ANCHOR_NAME: ANCHOR | {"contract": token("c")}}),
        "anchor-header": ("range", "a header above 16 KiB", {ANCHOR_NAME: ANCHOR | {"header": bytes(16_385)}}),
        "key-name": ("bundle_order", "another key", {KEY_NAME: {1: 2, -1: 1, -2: world.ROOT.x, -3: world.ROOT.y}}),
        "key-invalid": ("key_invalid", "off the curve", {KEY_NAME: {1: 2, -1: 1, -2: world.ROOT.x, -3: world.ROOT.x}}),
        "opening-target": (
            "opening_target",
            "neither data nor file",
            {OPENINGS_NAME: [{k: v for k, v in OPENINGS[0].items() if k != "file"}]},
        ),
    }
    for name, (code, description, changed) in defects.items():
        made = {path: cbor(value) for path, value in changed.items()}
        before = {RECORDS_NAME: whole[RECORDS_NAME]} if later in made else {}
        yield bad(name, code, description, "bundle", {"files": before | made})
    raw = {"input-digest": ("input_digest", "an input of other bytes", {INPUT_NAME: INPUT + b"\x00"})}
    raw["trailing"] = ("cbor_trailing", "a byte after an array", {HEADS_NAME: whole[HEADS_NAME] + b"\x00"})
    for name, (code, description, data) in raw.items():
        yield bad(name, code, description, "bundle", {"files": data})


def states() -> Cases:
    """The files of 14.2 to 14.4: their shapes; what they prove is in the vectors of ``evm/``."""
    other, many = token("another"), [number.to_bytes(32, "big") for number in range(1_025)]
    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "accounts-name": ("bundle_order", "another block's", {ACCOUNTS_NAME: ACCOUNTS | {"block": other}}),
        "accounts-none": ("range", "no contract", {ACCOUNTS_NAME: ACCOUNTS | {"contracts": []}}),
        "accounts-17": (
            "range",
            "17 contracts",
            {ACCOUNTS_NAME: ACCOUNTS | {"contracts": [bytes([n]) * 20 for n in range(17)]}},
        ),
        "accounts-order": (
            "state_order",
            "contracts that fall",
            {ACCOUNTS_NAME: ACCOUNTS | {"contracts": ACCOUNTS["contracts"][::-1]}},
        ),
        "accounts-twice": (
            "state_order",
            "a contract twice",
            {ACCOUNTS_NAME: ACCOUNTS | {"contracts": [bytes(20)] * 2}},
        ),
        "accounts-address": ("range", "32 bytes of address", {ACCOUNTS_NAME: ACCOUNTS | {"contracts": [other]}}),
        "accounts-no-nodes": ("range", "no node", {ACCOUNTS_NAME: ACCOUNTS | {"nodes": []}}),
        "accounts-node": ("range", "a node of 1,025 bytes", {ACCOUNTS_NAME: ACCOUNTS | {"nodes": [bytes(1_025)]}}),
        "accounts-extra": ("extra_key", "a key too many", {ACCOUNTS_NAME: ACCOUNTS | {"time": 1}}),
        "storage-name": ("bundle_order", "another root's", {STORAGE_NAME: STORAGE | {"root": other}}),
        "storage-none": ("range", "no slot", {STORAGE_NAME: STORAGE | {"slots": []}}),
        "storage-many": ("range", "1,025 slots", {STORAGE_NAME: STORAGE | {"slots": many}}),
        "storage-order": (
            "state_order",
            "slots that fall",
            {STORAGE_NAME: STORAGE | {"slots": STORAGE["slots"][::-1]}},
        ),
        "storage-nodes-many": ("range", "16,385 nodes", {STORAGE_NAME: STORAGE | {"nodes": [b"n"] * 16_385}}),
        "storage-slot": ("range", "a slot of 31 bytes", {STORAGE_NAME: STORAGE | {"slots": [bytes(31)]}}),
        "commands-name": ("bundle_order", "another audience's", {LOGGED_NAME: LOGGED | {"aud": other}}),
        "commands-class": ("enum", "action class 6", {LOGGED_NAME: LOGGED | {"entries": [[other, 1, 6]]}}),
        "commands-none": ("range", "no entry", {LOGGED_NAME: LOGGED | {"entries": []}}),
        "commands-many": ("range", "4,097 entries", {LOGGED_NAME: LOGGED | {"entries": [[other, 1, 0]] * 4_097}}),
        "commands-from": (
            "missing_key",
            "no chain before",
            {LOGGED_NAME: {k: v for k, v in LOGGED.items() if k != "from"}},
        ),
    }
    for name, (code, description, changed) in defects.items():
        made = {path: cbor(value) for path, value in changed.items()}
        yield bad(name, code, description, "bundle", {"files": made})


def zips() -> Cases:
    readme, index_file = Member("README", README), Member("index.json", json.dumps(index()).encode())
    inside = {"README": README, "index.json": index_file.data}
    yield good("zip-stored", "two stored files", "zip", archive([readme, index_file]), files=inside)
    packed = archive([deflated("README", README), deflated("index.json", index_file.data)])
    yield good("zip-deflated", "two deflated files", "zip", packed, files=inside)
    yield good("zip-empty", "no file", "zip", archive([]), files={})
    folder = Member("models/", b"", mode=0o40755)
    yield good("zip-folder", "a folder's own entry", "zip", archive([folder, readme]), files={"README": README})
    large = Member("README", b"x" * 100, size=2 << 20, method=8)
    nested = archive([readme])
    defects: dict[str, tuple[str, str, bytes]] = {
        "duplicate": ("bundle_duplicate", "a name twice", archive([readme, readme])),
        "absolute": ("bundle_name", "an absolute path", archive([Member("/etc/passwd", b"x")])),
        "parent": ("bundle_name", "a way out of the folder", archive([Member("models/../../x", b"x")])),
        "backslash": ("bundle_name", "a Windows path", archive([Member("models\\x", b"x")])),
        "nul": ("bundle_name", "a name that goes on after NUL", archive([Member("README\x00.exe", b"x")])),
        "drive": ("bundle_name", "a drive letter", archive([Member("C:README", b"x")])),
        "folder-parent": ("bundle_name", "a folder outside", archive([Member("../", b"")])),
        "folder-content": ("bundle_container", "a folder with bytes", archive([Member("models/", b"x")])),
        "link": ("bundle_link", "a symbolic link", archive([Member("README", b"/etc/passwd", mode=0o120777)])),
        "device": ("bundle_link", "a device", archive([Member("README", b"", mode=0o20666)])),
        "fifo": ("bundle_link", "a pipe", archive([Member("README", b"", mode=0o10666)])),
        "encrypted": ("bundle_encrypted", "encrypted", archive([Member("README", README, flags=1)])),
        "patched": ("bundle_encrypted", "a patch of another file", archive([Member("README", README, flags=0x20)])),
        "method-bzip2": ("bundle_method", "packed with bzip2", archive([Member("README", README, method=12)])),
        "method-lzma": ("bundle_method", "packed with LZMA", archive([Member("README", README, method=14)])),
        "ratio": ("bundle_ratio", "2 MiB out of 100 bytes", archive([large])),
        "file-size": (
            "bundle_file_size",
            "above MAX_BUNDLE_FILE",
            archive([Member("README", b"", size=(256 << 20) + 1)]),
        ),
        "total-size": (
            "bundle_total_size",
            "65 files of 256 MiB each",
            archive([Member(f"f{n}", b"", size=256 << 20) for n in range(65)]),
        ),
        "overlap": (
            "bundle_overlap",
            "two names for the same bytes",
            archive([readme, Member("other", README, offset=0)]),
        ),
        "overlap-directory": (
            "bundle_overlap",
            "a file that runs into the directory",
            archive([Member("README", README, packed=500)]),
        ),
        "prefix": ("bundle_container", "bytes before the zip", archive([readme], prefix=b"#!/bin/sh\n")),
        "suffix": ("bundle_container", "bytes after the zip", archive([readme], suffix=b"x")),
        "comment": ("bundle_container", "a comment", archive([readme], comment=b"x")),
        "two-zips": ("bundle_container", "two zips, one after the other", nested + nested),
        "count": ("bundle_container", "an entry more than there is", archive([readme], count=2)),
        "name": (
            "bundle_container",
            "another name beside the data",
            archive([Member("README", README, local_name="REAMDE")]),
        ),
        "crc": ("bundle_container", "a wrong checksum", archive([Member("README", README, crc=1)])),
        "size-short": ("bundle_container", "a file shorter than it says", archive([Member("README", README, size=20)])),
        "deflate-broken": ("bundle_container", "no deflate stream", archive([Member("README", b"\xff" * 9, method=8)])),
        "truncated": ("bundle_container", "its last byte missing", nested[:-1]),
        "none": ("bundle_container", "no zip at all", README),
        "no-bytes": ("bundle_container", "nothing", b""),
        "gzip": ("bundle_container", "a gzip stream", b"\x1f\x8b\x08" + bytes(40)),
    }
    for name, (code, description, data) in defects.items():
        yield bad(f"zip-{name}", code, description, "zip", data)
