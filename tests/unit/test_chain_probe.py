"""What the probe says of tags, of endpoints that disagree, of fees: with nodes in memory that say what a test wants."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgeseal.adapters.evm import BlockHeader, EvmClient, Rejected
from edgeseal_console.operate import networks, p256probe, probe
from edgeseal_console.operate.contractprobe import Finding

BASE, PRIVATE = networks.preset("base"), networks.preset("private")


def header(number: int, timestamp: int, fork: int = 0) -> BlockHeader:
    return BlockHeader(number, bytes([fork]) + number.to_bytes(31, "big"), bytes(32), timestamp, 10**6, b"")


class Node(EvmClient):
    """A node at block 100, of the time 1,000,000; ``tags`` are those it knows."""

    def __init__(self, url: str = "http://node", *, chain: int = 8453, fork: int = 0, **tags: BlockHeader) -> None:
        super().__init__(url)
        self.chain, self.fork, self.tags = chain, fork, tags
        self.answers: dict[bytes, bytes] = {p256probe.LOW: bytes(31) + b"\x01", p256probe.HIGH: bytes(31) + b"\x01"}
        self.gas = 0

    def chain_id(self) -> int:
        return self.chain

    def header(self, block: int | bytes | str) -> BlockHeader | None:
        if isinstance(block, int):
            return header(block, 1_000_000 - 2 * (100 - block), self.fork)
        if block == "latest":
            return header(100, 1_000_000, self.fork)
        if isinstance(block, str) and block in self.tags:
            return self.tags[block]
        raise Rejected(-32602, f"unknown block {block!r}", b"")

    def call(self, to: bytes, data: bytes, block: int | bytes | str = "latest", sender: bytes | None = None) -> bytes:
        if to == p256probe.P256VERIFY:
            return self.answers.get(data, b"")
        return (5).to_bytes(32, "big")

    def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes, block: Any = None) -> int:
        return 21_000 + sum(16 if byte else 4 for byte in data) + self.gas

    def priority_fee(self) -> int:
        return 1_000


def found(monkeypatch: pytest.MonkeyPatch, preset: Any, *nodes: Node) -> dict[str, Finding]:
    by_url = {node.url: node for node in nodes}
    monkeypatch.setattr(probe, "EvmClient", by_url.__getitem__)
    return {one.what: one for one in probe.probe(list(by_url), None, preset)}


def good(**changes: Any) -> Node:
    tags = {"safe": header(90, 999_980), "finalized": header(60, 999_000)} | changes
    node = Node(**tags)
    node.gas = 6_900
    return node


def test_a_chain_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = found(monkeypatch, BASE, good())
    assert {line.state for what, line in lines.items() if what != "endpoints"} == {"ok"}
    assert lines["tags safe and finalized"].detail == "at 90 and 60 of 100, 1000 s behind"
    assert lines["fee for data on the parent chain"].detail.startswith("5 wei")


def test_finality_that_stands_still_or_contradicts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    what = "tags safe and finalized"
    late = found(monkeypatch, BASE, good(finalized=header(1, 1_000_000 - probe.LAG_S - 1)))[what]
    assert (late.state, "does not move" in late.detail) == ("warn", True)
    assert found(monkeypatch, BASE, good(finalized=header(95, 999_990)))[what].state == "fail"
    missing = Node(safe=header(90, 999_980))
    assert found(monkeypatch, BASE, missing)["tag finalized"].state == "fail"
    missing.chain = 4242
    line = found(monkeypatch, PRIVATE, missing)["tag finalized"]
    assert (line.state, "confirmations" in line.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("then", "state"), [(61, "ok"), (60, "warn"), (59, "fail")], ids=["moves", "stands", "falls"]
)  # fmt: skip
def test_finality_is_watched(monkeypatch: pytest.MonkeyPatch, then: int, state: str) -> None:
    node, slept = good(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        node.tags["finalized"] = header(then, 999_010)

    monkeypatch.setattr(probe, "EvmClient", lambda _: node)
    lines = {one.what: one for one in probe.probe([node.url], None, BASE, watch_s=5.0, sleep=sleep)}
    assert lines["finalized at http://node moves"].state == state
    assert sum(slept) <= 5.0


@pytest.mark.parametrize(
    ("answers", "gas", "state"),
    [
        ({}, 0, "warn"),
        ({p256probe.LOW: bytes(31) + b"\x01"}, 6_900, "fail"),
        (dict.fromkeys((p256probe.LOW, p256probe.HIGH, p256probe.BAD), bytes(31) + b"\x01"), 6_900, "fail"),
        ({p256probe.LOW: b"\x01", p256probe.HIGH: b"\x01"}, 6_900, "fail"),
        (dict.fromkeys((p256probe.LOW, p256probe.HIGH), bytes(31) + b"\x01"), 3_450, "warn"),
        (dict.fromkeys((p256probe.LOW, p256probe.HIGH), bytes(31) + b"\x01"), 7_300, "ok"),
    ],
    ids=["absent", "refuses high s", "takes a bad one", "another answer", "other gas", "an estimate a little high"],
)
def test_what_stands_at_0x100(
    monkeypatch: pytest.MonkeyPatch, answers: dict[bytes, bytes], gas: int, state: str
) -> None:
    node = good()
    node.answers, node.gas = answers, gas
    assert found(monkeypatch, BASE, node)["P256VERIFY at 0x100"].state == state


def test_endpoints_that_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, forked = good(), good(), good()
    two.url, forked.url, forked.fork = "http://two", "http://three", 7
    assert found(monkeypatch, BASE, one, two)["agreement"].state == "ok"
    line = found(monkeypatch, BASE, one, forked)["agreement"]
    assert (line.state, "block 90 differs" in line.detail) == ("fail", True)


def test_a_chain_that_is_too_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    dear = dataclasses.replace(BASE, rules=dataclasses.replace(BASE.rules, max_fee_wei=10**6))
    assert found(monkeypatch, dear, good())["fees"].state == "warn"


def test_another_chain_is_looked_at_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = found(monkeypatch, BASE, Node(chain=1))
    assert set(lines) == {"chain id at http://node", "endpoints"}
    assert lines["chain id at http://node"].state == "fail"
