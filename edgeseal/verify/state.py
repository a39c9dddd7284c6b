"""What the contracts held in the state after a block that is believed, proved offline (format.md 14.2–14.4).

Steps: (1) the block is believed, the account proofs hold under its state root; (2) each contract has the trusted code;
(3) slots hold under the contracts' storage roots; (4) the anchored size there says how far the state reaches. A slot
that is not among them says nothing; one that is proved to hold nothing is zero. Nothing a node says is taken for it.

What each party can do: an RPC endpoint or a gateway that lies makes proofs that do not hold (failed); whoever makes the
bundle can leave proofs out, which leaves open what they would have told, or bring older ones, which reach less far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeVar

from edgeseal import contractstate
from edgeseal.bundle import Bundle
from edgeseal.commandlog import audience_id
from edgeseal.contractstate import ChainTip, KeyState, Read
from edgeseal.errors import EvidenceError
from edgeseal.evmproof import Header, keccak256
from edgeseal.evmproof.multiproof import EMPTY_ROOT
from edgeseal.evmproof.state import Account
from edgeseal.stateevidence import AccountEvidence, CommandChain
from edgeseal.trust import ChainTrust, Trust
from edgeseal.verify.chain import Anchor, Anchors, Ground, Proofs

FLEET_LOG: Final = "fleet log contract"
REGISTRY: Final = "identity registry"
COMMANDS: Final = "command log"
MODELS: Final = "model registry"
ABOUT: Final = {
    FLEET_LOG: "existed_by",
    REGISTRY: "key_valid",
    COMMANDS: "command_authority",
    MODELS: "model_identity",
}
"""Contract → the question that fails where the contract is not the trusted one."""
_NO_CODE: Final = keccak256(b"")
"""The code hash of an account that is no contract."""
_T = TypeVar("_T")


class Missing(Exception):
    """A slot that the bundle proves nothing of."""


@dataclass(frozen=True, slots=True)
class Believed:
    """Contracts after one believed block: ``roots`` are the storage roots of those with the trusted code.

    ``size`` and ``root`` are the fleet log's anchored head there, None where the bundle does not show it; ``time`` is
    the block's, in seconds.
    """

    block: bytes
    number: int
    time: int
    ground: Ground
    roots: dict[str, bytes]
    size: int | None = None
    root: bytes | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """What CommandLog is proved to hold of an audience in ``state``: ``complete`` says that there is nothing else."""

    state: Believed
    digests: frozenset[bytes]
    complete: bool


@dataclass(slots=True)
class States:
    """The states of a bundle that are believed. ``failures`` are (question, reason, detail); ``commands`` is what was
    found out about commands: (device log, record, digest, whether CommandLog holds it, None where nothing shows it).
    """

    trust: Trust
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    open: dict[str, tuple[str, str]] = field(default_factory=dict)
    believed: list[Believed] = field(default_factory=list)
    commands: list[tuple[bytes, int, bytes, bool | None]] = field(default_factory=list)
    _slots: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    _chains: dict[bytes, list[CommandChain]] = field(default_factory=dict)
    _keys: dict[bytes, list[tuple[Believed, KeyState | None]]] = field(default_factory=dict)
    _logged: dict[bytes, Logged | None] = field(default_factory=dict)

    def load(self, bundle: Bundle, anchors: Anchors, more: Proofs | None = None) -> None:
        """Take the bundle's proofs in, all of them untrusted, and ``more``; the heads they show go to ``anchors``.

        Raises what Bundle raises, nothing else: a proof that does not hold is a failure.
        """
        extra, slots = ([more.accounts], more.storage) if more else ([], ())
        # (1), (2)
        states = [state for evidence in chain(bundle.accounts(), extra) for state in self._account(evidence, anchors)]
        # (3)
        wanted = {root for state in states for root in state.roots.values()}
        for storage in chain(bundle.storage(), slots):
            try:
                values = storage.verify()
            except EvidenceError as error:
                self._fail(REGISTRY, error.code, f"slots under root {storage.root.hex()}: {error.message}")
                continue
            if storage.root in wanted:
                self._slots.setdefault(storage.root, {}).update(values)
        for entries in bundle.commands():
            if entries.log == self.trust.fleet_log:
                self._chains.setdefault(entries.audience, []).append(entries)
        # (4)
        self.believed = sorted((self._placed(state, anchors) for state in states), key=lambda state: state.number)
        anchors.take(self._heads())

    @property
    def registry(self) -> list[Believed]:
        """The states, oldest first, in which the registry can be read and the anchored size is known; of several with
        the same registry only the first and the last.
        """
        found = [state for state in self.believed if REGISTRY in state.roots and state.size is not None]
        last = len(found) - 1
        return [
            state
            for at, state in enumerate(found)
            if at in (0, last)
            or not found[at - 1].roots[REGISTRY] == state.roots[REGISTRY] == found[at + 1].roots[REGISTRY]
        ]

    def key(self, kid: bytes) -> list[tuple[Believed, KeyState | None]]:
        """Return what the registry says of a key, oldest state first: None where it is proved not to know it. States
        that prove nothing of it are left out.
        """
        if kid not in self._keys:
            log = self.trust.fleet_log
            self._keys[kid] = list(
                self._each(self.registry, REGISTRY, lambda read: contractstate.key_state(read, log, kid))
            )
        return self._keys[kid]

    def logged(self, audience: bytes | str) -> Logged | None:
        """Return what CommandLog holds of an audience, by the newest state that shows it; None where none does."""
        key = audience_id(audience)
        if key not in self._logged:
            self._logged[key] = self._read_commands(key)
        return self._logged[key]

    def newest(self, contract: str, ask: Callable[[Read], _T]) -> tuple[Believed, _T] | None:
        """Return the newest state in which ``ask`` finds all that it reads of a contract, and its answer."""
        states = [state for state in self.believed if contract in state.roots]
        return next(self._each(reversed(states), contract, ask), None)

    def at(self, state: Believed, contract: str, ask: Callable[[Read], _T]) -> _T | None:
        """Return the answer of ``ask`` in one state, None where the bundle does not show all that it reads."""
        return next((found for _, found in self._each([state], contract, ask)), None)

    def _each(
        self, states: Iterable[Believed], contract: str, ask: Callable[[Read], _T]
    ) -> Iterator[tuple[Believed, _T]]:
        for state in states:
            try:
                yield state, ask(self._reader(state, contract))
            except Missing:
                continue
            except EvidenceError as error:
                self._fail(contract, error.code, f"the {contract} in block {state.block.hex()}: {error.message}")

    def _reader(self, state: Believed, contract: str) -> Read:
        root = state.roots[contract]
        slots = self._slots.get(root, {})

        def read(slot: bytes) -> int:
            if root == EMPTY_ROOT:
                return 0
            if slot not in slots:
                raise Missing
            return slots[slot]

        return read

    def _account(self, evidence: AccountEvidence, anchors: Anchors) -> Iterator[Believed]:
        what = f"accounts in block {evidence.block.hex()}"
        trusted = self.trust.chain
        try:
            header, accounts = evidence.verify()
        except EvidenceError as error:
            self._fail(REGISTRY, error.code, f"{what}: {error.message}")
            return
        if trusted is None:
            return
        if evidence.chain != trusted.id:
            self._fail(REGISTRY, "anchor_elsewhere", f"{what} are of chain {evidence.chain}")
            return
        ground = anchors.belief(evidence.block)
        if ground is None:
            self.open.setdefault(REGISTRY, ("block_not_believed", f"nothing believed says that {what} are final"))
            return
        yield self._trusted(trusted, evidence.block, header, ground, accounts)

    def _trusted(
        self, trusted: ChainTrust, block: bytes, header: Header, ground: Ground, accounts: dict[bytes, Account | None]
    ) -> Believed:
        roots = {}
        for contract, (address, code) in _contracts(trusted).items():
            if address not in accounts:
                continue
            account = accounts[address]
            if code is None:
                self.open.setdefault(contract, ("code_unknown", f"the trust file gives no code hash of the {contract}"))
            elif account is None or account.code_hash == _NO_CODE:
                # Not there yet: a contract that the trust file names may be younger than the block.
                self.open.setdefault(contract, ("state_missing", f"in block {block.hex()} there is no {contract}"))
            elif account.code_hash != code:
                self._fail(contract, "code_mismatch", f"in block {block.hex()} the {contract} has other code")
            else:
                roots[contract] = account.storage_root
        return Believed(block, header.number, header.timestamp, ground, roots)

    def _placed(self, state: Believed, anchors: Anchors) -> Believed:
        """Return the state with the anchored head in it, by the contract's storage, else by its event in that block."""
        head: tuple[int, bytes] | None = None
        if FLEET_LOG in state.roots:
            log = self.trust.fleet_log
            for _, found in self._each([state], FLEET_LOG, lambda read: contractstate.log_head(read, log)):
                head = (found.size, found.root)
        events = [(anchor.size, anchor.root) for anchor in anchors.believed if anchor.block == state.block]
        head = head or max(events, default=None)
        if head is None:
            return state
        return Believed(state.block, state.number, state.time, state.ground, state.roots, *head)

    def _heads(self) -> Iterator[Anchor]:
        assert self.trust.chain is not None or not self.believed
        for state in self.believed:
            if state.size and state.root is not None and self.trust.chain is not None:
                yield Anchor(
                    state.size, state.root, self.trust.chain.id, state.block, state.number, state.time, state.ground
                )

    def _read_commands(self, audience: bytes) -> Logged | None:
        log = self.trust.fleet_log
        found = self.newest(COMMANDS, lambda read: contractstate.command_tip(read, log, audience))
        if found is None:
            return None
        state, tip = found
        return Logged(state, *_shown(self._chains.get(audience, []), tip))

    def _fail(self, contract: str, reason: str, detail: str) -> None:
        entry = (ABOUT[contract], reason, detail)
        if entry not in self.failures:
            self.failures.append(entry)


def _shown(files: list[CommandChain], tip: ChainTip) -> tuple[frozenset[bytes], bool]:
    """Return the digests of the entries that lead to the chain CommandLog holds, and whether they are all there are."""
    first, chain, digests = bytes(32), bytes(32), set[bytes]()
    if tip.entries == 0:
        return frozenset(), True
    for part in files:
        if part.start != chain:
            first, digests = part.start, set()
        for (digest, _, _), chain in zip(part.entries, part.steps(), strict=True):
            digests.add(digest)
            if chain == tip.head:
                return frozenset(digests), first == bytes(32)
    return frozenset(), False


def _contracts(chain: ChainTrust) -> dict[str, tuple[bytes, bytes | None]]:
    """Return contract → (address, trusted code hash) of those that the trust file names."""
    found: dict[str, tuple[bytes, bytes | None]] = {}
    if chain.fleet_log_contract is not None:
        found[FLEET_LOG] = (chain.fleet_log_contract, chain.fleet_log_code)
    if chain.identity_registry is not None:
        found[REGISTRY] = (chain.identity_registry, chain.registry_code)
    if chain.command_log is not None:
        found[COMMANDS] = (chain.command_log.address, chain.command_log.code)
    if chain.model_registry is not None:
        found[MODELS] = (chain.model_registry.address, chain.model_registry.code)
    return found
