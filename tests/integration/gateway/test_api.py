"""The HTTP API over a real store: what ``gateway/API.md`` promises, and who may ask."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeseal import cbor, merkle, segment, statements
from edgeseal.adapters.packagedir import read_package
from edgeseal.cose import PublicKey
from edgeseal.errors import UsageError
from edgeseal.head import SignedFleetHead
from edgeseal.merkle import leaf_hash, verify_consistency, verify_inclusion
from edgeseal.model import encode_package, package_digest
from edgeseal.pack import Pack
from edgeseal.receipt import Receipt
from edgeseal.snapshot import AbsenceProof, SnapshotProof, proof_from_map
from edgeseal.statements.snapshot import Snapshot
from edgeseal_gateway.board import Board
from edgeseal_gateway.config import ApiConfig
from edgeseal_gateway.index import Indexer
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.server import Server, read_tokens
from tests.gatewaystore import Founded
from tests.tenant import segment_of
from tests.world import Device

PACKAGE = Path(__file__).parents[3] / "models" / "digits" / "package"


class Served:
    """A store with one device of 300 records in it, two anchors, and the API over it."""

    def __init__(self, founded: Founded, folder: Path, tokens: frozenset[str] = frozenset()) -> None:
        self.founded, self.folder = founded, folder
        self.board, self.woken = Board(), 0
        (folder / "packages").mkdir(exist_ok=True)
        parts = Parts(
            founded.database, folder / "index.db", folder / "packages", founded.profile,
            founded.signer.public_key.kid, self.board, self.wake, tokens,
        )  # fmt: skip
        self.failed: list[BaseException] = []
        self.server = Server(ApiConfig("127.0.0.1", 0, None, None), parts)
        self.server.start(self.failed.append)
        self.http = httpx.Client(base_url=self.server.url, timeout=60)

    def close(self) -> None:
        self.http.close()
        self.server.stop()
        assert self.failed == []

    def wake(self) -> None:
        self.woken += 1

    def index(self) -> None:
        indexer = Indexer(self.founded.database, self.folder / "index.db")
        while indexer.step():
            pass
        indexer.close()

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer: httpx.Response = self.http.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def cbor(self, path: str, **query: Any) -> Any:
        answer: httpx.Response = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/cbor"
        return cbor.decode(answer.content, max_size=1 << 26, max_items=1 << 20)


@pytest.fixture
def served(founded: Founded, tmp_path: Path) -> Iterator[Served]:
    made = Served(founded, tmp_path)
    yield made
    made.close()


@pytest.fixture
def device(served: Served) -> Device:
    founded = served.founded
    founded.finish_anchor(2)
    made = founded.device()
    founded.take(made, segment_of(made, 0))
    made.activate()
    made.infer(300)
    made.add("state", name="door", pub={"open": True, "raw": b"\x01"})
    made.seal()
    founded.take(made, segment_of(made, 2))
    founded.monotonic += 1_000_000
    founded.finish_anchor(founded.sequence())
    made.infer(2)
    made.seal()
    founded.take(made, segment_of(made, 305))
    founded.sequence()
    served.index()
    return made


def test_the_pack_is_one_a_device_can_start_from(served: Served) -> None:
    pack = Pack.decode(served.http.get("/v1/pack").content)
    keyset, head = pack.verify()
    assert (keyset.version, head.size) == (1, 2)
    network = served.get("/v1/network")
    assert network["fleet_log"] == pack.log.hex() and network["size"] == 2
    assert network["gateway_kid"] == served.founded.signer.public_key.kid.hex()


def test_devices_and_history(served: Served, device: Device) -> None:
    listed = served.get("/v1/devices")["devices"]
    shown = served.get(f"/v1/devices/{device.log.hex()}")
    assert listed == [shown]
    assert (shown["name"], shown["size"], shown["anchored_size"], shown["state"]) == ("cam-1", 307, 305, "active")
    assert (shown["model"]["name"], shown["model"]["version"]) == ("digits", "1")
    path = f"/v1/devices/{device.log.hex()}/history"
    first = served.get(path, limit=10)
    assert [one["kind"] for one in first["records"][:4]] == ["genesis", "key.bound", "boot", "model.activated"]
    assert (first["next"], first["indexed"]) == (10, 307)
    found = first["records"]
    page = first
    while page["next"] is not None:
        page = served.get(path, **{"from": page["next"]})
        found += page["records"]
    assert [one["leaf"] for one in found] == [made.leaf.hex() for made in device.records]
    (state,) = served.get(path, kind="state")["records"]
    assert state["body"]["pub"] == {"open": True, "raw": "01"} and state["seq"] == 304


def test_every_record_has_its_proof(served: Served, device: Device) -> None:
    for seq in (0, 1, 2, 17, 255, 256, 300, 304, 305, 306):
        proof = served.get(f"/v1/devices/{device.log.hex()}/records/{seq}/proof")
        item = segment.item_from_list(cbor.decode(bytes.fromhex(proof["item"]), max_size=100_000))
        assert item.leaf == device.records[seq].leaf == bytes.fromhex(proof["leaf"])
        path = [bytes.fromhex(node) for node in proof["path"]]
        verify_inclusion(item.leaf, seq, proof["size"], path, bytes.fromhex(proof["root"]))
        receipt = Receipt.decode(bytes.fromhex(proof["receipt"]))
        head = receipt.verify_inclusion(served.founded.signer.public_key, leaf_hash(bytes.fromhex(proof["head"])))
        assert (head.size, receipt.index) == (proof["fleet_size"], proof["pos"])
        assert (proof["anchor"] is None) == (seq >= 305)
    assert served.get(f"/v1/devices/{device.log.hex()}/records/307/proof", 404)["code"] == "not_sequenced"


def test_export_is_the_whole_evidence(served: Served, device: Device) -> None:
    founded = served.founded
    contents = served.get("/v1/export/index")
    size = contents["size"]
    assert contents["devices"] == [
        {"log": device.log.hex(), "kid": device.key.kid.hex(), "size": 307, "heads": len(device.heads)}
    ]
    pages = [served.cbor("/v1/export/statements", **{"from": at, "limit": 2}) for at in range(0, size, 2)]
    made = [entry for page in pages for entry in page]
    assert [pos for pos, _ in made] == list(range(size))
    assert served.cbor("/v1/export/statements", **{"from": size}) == []
    assert len(served.cbor("/v1/export/statements", below=3)) == 3
    raw_heads = served.cbor("/v1/export/fleet-heads")
    heads = [SignedFleetHead.decode(raw).verify(founded.signer.public_key) for raw in raw_heads]
    assert heads[-1].root == merkle.root(leaf_hash(raw) for _, raw in made)
    for (pos, raw), data in zip(made, served.cbor("/v1/export/receipts", size=size), strict=True):
        receipt = Receipt.decode(data)
        assert receipt.index == pos
        receipt.verify_inclusion(founded.signer.public_key, leaf_hash(raw))
    sizes = [head.size for head in heads]
    proofs = served.cbor("/v1/export/consistency", sizes=",".join(map(str, sizes)))
    for (one, two, path), old, new in zip(proofs, heads, heads[1:], strict=False):
        verify_consistency(one, two, old.root, new.root, path)
    (only,) = served.cbor("/v1/export/fleet-heads", sizes=str(sizes[0]))
    assert SignedFleetHead.decode(only).head.size == sizes[0]
    assert served.cbor(f"/v1/export/heads/{device.log.hex()}") == device.heads
    records, at = [], 0
    while True:
        page = served.cbor(f"/v1/export/records/{device.log.hex()}", **{"from": at, "limit": 100})
        assert (page["v"], page["log"], page["from"]) == (1, device.log, at)
        if not page["items"]:
            break
        records += page["items"]
        at += len(page["items"])
    assert records == [[0, made.header, made.body] for made in device.records]
    keys = {PublicKey.decode(cbor.encode(key)).kid for key in served.cbor("/v1/export/keys")}
    assert keys == {key.kid for key in (device.key, founded.tenant.root, founded.tenant.operator)} | {
        founded.signer.public_key.kid
    }


def test_export_of_snapshots(served: Served, device: Device) -> None:
    contents = served.get("/v1/export/index")
    pos = max(one["pos"] for one in contents["snapshots"] if one["anchored"])
    statement = statements.decode(served.cbor("/v1/export/statements", **{"from": pos, "limit": 1})[0][1])
    assert isinstance(statement.content, Snapshot)
    mine, nobody = (
        proof_from_map(one) for one in served.cbor("/v1/export/snapshots", pos=pos, sub=[device.log.hex(), "nobody"])
    )
    assert isinstance(mine, SnapshotProof) and isinstance(nobody, AbsenceProof)
    entry = mine.verify(statement.content)
    assert entry.head is not None and entry.head[0] == 305
    nobody.verify(statement.content)
    assert len(served.cbor("/v1/export/snapshots", pos=pos)) == statement.content.count
    assert served.get("/v1/export/snapshots", 400, pos=0)["code"] == "no_snapshot"


def test_statements_are_handed_in_and_waited_for(served: Served) -> None:
    founded = served.founded
    device = founded.tenant.device_of("cam")
    body = {"statement": founded.tenant.enrolment(device).hex()}
    answer = served.http.post("/v1/statements", json=body)
    assert answer.status_code == 202 and served.woken == 1
    digest = answer.json()["digest"]
    assert served.get(f"/v1/statements/{digest}")["state"] == "queued"
    founded.sequence()
    found = served.get(f"/v1/statements/{digest}", wait=5)
    assert (found["state"], found["pos"], found["anchor"]) == ("sequenced", 2, None)
    receipt = Receipt.decode(bytes.fromhex(found["receipt"]))
    receipt.verify_inclusion(founded.signer.public_key, leaf_hash(bytes.fromhex(found["statement"])))
    assert served.http.post("/v1/statements", json=body).json()["pos"] == 2
    stale = founded.tenant.enrolment(device, name="other").hex()
    assert served.http.post("/v1/statements", json={"statement": stale}).status_code == 409
    bad = founded.tenant.enrolment(founded.tenant.device_of("x"), by=founded.tenant.outsider).hex()
    refused = served.http.post("/v1/statements", json={"statement": bad})
    assert refused.status_code == 400 and refused.json()["code"] == "role_missing"
    junk = (b"", b"[]", b"{}", b'{"statement": 1}', b'{"statement": "zz"}', b"[" * 100_000, b'{"statement":"","x":1}')
    for body_bytes in junk:
        assert served.http.post("/v1/statements", content=body_bytes).status_code == 400
    assert served.http.post("/v1/statements", content=bytes(1 << 20)).status_code == 413
    assert served.get("/v1/statements/" + "0" * 64, 404)["code"] == "statement_unknown"


def test_commands_and_their_results(served: Served) -> None:
    founded = served.founded
    device = founded.device()
    asked = served.get("/v1/audience", log=device.log.hex())
    assert asked == {"prev": "0" * 64, "size": 3, "keyset": 1}
    statement, salt, args = founded.tenant.command(device.log, bytes(32), {"text": "hi"})
    body = {"statement": statement.hex(), "salt": salt.hex(), "args": args.hex()}
    digest = served.http.post("/v1/statements", json=body).json()["digest"]
    assert served.get("/v1/audience", log=device.log.hex())["prev"] == digest
    assert served.get("/v1/audience", 400)["code"] == "query"
    founded.sequence()
    (shown,) = served.get("/v1/commands")["commands"]
    assert (shown["digest"], shown["arguments"], shown["action"]) == (digest, {"text": "hi"}, "ping")
    assert shown["results"] == [{"log": device.log.hex(), "state": "sent", "reason": None, "seq": None}]
    device.add("command.received", id=bytes(16), cmd=statement, receipt=b"r")
    seq = device.add(
        "command.result", id=bytes(16), cmd=sha256(statement).digest(), ok=False, reason="no_way", result=None, pub={}
    )
    device.seal()
    founded.take(device, segment_of(device, 0))
    served.index()
    (shown,) = served.get("/v1/commands", log=device.log.hex())["commands"]
    assert shown["results"] == [{"log": device.log.hex(), "state": "failed", "reason": "no_way", "seq": seq}]
    assert served.get("/v1/commands", group="all")["commands"] == []


def test_packages_come_and_go_whole(served: Served) -> None:
    files = read_package(PACKAGE)
    digest, archive = package_digest(files), encode_package(files)
    path = f"/v1/packages/{digest.hex()}"
    assert served.get(path, 404)["code"] == "package_unknown"
    assert served.http.put(f"/v1/packages/{'0' * 64}", content=archive).status_code == 400
    assert served.http.put(path, content=archive[:-1]).status_code == 400
    for _ in range(2):
        assert served.http.put(path, content=archive).status_code == 201
    assert served.http.get(path).content == archive
    (shown,) = served.get("/v1/packages")["packages"]
    assert (shown["digest"], shown["bytes"]) == (digest.hex(), len(archive))
    assert [one.name for one in (served.folder / "packages").iterdir()] == [f"{digest.hex()}.cbor"]


def test_status_health_and_the_page(served: Served, device: Device) -> None:
    state = served.get("/v1/status")
    assert (state["records"], state["devices"]["active"], state["signing_blocked"]) == (307, 1, None)
    assert served.get("/v1/health") == {"status": "ok"}
    served.board.say("broker", UsageError("broker_unreachable", "<b>gone</b>", "start it"))
    assert served.get("/v1/health", 503) == {"status": "degraded", "reasons": ["broker_unreachable"]}
    text = served.http.get("/").text
    assert "cam-1" in text and "&lt;b&gt;gone&lt;/b&gt;" in text and "<b>gone" not in text
    served.board.say("broker", None)
    assert served.get("/v1/health") == {"status": "ok"}
    assert served.get("/v1/revoked") == {"keys": []}
    assert [one["version"] for one in served.get("/v1/keysets")["keysets"]] == [1]
    assert served.cbor("/v1/export/evidence") == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/devices/xyz", "/v1/devices/" + "A" * 64, "/v1/statements/zz", "/v1/export/receipts?size=999",
        "/v1/export/statements?from=-1", "/v1/export/consistency?sizes=3,1", "/v1/export/consistency?sizes=1,99",
        "/v1/export/consistency?sizes=x", "/v1/nothing", "/v1/devices/" + "0" * 64, "/v1/export/records/" + "0" * 64,
        "/v1/export/statements?from=999999999999999999999999",
    ],
)  # fmt: skip
def test_bad_questions_get_an_answer_with_a_code(served: Served, path: str) -> None:
    answer = served.http.get(path)
    assert answer.status_code in (400, 404) and answer.json()["code"]


def test_who_may_come_in(served: Served, founded: Founded, tmp_path: Path) -> None:
    hosts = {"localhost:1": 200, "[::1]:8420": 200, "evil.example": 401, "127.0.0.1.evil.example": 401}
    for host, status in hosts.items():
        assert served.http.get("/v1/health", headers={"host": host}).status_code == status
    (tmp_path / "tokens").write_text("a-token-of-some-length\nanother-token-of-length\n")
    tokens = read_tokens(tmp_path / "tokens")
    closed = Served(founded, tmp_path, tokens)
    assert closed.http.get("/v1/health").status_code == 401
    for token, status in (("another-token-of-length", 200), ("another-token-of-lengt", 401), ("ü" * 20, 401)):
        headers = {b"authorization": f"Bearer {token}".encode()}
        assert closed.http.get("/v1/health", headers=headers).status_code == status
    closed.close()
    (tmp_path / "short").write_text("short")
    with pytest.raises(UsageError):
        read_tokens(tmp_path / "short")
    assert read_tokens(None) == frozenset()
