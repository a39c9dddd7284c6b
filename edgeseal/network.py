"""The network profile: which chain, which contracts, whose fleet log. ``edgeseal chain deploy`` writes it.

A YAML file of the strict subset (``gateway/API.md``, "Network profile"). It holds nothing secret; whoever uses it says
whether he believes it: a verifier takes its trust from the trust file, not from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgeseal import limits, strictyaml
from edgeseal.chainrules import ChainRules
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError
from edgeseal.pack import fleet_log_id

SCHEMA: Final = "edgeseal-network/1"
MAX_ENDPOINTS: Final = 16
FURTHER: Final = {
    "command_log": "command_log_contract",
    "model_registry": "model_registry",
    "record_verifier": "record_verifier",
    "tenant_admin": "tenant_admin",
}
"""Contracts a profile may name beside the two it must: field → YAML key."""
_HASH, _ADDRESS = r"[0-9a-f]{64}", r"0x[0-9a-fA-F]{40}"


def endpoint_name(url: str) -> str:
    """Return scheme, host and port of an endpoint's URL: what may be shown and logged. The rest may hold a secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract on the chain: its 20-byte address, and Keccak-256 of the code that stands there (32 bytes)."""

    address: bytes
    code: bytes


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """One tenant's fleet log on one chain.

    ``kind`` is ``operator`` (chain run by the party under audit) or ``public``. Contract addresses are 20 bytes, code
    hashes (Keccak-256 of the deployed code), ``nonce`` and ``fleet_log`` 32. The contracts of :data:`FURTHER` and
    ``rules`` (how the chain behaves) are None in profiles that do not name them; nothing of this log stands in a block
    below ``first_block``.
    """

    chain_id: int
    kind: str
    fleet_log_contract: bytes
    identity_registry: bytes
    fleet_log_code: bytes
    registry_code: bytes
    endpoints: tuple[str, ...]
    tenant_root: PublicKey
    nonce: bytes
    fleet_log: bytes
    command_log: Deployed | None = None
    model_registry: Deployed | None = None
    record_verifier: Deployed | None = None
    tenant_admin: Deployed | None = None
    rules: ChainRules | None = None
    first_block: int = 0

    @classmethod
    def decode(cls, data: bytes) -> NetworkProfile:
        """Return the profile in these bytes.

        Raises:
            FormatError: ``yaml_*``, ``key_invalid``, or ``profile_log``: ``fleet_log`` does not follow from the rest.
        """
        top = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
        top.text("schema", SCHEMA)
        codes, root = top.section("code_hashes"), top.section("tenant_root")
        profile = cls(
            top.integer("chain_id", 1, 2**64 - 1),
            top.text("kind", "operator|public"),
            bytes.fromhex(top.text("fleet_log_contract", _ADDRESS)[2:]),
            bytes.fromhex(top.text("identity_registry", _ADDRESS)[2:]),
            bytes.fromhex(codes.text("fleet_log_contract", _HASH)),
            bytes.fromhex(codes.text("identity_registry", _HASH)),
            _endpoints(top),
            PublicKey.of(bytes.fromhex(root.text("x", _HASH)), bytes.fromhex(root.text("y", _HASH))),
            bytes.fromhex(top.text("nonce", _HASH)),
            bytes.fromhex(top.text("fleet_log", _HASH)),
            first_block=top.integer("first_block", 0, 2**64 - 1, 0),
            rules=ChainRules.read(top.section("chain")) if "chain" in top else None,
            **{field: _deployed(top, codes, key) for field, key in FURTHER.items()},
        )
        for section in (top, codes, root):
            section.done()
        if profile.fleet_log != fleet_log_id(
            profile.tenant_root.kid, profile.chain_id, profile.fleet_log_contract, profile.nonce
        ):
            raise FormatError("profile_log", "fleet_log does not follow from tenant root, chain, contract and nonce")
        return profile

    def further(self) -> Iterator[tuple[str, Deployed]]:
        """Yield (YAML key, contract) of each further contract this profile names."""
        for field, key in FURTHER.items():
            found = getattr(self, field)
            if found is not None:
                yield key, found

    def encode(self) -> bytes:
        """Return the file's bytes; :meth:`decode` gives the same profile back."""
        endpoints = "".join(f'  - "{url}"\n' for url in self.endpoints)
        addresses = "".join(f'{key}: "0x{one.address.hex()}"\n' for key, one in self.further())
        codes = "".join(f'  {key}: "{one.code.hex()}"\n' for key, one in self.further())
        rules = "" if self.rules is None else "chain:\n" + self.rules.render("  ")
        first = f"first_block: {self.first_block}\n" if self.first_block else ""
        return (
            f"schema: {SCHEMA}\nchain_id: {self.chain_id}\nkind: {self.kind}\n{first}{rules}"
            f'fleet_log_contract: "0x{self.fleet_log_contract.hex()}"\n'
            f'identity_registry: "0x{self.identity_registry.hex()}"\n{addresses}'
            f'code_hashes:\n  fleet_log_contract: "{self.fleet_log_code.hex()}"\n'
            f'  identity_registry: "{self.registry_code.hex()}"\n{codes}'
            f"endpoints:\n{endpoints}"
            f'tenant_root:\n  x: "{self.tenant_root.x.hex()}"\n  y: "{self.tenant_root.y.hex()}"\n'
            f'nonce: "{self.nonce.hex()}"\nfleet_log: "{self.fleet_log.hex()}"\n'
        ).encode()


def _deployed(top: strictyaml.Section, codes: strictyaml.Section, key: str) -> Deployed | None:
    if key not in top:
        return None
    return Deployed(bytes.fromhex(top.text(key, _ADDRESS)[2:]), bytes.fromhex(codes.text(key, _HASH)))


def _endpoints(top: strictyaml.Section) -> tuple[str, ...]:
    found = top.sequence("endpoints", MAX_ENDPOINTS)
    urls = tuple(url for url in found if type(url) is str and url.isprintable() and '"' not in url and "\\" not in url)
    if not urls or len(urls) != len(found) or not all(url.startswith(("http://", "https://")) for url in urls):
        raise FormatError("yaml_range", "endpoints is a list of at least one http or https address")
    return urls
