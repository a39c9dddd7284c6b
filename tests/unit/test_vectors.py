"""Walks tests/vectors/v1 through the real decoders: good cases give what they say, each defect has its reason code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from edgeseal import (
    attestation,
    cbor,
    commandlog,
    commitment,
    cose,
    ekchain,
    head,
    merkle,
    messages,
    modelline,
    possession,
    record,
    segment,
    snapshot,
    statements,
    topics,
    tpmstate,
    trust,
)
from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource, ZipSource
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError
from edgeseal.model import decode_package, encode_package, package_digest, parse_package
from edgeseal.pack import Pack, fleet_log_id
from edgeseal.receipt import Receipt
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import device_log_id
from edgeseal.statements.keyset import Keyset
from edgeseal.statements.snapshot import Snapshot

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "v1"
CASES = sorted(VECTORS.glob("*/*.json"))
Input = Any


def read(value: Any, key: str = "") -> Any:
    """An input of a case: hex as bytes, repeated bytes at length; what is text by its name stays text."""
    if isinstance(value, str):
        return value if key in ("text", "field", "topic") else bytes.fromhex(value)
    if isinstance(value, dict):
        if set(value) == {"repeat"}:
            return bytes.fromhex(value["repeat"][0]) * value["repeat"][1]
        if set(value) == {"join"}:
            return b"".join(map(read, value["join"]))
        return {name: read(item, name) for name, item in value.items()}
    return [read(item) for item in value] if isinstance(value, list) else value


def diagnostic(value: Any) -> Any:
    """An output in the form the cases give it: byte strings as h'…'."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, dict):
        return {str(key): diagnostic(item) for key, item in value.items()}
    return [diagnostic(item) for item in value] if isinstance(value, list | tuple) else value


def key_of(point: Any) -> PublicKey:
    return PublicKey.from_point(point)


def plain_cbor(data: bytes) -> Any:
    """The value in CBOR that has been accepted before."""
    return cbor.decode(data, max_size=len(data))


def run_cbor(given: Input) -> Any:
    value = cbor.decode(given["bytes"], max_size=given["max_size"], max_items=given["max_items"])
    assert cbor.encode(value) == given["bytes"]
    return {"value": value}


def run_key(given: Input) -> Any:
    key = PublicKey.decode(given)
    assert key.encode() == given
    return {"kid": key.kid}


def run_commitment(given: Input) -> Any:
    commitment.verify(**given)
    salt = given["salt"] if given["commitment"][0] == commitment.SALTED else None
    assert commitment.commit(given["field"], given["data"], salt) == given["commitment"]
    return {}


def run_opening(given: Input) -> Any:
    opening = commitment.Opening.decode(given)
    assert opening.encode() == given
    return {"opening": opening.as_map()}


def run_record_header(given: Input) -> Any:
    header = record.Header.decode(given)
    assert header.encode() == given
    return {"header": plain_cbor(given), "leaf": merkle.leaf_hash(given)}


def run_record(given: Input) -> Any:
    header = record.Header.decode(given["header"])
    record.check_body(header, given["body"])
    body = record.decode_body(header.kind, given["body"])
    assert cbor.encode(body) == given["body"]
    return {"body": body, "leaf": merkle.leaf_hash(given["header"])}


def run_device_head(given: Input) -> Any:
    signed = head.SignedDeviceHead.decode(given["bytes"])
    content = signed.verify(key_of(given["key"]))
    assert signed.signed.payload == content.payload()
    assert signed.signed.protected == content.protected(signed.signed.kid)
    return {"payload": plain_cbor(content.payload()), "kid": signed.signed.kid}


def run_fleet_head(given: Input) -> Any:
    signed = head.SignedFleetHead.decode(given["bytes"])
    content = signed.verify(key_of(given["key"]))
    assert signed.signed.protected == content.protected(signed.signed.kid)
    return {"size": content.size, "root": content.root}


def run_fleet_header(given: Input) -> Any:
    made = head.FleetHead(given["log"], given["size"], bytes(32), (given["prev"][0], given["prev"][1]))
    return {"header": made.protected(given["kid"])}


def run_seen(given: Input) -> Any:
    head.check_seen(head.Seen.from_list(given["earlier"]), head.Seen.from_list(given["later"]))
    return {}


def run_segment(given: Input) -> Any:
    found = segment.decode(given["bytes"])
    found.head.verify(key_of(given["key"]))
    assert segment.encode(found.log, found.head.signed.raw, found.start, found.items) == given["bytes"]
    return {"start": found.start, "leaves": [item.leaf for item in found.items]}


def run_statement(given: Input) -> Any:
    statement = statements.decode(given["bytes"])
    keyset = Keyset.from_payload(given["keyset"])
    device = None if given["device"] is None else key_of(given["device"])
    own = statement.content if isinstance(statement.content, Keyset) else keyset
    statement.signed.verify(statements.signer(statement, own, device))
    payload = statement.content.payload()
    assert payload == statement.signed.payload
    prepared = statements.prepare(statement.content, statement.signed.kid)
    assert prepared.assemble(statement.signed.signature) == given["bytes"]
    outcome = {"name": statement.name, "payload": plain_cbor(payload), "leaf": statement.leaf}
    return outcome | {"digest": statement.digest}


def run_command_args(given: Input) -> Any:
    return {"args": Command.from_payload(given["payload"]).open_args(given["salt"], given["args"])}


def run_receipt(given: Input) -> Any:
    receipt = Receipt.decode(given["receipt"])
    found = receipt.verify_inclusion(key_of(given["key"]), given["leaf"])
    return {"log": found.log, "size": found.size, "index": receipt.index, "root": found.root}


def run_consistency_receipt(given: Input) -> Any:
    receipt = Receipt.decode(given["receipt"])
    found = receipt.verify_consistency(key_of(given["key"]), given["root1"], given["root2"])
    return {"size": found.size, "root": found.root}


def run_inclusion(given: Input) -> Any:
    merkle.verify_inclusion(**given)
    return {}


def run_consistency(given: Input) -> Any:
    merkle.verify_consistency(**given)
    return {}


def run_signature(given: Input) -> Any:
    message = cose.to_be_signed(given["protected"], given["payload"])
    key = key_of(given["key"])
    key.verify(message, given["signature"])
    return {"kid": key.kid, "to_be_signed": message}


def run_snapshot_entry(given: Input) -> Any:
    entry = snapshot.Entry.decode(given)
    assert entry.encode() == given
    return {"entry": plain_cbor(given)}


def run_snapshot_tree(given: Input) -> Any:
    tree = snapshot.recompute((n, statements.decode(data)) for n, data in enumerate(given["statements"]))
    return {"root": tree.root, "entries": [entry.encode() for entry in tree.entries]}


def run_snapshot_proof(given: Input) -> Any:
    proof = snapshot.proof_from_map(plain_cbor(given["proof"]))
    found = proof.verify(Snapshot.from_payload(given["snapshot"]))
    assert cbor.encode(proof.as_map()) == given["proof"]
    return {} if found is None else {"sub": found.sub}


def run_message(given: Input) -> Any:
    message = messages.decode(topics.parse(given["topic"]), given["payload"])
    assert message.encode() == given["payload"]
    return {}


def run_pack(given: Input) -> Any:
    pack = Pack.decode(given)
    _, found = pack.verify()
    assert pack.encode() == given
    return {"log": pack.log, "size": found.size, "root": found.root}


def run_zip(given: Input) -> Any:
    source = ZipSource(BytesIO(given))
    return {"files": {name: source.read(name) for name in source.names()}}


def run_bundle(given: Input) -> Any:
    """Every file of a bundle, read as far as the bundle reads it; outputs are counts."""
    bundle = Bundle(MemorySource(given["files"]))
    bundle.index()
    logs = bundle.logs()
    counts = {
        "records": sum(len(items) for log in logs for _, items in bundle.records(log)),
        "heads": sum(len(list(bundle.heads(log))) for log in logs),
        "statements": len(list(bundle.statements())),
        "receipts": len(list(bundle.receipts())),
        "keys": len(list(bundle.public_keys())),
        "anchors": len(list(bundle.anchors())),
        "openings": sum(len(list(bundle.openings(log))) for log in opening_logs(given["files"])),
    }
    if states := sum(len(list(read())) for read in (bundle.accounts, bundle.storage, bundle.commands)):
        counts["states"] = states
    bundle.fleet_heads(), bundle.consistency(), bundle.snapshot_proofs()
    for digest in bundle.packages():
        assert bundle.package(digest)
    for digest in bundle.enrolments():
        assert bundle.enrolment_evidence(digest)
    for name in given["files"]:
        if found := re.fullmatch("inputs/([0-9a-f]{64})", name):
            bundle.input(bytes.fromhex(found[1]))
    return counts


def opening_logs(files: Mapping[str, bytes]) -> set[bytes]:
    return {bytes.fromhex(name.split("/")[1]) for name in files if name.startswith("openings/")}


def run_package(given: Input) -> Any:
    package = parse_package(given["files"])
    assert package_digest(given["files"]) == package.digest
    return {"digest": package.digest, "model_digest": package.model_digest, "name": package.manifest.name}


def run_package_archive(given: Input) -> Any:
    files = decode_package(given)
    assert encode_package(files) == given
    return {"files": files}


def run_trust(given: Input) -> Any:
    found = trust.parse(given["text"].encode() if "text" in given else given["bytes"])
    assert trust.parse(trust.render(found)) == found
    chain = None if found.chain is None else found.chain.id
    return {"kid": found.tenant_root.kid, "fleet_log": found.fleet_log, "chain": chain}


def run_challenge(given: Input) -> Any:
    found = possession.decode(given["text"].encode() if "text" in given else given["bytes"])
    assert possession.decode(possession.encode(found)) == found
    return {"message": found.message(), "signers": found.signers}


def run_possession_proof(given: Input) -> Any:
    found = possession.Proof.decode(given["text"].encode())
    assert possession.Proof.decode(found.encode()) == found
    return {"kid": found.key.kid, "message": found.challenge.message()}


def run_command_log(given: Input) -> Any:
    chain = commandlog.chain_after(given.pop("chain"), [commandlog.Entry(*entry) for entry in given.pop("entries")])
    return {"chain": chain, "message": commandlog.log_message(**given, after=chain)}


def run_command_halt(given: Input) -> Any:
    chain = commandlog.chain_after_halt(given.pop("chain"), given.pop("digest"))
    return {"chain": chain, "message": commandlog.halt_message(**given, after=chain)}


def run_model_propose(given: Input) -> Any:
    place = {name: given.pop(name) for name in ("chain_id", "contract", "deadline")}
    return {"message": modelline.Proposal(**given).message(**place)}


def run_enrolment_evidence(given: Input) -> Any:
    shown = attestation.check(given["evidence"])
    times = ekchain.Times(*given.get("asked", (None, None)))
    return {
        "kind": shown.offer.kind, "fingerprint": shown.offer.digest, "ak": None if shown.ak is None else shown.ak.point,
        "authority": shown.authority(frozenset(given["authorities"]), times),
    }  # fmt: skip


def run_attest_evidence(given: Input) -> Any:
    state = tpmstate.check(given["evidence"], given["log"], key_of(given["ak"]))
    clock = state.clock
    return {
        "size": state.size, "root": state.root, "clock": [clock.clock, clock.resets, clock.restarts, clock.safe],
        "counter": state.counter,
    }  # fmt: skip


RUNNERS: dict[str, Callable[[Input], Any]] = {
    "absence-proof": run_snapshot_proof,
    "attest-evidence": run_attest_evidence,
    "action-class": lambda given: {"number": commandlog.class_of(given["text"])},
    "audience": lambda given: {"id": commandlog.audience_id(given.get("log", given.get("text")))},
    "bundle": run_bundle,
    "cbor": run_cbor,
    "challenge": run_challenge,
    "command-args": run_command_args,
    "command-halt": run_command_halt,
    "command-log": run_command_log,
    "commitment": run_commitment,
    "consistency": run_consistency,
    "consistency-receipt": run_consistency_receipt,
    "device-head": run_device_head,
    "device-log-id": lambda given: {"log": device_log_id(given["kid"])},
    "enrolment-evidence": run_enrolment_evidence,
    "fleet-head": run_fleet_head,
    "fleet-header": run_fleet_header,
    "fleet-log-id": lambda given: {
        "log": fleet_log_id(given["root"], given["chain"], given["contract"], given["nonce"])
    },
    "inclusion": run_inclusion,
    "key": run_key,
    "merkle-root": lambda given: {"root": merkle.root(given["leaves"])},
    "message": run_message,
    "model-approve": lambda given: {"message": modelline.approval_message(**given)},
    "model-line": lambda given: {"id": modelline.line_id(given["text"])},
    "model-propose": run_model_propose,
    "opening": run_opening,
    "pack": run_pack,
    "package": run_package,
    "package-archive": run_package_archive,
    "possession-proof": run_possession_proof,
    "receipt": run_receipt,
    "record": run_record,
    "record-header": run_record_header,
    "roll": lambda given: {"h": snapshot.roll(given["h"], given["leaf"])},
    "salt": lambda given: {"salt": commitment.derive_salt(**given)},
    "seen": run_seen,
    "segment": run_segment,
    "signature": run_signature,
    "snapshot-entry": run_snapshot_entry,
    "snapshot-proof": run_snapshot_proof,
    "snapshot-tree": run_snapshot_tree,
    "statement": run_statement,
    "trust": run_trust,
    "zip": run_zip,
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vector(path: Path) -> None:
    case = json.loads(path.read_text("utf-8"))
    runner, given = RUNNERS[case["object"]], read(case["input"])
    if case["expect"] == "ok":
        assert diagnostic(runner(given)) == case.get("output", {})
        return
    with pytest.raises(EvidenceError) as caught:
        runner(given)
    assert caught.value.code == case["expect"]


def test_every_decoder_has_good_and_bad_cases() -> None:
    found = {(case["object"], case["expect"] == "ok") for case in (json.loads(path.read_text()) for path in CASES)}
    pure = {
        "audience",
        "command-halt",
        "command-log",
        "device-log-id",
        "fleet-header",
        "fleet-log-id",
        "merkle-root",
        "model-approve",
        "model-line",
        "model-propose",
        "roll",
        "salt",
        "signature",
        "snapshot-tree",
    }
    assert {(name, True) for name in RUNNERS} <= found
    assert {(name, False) for name in RUNNERS.keys() - pure} <= found


def test_every_expected_code_is_listed() -> None:
    listed = set(re.findall(r"`([a-z][a-z0-9_]*)`", (ROOT / "docs/format.md").read_text("utf-8").split("## 18 ")[1]))
    expected = {json.loads(path.read_text())["expect"] for path in VECTORS.parent.glob("*/*/*.json")} - {"ok"}
    assert expected - listed == set()


def test_the_generator_writes_what_is_committed() -> None:
    command = [sys.executable, "-m", "tests.vectors.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
