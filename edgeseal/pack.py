"""The provisioning pack a device starts from (``docs/format.md`` section 12), and the fleet log's id (2.4)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from edgeseal import cbor, limits, schema, statements
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import VerificationError
from edgeseal.head import FleetHead, SignedFleetHead
from edgeseal.statements.keyset import Keyset


def fleet_log_id(tenant_root: bytes, chain: int, contract: bytes, nonce: bytes) -> bytes:
    """Return the fleet log id of a tenant on a contract: tenant root kid (32), EVM chain id, address (20), nonce
    (32).
    """
    return sha256(domain("fleet-log") + tenant_root + chain.to_bytes(32, "big") + contract + nonce).digest()


_PACK = schema.closed(
    {
        "v": schema.one_of(1),
        "root": schema.point,
        "chain": schema.uint,
        "contract": schema.binary(20, 20),
        "nonce": schema.digest,
        "log": schema.digest,
        "keyset": schema.binary(1, limits.MAX_STATEMENT),
        "head": schema.binary(1, limits.MAX_HEAD),
    }
)


@dataclass(frozen=True, slots=True)
class Pack:
    """What a device is given before it first speaks: tenant root key, home fleet log, newest keyset, a fleet head."""

    root: PublicKey
    chain: int
    contract: bytes
    nonce: bytes
    log: bytes
    keyset: bytes
    head: bytes

    def encode(self) -> bytes:
        """Return the pack's bytes."""
        return cbor.encode(
            {
                "v": 1,
                "root": self.root.point,
                "chain": self.chain,
                "contract": self.contract,
                "nonce": self.nonce,
                "log": self.log,
                "keyset": self.keyset,
                "head": self.head,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Pack:
        """Return the pack in untrusted bytes; :meth:`verify` says whether it holds. Raises FormatError."""
        fields = cbor.decode(data, max_size=limits.MAX_PACK)
        _PACK(fields, "pack")
        return cls(
            PublicKey.from_point(fields["root"]),
            fields["chain"],
            fields["contract"],
            fields["nonce"],
            fields["log"],
            fields["keyset"],
            fields["head"],
        )

    def verify(self) -> tuple[Keyset, FleetHead]:
        """Return the keyset and the fleet head, once the pack holds together.

        1. The fleet log id is that of root, chain, contract and nonce.
        2. The keyset is signed by the root and is of that log.
        3. The head is of that log and signed by a gateway key of the keyset.

        The caller has the pack from someone it trusts: the root key is believed here, not proved.

        Raises:
            VerificationError: ``log_id``, ``wrong_log``, ``wrong_typ``, ``wrong_key``, signature codes.
            TrustError: ``role_missing``. FormatError: keyset or head.
        """
        # 1
        if fleet_log_id(self.root.kid, self.chain, self.contract, self.nonce) != self.log:
            raise VerificationError("log_id", "the fleet log id is not that of this root, chain, contract and nonce")
        # 2
        statement = statements.decode(self.keyset)
        keyset = statement.content
        if not isinstance(keyset, Keyset):
            raise VerificationError("wrong_typ", "the pack's keyset is another statement")
        statement.signed.verify(self.root)
        if keyset.log != self.log or keyset.root != self.root:
            raise VerificationError("wrong_log", "the pack's keyset is of another fleet log or root")
        # 3
        signed = SignedFleetHead.decode(self.head)
        if signed.head.log != self.log:
            raise VerificationError("wrong_log", "the pack's fleet head is of another fleet log")
        return keyset, signed.verify(keyset.member(signed.signed.kid, "gateway").key)
