"""``edgeseal chain probe``: is this the chain we think it is, do our contracts stand there, can they check signatures.

Everything is asked of the endpoints themselves; nothing is sent. A finding is ``ok``, ``warn`` (it works, at a price or
not for long) or ``fail`` (do not go on), each with what was found and what to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

from edgeseal.adapters.evm import BlockHeader, EvmClient, Rejected
from edgeseal.chainrules import ChainRules, Preset
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal_console.operate import l1fee
from edgeseal_console.operate.contractprobe import Finding, contracts
from edgeseal_console.operate.p256probe import p256

LAG_S: Final = 3_600
"""How far ``finalized`` may lie behind ``latest``, in seconds by the chain, before it is said to stand still."""
WATCH_STEP_S: Final = 2.0
"""Seconds between two looks at ``finalized``."""


def probe(
    urls: Sequence[str], network: NetworkProfile | None, preset: Preset, *, watch_s: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:  # fmt: skip
    """Yield what is found at each endpoint, and whether the endpoints agree.

    ``network`` None: contracts are not looked at. ``preset`` says what to expect of the chain. ``watch_s``: look for at
    most so many seconds whether ``finalized`` moves. Raises nothing: an endpoint that does not answer is a finding.
    """
    heads: list[tuple[EvmClient, int]] = []
    for url in urls:
        client = EvmClient(url)
        try:
            newest = yield from _endpoint(client, network, preset)
        except EdgesealError as error:
            yield Finding("fail", url, error.message, error.remedy or "give another endpoint")
        else:
            if newest is not None:
                heads.append((client, newest.number))
                if watch_s:
                    yield _movement(client, watch_s, sleep)
    if len(heads) > 1:
        yield _agreement(heads, preset.rules)
    elif len(urls) < 2:
        yield Finding(
            "warn", "endpoints", "one endpoint: whoever runs it decides what is believed here",
            "give a second one, run by somebody else",
        )  # fmt: skip


def _endpoint(
    client: EvmClient, network: NetworkProfile | None, preset: Preset
) -> Generator[Finding, None, BlockHeader | None]:  # fmt: skip
    """Yield the findings of one endpoint and return its newest block; None if it is of another chain."""
    chain_id, newest = client.chain_id(), client.header("latest")
    expected = preset.chain_id if network is None else network.chain_id
    if expected not in (None, chain_id):
        yield Finding(
            "fail", f"chain id at {client.name}", f"{chain_id}, not {expected}", "give an endpoint of the right chain"
        )
        return None
    if newest is None:
        raise Unavailable("rpc_answer", f"{client.name} names no newest block")
    yield Finding("ok", f"chain id at {client.name}", f"{chain_id}, block {newest.number}")
    yield from _finality(client, newest, preset.rules)
    yield _signatures(client, preset.rules)
    yield from _fees(client, newest, preset.rules)
    if network is not None:
        yield from contracts(client, network)
    return newest


def _finality(client: EvmClient, newest: BlockHeader, rules: ChainRules) -> Iterator[Finding]:
    state = "fail" if rules.finality == "tag" else "ok"
    remedy = "set finality: confirmations in the network profile, with a depth no reorganisation reaches"
    found: dict[str, BlockHeader] = {}
    for tag in ("safe", "finalized"):
        try:
            header = client.header(tag)
        except Rejected as error:
            header, words = None, error.text
        else:
            words = "the node names no such block"
        if header is None:
            note = "" if state == "fail" else "; not needed: finality goes by confirmations"
            yield Finding(state, f"tag {tag}", words + note, remedy if state == "fail" else None)
        else:
            found[tag] = header
    if len(found) == 2:
        yield _tags(newest, found["safe"], found["finalized"], rules)


def _tags(newest: BlockHeader, safe: BlockHeader, final: BlockHeader, rules: ChainRules) -> Finding:
    what, lag = "tags safe and finalized", newest.timestamp - final.timestamp
    detail = f"at {safe.number} and {final.number} of {newest.number}, {lag} s behind"
    if not final.number <= safe.number:
        return Finding("fail", what, detail + ": finalized is ahead of safe", "use another endpoint")
    if lag > LAG_S and rules.finality == "tag":
        return Finding(
            "warn", what, detail + ": finalized does not move",
            "wait for the chain to finalise again; until then nothing becomes FINAL",
        )  # fmt: skip
    return Finding("ok", what, detail)


def _signatures(client: EvmClient, rules: ChainRules) -> Finding:
    found, what = p256(client), "P256VERIFY at 0x100"
    if found.state == "wrong":
        answers = ", ".join(f"{name}: {answer}" for name, answer in found.answers.items())
        return Finding(
            "fail", what, f"something else answers there ({answers})",
            "do not use this chain: our contracts believe what stands at 0x100",
        )  # fmt: skip
    if found.state == "absent":
        detail = "absent: the contracts compute in Solidity, some 225,000 gas more a signature"
        if rules.p256_gas:
            remedy = "expect that price (chain.p256_gas: 0 in the profile), or use a chain with EIP-7951"
            return Finding("warn", what, f"{detail}; {rules.p256_gas:,} gas were expected", remedy)
        return Finding("ok", what, detail)
    detail = "takes good signatures, low and high s, and refuses a bad one"
    if found.gas is None:
        return Finding("ok", what, detail + "; its gas could not be estimated")
    if abs(found.gas - rules.p256_gas) > max(600, rules.p256_gas // 10):
        return Finding(
            "warn", what, f"{detail}, at about {found.gas:,} gas where {rules.p256_gas:,} were expected",
            "correct chain.p256_gas in the network profile; costs are other than the tables say",
        )  # fmt: skip
    return Finding("ok", what, f"{detail}, at about {found.gas:,} gas")


def _fees(client: EvmClient, newest: BlockHeader, rules: ChainRules) -> Iterator[Finding]:
    gas = newest.base_fee + min(client.priority_fee(), rules.max_tip_wei)
    if gas > rules.max_fee_wei:
        yield Finding(
            "warn", "fees", f"{gas} wei a gas, above the ceiling of {rules.max_fee_wei}",
            "nothing is sent until it is cheaper; or raise chain.max_fee_wei in the network profile",
        )  # fmt: skip
    else:
        yield Finding("ok", "fees", f"{gas} wei a gas, below the ceiling of {rules.max_fee_wei}")
    if rules.l1_fee != "none":
        try:
            fee = l1fee.l1_fee(client, rules, bytes(20), l1fee.stand_in(800))
        except UsageError as error:
            yield Finding("fail", "fee for data on the parent chain", error.message, error.remedy)
        else:
            yield Finding("ok", "fee for data on the parent chain", f"{fee} wei for an anchor, by its oracle")


def _movement(client: EvmClient, watch_s: float, sleep: Callable[[float], None]) -> Finding:
    """Look at ``finalized`` again and again until it has moved or ``watch_s`` seconds were slept."""
    what = f"finalized at {client.name} moves"
    try:
        first, left = client.header("finalized"), watch_s
        while first is not None:
            now = client.header("finalized")
            if now is not None and now.number < first.number:
                return Finding("fail", what, f"it fell from {first.number} to {now.number}", "use another endpoint")
            if now is not None and now.number > first.number:
                return Finding("ok", what, f"from {first.number} to {now.number} within {watch_s - left:.0f} s")
            if left <= 0:
                break
            sleep(min(WATCH_STEP_S, left))
            left -= WATCH_STEP_S
    except EdgesealError as error:
        return Finding("warn", what, error.message, "finality by confirmations needs no such tag")
    return Finding("warn", what, f"not within {watch_s:.0f} s", "watch longer: on Ethereum it moves every 6.4 minutes")


def _agreement(heads: Sequence[tuple[EvmClient, int]], rules: ChainRules) -> Finding:
    """Compare the block that all endpoints should have and agree on."""
    height = max(0, min(number for _, number in heads) - rules.confirmations)
    try:
        found = {client.url: client.header(height) for client, _ in heads}
    except EdgesealError as error:
        return Finding("fail", "agreement", error.message, "ask again; then replace the endpoint")
    if len({None if one is None else one.hash for one in found.values()}) > 1 or None in found.values():
        shown = "; ".join(f"{url}: {'none' if one is None else one.hash.hex()[:16]}" for url, one in found.items())
        return Finding(
            "fail", "agreement", f"block {height} differs: {shown}", "find out which endpoint is wrong before anything"
        )
    return Finding("ok", "agreement", f"all endpoints have the same block {height}")
