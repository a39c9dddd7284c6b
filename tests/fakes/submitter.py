"""A gateway's store, its sequencer and its sender on endpoints in memory, with clocks that a test turns."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeseal import cbor, evmproof
from edgeseal.adapters.evm import Account, Contract, SignedTransaction, Transaction, TransactionSigner
from edgeseal.chainrules import ChainRules
from edgeseal.fleetlog_event import decode_anchored
from edgeseal_gateway.chain.budget import SpendLimits
from edgeseal_gateway.chain.endpoints import Endpoints
from edgeseal_gateway.chain.fees import Bounds
from edgeseal_gateway.chain.lease import Lease
from edgeseal_gateway.chain.means import Means, Settings
from edgeseal_gateway.chain.sender import Sender
from edgeseal_gateway.chain.sendstate import SendRules
from edgeseal_gateway.sequencer import AnchorPolicy
from edgeseal_gateway.store import anchors, attempts
from edgeseal_gateway.store.attempts import Attempt
from edgeseal_gateway.store.database import Database
from tests.fakes.chain import FakeChain, Tx
from tests.fakes.node import FakeNode, mine
from tests.gatewaystore import Founded

ETHER = 10**18
PUBLIC = ChainRules("test", "tag", 3, 12_000, "public", 6_900, "none", None, 500 * 10**9, 50 * 10**9, 1)
PLENTY = SpendLimits(ETHER, 10 * ETHER)
_CONTRACT = Contract("FleetLog")


class Crash(BaseException):
    """The end of the process."""


class Dying(Database):
    """A store one of whose next writes ends in a crash before, or after, its COMMIT: the one after ``spare`` others."""

    mode = ""
    spare = 0
    writes = 0

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        self.writes += 1
        is_last = self.mode != "" and self.spare == 0
        if self.spare:
            self.spare -= 1
        with super().write() as connection:
            yield connection
            if is_last and self.mode == "before-commit":
                raise Crash
        if is_last and self.mode == "after-commit":
            raise Crash


class Watched:
    """A signer that counts, and fails when told to."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.address = account.address
        self.signed: list[Transaction] = []
        self.fails: Exception | None = None
        self.alters: Callable[[Transaction], Transaction] | None = None

    def sign(self, transaction: Transaction) -> SignedTransaction:
        if self.fails is not None:
            raise self.fails
        self.signed.append(transaction)
        return self._account.sign(transaction if self.alters is None else self.alters(transaction))


class Rig(Founded):
    """One gateway with an anchor of size 2 wanted, on one chain with as many endpoints as asked for."""

    def __init__(
        self,
        folder: Path,
        rules: ChainRules | None = PUBLIC,
        endpoints: int = 1,
        confirmations: int = 1,
        counting: int = 0,
    ) -> None:
        super().__init__(folder, policy=AnchorPolicy(1, None))
        self.profile = dataclasses.replace(self.profile, rules=rules)
        self.chain = FakeChain(self.profile, self.signer.public_key, counting)
        self.nodes = [FakeNode(f"node-{number}", self.chain) for number in range(endpoints)]
        self.account = Watched(Account(b"\x07" * 32))
        self.chain.fund(self.account.address, ETHER)
        self.settings = Settings(Bounds.of(rules, 500 * 10**9), PLENTY)
        self.confirmations = confirmations
        self.restart()

    def restart(self, store: str = "", spare: int = 0) -> None:
        """Begin anew on the store, as a restarted process does; crash at the given place of a write to come."""
        database = self.dying = Dying(self.path)
        database.connection.execute("PRAGMA synchronous = OFF")  # what ends here is no machine: fsync shows nothing
        self.open(database)
        self.lease = Lease(database, self.seconds, self.wall_ms, "here", alone_here=True, ttl_s=10**9)
        self.lease.hold()
        self.endpoints = Endpoints(self.nodes, self.profile, self.seconds, lambda: 0.0)
        rules = SendRules.of(self.profile, self.confirmations)
        signer: TransactionSigner = self.account
        self.means = Means(
            self.profile, database, signer, self.signer.public_key, self.endpoints, self.lease, rules, self.settings,
            self.wall_ms, self.seconds,
        )  # fmt: skip
        self.sender = Sender(self.means)
        database.mode, database.spare = store, spare

    def seconds(self) -> float:
        return self.monotonic

    def wall_ms(self) -> int:
        return self.clock

    @property
    def node(self) -> FakeNode:
        return self.nodes[0]

    def wait(self, seconds: float) -> None:
        """Turn both clocks."""
        self.monotonic += seconds
        self.clock += int(seconds * 1000)

    def step(self, times: int = 1) -> bool:
        changed = [self.sender.step() for _ in range(times)]
        return any(changed)

    def mine(self, blocks: int = 1) -> list[Tx]:
        return mine(self.chain, *self.nodes, blocks=blocks)

    def state(self, size: int = 2) -> str | None:
        found = self.ask(anchors.find, size)
        return None if found is None else found.state

    def attempts(self, size: int = 2) -> list[Attempt]:
        return self.ask(attempts.of_anchor, size)

    def grow(self, name: str) -> int:
        """Make the log larger, so that the next anchor is wanted; return its size."""
        self.hand_in(self.tenant.enrolment(self.tenant.device_of(name)))
        return self.sequence()

    def confirm(self, size: int = 2) -> None:
        """Bring the anchor of a size so far that it is confirmed and not final."""
        self.step()
        self.mine()
        self.step()
        self.mine(self.means.rules.confirmations - 1)
        self.step()
        assert self.state(size) == anchors.CONFIRMED

    def work(self, size: int, rounds: int = 60) -> None:
        """Step and make blocks until the anchor of a size is final."""
        for _ in range(rounds):
            if self.state(size) == anchors.FINAL:
                return
            self.step()
            self.mine()
            self.wait(1)
        raise AssertionError(f"size {size} is {self.state(size)}: {self.sender.blocked}")

    def finals(self) -> list[int]:
        return [one.size for one in self.ask(anchors.final_from, 0, 1_000)]

    def anchored_events(self) -> list[int]:
        """Return the sizes the contract took, in the history that stands."""
        topic = _CONTRACT.event_topic("Anchored")
        found = [
            log for block in self.chain.blocks for one in block.receipts for log in one.logs if log.topics[0] == topic
        ]
        return [decode_anchored(log).size for log in found]

    def audit(self) -> None:
        """Check that each final anchor is on the chain, once, and that its evidence holds for a stranger."""
        taken = self.anchored_events()
        assert len(taken) == len(set(taken)), "an anchor twice"
        for one in self.ask(anchors.final_from, 0, 1_000):
            assert one.size in taken, (one.size, taken)
            assert one.evidence is not None, one
            made: dict[str, Any] = cbor.decode(one.evidence, max_size=1 << 20)
            proved = evmproof.verify_log(
                made["block"], made["header"], made["receipt"], made["index"], made["nodes"], made["contract"],
                made["log"],
            )  # fmt: skip
            assert decode_anchored(proved.log).size == one.size
            assert one.number is not None and self.chain.blocks[one.number].header.hash == one.block

    def foreign(self, nonce: int, data: bytes = b"") -> None:
        """Let somebody else who has the account's key use a nonce."""
        key = Account(b"\x07" * 32)
        tx = Transaction(self.profile.chain_id, nonce, key.address, data, 21_000, 10**11, 10**9)
        assert self.chain.mine([Tx.read(key.sign(tx).raw)])
