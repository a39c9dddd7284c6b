"""``edgeseal inspect``: any edgeseal object, readable and escaped. Nothing is verified: what is printed is what the
bytes say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from edgeseal import cbor, cose, limits, pack, receipt, record, segment, statements, strictyaml
from edgeseal.adapters.namedfile import read_file
from edgeseal.bodies import BODIES
from edgeseal.bundle import AnchorEvidence, Bundle
from edgeseal.commitment import Opening
from edgeseal.errors import EvidenceError, FormatError
from edgeseal.head import SignedFleetHead
from edgeseal.stateevidence import AccountEvidence, CommandChain, StorageEvidence
from edgeseal_console.investigate.escape import safe
from edgeseal_console.investigate.opening import opened

MAX_SHOWN: Final = 200
"""Entries of one array or map that are shown to people; JSON holds all."""


def run(args: Any) -> int:
    """Print what ``args.file`` holds. Returns 0, or 2 for bytes that are no object of ours.

    Raises UsageError where the file cannot be read.
    """
    try:
        title, content = look(args.file)
    except FormatError as error:
        print(f"no edgeseal object: {safe(error.message)} [{error.code}]")
        return 2
    if args.json:
        print(json.dumps({"object": title, "content": _plain(content)}, indent=1))
    else:
        print(safe(title))
        print("\n".join(_tree(content, 1)))
    return 0


def look(path: Path) -> tuple[str, Any]:
    """Return (what it is, its content) of a file or folder. Raises FormatError for what is no object of ours,
    UsageError.
    """
    if path.is_dir():
        with opened(path) as bundle:
            return "evidence bundle (folder)", _bundle(bundle)
    with path.open("rb") if path.is_file() else _missing(path) as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        with opened(path) as bundle:
            return "evidence bundle (.zip)", _bundle(bundle)
    data = read_file(path, limits.MAX_BUNDLE_FILE)
    return identify(data)


def identify(data: bytes) -> tuple[str, Any]:
    """Return (what it is, its content) of untrusted bytes: the first decoder that takes them says. Raises
    FormatError.
    """
    reason: FormatError | None = None
    for title, read in _READERS:
        try:
            return title, read(data)
        except FormatError as error:
            reason = reason or error
        except EvidenceError as error:
            raise FormatError(error.code, error.message) from error
    raise FormatError(
        "unknown_object", f"neither COSE, CBOR nor YAML of ours ({reason.message if reason else 'empty'})"
    )


def _missing(path: Path) -> Any:
    read_file(path, 0)
    raise FormatError("unknown_object", f"{path} is no file")


def _statement(data: bytes) -> Any:
    found = statements.decode(data)
    assert found.signed.payload is not None
    head = {"typ": found.name, "signer": found.signed.kid, "digest": found.digest, "leaf": found.leaf}
    return head | {"payload": _deep(cbor.decode(found.signed.payload, max_size=limits.MAX_STATEMENT))}


def _fleet_head(data: bytes) -> Any:
    found = SignedFleetHead.decode(data)
    head = found.head
    return {"signer": found.signed.kid, "log": head.log, "size": head.size, "root": head.root, "prev": list(head.prev)}


def _receipt(data: bytes) -> Any:
    found = receipt.Receipt.decode(data)
    kind = "inclusion" if found.kind == receipt.INCLUSION else "consistency"
    at = {"index": found.index} if kind == "inclusion" else {"older size": found.index}
    return {
        "proof": kind,
        "signer": found.signed.kid,
        "log": found.log,
        "size": found.size,
        **at,
        "path": list(found.path),
    }


def _segment(data: bytes) -> Any:
    found = segment.decode(data)
    items = [_item(start, item.as_list()) for start, item in enumerate(found.items, found.start)]
    return {"log": found.log, "from": found.start, "head": _statement(found.head.signed.raw), "items": items}


def _item(seq: int, item: Any) -> Any:
    try:
        read = segment.item_from_list(item)
        if read.header is None:
            return {"seq": seq, "leaf": read.leaf, "withheld": read.reason}
        header = cbor.decode(read.header, max_size=limits.MAX_HEADER)
        if read.body is None:
            return {"header": header, "leaf": read.leaf, "withheld": read.reason}
        return {"header": header, "leaf": read.leaf, "body": _body(str(header.get("kind")), read.body)}
    except (EvidenceError, AttributeError) as error:
        return {"seq": seq, "unreadable": str(error)}


def _body(kind: str, body: bytes) -> Any:
    try:
        return _deep(record.decode_body(kind, body)) | ({} if kind in BODIES else {"(kind)": "unknown to this version"})
    except FormatError as error:
        return {"malformed": error.message, "bytes": body}


def _chunk(data: bytes) -> Any:
    fields = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS)
    if type(fields) is not dict or {key: type(value) for key, value in fields.items()} != _RECORDS_FILE:
        raise FormatError("unknown_object", "not a records file")
    return {
        "log": fields["log"],
        "from": fields["from"],
        "items": [_item(n, i) for n, i in enumerate(fields["items"], fields["from"])],
    }


def _pack(data: bytes) -> Any:
    pack.Pack.decode(data)
    return _deep(cbor.decode(data, max_size=limits.MAX_PACK))


def _header(data: bytes) -> Any:
    record.Header.decode(data)
    return cbor.decode(data, max_size=limits.MAX_HEADER)


def _key(data: bytes) -> Any:
    key = cose.PublicKey.decode(data)
    return {"kid": key.kid, "x": key.x, "y": key.y}


def _anchor(data: bytes) -> Any:
    AnchorEvidence.decode(data)
    return cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE)


def _accounts(data: bytes) -> Any:
    found = AccountEvidence.decode(data)
    shown = {"chain": found.chain, "block": found.block, "contracts": list(found.contracts), "nodes": len(found.nodes)}
    try:
        header, accounts = found.verify()
    except EvidenceError as error:
        return shown | {"proof": f"does not hold: {error.message}"}
    told = {
        "0x" + address.hex(): None if one is None else {"storage root": one.storage_root, "code hash": one.code_hash}
        for address, one in accounts.items()
    }
    block = {"number": header.number, "time": header.timestamp, "state root": header.state_root}
    return shown | block | {"proof": "holds under this block", "accounts": told}


def _storage(data: bytes) -> Any:
    found = StorageEvidence.decode(data)
    shown = {"storage root": found.root, "nodes": len(found.nodes)}
    try:
        values = found.verify()
    except EvidenceError as error:
        slots = ["0x" + slot.hex() for slot in found.slots]
        return shown | {"proof": f"does not hold: {error.message}", "slots": slots}
    told = {"0x" + slot.hex(): f"0x{value:064x}" for slot, value in values.items()}
    return shown | {"proof": "holds under this root", "slots": told}


def _commands(data: bytes) -> Any:
    found = CommandChain.decode(data)
    entries = [
        {"command": digest, "position": position, "class": kind, "digest chain": chain}
        for (digest, position, kind), chain in zip(found.entries, found.steps(), strict=True)
    ]
    return {"fleet log": found.log, "audience": found.audience, "digest chain before": found.start, "entries": entries}


def _opening(data: bytes) -> Any:
    return Opening.decode(data).as_map()


def _any_cbor(data: bytes) -> Any:
    return _deep(cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS))


def _yaml(data: bytes) -> Any:
    fields = strictyaml.load(data, limits.MAX_YAML)
    if "schema" not in fields:
        raise FormatError("unknown_object", "YAML without a schema")
    return fields


_RECORDS_FILE: Final = {"v": int, "log": bytes, "from": int, "items": list}

_READERS: Final[tuple[tuple[str, Callable[[bytes], Any]], ...]] = (
    ("statement", _statement),
    ("fleet head (7.2)", _fleet_head),
    ("receipt (10)", _receipt),
    ("segment (6)", _segment),
    ("records of a bundle (14)", _chunk),
    ("provisioning pack (12)", _pack),
    ("record header (4)", _header),
    ("public key (2.1)", _key),
    ("anchor evidence (14.1)", _anchor),
    ("accounts after a block (14.2)", _accounts),
    ("storage under a root (14.3)", _storage),
    ("commands on chain (14.4)", _commands),
    ("opening (3.1)", _opening),
    ("CBOR", _any_cbor),
    ("YAML", _yaml),
)


def _deep(value: Any) -> Any:
    """Return a value with every signed object inside taken apart too."""
    if isinstance(value, dict):
        return {key: _deep(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep(item) for item in value]
    if isinstance(value, bytes) and value.startswith(b"\xd2\x84"):
        for read in (_statement, _fleet_head, _receipt):
            try:
                return read(value)
            except EvidenceError:
                continue
    return value


def _bundle(bundle: Bundle) -> Any:
    logs = {}
    for log in bundle.logs():
        records = sum(len(items) for _, items in bundle.records(log))
        logs[log.hex()] = {"records": records, "heads": sum(1 for _ in bundle.heads(log))}
    return {
        "index.json": bundle.index(),
        "device logs": logs,
        "statements": sum(1 for _ in bundle.statements()),
        "receipts": sum(1 for _ in bundle.receipts()),
        "fleet heads": len(bundle.fleet_heads()),
        "anchors": [{"chain": a.chain, "contract": a.contract, "block": a.block} for a in bundle.anchors()],
        "states": [{"chain": a.chain, "block": a.block, "contracts": list(a.contracts)} for a in bundle.accounts()],
        "slots": sum(len(found.slots) for found in bundle.storage()),
        "commands on chain": sum(len(found.entries) for found in bundle.commands()),
        "keys": [key.kid for key in bundle.public_keys()],
        "model packages": bundle.packages(),
        "inputs": len(bundle.inputs()),
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: bytes as hex, map keys as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _tree(value: Any, depth: int) -> Iterator[str]:
    pad = "  " * depth
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else [("", value)]
    )
    for number, (key, item) in enumerate(pairs):
        if number == MAX_SHOWN:
            yield f"{pad}… ({len(value) - MAX_SHOWN} more; --json shows all)"
            return
        if isinstance(item, dict | list | tuple) and item:
            yield f"{pad}{safe(key)}:"
            yield from _tree(item, depth + 1)
        else:
            yield f"{pad}{safe(key)}: {item.hex() if isinstance(item, bytes) else safe(item)}"
