"""A chain of blocks with our contracts' events in them, and a node that shows it: late, in part, or while it moves.

It executes nothing. What a contract would refuse is not refused here; tests on anvil do that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from typing import Any

from eth_abi.abi import encode

from edgeseal.adapters.evm import BlockHeader, EvmClient, FoundLog, Rejected
from edgeseal.errors import Unavailable
from edgeseal.evmproof.keccak import keccak256
from edgeseal.evmproof.receipt import Log
from edgeseal.network import NetworkProfile

GENESIS_TIME = 1_800_000_000
BLOCK_S = 12
_ABI: dict[str, list[dict[str, Any]]] = {}


def _abi(contract: str) -> list[dict[str, Any]]:
    if contract not in _ABI:
        _ABI[contract] = json.loads((files("edgeseal.contracts") / f"{contract}.json").read_text("utf-8"))["abi"]
    return _ABI[contract]


def _type(item: dict[str, Any]) -> str:
    kind: str = item["type"]
    return kind if not kind.startswith("tuple") else f"({','.join(map(_type, item['components']))}){kind[5:]}"


def _signature(item: dict[str, Any]) -> bytes:
    return keccak256(f"{item['name']}({','.join(map(_type, item['inputs']))})".encode())


@dataclass(frozen=True)
class Event:
    """One event of one contract, its values by name; what is not named is zero."""

    contract: str
    name: str
    values: dict[str, Any]

    def log(self, address: bytes) -> Log:
        (item,) = [i for i in _abi(self.contract) if i["type"] == "event" and i["name"] == self.name]
        topics, types, plain = [_signature(item)], [], []
        for one in item["inputs"]:
            value = self.values.get(one["name"], _zero(_type(one)))
            if one["indexed"]:
                topics.append(encode([_type(one)], [value]))
            else:
                types.append(_type(one))
                plain.append(value)
        return Log(address, tuple(topics), encode(types, plain))


def _zero(kind: str) -> Any:
    return {"bytes32": bytes(32), "bool": False, "address": "0x" + "00" * 20}.get(kind, 0)


@dataclass(frozen=True)
class MadeBlock:
    number: int
    hash: bytes
    parent: bytes
    time: int
    events: tuple[Event, ...]


@dataclass
class EventChain:
    """The canonical chain. Block 0 is empty; block 1 opens tenant and log."""

    profile: NetworkProfile
    blocks: list[MadeBlock] = field(default_factory=list)
    anchored: tuple[int, bytes] = (0, bytes(32))
    gateway: bytes = bytes(32)
    tenant_block: int = 1
    branch: int = 0

    def __post_init__(self) -> None:
        self.mine()
        tenant = self.profile.tenant_root
        opened = Event("IdentityRegistry", "TenantOpened", {"tenant": tenant.kid, "admin": "0x" + "11" * 20})
        self.mine(opened)

    def mine(self, *events: Event) -> MadeBlock:
        """Add a block with these events."""
        number = len(self.blocks)
        parent = self.blocks[-1].hash if self.blocks else bytes(32)
        named = b"".join(event.name.encode() for event in events)
        made = sha256(parent + number.to_bytes(8, "big") + self.branch.to_bytes(8, "big") + named).digest()
        self.blocks.append(MadeBlock(number, made, parent, GENESIS_TIME + BLOCK_S * number, events))
        return self.blocks[-1]

    def mine_empty(self, count: int) -> None:
        for _ in range(count):
            self.mine()

    def reorg(self, depth: int, *replaced: tuple[Event, ...], grow: int = 0) -> None:
        """Take the newest ``depth`` blocks back and put as many others there, with ``replaced`` events in the first of
        them, and ``grow`` more.
        """
        keep = len(self.blocks) - depth
        del self.blocks[keep:]
        self.branch += 1
        for at in range(depth + grow):
            self.mine(*(replaced[at] if at < len(replaced) else ()))


class EventNode(EvmClient):
    """One endpoint that shows an :class:`EventChain`.

    ``height`` limits how far it has got, ``indexed`` how far its events have (what is above is silently not there);
    ``final`` is its ``finalized`` tag (None: it has none); ``longest`` the most blocks it answers for at once;
    ``fails_at`` the question for events at which it breaks off; ``meanwhile`` is called once after its next answer
    about events.
    """

    def __init__(self, chain: EventChain) -> None:
        super().__init__("http://127.0.0.1:9")
        self.chain = chain
        self.height: int | None = None
        self.final: int | None = None
        self.longest = 1 << 62
        self.indexed: int | None = None
        self.fails_at: int | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.asked: list[tuple[int, int]] = []

    def request(self, method: str, *params: Any) -> Any:
        raise AssertionError(f"nothing here asks {method}")

    def chain_id(self) -> int:
        return self.chain.profile.chain_id

    def code_hash(self, address: bytes, block: Any = "latest") -> bytes:
        return bytes(32)

    def _shown(self) -> list[MadeBlock]:
        return self.chain.blocks if self.height is None else self.chain.blocks[: self.height + 1]

    def block_number(self) -> int:
        return len(self._shown()) - 1

    def header(self, block: Any) -> BlockHeader | None:
        shown = self._shown()
        if block == "finalized":
            if self.final is None:
                raise Rejected(-32602, "no such tag", b"")
            block = min(self.final, len(shown) - 1)
        number = len(shown) - 1 if block == "latest" else block
        if not 0 <= number < len(shown):
            return None
        found = shown[number]
        return BlockHeader(found.number, found.hash, found.parent, found.time, 1, b"")

    def logs(self, addresses: Any, topics: Any, first: int, last: int) -> list[FoundLog]:
        self.asked.append((first, last))
        if self.fails_at is not None and len(self.asked) >= self.fails_at:
            raise Unavailable("rpc_unreachable", "gone")
        if last - first + 1 > self.longest:
            raise Rejected(-32005, "query exceeds range", b"")
        found = []
        for block in self._shown()[first : last + 1]:
            if self.indexed is not None and block.number > self.indexed:
                break
            for index, event in enumerate(block.events):
                log = event.log(self._address(event.contract))
                if log.address in addresses and all(
                    want is None or log.topics[at : at + 1] == (want,) for at, want in enumerate(topics)
                ):
                    found.append(FoundLog(log, block.number, block.hash, bytes(32), index))
        if self.meanwhile is not None:
            do, self.meanwhile = self.meanwhile, None
            do()
        return found

    def _address(self, contract: str) -> bytes:
        profile = self.chain.profile
        named = {"CommandLog": profile.command_log, "ModelRegistry": profile.model_registry}.get(contract)
        if named is not None:
            return named.address
        return profile.identity_registry if contract == "IdentityRegistry" else profile.fleet_log_contract

    def call(self, to: bytes, data: bytes, block: Any = "latest", sender: bytes | None = None) -> bytes:
        answers = {
            ("FleetLog", "head"): self.chain.anchored,
            ("FleetLog", "gatewayOf"): (self.chain.gateway, 0, 0),
            ("IdentityRegistry", "tenantLastBlock"): (self.chain.tenant_block,),
        }
        for (contract, name), values in answers.items():
            (item,) = [i for i in _abi(contract) if i["type"] == "function" and i["name"] == name]
            if data[:4] == _signature(item)[:4] and to == self._address(contract):
                return encode([_type(output) for output in item["outputs"]], values)
        raise AssertionError(f"nothing here answers {data[:4].hex()}")
