"""One tenant for the gateway's tests: root, operator and devices in software, a fleet log that the gateway itself
keeps.

Devices are those of ``tests.world``; what they would send is made here.
"""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Any

from edgeseal import cbor, cose, segment
from edgeseal.commitment import commit
from edgeseal.head import Seen
from edgeseal.network import NetworkProfile
from edgeseal.pack import Pack, fleet_log_id
from edgeseal.statements import Content
from edgeseal.statements.command import Command
from edgeseal.statements.keyset import Keyset, Member
from edgeseal.statements.revocation import Revocation
from tests import world
from tests.world import Device, Key, enrolment

SCOPES = ("enrol", "revoke", "command/*")


class SoftSigner:
    """The gateway's key in software, as :class:`edgeseal_gateway.sequencer.Signer` wants it; keeps what it signed."""

    def __init__(self, seed: int = 77) -> None:
        self._key = Key(seed)
        self.public_key = self._key.public
        self.signed: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        self.signed.append(message)
        return self._key.sign(message)


class Tenant(world.World):
    """Keys, keysets and devices of one tenant; the log is somebody else's."""

    def __init__(self, profile: NetworkProfile, root: Key, gateway: cose.PublicKey, seed: int = 5) -> None:
        self.random = random.Random(seed)
        self.profile = profile
        self.root = root
        self.operator, self.outsider = Key(seed * 1000 + 3), Key(seed * 1000 + 4)
        self.log = profile.fleet_log
        self.keysets: list[bytes] = []
        self.heads: list[bytes] = []
        self.devices: list[Device] = []
        self.gateway_key = gateway
        self._next_key = seed * 1000 + 100
        self.next_keyset()

    def next_keyset(self, members: Any = None, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "log": self.log,
            "version": len(self.keysets) + 1,
            "prev": sha256(self.keysets[-1]).digest() if self.keysets else bytes(32),
            "root": self.root.public,
            "members": tuple(
                members or (Member(self.gateway_key, "gateway"), Member(self.operator.public, "operator", SCOPES))
            ),
            "anchor_size": 100_000,
            "anchor_secs": 100_000,
            "cadence_s": 30,
        }
        self.keyset = Keyset(**{**fields, **changes})
        self.keysets.append(self.root.state(self.keyset))
        return self.keysets[-1]

    def take_pack(self, data: bytes) -> None:
        """Let new devices start from this provisioning pack."""
        pack = Pack.decode(data)
        pack.verify()
        self.heads.append(pack.head)

    def device_of(self, name: str) -> Device:
        """Return a device that has begun its log and is not enrolled."""
        self._next_key += 1
        made = Device(self, Key(self._next_key), name)
        made.begin()
        self.devices.append(made)
        return made

    def enrolment(self, device: Device, by: Key | None = None, **changes: Any) -> bytes:
        return enrolment(device, by or self.operator, **changes)

    def command(
        self, audience: bytes | str, prev: bytes, args: dict[str, Any], by: Key | None = None, **changes: Any
    ) -> tuple[bytes, bytes, bytes]:
        """Return a command with its opening: (statement, salt, argument bytes)."""
        encoded, salt = cbor.encode(args), self.random.randbytes(32)
        mode, hashed = commit("args", encoded, salt)
        fields: dict[str, Any] = {
            "id": self.random.randbytes(16),
            "tenant": self.root.kid,
            "audience": audience,
            "prev": prev,
            "expires_size": 1_000_000,
            "until_ms": None,
            "keyset": self.keyset.version,
            "action": "ping",
            "args": (mode, hashed),
        }
        return (by or self.operator).state(Command(**{**fields, **changes})), salt, encoded

    def revocation(self, kid: bytes, until: int, by: Key | None = None, role: str = "device") -> bytes:
        return (by or self.operator).state(Revocation(kid, role, until, "compromised"))

    def state(self, content: Content) -> bytes:
        return self.operator.state(content)


def profile_for(root: Key, chain_id: int = 31337, contract: bytes = b"\xc0" * 20) -> NetworkProfile:
    """Return a profile of a chain that nobody needs to reach."""
    nonce = bytes(32)
    return NetworkProfile(
        chain_id, "operator", contract, b"\xc1" * 20, bytes(32), bytes(32), ("http://127.0.0.1:9",), root.public,
        nonce, fleet_log_id(root.kid, chain_id, contract, nonce),
    )  # fmt: skip


def segment_of(device: Device, start: int, stop: int | None = None, head: bytes | None = None) -> bytes:
    """Return the segment with records from ``start`` under the device's newest head, or ``head`` of size ``stop``."""
    stop = device.last[0] if stop is None else stop
    items = [segment.whole(made.header, made.body) for made in device.records[start:stop]]
    return segment.encode(device.log, head or device.heads[-1], start, items)


def seen_by(log: bytes, size: int, root: bytes) -> Seen:
    """Return what a device says it has seen."""
    return Seen(log, size, root)
