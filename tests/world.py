"""A whole tenant in memory, with software keys: devices, fleet log, snapshots, receipts, anchors on a chain of
hand-made blocks.

Everything is encoded and signed by the core's own encoders, as the agent and the gateway do it, so that tests can
let any one party lie and see what the verifier says. Nothing here is random: one seed, one world.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edgeseal import cbor, cose, evmproof, merkle, receipt, record
from edgeseal.bundle import AnchorEvidence, Bundle
from edgeseal.bundlewriter import Writer
from edgeseal.commitment import Opening, commit
from edgeseal.container import MemorySource
from edgeseal.fleetlog_event import ANCHORED_TOPIC
from edgeseal.head import Anchored, DeviceHead, FleetHead, HeadClock, Seen, SignedFleetHead
from edgeseal.pack import fleet_log_id
from edgeseal.segment import Item, whole
from edgeseal.snapshot import SnapshotTree, Subjects
from edgeseal.statements import Content, decode, prepare
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment, device_log_id
from edgeseal.statements.keyset import Keyset, Member
from edgeseal.statements.revocation import Revocation
from edgeseal.trust import ChainTrust, Trust
from tests.chainstate import Contracts

CHAIN = 31337
CONTRACT = b"\xc0" * 20
REGISTRY = b"\xc1" * 20
CODE = b"\xcc" * 32
START_MS = 1_760_000_000_000
RUNTIME = ["ai-edge-litert", "2.1.6", "xnnpack", "builtin", 1, "x86_64"]
MODEL = sha256(b"model package").digest()
MODEL_FILE = sha256(b"model file").digest()


class Key:
    """A P-256 key in software."""

    def __init__(self, seed: int) -> None:
        self._private = ec.derive_private_key(seed, ec.SECP256R1())
        numbers = self._private.public_key().public_numbers()
        self.public = cose.PublicKey.of(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))

    @property
    def kid(self) -> bytes:
        return self.public.kid

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return cose.low_s(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def state(self, content: Content) -> bytes:
        unsigned = prepare(content, self.kid)
        return unsigned.assemble(self.sign(unsigned.to_be_signed))

    def fleet_head(self, head: FleetHead) -> bytes:
        protected = head.protected(self.kid)
        return cose.assemble(protected, head.payload(), self.sign(cose.to_be_signed(protected, head.payload())))


@dataclass
class Device:
    """One device: its records, its heads, and what it would have sent."""

    world: World
    key: Key
    name: str
    epoch: int = 1
    prev: list[Any] | None = None
    records: list[record.Record] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    inputs: dict[bytes, bytes] = field(default_factory=dict)
    seen: Seen | None = None
    anchored: Anchored | None = None
    boot: int = 1
    mono: int = 1000
    t: int = START_MS
    last: tuple[int, bytes] = (0, bytes(32))

    @property
    def log(self) -> bytes:
        return device_log_id(self.key.kid)

    @property
    def size(self) -> int:
        return len(self.records)

    def root(self, size: int | None = None) -> bytes:
        return merkle.root(r.leaf for r in self.records[:size])

    def add(self, kind: str, **fields: Any) -> int:
        """Append one record, ten milliseconds after the last; return its seq."""
        self.mono += 10
        self.t += 10
        made = record.make(
            log=self.log,
            seq=self.size,
            boot=self.boot,
            t=self.t,
            mono=self.mono,
            clk=record.Clock("ntp", 5),
            kind=kind,
            fields=fields,
            salt=self.world.random.randbytes(32),
        )
        self.records.append(made)
        return self.size - 1

    def begin(self) -> None:
        """Write genesis and key.bound and sign the head of size 2, as init does."""
        world = self.world
        self.add(
            "genesis",
            device=self.name,
            epoch=self.epoch,
            prev=self.prev,
            root=world.root.kid,
            home=world.log,
            fleet=world.heads[-1],
        )
        self.add(
            "key.bound", key=self.key.public.point, keyset=[world.keyset.version, sha256(world.keysets[-1]).digest()]
        )
        self.seal()
        self.add("boot", reason="start", clean=True, build="1.0", config=bytes(32))

    def seal(self, size: int | None = None, prev: tuple[int, bytes] | None = None) -> bytes:
        """Sign and keep the head of everything so far (or of the first ``size`` records)."""
        size = size or self.size
        prev = prev or self.last
        content = DeviceHead(
            self.log, size, self.root(size), prev, self.seen, self.anchored, HeadClock(self.t, self.mono, self.boot)
        )
        self.last = (size, content.root)
        self.heads.append(self.key.state(content))
        return self.heads[-1]

    def infer(
        self, count: int = 1, model: bytes = MODEL, file: bytes = MODEL_FILE, runtime: list[Any] | None = None
    ) -> None:
        for _ in range(count):
            seq = self.size
            raw = b"image %d of %s" % (seq, self.name.encode())
            output = cbor.encode([bytes([seq % 10]) * 10])
            salt = sha256(self.log + b"%d" % seq).digest()
            self.inputs[sha256(raw).digest()] = raw
            self.openings += [
                Opening(self.log, seq, "input", salt, file=sha256(raw).digest()),
                Opening(self.log, seq, "output", salt, data=output),
            ]
            self.add(
                "inference",
                model=model,
                file=file,
                rt=runtime or RUNTIME,
                input=commit("input", raw, salt),
                tensor=commit("tensor", cbor.encode([raw]), salt),
                output=commit("output", output, salt),
                pub={"class": seq % 10},
                us=900,
                config=bytes(32),
                build="1.0",
            )

    def activate(self, model: bytes = MODEL, file: bytes = MODEL_FILE, cmd: bytes | None = None) -> int:
        return self.add(
            "model.activated", model=model, file=file, name="digits", version="1", cmd=cmd, prev=None, golden=3
        )

    def heartbeat(self, after_s: int = 30) -> int:
        self.mono += after_s * 1000
        self.t += after_s * 1000
        return self.add("heartbeat", up=1, records=self.size, free=1, unsent=0)

    def take_policy(self) -> int:
        return self.add("policy.changed", version=self.world.keyset.version, keyset=self.world.keysets[-1])

    def obey(self, sent: Sent, ok: bool = True) -> None:
        """Record a command as received under a head, and its result."""
        self.add("command.received", id=sent.command.id, cmd=sent.raw, receipt=sent.receipt)
        self.seal()
        if sent.command.action == "model.activate" and ok:
            self.activate(cbor.decode(sent.args, max_size=4096)["model"], cmd=sent.digest)
        self.add("command.result", id=sent.command.id, cmd=sent.digest, ok=ok, reason=None, result=None, pub={})

    def items(self) -> list[Item]:
        return [whole(made.header, made.body) for made in self.records]


@dataclass
class Sent:
    """A command as the gateway delivers it."""

    command: Command
    raw: bytes
    salt: bytes
    args: bytes
    position: int
    receipt: bytes

    @property
    def digest(self) -> bytes:
        return sha256(self.raw).digest()


class World:
    """One tenant: root, gateway and operator keys, its fleet log and its chain."""

    def __init__(self, seed: int = 1, contract: bytes = CONTRACT) -> None:
        self.random = random.Random(seed)
        self.root, self.gateway, self.operator, self.outsider = (Key(seed * 1000 + n) for n in range(1, 5))
        self.log = fleet_log_id(self.root.kid, CHAIN, contract, bytes(32))
        self.keysets: list[bytes] = []
        self.statements: list[bytes] = []
        self.subjects = Subjects()
        self.heads: list[bytes] = []
        self.anchors: list[AnchorEvidence] = []
        self.devices: list[Device] = []
        self.contracts: Contracts | None = None
        """Their storage, if the chain's state is to be proved."""
        self.time_s = START_MS // 1000
        self.last: tuple[int, bytes] = (0, bytes(32))
        self._next_key = seed * 1000 + 100
        self.add(self.next_keyset())
        self.snapshot()
        self.head()

    # Fleet log

    @property
    def size(self) -> int:
        return len(self.statements)

    def root_hash(self, size: int | None = None) -> bytes:
        return merkle.root(map(merkle.leaf_hash, self.statements[:size]))

    def add(self, statement: bytes) -> int:
        """Sequence one statement; return its position."""
        self.subjects.add(self.size, decode(statement))
        self.statements.append(statement)
        return self.size - 1

    def snapshot(self) -> int:
        return self.add(self.gateway.state(self.subjects.tree().statement(self.log, self.size)))

    def snapshot_tree(self) -> SnapshotTree:
        """Return the tree under the last statement, a snapshot: it changed no entry."""
        return self.subjects.tree()

    def head(self, key: Key | None = None) -> bytes:
        """Sign the fleet head of everything so far."""
        content = FleetHead(self.log, self.size, self.root_hash(), self.last)
        self.last = (content.size, content.root)
        self.heads.append((key or self.gateway).fleet_head(content))
        return self.heads[-1]

    def next_keyset(self, members: Iterable[Member] | None = None) -> bytes:
        """Return the next keyset statement, and take it as the newest."""
        members = members or (
            Member(self.gateway.public, "gateway"),
            Member(self.operator.public, "operator", ("enrol", "revoke", "command/*")),
        )
        before = sha256(self.keysets[-1]).digest() if self.keysets else bytes(32)
        self.keyset = Keyset(self.log, len(self.keysets) + 1, before, self.root.public, tuple(members), 1024, 60, 30)
        self.keysets.append(self.root.state(self.keyset))
        return self.keysets[-1]

    def receipt(self, position: int, head: bytes | None = None) -> bytes:
        """Return the receipt of a position under a signed head (the newest)."""
        signed = SignedFleetHead.decode(head or self.heads[-1])
        leaves = [merkle.leaf_hash(raw) for raw in self.statements[: signed.head.size]]
        path = merkle.inclusion_path(leaves, position)
        return receipt.encode_inclusion(signed.signed, signed.head.size, position, path)

    # People

    def device(self, name: str, enrol: bool = True, **fields: Any) -> Device:
        """Make, begin and enrol one device."""
        self._next_key += 1
        made = Device(self, Key(self._next_key), name, **fields)
        made.begin()
        self.devices.append(made)
        if enrol:
            self.enrol(made)
        return made

    def enrol(self, device: Device, by: Key | None = None, **changes: Any) -> int:
        return self.add(self.enrol_statement(device, by, **changes))

    def enrol_statement(self, device: Device, by: Key | None = None, **changes: Any) -> bytes:
        return enrolment(device, by or self.operator, **changes)

    def send(self, device: Device, action: str, args: dict[str, Any], by: Key | None = None, **changes: Any) -> Sent:
        """Sequence a command to one device under a new head; return it as delivered."""
        encoded, salt = cbor.encode(args), self.random.randbytes(32)
        mode, hashed = commit("args", encoded, salt)
        entry = self.subjects.entries.get(device.log.hex())
        fields: dict[str, Any] = {
            "id": self.random.randbytes(16),
            "tenant": self.root.kid,
            "audience": device.log,
            "prev": entry.command if entry and entry.command else bytes(32),
            "expires_size": self.size + 1000,
            "until_ms": None,
            "keyset": self.keyset.version,
            "action": action,
            "args": (mode, hashed),
        }
        command = Command(**{**fields, **changes})
        raw = (by or self.operator).state(command)
        position = self.add(raw)
        self.head()
        device.seen = Seen(self.log, self.size, self.root_hash())
        return Sent(command, raw, salt, encoded, position, self.receipt(position))

    def revoke(self, device: Device, until: int) -> int:
        return self.add(self.operator.state(Revocation(device.key.kid, "device", until, "compromised")))

    def deliver(self, device: Device) -> None:
        """Sequence every head of the device that is not in the fleet log yet."""
        known = set(self.statements)
        for head in device.heads:
            if head not in known:
                self.add(head)

    # Chain

    def succeed(self, device: Device, name: str, epoch: int) -> Device:
        """Close a device's log, and return the device whose log says that it follows; all of both is anchored."""
        second = Device(self, Key(7_777), name, epoch=epoch)
        device.add("closed", reason="key rotation", next=second.log)
        device.seal()
        self.deliver(device)
        second.prev = [device.log, device.size, device.root()]
        second.begin()
        self.devices.append(second)
        self.enrol(second)
        self.deliver(second)
        self.anchor()
        return second

    def anchor(self, tell: bool = True, by: Key | None = None) -> AnchorEvidence:
        """Add a snapshot, sign the head, put it into a block; tell the devices."""
        self.snapshot()
        self.head()
        made = self.put_on_chain(self.size, self.root_hash())
        if tell:
            for device in self.devices:
                device.seen = Seen(self.log, self.size, self.root_hash())
                device.anchored = Anchored(self.log, self.size, self.root_hash(), CHAIN, made.block)
        return made

    def put_on_chain(self, size: int, root: bytes, contract: bytes = CONTRACT) -> AnchorEvidence:
        """Return the evidence that the contract took (size, root), in a block of its own."""
        self.time_s += 12
        word = (size.to_bytes(32, "big"), root, self.gateway.kid, bytes(32))
        log = evmproof.Log(contract, (ANCHORED_TOPIC, self.log), b"".join(word))
        paid = evmproof.encode_receipt(tx_type=2, status=1, cumulative_gas_used=21000, logs_bloom=bytes(256), logs=[])
        ours = evmproof.encode_receipt(
            tx_type=2, status=1, cumulative_gas_used=90000, logs_bloom=bytes(256), logs=[log]
        )
        proof = evmproof.build_receipt_proof([paid, ours], 1)
        number = len(self.anchors) + 1
        state = bytes(32) if self.contracts is None else self.contracts.state_root(size, root)
        header = evmproof.encode_header(
            [
                bytes(32), bytes(32), bytes(20), state, bytes(32), proof.receipts_root, bytes(256), 0, number,
                30_000_000, 90_000, self.time_s, b"", bytes(32), bytes(8), 7,
            ]
        )  # fmt: skip
        block = evmproof.keccak256(header)
        if self.contracts is not None:
            self.contracts.mined(block, header)
        made = AnchorEvidence(CHAIN, contract, block, header, ours, 1, proof.nodes, 0)
        self.anchors.append(made)
        return made

    # Evidence

    def trust(self, kind: str = "public", blocks: Iterable[bytes] | None = None) -> Trust:
        """Return what an honest stranger would be told to trust, this chain's blocks included."""
        known = frozenset(blocks if blocks is not None else (anchor.block for anchor in self.anchors))
        return Trust(self.root.public, self.log, ChainTrust(CHAIN, kind, CONTRACT, REGISTRY, CODE, CODE, known, ()))

    def files(self, devices: Iterable[Device] | None = None, **options: Any) -> dict[str, bytes]:
        """Return a bundle's files.

        Options: items and device_heads (by log id), start (position of the first item), statements (positions to
        keep; None: all), receipts, snapshots (proofs as maps), heads (fleet heads), anchors, consistency (pairs of
        sizes).
        """
        chosen = list(self.devices if devices is None else devices)
        files: dict[str, bytes] = {}
        writer = Writer(files.__setitem__)
        for device in chosen:
            items = options.get("items", {}).get(device.log, device.items())
            writer.records(device.log, [tuple(item.as_list()) for item in items], options.get("start", 0))
            writer.heads(device.log, options.get("device_heads", {}).get(device.log, device.heads))
            writer.openings(device.log, device.openings)
            for raw in device.inputs.values():
                writer.input(raw)
        kept = options.get("statements")
        writer.statements((p, raw) for p, raw in enumerate(self.statements) if kept is None or p in kept)
        writer.receipts(options.get("receipts", ()))
        writer.fleet(
            self.log,
            options.get("heads", self.heads),
            [self.consistency(*pair) for pair in options.get("consistency", ())],
            options.get("snapshots", []),
        )
        for anchor in options.get("anchors", self.anchors):
            writer.anchor(anchor)
        for digest, package in options.get("packages", {}).items():
            writer.package(digest, package)
        writer.finish()
        return files

    def consistency(self, size1: int, size2: int) -> tuple[int, int, list[bytes]]:
        leaves = [merkle.leaf_hash(raw) for raw in self.statements[:size2]]
        return size1, size2, merkle.consistency_path(leaves, size1)

    def bundle(self, devices: Iterable[Device] | None = None, **options: Any) -> Bundle:
        return Bundle(MemorySource(self.files(devices, **options)))


def enrolment(device: Device, by: Key, **changes: Any) -> bytes:
    """Return a signed enrolment of a device with a software key."""
    fields: dict[str, Any] = {
        "key": device.key.public,
        "genesis": device.records[0].leaf,
        "name": device.name,
        "assurance": "softhsm",
        "evidence": None,
        "groups": ("all",),
        "cadence_s": 30,
    }
    return by.state(Enrolment(**{**fields, **changes}))


def simple(seed: int = 1) -> tuple[World, Device]:
    """Return a world with one enrolled device that activated a model, inferred, kept its cadence and was anchored
    twice.
    """
    world = World(seed)
    world.anchor(tell=False)
    device = world.device("cam-1")
    world.anchor()
    sent = world.send(device, "model.activate", {"model": MODEL})
    device.obey(sent)
    device.infer(20)
    device.heartbeat()
    device.seal()
    world.deliver(device)
    world.anchor()
    device.infer(10)
    device.heartbeat()
    device.seal()
    world.deliver(device)
    world.anchor(tell=False)
    return world, device
