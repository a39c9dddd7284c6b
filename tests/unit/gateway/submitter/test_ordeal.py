"""Everything at once: crashes at any write or sending, reorganisations, endpoints that die, pools that forget, funds
that run out. In the end no anchor is lost, none is there twice, and all are final.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgeseal.errors import Unavailable
from edgeseal_gateway.store import anchors, attempts, fleetlog
from tests.fakes.chain import GWEI
from tests.fakes.node import FakeNode
from tests.fakes.submitter import ETHER, Crash, Rig

GONE = Unavailable("rpc_unreachable", "gone")
FINAL_DEPTH = 24


class Ordeal:
    """One run of chance, by its seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rig = Rig(folder, endpoints=2)
        for node in self.rig.nodes:
            node.final_depth = FINAL_DEPTH
        self.crashes = self.reorgs = self.grown = self.highest = 0

    def round(self) -> None:
        self.chance.choice(
            [self._grow, self._grow, self._step, self._step, self._mine, self._mine, self._go_on, self._go_on,
             self._go_on, self._reorg, self._die, self._drop, self._poor, self._spike, self._wait, self._crash,
             self._crash]
        )()  # fmt: skip
        self.highest = max(self.highest, self.rig.chain.height)

    def _go_on(self) -> None:
        for _ in range(4):
            self._step()
            self.rig.mine(2)

    def _grow(self) -> None:
        self.rig.grow(f"device-{self.grown}")
        self.grown += 1

    def _step(self) -> None:
        try:
            self.rig.step()
        except Unavailable as error:
            assert error.code == "rpc_unreachable", error

    def _mine(self) -> None:
        self.rig.mine(self.chance.randrange(1, 5))

    def _reorg(self) -> None:
        """Take up to twenty blocks back, past what was called safe and never what was called final."""
        depth = min(self.chance.randrange(1, 21), self.rig.chain.height - max(1, self.highest - FINAL_DEPTH))
        if depth > 0:
            gone = self.rig.chain.reorg(depth, self.chance.randrange(0, depth + 2))
            self.reorgs += 1
            if self.chance.random() < 0.5:  # the pool of one node has them again
                node = self.chance.choice(self.rig.nodes)
                for tx in gone:
                    node.pool.setdefault(tx.sender, {})[tx.nonce] = tx

    def _die(self) -> None:
        dead = self.chance.choice(self.rig.nodes)
        for node in self.rig.nodes:
            node.down = GONE if node is dead and self.chance.random() < 0.7 else None

    def _drop(self) -> None:
        self.chance.choice(self.rig.nodes).drop()

    def _poor(self) -> None:
        for block in self.rig.chain.blocks:
            block.state.balances[self.rig.account.address] = self.chance.choice([0, 10**14, ETHER, ETHER])

    def _spike(self) -> None:
        self.rig.chain.base_fee = self.chance.choice([1, GWEI, GWEI, 30 * GWEI, 200 * GWEI])

    def _wait(self) -> None:
        self.rig.wait(self.chance.choice([1, 20, 50, 400]))

    def _crash(self) -> None:
        """End the process at a write or a sending that is drawn, and begin anew."""
        if self.chance.random() < 0.5:
            self.rig.restart(self.chance.choice(["before-commit", "after-commit"]), self.chance.randrange(0, 4))
        else:
            when = self.chance.choice(["before", "after"])
            self._on_send(lambda now: crash() if now == when else None)
        try:
            self._step()
        except Crash:
            self.crashes += 1
        self._on_send(None)
        self.rig.restart()

    def _on_send(self, hook: object) -> None:
        for node in self.rig.nodes:
            node.on_send = hook  # type: ignore[assignment]

    def heal(self) -> None:
        """Let everything be well again, and the work be done."""
        rig = self.rig
        for node in rig.nodes:
            node.down = None
        for block in rig.chain.blocks:
            block.state.balances[rig.account.address] = ETHER
        rig.chain.base_fee = GWEI
        for _ in range(600):
            rig.sequence()
            flying, wanted = rig.ask(anchors.in_flight), rig.ask(anchors.newest_wanted)
            final = rig.ask(anchors.newest_final)
            if not flying and wanted is None and final is not None and final.size == rig.ask(fleetlog.size):
                return
            self._step()
            rig.mine()
            rig.wait(15)
        raise AssertionError(f"{flying} {wanted} {rig.sender.blocked}")

    def audit(self) -> None:
        rig = self.rig
        rig.audit()
        assert rig.anchored_events() == rig.finals(), "none lost, none twice"
        signed = {tx.nonce for tx in rig.account.signed}
        assert signed == set(range(len(signed))), "no nonce left out"
        for nonce in signed:
            kept = {one.raw for one in rig.ask(attempts.of_nonce, nonce)}
            sent = {raw for node in rig.nodes for raw in of_nonce(node, nonce)}
            assert sent <= kept, "what was sent was kept"


def of_nonce(node: FakeNode, nonce: int) -> list[bytes]:
    from tests.fakes.chain import Tx

    return [raw for raw in set(node.sent) if Tx.read(raw).nonce == nonce]


def crash() -> None:
    raise Crash


def endure(folder: Path, seed: int, rounds: int) -> Ordeal:
    ordeal = Ordeal(folder, seed)
    for _ in range(rounds):
        ordeal.round()
    ordeal.heal()
    ordeal.audit()
    return ordeal


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_doubled_or_left_behind(tmp_path: Path, seed: int) -> None:
    endure(tmp_path, seed, 120)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 160))
def test_nothing_is_lost_doubled_or_left_behind_for_long(tmp_path: Path, seed: int) -> None:
    assert endure(tmp_path, seed, 600).reorgs
