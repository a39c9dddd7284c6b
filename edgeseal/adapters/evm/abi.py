"""Our contracts' calls, answers, errors and events, by their committed ABI."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from web3 import Web3

from edgeseal.adapters.evm.client import EvmClient
from edgeseal.adapters.evm.reading import MAX_RPC_TEXT, Block, Rejected, Reverted
from edgeseal.errors import Unavailable
from edgeseal.evmproof.keccak import keccak256
from edgeseal.evmproof.receipt import Log


class Contract:
    """The committed ABI of one of our contracts (``edgeseal/contracts/<name>.json``): encodes and decodes, asks
    nothing.
    """

    def __init__(self, name: str) -> None:
        artifact = json.loads((files("edgeseal.contracts") / f"{name}.json").read_text("utf-8"))
        self.name = name
        self.bytecode: bytes = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
        self.runtime: bytes = bytes.fromhex(artifact["runtime"].removeprefix("0x"))
        self.immutables: dict[str, list[int]] = artifact["immutables"]
        self._web3 = Web3()
        self._abi: list[dict[str, Any]] = artifact["abi"]
        self._errors = {keccak256(_signature(item).encode())[:4]: item for item in self._abi if item["type"] == "error"}

    def encode(self, function: str, *values: Any) -> bytes:
        """Return the call data of ``function`` with these values; an address is 20 bytes or 0x and 40 digits."""
        (item,) = [i for i in self._abi if i["type"] == "function" and i["name"] == function]
        types = [_type(i) for i in item["inputs"]]
        return keccak256(_signature(item).encode())[:4] + bytes(self._web3.codec.encode(types, values))

    def decode_call(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Return the function that call data names and its values by name; None for no function of this contract.

        Raises Unavailable ``rpc_answer`` if the values are not the function's.
        """
        for item in self._abi:
            if item["type"] == "function" and keccak256(_signature(item).encode())[:4] == data[:4]:
                values = self._decode([_type(i) for i in item["inputs"]], data[4:])
                return item["name"], {i["name"]: value for i, value in zip(item["inputs"], values, strict=True)}
        return None

    def decode_result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Return what ``function`` answered. Raises Unavailable ``rpc_answer`` if the bytes are no such answer."""
        (item,) = [i for i in self._abi if i["type"] == "function" and i["name"] == function]
        return self._decode([_type(output) for output in item["outputs"]], data)

    def decode_error(self, data: bytes) -> Reverted:
        """Return the custom error in revert data; of an unknown one the name is its selector."""
        item = self._errors.get(data[:4])
        if item is None:
            return Reverted("0x" + data[:4].hex() if data else "without a reason", (), data)
        return Reverted(item["name"], self._decode([_type(i) for i in item["inputs"]], data[4:]), data)

    def _decode(self, types: list[str], data: bytes) -> tuple[Any, ...]:
        try:
            return tuple(self._web3.codec.decode(types, data))
        except Exception as error:  # eth_abi raises several unrelated types on bytes a node made up
            raise Unavailable("rpc_answer", f"not the answer of {self.name}: {error!r:.{MAX_RPC_TEXT}}") from error

    def event_topic(self, event: str) -> bytes:
        """Return topic 0 of ``event``."""
        (item,) = [i for i in self._abi if i["type"] == "event" and i["name"] == event]
        return keccak256(_signature(item).encode())

    def events_with(self, field: str) -> list[str]:
        """Return the names of the events that have a value of this name."""
        return [i["name"] for i in self._abi if i["type"] == "event" and any(v["name"] == field for v in i["inputs"])]

    def decode_event(self, event: str, log: Log) -> dict[str, Any]:
        """Return the values of a log that has the topic of ``event``. Raises Unavailable ``rpc_answer``."""
        (item,) = [i for i in self._abi if i["type"] == "event" and i["name"] == event]
        indexed = [i for i in item["inputs"] if i["indexed"]]
        plain = [i for i in item["inputs"] if not i["indexed"]]
        if len(log.topics) != len(indexed) + 1 or log.topics[0] != self.event_topic(event):
            raise Unavailable("rpc_answer", f"not a log of {event}")
        values = self._decode([_type(i) for i in plain], log.data)
        found = {i["name"]: value for i, value in zip(plain, values, strict=True)}
        for entry, topic in zip(indexed, log.topics[1:], strict=True):
            (found[entry["name"]],) = self._decode([_type(entry)], topic)
        return found


class BoundContract:
    """A contract at an address, asked through one client."""

    def __init__(self, client: EvmClient, contract: Contract, address: bytes) -> None:
        self.client = client
        self.contract = contract
        self.address = address

    def call(self, function: str, *values: Any, block: Block = "latest") -> Any:
        """Return what a view answers at ``block``: the value, or the tuple of several.

        Raises:
            Reverted: the contract refused. Unavailable: no answer, or no contract at the address.
        """
        data = self.contract.encode(function, *values)
        try:
            answer = self.client.call(self.address, data, block)
        except Rejected as error:
            if error.data or "revert" in error.text.lower():
                raise self.contract.decode_error(error.data) from error
            raise
        found = self.contract.decode_result(function, answer)
        return found[0] if len(found) == 1 else found


def _type(item: dict[str, Any]) -> str:
    kind: str = item["type"]
    return kind if not kind.startswith("tuple") else f"({','.join(map(_type, item['components']))}){kind[5:]}"


def _signature(item: dict[str, Any]) -> str:
    return f"{item['name']}({','.join(_type(i) for i in item['inputs'])})"
