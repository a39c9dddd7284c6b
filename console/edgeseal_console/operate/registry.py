"""The identity registry as an operator uses it: keys registered, suspended, reinstated, revoked, rotated."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, Reverted
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.cose import PublicKey
from edgeseal.errors import Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal.possession import ROLES, Place, Possession, Proof, Rotation
from edgeseal_console.operate.home import Home
from edgeseal_console.operate.transactions import Preview, Transactor

REASONS: Final = ("compromised", "retired", "lost", "superseded")
"""Reason classes of a revocation, in the order of the registry's enum."""
STATUS: Final = ("none", "active", "suspended", "revoked")
"""``Status`` of the registry, in the order of its enum."""
POSSESSION_S: Final = 3_600
"""How long a key's signature under its registration may be brought, in seconds of the chain's clock."""
OPEN: Final = 2**64 - 1
"""``until`` of a key that is active."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the registry holds of a key: its latest interval is [start, until), ``until`` None while it is active."""

    role: str
    status: str
    last_block: int
    start: int
    until: int | None


class Registry:
    """The registry of a network, for one operator's account. With ``dry_run`` it sends nothing (:attr:`previews`)."""

    def __init__(self, home: Home, network: NetworkProfile, say: Say, *, dry_run: bool = False) -> None:
        self.client = EvmClient(network.endpoints[0])
        self.network = network
        self.contract = BoundContract(self.client, Contract("IdentityRegistry"), network.identity_registry)
        self.log = BoundContract(self.client, Contract("FleetLog"), network.fleet_log_contract)
        self.transactor = Transactor(
            self.client, home.account(), network.chain_id, home.folder, say, rules=network.rules, dry_run=dry_run
        )

    @property
    def previews(self) -> list[Preview]:
        """What a dry run would have sent, in order."""
        return self.transactor.previews

    @property
    def place(self) -> Place:
        """Where this tenant's keys sign for."""
        network = self.network
        return Place(network.chain_id, network.identity_registry, network.tenant_root.kid, network.fleet_log)

    def anchored_size(self) -> int:
        """Return the size of the newest head on chain; 0 before the first."""
        size: int = self.log.call("head", self.network.fleet_log)[0]
        return size

    def entry(self, kid: bytes) -> Entry | None:
        """Return what the registry holds of a key, None for one it does not know. Raises Reverted, Unavailable."""
        try:
            role, status, block, start, until = self.contract.call("keyOf", self.network.fleet_log, kid)
        except Reverted as error:
            if error.name == "UnknownKey":
                return None
            raise
        return Entry(ROLES[role], STATUS[status], int(block), int(start), None if until == OPEN else int(until))

    def challenge(self, kid: bytes, role: str, *, evidence: bytes = bytes(32), start: int | None = None,
                  valid_s: int = POSSESSION_S) -> Possession:  # fmt: skip
        """Return a new challenge to the holder of ``kid``; ``start`` None is the anchored size. Raises Unavailable."""
        chosen = self.anchored_size() if start is None else start
        return Possession(self.place, kid, role, chosen, evidence, secrets.token_bytes(32), self.time() + valid_s)

    def rotation(self, old: bytes, new: bytes, *, evidence: bytes = bytes(32), valid_s: int = POSSESSION_S) -> Rotation:
        """Return a new challenge to the holders of two keys. Raises Unavailable."""
        return Rotation(self.place, old, new, evidence, secrets.token_bytes(32), self.time() + valid_s)

    def register(
        self, key: PublicKey, role: str, evidence: bytes, holder: Pkcs11Signer | None = None, *,
        start: int | None = None, proof: Proof | None = None,
    ) -> bool:  # fmt: skip
        """Register ``key`` with ``role``, valid from ``start`` (None: the anchored size) on; say whether it is proved.

        ``evidence`` is the 32-byte digest of what was shown for it; zero bytes for none. ``holder``, where the key is
        at hand, signs its own registration, ``proof`` is the signature of a key that is elsewhere; without either, that
        somebody holds the key is the admin's word, and the event on chain says so. A key that is registered already in
        this role is left as it is, and what comes back is False.

        Raises Reverted, Unavailable; UsageError ``role_differs``, ``proof_differs``.
        """
        known = self.entry(key.kid)
        if known is not None:
            if known.role != role:
                raise UsageError("role_differs", f"{key.kid.hex()} is registered as {known.role}, not as {role}")
            return False
        if holder is not None:
            challenge = self.challenge(key.kid, role, evidence=evidence, start=start)
            proof = Proof(challenge, holder.public_key, holder.sign(challenge.message()))
        what, log = f"register {role} {key.kid.hex()[:16]}…", self.network.fleet_log
        if proof is None:
            chosen = self.anchored_size() if start is None else start
            self._send(what, "registerKey", log, ROLES.index(role), key.x, key.y, chosen, evidence)
            return False
        asked = proof.challenge
        if not isinstance(asked, Possession) or (asked.place, asked.role, proof.key) != (self.place, role, key):
            raise UsageError(
                "proof_differs", f"the proof is not of {key.kid.hex()} as {role} of this tenant on this chain"
            )
        registration = (log, ROLES.index(role), key.x, key.y, asked.start, asked.evidence, asked.nonce, asked.deadline)
        self._send(what, "registerKeyWithProof", registration, _halves(proof.signature))
        return True

    def suspend(self, kid: bytes, until: int | None) -> int:
        """Make ``kid`` void from ``until`` (None: the anchored size) on, until it is reinstated; return the position.

        Raises Reverted, UsageError, Unavailable.
        """
        chosen = self.anchored_size() if until is None else until
        self._send(f"suspend {kid.hex()[:16]}…", "suspendKey", self.network.fleet_log, kid, chosen)
        return chosen

    def reinstate(self, kid: bytes, start: int | None) -> int:
        """Make a suspended key count again from ``start`` (None: the anchored size) on; return the position.

        Raises Reverted, UsageError, Unavailable.
        """
        chosen = self.anchored_size() if start is None else start
        self._send(f"reinstate {kid.hex()[:16]}…", "reinstateKey", self.network.fleet_log, kid, chosen)
        return chosen

    def revoke(self, kid: bytes, until: int | None, reason: str) -> int:
        """Revoke ``kid`` and return the fleet position from which it is void.

        ``until`` None is the anchored size, above which none may lie. A key that is revoked already is left as it is
        unless ``until`` is lower, and its position returned. Raises Reverted, UsageError, Unavailable.
        """
        known = self.entry(kid)
        ended = known.until if known is not None and known.status == "revoked" else None
        if ended is not None and (until is None or until >= ended):
            return ended
        chosen = self.anchored_size() if until is None else until
        self._send(
            f"revoke {kid.hex()[:16]}… ({reason})", "revokeKey", self.network.fleet_log, kid, chosen,
            REASONS.index(reason),
        )  # fmt: skip
        return chosen

    def rotation_of(self, kid: bytes) -> tuple[bytes, int] | None:
        """Return the rotation of a key under way: its new kid, and the Unix second from which it may be finished."""
        new, ready = self.contract.call("rotationOf", self.network.fleet_log, kid)
        return (bytes(new), int(ready)) if any(new) else None

    def propose_rotation(self, by_old: Proof, by_new: Proof, operator: Pkcs11Signer) -> None:
        """Propose that one key takes another's place; both, and the operator, sign the same challenge.

        Raises Reverted, Unavailable; UsageError ``proof_differs``.
        """
        asked = by_old.challenge
        pair = (by_old.key.kid, by_new.key.kid)
        if not isinstance(asked, Rotation) or by_new.challenge != asked or asked.place != self.place:
            raise UsageError("proof_differs", "the two proofs are not of one rotation of this tenant on this chain")
        if pair != (asked.old_kid, asked.new_kid):
            raise UsageError("proof_differs", "one proof is the old key's, the other the new key's")
        values = (
            self.network.fleet_log, by_old.key.x, by_old.key.y, by_new.key.x, by_new.key.y, asked.evidence, asked.nonce,
            asked.deadline,
        )  # fmt: skip
        agreed, key = operator.sign(asked.message()), operator.public_key
        self._send(
            f"propose that {pair[1].hex()[:16]}… takes the place of {pair[0].hex()[:16]}…", "proposeRotation", values,
            _halves(by_old.signature), _halves(by_new.signature), key.x, key.y, _halves(agreed), direct=True,
        )  # fmt: skip

    def veto(self, kid: bytes) -> None:
        """Stop the rotation of ``kid`` that is under way. Raises Reverted, UsageError, Unavailable."""
        self._send(f"veto the rotation of {kid.hex()[:16]}…", "vetoRotation", self.network.fleet_log, kid)

    def finish(self, kid: bytes, new: PublicKey) -> None:
        """Carry out the rotation of ``kid`` once its veto window is over. Raises Reverted, UsageError, Unavailable."""
        self._send(
            f"finish the rotation of {kid.hex()[:16]}…", "finishRotation", self.network.fleet_log, kid, new.x, new.y,
            direct=True,
        )  # fmt: skip

    def set_gateway_key(self, new: PublicKey) -> None:
        """Make ``new`` the key whose heads the log takes from the anchored size on. Raises Reverted, UsageError,
        Unavailable.
        """
        data = self.log.contract.encode("setGatewayKey", self.network.fleet_log, new.x, new.y)
        self.send_as_admin(f"switch the log to gateway {new.kid.hex()[:16]}…", self.log, data)

    def time(self) -> int:
        """Return the newest block's time in Unix seconds. Raises Unavailable."""
        newest = self.client.header("latest")
        if newest is None:
            raise Unavailable("rpc_answer", "the node names no newest block")
        return newest.timestamp

    def _send(self, what: str, function: str, *values: object, direct: bool = False) -> None:
        data = self.contract.contract.encode(function, *values)
        if direct:
            self.transactor.attempt(what, self.contract.contract, self.contract.address, data)
        else:
            self.send_as_admin(what, self.contract, data)

    def send_as_admin(self, what: str, target: BoundContract, data: bytes) -> None:
        """Send what only the tenant's admin may: directly where this account is that, else through the manager."""
        manager = self.manager()
        if manager is None:
            self.transactor.attempt(what, target.contract, target.address, data)
            return
        through = Contract("AccessManager").encode("execute", target.address, data)
        self.transactor.attempt(what, target.contract, manager, through)

    def manager(self) -> bytes | None:
        """Return the AccessManager that is the tenant's admin, None where the admin is an account.

        That of our own TenantAdmin only: what else stands at the admin's address is called directly, and refuses.
        """
        admin = self.network.tenant_admin
        if admin is None:
            return None
        manager = BoundContract(self.client, Contract("TenantAdmin"), admin.address).call("manager")
        found = bytes.fromhex(manager[2:])
        acting = self.contract.call("adminOf", self.network.tenant_root.kid)
        return found if bytes.fromhex(acting[2:]) == found else None


def _halves(signature: bytes) -> tuple[bytes, bytes]:
    return signature[:32], signature[32:]
