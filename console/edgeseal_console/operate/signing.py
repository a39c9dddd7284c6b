"""Statements as an operator makes them: prepared, signed in the token, handed to the gateway, followed until
sequenced.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from edgeseal import cbor, statements
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.commitment import commit
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError, FormatError, Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal.pack import Pack
from edgeseal.statements import Content
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment
from edgeseal.statements.keyset import Keyset, Member
from edgeseal.statements.revocation import Revocation
from edgeseal_console.gateway import GatewayClient

Say = Callable[[str], None]
OPERATOR_SCOPE: Final = ("enrol", "revoke", "command/*")
MAX_REQUEST: Final = 65_536
"""The longest enrolment request read, in bytes."""
WAIT_S: Final = 30


def read_key(path: Path) -> PublicKey:
    """Return the public key in a COSE_Key file, as ``edgeseal-gateway key --out`` writes it. Raises UsageError."""
    try:
        return PublicKey.decode(path.read_bytes())
    except OSError as error:
        raise UsageError("key_file", f"cannot read {path}: {error.strerror}") from error
    except EvidenceError as error:
        raise UsageError(
            "key_file", f"{path} is no public key: {error}",
            "edgeseal-gateway key --out, and edgeseal identity key --out, write one",
        ) from error  # fmt: skip


def sign(content: Content, signer: Pkcs11Signer) -> bytes:
    """Return ``content`` as a statement signed in the token."""
    unsigned = statements.prepare(content, signer.public_key.kid)
    return unsigned.assemble(signer.sign(unsigned.to_be_signed))


def first_keyset(
    network: NetworkProfile, root: Pkcs11Signer, *, gateway: PublicKey, operator: PublicKey,
    anchor_size: int, anchor_secs: int, cadence_s: int,
) -> bytes:  # fmt: skip
    """Return keyset 1: the gateway's key, and the operator's with scope over everything."""
    members = (Member(gateway, "gateway"), Member(operator, "operator", OPERATOR_SCOPE))
    keyset = Keyset(
        network.fleet_log, 1, bytes(32), network.tenant_root, members, anchor_size, anchor_secs, cadence_s
    )  # fmt: skip
    return sign(keyset, root)


def newest_keyset(gateway: GatewayClient, network: NetworkProfile) -> tuple[Keyset, bytes]:
    """Return the gateway's newest keyset and its digest, once its root signature is checked.

    Raises:
        Unavailable: ``gateway_answer``; VerificationError: not signed by the tenant root of the profile.
    """
    entries = gateway.get("/v1/keysets")["keysets"]
    if not entries:
        raise Unavailable("gateway_answer", "the gateway has no keyset")
    statement = statements.decode(bytes.fromhex(entries[-1]["statement"]))
    statement.signed.verify(network.tenant_root)
    if not isinstance(statement.content, Keyset):
        raise Unavailable("gateway_answer", "the gateway's keyset is another statement")
    return statement.content, statement.digest


def next_keyset(
    current: Keyset, digest: bytes, *, add: Sequence[Member] = (), remove: Sequence[bytes] = ()
) -> Keyset:  # fmt: skip
    """Return the keyset after ``current`` with members added and kids removed.

    Raises:
        UsageError: ``keyset_unchanged``, ``keyset_no_gateway``, ``keyset_unknown_kid``.
    """
    known = {member.key.kid for member in current.members}
    missing = [kid for kid in remove if kid not in known]
    if missing:
        raise UsageError("keyset_unknown_kid", f"keyset {current.version} does not name {missing[0].hex()}")
    kept = tuple(member for member in current.members if member.key.kid not in remove)
    members = kept + tuple(member for member in add if member not in kept)
    if members == current.members:
        raise UsageError("keyset_unchanged", f"nothing to change in keyset {current.version}")
    if not any(member.role == "gateway" for member in members):
        raise UsageError("keyset_no_gateway", "a keyset without a gateway key would stop the fleet log")
    return replace(current, version=current.version + 1, prev=digest, members=members)


def publish(gateway: GatewayClient, statement: bytes, opening: tuple[bytes, bytes] | None = None) -> dict[str, Any]:
    """Hand a statement to the gateway and return its answer once it is sequenced: ``digest``, ``pos``, ``state``.

    ``opening`` is (salt, argument bytes) of a command. Sending the same statement again is harmless.
    Raises Refused with the gateway's reason; Unavailable ``not_sequenced`` when it takes longer than half a minute.
    """
    body = {"statement": statement.hex()}
    if opening is not None:
        body |= {"salt": opening[0].hex(), "args": opening[1].hex()}
    gateway.post("/v1/statements", body)
    digest = sha256(statement).hexdigest()
    answer: dict[str, Any] = gateway.get(f"/v1/statements/{digest}", wait=WAIT_S)
    if answer["pos"] is None:
        raise Unavailable("not_sequenced", f"statement {digest} is queued at the gateway", "look again later")
    return answer


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What ``edgeseal-agent init`` prints for the operator: name, key, log id and genesis leaf. Claims, to be
    compared.
    """

    name: str
    key: PublicKey
    genesis: bytes
    groups: tuple[str, ...]
    cadence_s: int

    @classmethod
    def read(cls, path: Path) -> EnrolmentRequest:
        """Return the request in a JSON file. Raises UsageError ``request_file``."""
        try:
            if path.stat().st_size > MAX_REQUEST:
                raise ValueError("too long")
            fields = json.loads(path.read_text("utf-8"))
            key = PublicKey.of(bytes.fromhex(fields["x"]), bytes.fromhex(fields["y"]))
            groups = tuple(str(word) for word in fields["groups"])
            return cls(str(fields["name"]), key, bytes.fromhex(fields["genesis"]), groups, int(fields["cadence"]))
        except (OSError, ValueError, KeyError, TypeError, FormatError) as error:
            raise UsageError(
                "request_file", f"{path} is no enrolment request: {error}", "take the file edgeseal-agent init wrote"
            ) from error


def enrolment(request: EnrolmentRequest, *, assurance: str, groups: Sequence[str], cadence_s: int) -> Enrolment:
    """Return the enrolment that grants a request. Raises FormatError if a name or group is not of the format."""
    content = Enrolment(request.key, request.genesis, request.name, assurance, None, tuple(groups), cadence_s)
    return Enrolment.from_payload(content.payload())


def command(
    gateway: GatewayClient, network: NetworkProfile, *, audience: bytes | str, action: str, args: dict[str, Any],
    expires_in: int, until_ms: int | None,
) -> tuple[Command, bytes, bytes]:  # fmt: skip
    """Return a command ready to be signed, with its opening (salt, argument bytes).

    ``previous`` and the keyset version are asked of the gateway, which refuses a stale one; ``expires_in`` counts fleet
    positions from its present size.
    """
    where = {"log": audience.hex()} if isinstance(audience, bytes) else {"group": audience}
    state = gateway.get("/v1/audience", **where)
    salt, data = secrets.token_bytes(32), cbor.encode(args)
    mode, hashed = commit("args", data, salt)
    content = Command(
        secrets.token_bytes(16), network.tenant_root.kid, audience, bytes.fromhex(state["prev"]),
        int(state["size"]) + expires_in, until_ms, int(state["keyset"]), action, (mode, hashed),
    )  # fmt: skip
    checked = Command.from_payload(content.payload())
    checked.open_args(salt, data)
    return checked, salt, data


def revocation(kid: bytes, role: str, until: int, reason: str) -> Revocation:
    """Return the statement that mirrors a revocation in the registry."""
    return Revocation.from_payload(Revocation(kid, role, until, reason).payload())


def checked_pack(gateway: GatewayClient, network: NetworkProfile) -> Pack:
    """Return the gateway's provisioning pack, once it holds together and is of this network's root and log.

    Raises:
        UsageError: ``pack_differs``. VerificationError, TrustError, FormatError from the pack itself.
    """
    pack = Pack.decode(gateway.get_bytes("/v1/pack"))
    pack.verify()
    if (pack.root, pack.log, pack.chain) != (network.tenant_root, network.fleet_log, network.chain_id):
        raise UsageError("pack_differs", "the gateway's pack is of another tenant, fleet log or chain")
    return pack


def device_called(gateway: GatewayClient, name: str) -> dict[str, Any]:
    """Return the gateway's entry of the device with this name, log id or kid (hex, or a prefix of at least 8 digits).

    Raises:
        UsageError: ``no_device`` or ``ambiguous_device``.
    """
    devices = gateway.get("/v1/devices")["devices"]
    found = [d for d in devices if d["name"] == name] or [
        d for d in devices if len(name) >= 8 and (d["log"].startswith(name) or d["kid"].startswith(name))
    ]
    if not found:
        raise UsageError("no_device", f"no enrolled device {name!r}", "see: edgeseal identity list")
    if len(found) > 1:
        raise UsageError("ambiguous_device", f"several devices match {name!r}", "give the log id")
    chosen: dict[str, Any] = found[0]
    return chosen
