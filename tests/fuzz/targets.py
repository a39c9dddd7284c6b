"""Every decoder of untrusted bytes in the core, with good inputs to start from: those of the vectors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from edgeseal import (
    attestation,
    bodies,
    bundle,
    cbor,
    commitment,
    cose,
    ekchain,
    head,
    messages,
    network,
    possession,
    record,
    schema,
    segment,
    snapshot,
    statements,
    topics,
    tpmstate,
    tpmstruct,
    trust,
)
from edgeseal.container import MemorySource, ZipSource
from edgeseal.errors import EvidenceError, FormatError
from edgeseal.evmproof import (
    build_receipt_proof,
    decode_header,
    decode_receipt,
    keccak256,
    rlp,
    trie,
    verify_header,
    verify_log,
)
from edgeseal.evmproof.state import verify_accounts, verify_slots
from edgeseal.fleetlog_event import decode_anchored
from edgeseal.pack import Pack
from edgeseal.receipt import Receipt
from edgeseal.statements.command import Command
from edgeseal.statements.snapshot import Snapshot
from edgeseal.verify import fastread
from tests.vectors import world
from tests.vectors.encoding import cbor as encode
from tests.vectors.parts import attestations, bundles, exchanges, records, snapshots, trust_files
from tests.vectors.zips import Member, archive, deflated
from tests.world import Key

EVM = Path(__file__).parents[1] / "vectors" / "evm"
GATEWAY = cose.PublicKey.of(world.GATEWAY.x, world.GATEWAY.y)
DEVICE = cose.PublicKey.of(world.DEVICE.x, world.DEVICE.y)
HOLDER = Key(0x51)
_PLACE = possession.Place(31337, b"\x11" * 20, b"\x22" * 32, b"\x33" * 32)
CHALLENGES: list[possession.Challenge] = [
    possession.Possession(_PLACE, HOLDER.kid, "device", 7, bytes(32), b"\x55" * 32, 1_800_000_000),
    possession.Rotation(_PLACE, HOLDER.kid, b"\x44" * 32, bytes(32), b"\x55" * 32, 1_800_000_000),
]


@dataclass(frozen=True)
class Target:
    """A decoder and the good inputs that are damaged for it."""

    decode: Callable[[bytes], object]
    seeds: list[bytes]


def targets() -> dict[str, Target]:
    """Every target by name."""
    return core() | tpm() | in_bundles() | on_the_wire() | chain() | texts()


def core() -> dict[str, Target]:
    headers = [header for header, _ in world.RECORDS]
    made = [encode(world.body(kind, **fields)) for kind, fields in records.BODIES.values()]
    keys = [encode({1: 2, -1: 1, -2: key.x, -3: key.y}) for key in (world.ROOT, world.DEVICE)]
    openings = [encode(opening) for opening in bundles.OPENINGS]
    return {
        "cbor": Target(lambda data: cbor.decode(data, max_size=65_536), [*headers, *made, encode(snapshots.proof())]),
        "cose": Target(lambda data: cose.decode(data, limit=32_768), world.STATEMENTS),
        "key": Target(cose.PublicKey.decode, keys),
        "opening": Target(commitment.Opening.decode, openings),
        "record-header": Target(record.Header.decode, headers),
        "record-body": Target(any_body, made),
        "record-header-fast": Target(same_header, headers),
        "inference-fast": Target(same_inference, [world.RECORDS[3][1]]),
        "device-head": Target(device_head, [world.DEVICE_HEAD_2, world.DEVICE_HEAD_6]),
        "fleet-head": Target(fleet_head, [world.FLEET_HEAD_2, world.FLEET_HEAD_8]),
        "statement": Target(statements.decode, world.STATEMENTS),
        "command-args": Target(command_args, [world.ARGS, encode({"model": bytes(32)})]),
        "receipt": Target(receipt, [world.COMMAND_RECEIPT]),
        "snapshot-entry": Target(snapshot.Entry.decode, world.ENTRIES_8),
        "snapshot-proof": Target(snapshot_proof, [encode(item) for item in proofs()]),
        "pack": Target(pack, [a_pack()]),
    }


def tpm() -> dict[str, Target]:
    ak = cose.PublicKey.of(attestations.TPM.ak.x, attestations.TPM.ak.y)
    whole, held = attestations.evidence()["evidence"], attestations.state()["evidence"]
    chain = [attestations.MAKER.certify(attestations.TPM.ek), attestations.MIDDLE.certificate]
    publics = [attestations.TPM.ek_public(), attestations.TPM.ak_public()]
    return {
        "tpm-public": Target(tpmstruct.public, publics),
        "tpm-quote": Target(lambda data: tpmstruct.attested(data, tpmstruct.QUOTE), [attestations.TPM.quoted(b"x")[0]]),
        "nv-public": Target(tpmstruct.nv_index, [attestations.TPM.nv_public()]),
        "enrolment-evidence": Target(unwarned(attestation.check), [whole]),
        "attest-evidence": Target(lambda data: tpmstate.check(data, world.LOG, ak), [held]),
        "ek-certificate": Target(unwarned(ek_certificate), chain),
    }


def unwarned(decode: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """The decoder, without the library's warnings about what it reads all the same."""

    def quietly(data: bytes) -> object:
        with warnings.catch_warnings(action="ignore"):
            return decode(data)

    return quietly


def ek_certificate(data: bytes) -> None:
    ekchain.check_leaf(data, tpmstruct.public(attestations.TPM.ek_public()))
    ekchain.authority(data, [attestations.MAKER.certificate], [bytes(32)])


def on_the_wire() -> dict[str, Target]:
    found = {"segment": Target(segment.decode, [encode(item) for item in segments()])}
    by_kind: dict[str, list[bytes]] = {}
    for kind, fields in exchanges.MESSAGES.values():
        by_kind.setdefault(kind, []).append(encode(exchanges.BASE | fields))
    for kind, seeds in by_kind.items():
        topic = topics.parse(f"edgeseal/v1/{world.LOG.hex()}/{kind}")
        found[f"message {kind}"] = Target(lambda data, topic=topic: messages.decode(topic, data), seeds)  # type: ignore[misc]
    names = [f"edgeseal/v1/{world.LOG.hex()}/{kind}".encode() for kind in by_kind]
    return found | {"topic": Target(lambda data: topics.parse(data.decode("utf-8", "surrogateescape")), names)}


def in_bundles() -> dict[str, Target]:
    whole = bundles.contents() | bundles.chain_state()
    found: dict[str, Target] = {}
    for label, name in {
        "index": "index.json",
        "records": bundles.RECORDS_NAME,
        "heads": bundles.HEADS_NAME,
        "statements": bundles.STATEMENTS_NAME,
        "receipts": bundles.RECEIPTS_NAME,
        "fleet-heads": "proofs/fleet-heads.cbor",
        "consistency": "proofs/consistency.cbor",
        "snapshots": "proofs/snapshots.cbor",
        "anchor": bundles.ANCHOR_NAME,
        "accounts": bundles.ACCOUNTS_NAME,
        "storage": bundles.STORAGE_NAME,
        "commands on chain": bundles.LOGGED_NAME,
        "key": bundles.KEY_NAME,
        "openings": bundles.OPENINGS_NAME,
    }.items():
        found[f"bundle {label}"] = Target(lambda data, name=name: read_all({name: data}), [whole[name]])  # type: ignore[misc]
    zips = [
        archive([Member(name, data[:300]) for name, data in list(whole.items())[:4]]),
        archive([deflated("README", b"evidence " * 20), Member("index.json", whole["index.json"])]),
    ]
    return found | {"zip": Target(read_zip, zips)}


def chain() -> dict[str, Target]:
    cases = [json.loads(path.read_text())["input"] for path in sorted(EVM.glob("log/*.json"))]
    rlps = [bytes.fromhex(json.loads(path.read_text())["input"]["encoded"]) for path in sorted(EVM.glob("rlp/*.json"))]
    receipts = [bytes.fromhex(case["receipt"]) for case in cases]
    return {
        "rlp": Target(rlp.decode, rlps),
        "block-header": Target(decode_header, [bytes.fromhex(case["header"]) for case in cases]),
        "tx-receipt": Target(decode_receipt, receipts),
        "event": Target(event, receipts),
        "trie-node": Target(trie_node, [bytes.fromhex(node) for case in cases for node in case["proof_nodes"]]),
        "accounts-proof": Target(lambda data: state_proof(data, "accounts", verify_accounts), state_proofs("accounts")),
        "slots-proof": Target(lambda data: state_proof(data, "slots", verify_slots), state_proofs("slots")),
        "log-proof": Target(log_proof, [encode(log_evidence())]),
        "log-of-receipt": Target(log_of_receipt, receipts),
    }


def texts() -> dict[str, Target]:
    return {
        "trust": Target(trust.parse, [trust_files.LEAST.encode(), trust_files.FULL.encode()]),
        "network": Target(network.NetworkProfile.decode, [a_profile()]),
        "proof of possession": Target(
            possession.Proof.decode,
            [possession.Proof(one, HOLDER.public, HOLDER.sign(one.message())).encode() for one in CHALLENGES],
        ),
    }


def any_body(data: bytes) -> None:
    """The body under every kind; refused when none takes it."""
    refused = 0
    for kind in bodies.BODIES:
        try:
            record.decode_body(kind, data)
        except EvidenceError as error:
            assert error.code == "body_malformed"
            refused += 1
    if refused == len(bodies.BODIES):
        record.decode_body("hologram.shown", data)
        raise FormatError("body_malformed", "of no known kind")


def same_header(data: bytes) -> None:
    """The header by the fast reader, which must say what the decoder says."""
    found = outcome(lambda: fastread.reader(world.LOG)(data))
    expected = outcome(lambda: header_fields(record.Header.decode(data)))
    assert found == expected
    if isinstance(found, str):
        raise FormatError(found, "refused by both")


def header_fields(header: record.Header) -> tuple[Any, ...]:
    seq = header.seq if header.log == world.LOG else -1
    return seq, header.boot, header.t, header.mono, header.kind, header.body


def same_inference(data: bytes) -> None:
    """The inference body by the fast reader, which must say what the decoder says."""
    found = outcome(lambda: fastread.inference_reader()(data))
    expected = outcome(lambda: inference_digests(record.decode_body("inference", data)))
    assert found == expected
    if isinstance(found, str):
        raise FormatError(found, "refused by both")


def inference_digests(fields: dict[str, Any]) -> tuple[Any, ...]:
    return fields["model"], fields["file"]


def outcome(call: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...] | str:
    """What came back, or the code of the refusal."""
    try:
        return call()
    except FormatError as error:
        return error.code


def device_head(data: bytes) -> None:
    head.SignedDeviceHead.decode(data).verify(DEVICE)


def fleet_head(data: bytes) -> None:
    head.SignedFleetHead.decode(data).verify(GATEWAY)


def command_args(data: bytes) -> None:
    for action in ("ping", "model.activate"):
        args = world.commitment("args", data, world.ARGS_SALT)
        Command.from_payload(encode(world.command(action=action, args=args))).open_args(world.ARGS_SALT, data)


def receipt(data: bytes) -> None:
    found = Receipt.decode(data)
    found.verify_inclusion(GATEWAY, world.FLEET_LEAVES_5[4])


def snapshot_proof(data: bytes) -> None:
    proof = snapshot.proof_from_map(cbor.decode(data, max_size=65_536))
    proof.verify(Snapshot.from_payload(snapshots.SNAPSHOT))


def proofs() -> list[Any]:
    between = snapshots.absence(snapshots.between(0), snapshots.located(0), snapshots.located(1))
    return [snapshots.proof(0), snapshots.proof(2), between, snapshots.absence("#", None, snapshots.located(0))]


def a_pack() -> bytes:
    fields = {"v": 1, "root": world.ROOT.point, "chain": world.CHAIN, "contract": world.CONTRACT, "nonce": world.NONCE}
    return encode(fields | {"log": world.FLEET, "keyset": world.STATEMENTS[0], "head": world.FLEET_HEAD_2})


def pack(data: bytes) -> None:
    Pack.decode(data).verify()


def segments() -> list[dict[str, Any]]:
    whole: list[list[Any]] = [[0, header, body] for header, body in world.RECORDS]
    mixed = [[1, world.RECORDS[2][0], "quota"], [2, world.LEAVES[3], "too_large"], *whole[4:]]
    base = {"v": 1, "log": world.LOG, "head": world.DEVICE_HEAD_6}
    return [base | {"from": 0, "items": whole}, base | {"from": 2, "items": mixed}, base | {"from": 6, "items": []}]


def read_all(files: dict[str, bytes]) -> None:
    """A bundle of these files, read to its end."""
    found = bundle.Bundle(MemorySource(files))
    found.index()
    for log in found.logs():
        list(found.records(log)), list(found.heads(log))
    list(found.openings(world.LOG)), list(found.statements()), list(found.receipts())
    list(found.anchors()), list(found.public_keys())
    list(found.accounts()), list(found.storage()), list(found.commands())
    found.fleet_heads(), found.consistency(), found.snapshot_proofs(), found.packages()


def read_zip(data: bytes) -> None:
    source = ZipSource(BytesIO(data))
    for name in source.names():
        source.read(name)


def event(data: bytes) -> None:
    for log in decode_receipt(data).logs:
        decode_anchored(log)


def state_proofs(part: str) -> list[bytes]:
    """Good proofs of accounts or slots: root, keys and nodes, as CBOR."""
    found = [json.loads(path.read_text()) for path in sorted(EVM.glob(f"{part}/*.json"))]
    good = [case["input"] for case in found if case["expect"] == "ok"]
    return [
        encode([bytes.fromhex(root), *([bytes.fromhex(one) for one in many] for many in (keys, nodes))])
        for root, keys, nodes in (case.values() for case in good)
    ]


def state_proof(data: bytes, part: str, check: Callable[[bytes, list[bytes], list[bytes]], object]) -> None:
    """Root, keys and nodes of a proof, where they are such."""
    size = 20 if part == "accounts" else 32
    fields = cbor.decode(data, max_size=1 << 20)
    shape = schema.row(schema.digest, schema.items(schema.binary(size, size), 1_024), schema.items(_NODE, 16_384))
    shape(fields, part)
    check(*fields)


_NODE = schema.binary(1, 1_024)


def trie_node(data: bytes) -> None:
    """A root that names these bytes: only so do they get past their hash."""
    trie.verify_inclusion(keccak256(data), b"\x80", b"value", [data])


@cache
def log_evidence() -> tuple[list[bytes], bytes, list[bytes]]:
    """Header fields after the receipts root is known, receipt, proof nodes of a block of 17."""
    case = json.loads((EVM / "log" / "block-17-receipt-15.json").read_text())["input"]
    header = rlp.decode(bytes.fromhex(case["header"]))
    assert isinstance(header, list)
    fields = [field for field in header if isinstance(field, bytes)]
    return fields, bytes.fromhex(case["receipt"]), [bytes.fromhex(node) for node in case["proof_nodes"]]


def log_proof(data: bytes) -> None:
    """Header, receipt and nodes out of one damaged CBOR array, under the hash the header then has."""
    parts = cbor.decode(data, max_size=65_536)
    if type(parts) is not list or len(parts) != 3 or not all(type(part) is list for part in (parts[0], parts[2])):
        return
    if type(parts[1]) is not bytes or not all(type(item) is bytes for item in (*parts[0], *parts[2])):
        return
    header = rlp.encode(parts[0])
    verify_log(keccak256(header), header, parts[1], 15, parts[2], world.CONTRACT, 0)


def log_of_receipt(data: bytes) -> None:
    """A damaged receipt in a block of its own: only so does it get past the trie."""
    if not data:
        return
    proof = build_receipt_proof([data, b"\x02"], 0)
    fields = [proof.receipts_root if place == 5 else field for place, field in enumerate(log_evidence()[0])]
    header = rlp.encode(fields)
    assert verify_header(keccak256(header), header).receipts_root == proof.receipts_root
    verify_log(keccak256(header), header, data, 0, proof.nodes, world.CONTRACT, 0)


def a_profile() -> bytes:
    code = sha256(b"code").digest()
    key = cose.PublicKey.of(world.ROOT.x, world.ROOT.y)
    return network.NetworkProfile(
        world.CHAIN, "operator", world.CONTRACT, bytes(20), code, code, ("http://127.0.0.1:8545",), key, world.NONCE,
        world.FLEET,
    ).encode()  # fmt: skip
