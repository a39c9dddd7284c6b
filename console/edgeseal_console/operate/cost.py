"""``edgeseal chain cost``: what anchoring costs on a chain, from its fees now and from measured gas.

Gas is what ``contracts/snapshots`` holds (P-256 by the precompile, an anchor at a million leaves). Money is named only
with a price that a person gave.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from edgeseal.adapters.evm import EvmClient, Rejected
from edgeseal.chainrules import ChainRules
from edgeseal.errors import Unavailable
from edgeseal_console.operate.l1fee import l1_fee, stand_in

RECORDS: Final = (1, 100, 10_000, 1_000_000)
"""Records an anchor for which a cost is given."""
BLOCKS: Final = 100
"""Newest blocks whose fees are looked at."""
NODES: Final = 16
"""Nodes of the consistency proof in the anchor whose data is priced: between a million and some more leaves."""
ANCHOR_DATA: Final = 4 + 32 * (9 + 2 + NODES)
"""Bytes of the call data of such an anchor."""
WEI: Final = 10**18


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei a gas: the base fee now, its least and most over :data:`BLOCKS` blocks, the usual tip; wei an anchor for
    data on the parent chain.
    """

    base: int
    base_least: int
    base_most: int
    tip: int
    l1: int

    @property
    def gas(self) -> int:
        """Wei a gas in all."""
        return self.base + self.tip


def measured() -> dict[str, dict[str, int]]:
    """Return the committed gas of each transaction, group → name → gas."""
    found: dict[str, dict[str, int]] = json.loads((files("edgeseal.contracts") / "gas.json").read_text("utf-8"))
    return found


def live(client: EvmClient, rules: ChainRules, contract: bytes) -> Fees:
    """Return the chain's fees now, from ``eth_feeHistory`` and the oracle the rules name.

    Raises Unavailable; UsageError ``l1_fee_oracle``.
    """
    try:
        history = client.request("eth_feeHistory", hex(BLOCKS), "latest", [50])
        bases = [int(value, 16) for value in history["baseFeePerGas"]]
        tips = sorted(int(row[0], 16) for row in history.get("reward") or [] if row)
    except Rejected as error:
        raise Unavailable("rpc_answer", f"{client.name}: eth_feeHistory: {error.text}", "ask another node") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Unavailable("rpc_answer", f"{client.name}: eth_feeHistory: {error!r:.200}") from error
    if not bases:
        raise Unavailable("rpc_answer", f"{client.name}: eth_feeHistory names no block")
    tip = tips[len(tips) // 2] if tips else client.priority_fee()
    tip = max(rules.min_tip_wei, min(tip, rules.max_tip_wei))
    return Fees(bases[-1], min(bases), max(bases), tip, l1_fee(client, rules, contract, stand_in(ANCHOR_DATA)))


def table(fees: Fees, price: float | None) -> dict[str, Any]:
    """Return gas, wei and (with a price of one ETH) money: per anchor, per record and per million records."""
    anchor = measured()["anchor"]
    gas = {name: anchor[f"drawn pairs: {name}"] for name in ("median", "worst")}
    wei = {name: value * fees.gas + fees.l1 for name, value in gas.items()}
    rows = []
    for records in RECORDS:
        each = wei["median"] / records
        row: dict[str, Any] = {
            "records_an_anchor": records, "gas_a_record": gas["median"] / records, "wei_a_record": each,
            "wei_a_million_records": each * 1_000_000,
        }  # fmt: skip
        if price is not None:
            row |= {"money_a_record": each / WEI * price, "money_a_million_records": each * 1_000_000 / WEI * price}
        rows.append(row)
    found: dict[str, Any] = {
        "fees": {
            "base_wei": fees.base, "base_least_wei": fees.base_least, "base_most_wei": fees.base_most,
            "tip_wei": fees.tip, "parent_chain_wei_an_anchor": fees.l1,
        },
        "anchor": {"gas": gas, "wei": wei},
        "records": rows,
        "other_gas": {group: names for group, names in measured().items() if group != "anchor"},
    }  # fmt: skip
    if price is not None:
        found["eth_price"] = price
        found["anchor"]["money"] = {name: value / WEI * price for name, value in wei.items()}
    return found
