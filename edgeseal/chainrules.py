"""How a chain behaves: what is final there, how fast it is, what a gas may cost, where P-256 and data are priced.

Rules stand in a network profile (key ``chain``) and, for chains many people use, in ``edgeseal/contracts/networks``.
They say what to expect and where to stop; ``edgeseal chain probe`` compares them with the chain itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeseal import limits, strictyaml
from edgeseal.errors import FormatError

SCHEMA: Final = "edgeseal-chain/1"
FINALITY: Final = ("tag", "confirmations")
MEMPOOL: Final = ("public", "private", "none")
L1_FEE: Final = ("none", "opstack", "arbitrum")
_NAME: Final = r"[a-z][a-z0-9-]{0,31}"
_ADDRESS: Final = r"0x[0-9a-fA-F]{40}"
_MAX_WEI: Final = 10**15
"""The highest ceiling taken: a million gwei a gas."""


@dataclass(frozen=True, slots=True)
class ChainRules:
    """What to expect of a chain.

    Attributes:
        name: of the preset these came from, such as ``base``.
        finality: ``tag``: a block is final once the node's ``finalized`` tag has reached it; ``confirmations``: once
            it is ``confirmations`` deep.
        confirmations: from how many blocks on a transaction counts as confirmed (its own block is the first).
        block_ms: typical time from block to block, in milliseconds.
        mempool: ``public``; ``private``: seen by the sequencer only; ``none``: first come, first served, and nothing
            that was sent can be replaced.
        p256_gas: gas that P256VERIFY at 0x100 is expected to take; 0: no such precompile is expected.
        l1_fee: whose form the fee for data on the parent chain has; ``none``: there is none.
        l1_fee_oracle: 20-byte address of the contract that says it; None where ``l1_fee`` is ``none``.
        max_fee_wei: the most that is ever offered for a gas, in wei.
        max_tip_wei: the most of it that is offered as priority fee.
        min_tip_wei: the least priority fee worth offering.
    """

    name: str
    finality: str
    confirmations: int
    block_ms: int
    mempool: str
    p256_gas: int
    l1_fee: str
    l1_fee_oracle: bytes | None
    max_fee_wei: int
    max_tip_wei: int
    min_tip_wei: int

    @classmethod
    def read(cls, section: strictyaml.Section) -> ChainRules:
        """Return the rules in the map under ``chain``. Raises FormatError ``yaml_*``."""
        l1_fee = section.text("l1_fee", "|".join(L1_FEE))
        max_fee = section.integer("max_fee_wei", 1, _MAX_WEI)
        max_tip = section.integer("max_tip_wei", 0, max_fee)
        rules = cls(
            section.text("name", _NAME),
            section.text("finality", "|".join(FINALITY)),
            section.integer("confirmations", 1, 10_000),
            section.integer("block_ms", 1, 3_600_000),
            section.text("mempool", "|".join(MEMPOOL)),
            section.integer("p256_gas", 0, 10_000_000),
            l1_fee,
            None if l1_fee == "none" else bytes.fromhex(section.text("l1_fee_oracle", _ADDRESS)[2:]),
            max_fee,
            max_tip,
            section.integer("min_tip_wei", 0, max_tip),
        )
        section.done()
        return rules

    def render(self, indent: str) -> str:
        """Return the lines of the map, each with ``indent`` before it; :meth:`read` gives the same rules back."""
        oracle = [] if self.l1_fee_oracle is None else [f'l1_fee_oracle: "0x{self.l1_fee_oracle.hex()}"']
        lines = [
            f"name: {self.name}", f"finality: {self.finality}", f"confirmations: {self.confirmations}",
            f"block_ms: {self.block_ms}", f"mempool: {self.mempool}", f"p256_gas: {self.p256_gas}",
            f"l1_fee: {self.l1_fee}", *oracle, f"max_fee_wei: {self.max_fee_wei}",
            f"max_tip_wei: {self.max_tip_wei}", f"min_tip_wei: {self.min_tip_wei}",
        ]  # fmt: skip
        return "".join(f"{indent}{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Preset:
    """A chain that many people use: its id (None: theirs to say), its ``kind`` as in a network profile, its rules."""

    chain_id: int | None
    kind: str
    rules: ChainRules

    @classmethod
    def decode(cls, data: bytes) -> Preset:
        """Return the preset in the bytes of a file. Raises FormatError ``yaml_*``."""
        top = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
        top.text("schema", SCHEMA)
        preset = cls(
            top.integer("chain_id", 1, 2**64 - 1) if "chain_id" in top else None,
            top.text("kind", "operator|public"),
            ChainRules.read(top.section("chain")),
        )
        top.done()
        if preset.kind == "public" and preset.chain_id is None:
            raise FormatError("yaml_missing_key", "a public chain is named by its chain_id")
        return preset
