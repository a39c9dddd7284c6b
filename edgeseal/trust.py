"""What the verifier was told to trust: the trust file (format.md 15). It comes from outside the bundle, or it is
worth nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edgeseal import limits
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError
from edgeseal.network import Deployed
from edgeseal.strictyaml import Section, load

SCHEMA: Final = "edgeseal-trust/1"
OPERATOR: Final = "operator"
PUBLIC: Final = "public"

_MAX_LIST: Final = 10_000
_MAX_CHAIN: Final = 2**64 - 1
_HEX32: Final = "[0-9a-f]{64}"
_ADDRESS: Final = "0x[0-9a-fA-F]{40}"
_URL: Final = r"https?://[!-~]{1,500}"


@dataclass(frozen=True, slots=True)
class ChainTrust:
    """The chain to believe, and what of it.

    ``kind`` is ``operator`` (run by the party under audit: what it says is ATTESTED) or ``public``. Contracts are
    20-byte addresses or None; code hashes are Keccak-256 of the deployed code or None; ``blocks`` are block hashes
    accepted as final; ``endpoints`` are RPC URLs that are believed. ``command_log`` and ``model_registry`` are further
    contracts, with their code, whose word is asked for where they are named.
    """

    id: int
    kind: str
    fleet_log_contract: bytes | None
    identity_registry: bytes | None
    fleet_log_code: bytes | None
    registry_code: bytes | None
    blocks: frozenset[bytes]
    endpoints: tuple[str, ...]
    command_log: Deployed | None = None
    model_registry: Deployed | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the verifier believes: the tenant root key, its fleet log, and possibly a chain, EK authorities and
    packages.
    """

    tenant_root: PublicKey
    fleet_log: bytes
    chain: ChainTrust | None = None
    ek_authorities: frozenset[bytes] = frozenset()
    publishers: frozenset[bytes] = frozenset()


def parse(data: bytes) -> Trust:
    """Return the trust that a trust file states; closed, so that a misspelt key is an error and not a silent loss of
    trust.

    Raises:
        FormatError: ``yaml_*`` codes, ``key_invalid`` for a tenant root that is no point on P-256. Nothing else.
    """
    top = Section(load(data, limits.MAX_YAML))
    top.text("schema", re.escape(SCHEMA))
    root = top.section("tenant_root")
    key = PublicKey.of(_hex32(root, "x"), _hex32(root, "y"))
    root.done()
    trust = Trust(
        tenant_root=key,
        fleet_log=_hex32(top, "fleet_log"),
        chain=_chain(top.section("chain")) if "chain" in top else None,
        ek_authorities=_digests(top, "ek_authorities"),
        publishers=_digests(top, "publishers"),
    )
    top.done()
    return trust


def render(trust: Trust) -> bytes:
    """Return the trust file that :func:`parse` reads as ``trust``; every text is quoted, so that no digest reads as
    a number.
    """
    lines = [
        f"schema: {SCHEMA}",
        f'tenant_root: {{x: "{trust.tenant_root.x.hex()}", y: "{trust.tenant_root.y.hex()}"}}',
        f'fleet_log: "{trust.fleet_log.hex()}"',
        *(_chain_lines(trust.chain) if trust.chain else ()),
    ]
    for name, digests in (("ek_authorities", trust.ek_authorities), ("publishers", trust.publishers)):
        if digests:
            lines.append(f"{name}: [{_quoted(digests)}]")
    return ("\n".join(lines) + "\n").encode()


def _chain(section: Section) -> ChainTrust:
    codes = section.section("code_hashes") if "code_hashes" in section else None
    chain = ChainTrust(
        id=section.integer("id", 1, _MAX_CHAIN),
        kind=section.text("kind", f"{OPERATOR}|{PUBLIC}"),
        fleet_log_contract=_address(section, "fleet_log_contract"),
        identity_registry=_address(section, "identity_registry"),
        fleet_log_code=_hex32(codes, "fleet_log_contract") if codes and "fleet_log_contract" in codes else None,
        registry_code=_hex32(codes, "identity_registry") if codes and "identity_registry" in codes else None,
        blocks=_digests(section, "blocks"),
        endpoints=tuple(_urls(section)),
        command_log=_deployed(section, codes, "command_log_contract"),
        model_registry=_deployed(section, codes, "model_registry"),
    )
    if codes:
        codes.done()
    section.done()
    return chain


def _hex32(section: Section, key: str) -> bytes:
    return bytes.fromhex(section.text(key, _HEX32))


def _address(section: Section, key: str) -> bytes | None:
    return bytes.fromhex(section.text(key, _ADDRESS)[2:]) if key in section else None


def _deployed(section: Section, codes: Section | None, key: str) -> Deployed | None:
    """Return a further contract: who names one gives the hash of its code too."""
    address = _address(section, key)
    if address is None:
        return None
    if codes is None:
        raise FormatError("yaml_missing_key", f"{section.path('code_hashes')} is missing: it gives the code of {key}")
    return Deployed(address, _hex32(codes, key))


def _digests(section: Section, key: str) -> frozenset[bytes]:
    found = set()
    for number, value in enumerate(section.sequence(key, _MAX_LIST, default=[])):
        if type(value) is not str or not re.fullmatch(_HEX32, value):
            raise FormatError("yaml_range", f"{section.path(key)}[{number}] is not 64 hex digits; quote it")
        found.add(bytes.fromhex(value))
    return frozenset(found)


def _urls(section: Section) -> list[str]:
    found = []
    for number, value in enumerate(section.sequence("endpoints", _MAX_LIST, default=[])):
        if type(value) is not str or not re.fullmatch(_URL, value):
            raise FormatError("yaml_range", f"{section.path('endpoints')}[{number}] is not an http(s) URL")
        found.append(value)
    return found


def _quoted(digests: frozenset[bytes]) -> str:
    return ", ".join(f'"{digest.hex()}"' for digest in sorted(digests))


def _chain_lines(chain: ChainTrust) -> list[str]:
    lines = ["chain:", f"  id: {chain.id}", f"  kind: {chain.kind}"]
    command_log, model_registry = chain.command_log, chain.model_registry
    contracts = (
        ("fleet_log_contract", chain.fleet_log_contract, chain.fleet_log_code),
        ("identity_registry", chain.identity_registry, chain.registry_code),
        ("command_log_contract", command_log and command_log.address, command_log and command_log.code),
        ("model_registry", model_registry and model_registry.address, model_registry and model_registry.code),
    )
    lines += [f'  {name}: "0x{address.hex()}"' for name, address, _ in contracts if address]
    codes = [f'{name}: "{code.hex()}"' for name, _, code in contracts if code]
    if codes:
        lines.append(f"  code_hashes: {{{', '.join(codes)}}}")
    if chain.blocks:
        lines.append(f"  blocks: [{_quoted(chain.blocks)}]")
    if chain.endpoints:
        lines.append(f"  endpoints: [{', '.join(_text(url) for url in chain.endpoints)}]")
    return lines


def _text(url: str) -> str:
    return "'" + url.replace("'", "''") + "'"
