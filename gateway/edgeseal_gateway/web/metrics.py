"""``GET /metrics``: everything a monitoring system needs, as OpenMetrics text (``gateway/README.md`` has the alarms).

Read from the store and the stages' figures at the moment of asking. Labels come from small fixed sets, so that nobody
outside can make the series grow: devices and refused logs are counted, never named.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgeseal.bundle import AnchorEvidence
from edgeseal.errors import EvidenceError
from edgeseal.evmproof.header import decode_header
from edgeseal_gateway.chain.budget import Funds
from edgeseal_gateway.figures import ChainFigures
from edgeseal_gateway.store import anchors, counts, devices, fleetlog, guard, operations, refusals
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.request import guarded

_STATES: Final = counts.UNFINAL


class Metrics:
    """The endpoint."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return its route."""
        return [Route("/metrics", guarded(self.metrics), methods=["GET"])]

    def metrics(self, request: Request) -> Response:
        """All metrics of this moment."""
        with self._parts.database.read() as connection:
            found = [*_anchoring(connection, self._parts), *_log(connection, self._parts), *_fleet(connection)]
        chain = self._parts.figures.chain
        found += [*_stages(self._parts), *([] if chain is None else _chain(chain))]
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Found(found))
        text = generate_latest(registry)  # type: ignore[no-untyped-call]
        return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Found(Collector):
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def _gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    """Yield one gauge, nothing where its value is not known."""
    if value is not None:
        yield GaugeMetricFamily(f"edgeseal_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Iterator[Metric]:
    yield CounterMetricFamily(f"edgeseal_{name}", text, value)


def _labelled(kind: type, name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Iterator[Metric]:
    family = kind(f"edgeseal_{name}", text, labels=[label])
    for key, value in values:
        family.add_metric([key], value)
    yield family


def _anchoring(connection: sqlite3.Connection, parts: Parts) -> Iterator[Metric]:
    now_ms = time.time_ns() // 1_000_000
    by_state = counts.anchor_states(connection)
    settled, final = anchors.newest_settled(connection), anchors.newest_final(connection)
    size = fleetlog.size(connection)
    final_size = 0 if final is None else final.size
    yield from _labelled(
        GaugeMetricFamily, "anchors", "Anchors that are not final, by state", "state",
        [(state, by_state.get(state, 0)) for state in _STATES],
    )  # fmt: skip
    unsettled = sum(by_state.get(state, 0) for state in _STATES if state != anchors.CONFIRMED)
    yield from _gauge("anchors_pending", "Anchors that are neither confirmed nor final", unsettled)
    yield from _gauge("anchors_unfinal", "Anchors that are not final", unsettled + by_state.get(anchors.CONFIRMED, 0))
    oldest = counts.oldest_unfinal(connection)
    age = 0.0 if oldest is None else max(0, now_ms - oldest) / 1000
    yield from _gauge("anchor_oldest_age_seconds", "How long the oldest anchor that is not final has waited", age)
    yield from _gauge("leaves_unfinal", "Statements in the fleet log under no final anchor", size - final_size)
    yield from _labelled(
        GaugeMetricFamily, "anchored_size", "Largest anchored size of the fleet log, by finality", "finality",
        [("confirmed", 0 if settled is None else settled.size), ("final", final_size)],
    )  # fmt: skip
    yield from _gauge(
        "last_final_age_seconds", "Age of the newest final anchor, by the time in its block's header",
        _age_s(final, now_ms),
    )  # fmt: skip
    yield from _gauge("chain_size", "Size of the fleet log as the contract holds it", guard.chain_size(connection))


def _age_s(final: anchors.Anchor | None, now_ms: int) -> float | None:
    """Return the age of an anchor's block in seconds, by its header: no clock of ours or of a node's word."""
    if final is None or final.evidence is None:
        return None
    try:
        stamp = decode_header(AnchorEvidence.decode(final.evidence).header).timestamp
    except EvidenceError:
        return None
    return max(0.0, now_ms / 1000 - stamp)


def _log(connection: sqlite3.Connection, parts: Parts) -> Iterator[Metric]:
    log = parts.profile.fleet_log
    head = fleetlog.newest_head(connection, log)
    yield from _gauge("fleet_size", "Statements in the fleet log", fleetlog.size(connection))
    yield from _gauge("signed_size", "Size of the newest signed fleet head", 0 if head is None else head.head.size)
    yield from _gauge("signing_blocked", "1 while nothing may be signed", guard.blocked(connection, log) is not None)
    yield from _gauge("operations_waiting", "Manual operations not carried out", len(operations.asked(connection)))
    yield from _labelled(
        CounterMetricFamily, "refusals", "What was refused, by reason", "reason", refusals.totals(connection).items()
    )


def _fleet(connection: sqlite3.Connection) -> Iterator[Metric]:
    states = counts.device_states(connection)
    records, size, segments = counts.ingested(connection)
    yield from _labelled(
        GaugeMetricFamily, "devices", "Enrolled devices, by state", "state",
        [(state, states.get(state, 0)) for state in (devices.ACTIVE, *sorted(states.keys() - {devices.ACTIVE}))],
    )  # fmt: skip
    yield from _counter("ingest_records", "Records stored", records)
    yield from _counter("ingest_bytes", "Bytes of records stored", size)
    yield from _counter("ingest_segments", "Segments stored", segments)


def _stages(parts: Parts) -> Iterator[Metric]:
    troubles = [(one["code"] or "", 1.0) for one in parts.board.troubles()]
    yield from _labelled(GaugeMetricFamily, "trouble", "1 for each trouble that status shows", "code", set(troubles))
    lease = parts.figures.lease
    yield from _gauge("lease_held", "1 while this process may sign for the store", lease.held)
    yield from _gauge("lease_token", "The fencing token of this process", lease.token)
    yield from _gauge("outbox_messages", "Messages for devices that wait for the broker", parts.figures.outbox)


def _chain(chain: ChainFigures) -> Iterator[Metric]:
    yield from _gauge("account_nonce", "The account's next nonce", chain.nonce)
    yield from _gauge("account_balance_wei", "What the account holds", chain.balance)
    state = chain.state
    yield from _gauge("account_balance_days", "How long that lasts", None if state is None else state.days)
    yield from _labelled(
        GaugeMetricFamily, "account_funds", "1 for how the account stands", "state",
        [(one.value, float(state is not None and one is state.funds)) for one in Funds],
    )  # fmt: skip
    for name, spent, limit in (("hour", chain.spent_hour, chain.limit_hour), ("day", chain.spent_day, chain.limit_day)):
        yield from _gauge(f"spent_{name}_wei", f"Signed away within the last {name}", spent)
        yield from _gauge(f"spend_limit_{name}_wei", f"The most that may be, within one {name}", limit)
    yield from _gauge("base_fee_wei", "Base fee of the newest block", chain.base_fee)
    yield from _gauge("tip_wei", "The tip that the node suggests", chain.tip)
    yield from _gauge("max_fee_wei", "The most that is offered for a gas", chain.max_fee)
    yield from _counter("transactions_sent", "Transactions sent since the start", chain.sent)
    yield from _counter("fee_bumps", "Transactions replaced by ones that pay more, since the start", chain.bumps)
    yield from _counter("reorgs", "Anchors that left their block, since the start", chain.reorgs)
    rpc = chain.rpc
    yield from _labelled(
        CounterMetricFamily, "rpc_errors", "Failed calls since the start", "endpoint",
        [(one.name, one.errors) for one in rpc],
    )  # fmt: skip
    yield from _labelled(
        GaugeMetricFamily, "rpc_up", "1 while the endpoint answers", "endpoint", [(one.name, one.up) for one in rpc]
    )
    yield from _labelled(
        GaugeMetricFamily,
        "rpc_height",
        "The endpoint's newest block",
        "endpoint",
        [(one.name, one.height) for one in rpc],
    )
