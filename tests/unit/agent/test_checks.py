"""What ``check`` says of gateway, metadata and clock, from a store alone."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import Unavailable
from edgeseal_agent import checks, config
from edgeseal_agent.disk import MB
from edgeseal_agent.freshness import Freshness, freshness
from edgeseal_agent.inference import keep_opening

from .conftest import Bench

DAY_MS = 86_400_000


def known(**changes: Any) -> Freshness:
    fields = {
        "unsent": 0, "waiting_ms": None, "heard_ms": 1_000, "keyset": 3, "fleet_size": 70, "newest_ms": 1,
    }  # fmt: skip
    return Freshness(**{**fields, **changes})


def said(found: Freshness) -> dict[str, tuple[str, str]]:
    return {finding.what: (finding.state, finding.detail) for finding in checks._gateway(found)}


def test_a_store_tells_what_waits_and_since_when(bench: Bench) -> None:
    for _ in range(3):
        bench.journal.append("state", {"name": "door", "pub": {}})
    bench.sealer.wait_for(5, 60)
    now = time.time_ns() // 1_000_000 + 3 * DAY_MS
    with closing(bench.store.reader()) as connection:
        before = freshness(connection, now)
    assert (before.unsent, before.heard_ms, before.keyset) == (5, None, 1)
    assert before.waiting_ms is not None and 3 * DAY_MS <= before.waiting_ms < 4 * DAY_MS
    assert before.fleet_size == bench.identity.first_fleet_size

    def receipt(connection: Any) -> None:
        connection.execute("INSERT INTO receipts VALUES (5, 1, 1, x'', x'', 0)")

    bench.journal.execute(receipt).result(60)
    with closing(bench.store.reader()) as connection:
        after = freshness(connection, now)
    assert (after.unsent, after.waiting_ms) == (0, None)
    assert after.heard_ms is not None and 3 * DAY_MS <= after.heard_ms < 4 * DAY_MS


def test_the_gateways_age_is_said() -> None:
    assert said(known())["gateway"] == ("ok", "0 records wait for a receipt")
    assert said(known(unsent=9, waiting_ms=60_000))["gateway"][0] == "ok"
    late = said(known(unsent=9, waiting_ms=20 * 60_000))["gateway"]
    assert late == ("warn", "9 records wait for a receipt, the oldest for 20 minutes")
    assert said(known())["metadata"][0] == "ok"
    old = said(known(heard_ms=8 * DAY_MS))["metadata"]
    assert old == ("warn", "keyset 3, fleet log of 70 statements, newest word of the gateway 8 days ago")
    never = said(known(heard_ms=None, unsent=2))
    assert never["gateway"] == ("warn", "no receipt yet, 2 records wait") and never["metadata"][0] == "warn"


@pytest.fixture
def offline(tmp_path: Path) -> config.Config:
    file = tmp_path / "agent.yaml"
    file.write_text(
        "schema: edgeseal-agent/1\nname: cam-1\nstate_dir: state\nprovisioning: pack.cbor\nclock: rtc\n"
        "key: {token: t, label: k, create: true}\n"
    )
    return config.load(file)


def test_a_clock_that_went_back_is_seen(offline: config.Config) -> None:
    ahead = known(newest_ms=time.time_ns() // 1_000_000 + 3 * 3_600_000)
    finding = checks._clock(offline, ahead)
    assert finding.state == "warn" and "before the newest record" in finding.detail and finding.remedy
    assert checks._clock(offline, known()).state == "ok" and checks._clock(offline, None).state == "ok"


def test_a_device_not_initialised_is_told_what_to_do(offline: config.Config) -> None:
    found = {finding.what: finding for finding in checks.check(offline)}
    assert found["store"].state == "warn" and found["store"].remedy == "edgeseal-agent init"
    assert found["provisioning pack"].state == "fail" and found["provisioning pack"].remedy
    assert "device key" not in found, "init makes it"


@pytest.mark.parametrize("what", checks.REMEDIES)
@pytest.mark.parametrize(
    "error", [Unavailable("token", "it is gone"), OSError(2, "No such file", "/x"), sqlite3.OperationalError("locked")]
)
def test_an_error_without_a_remedy_gets_one(what: str, error: Exception) -> None:
    def look() -> str:
        raise error

    finding = checks._try(what, look)
    assert finding.state == "fail" and finding.remedy == checks.REMEDIES[what]


def test_whatever_is_looked_at_has_a_remedy() -> None:
    source = Path(checks.__file__).read_text()
    assert set(re.findall(r'_try\("([^"]+)"', source)) <= checks.REMEDIES.keys()
    complaints = re.findall(r'Finding\(\s*(?:what|"[\w ]+"), "(?:warn|fail)".*?\)\n', source, re.DOTALL)
    assert len(complaints) > 15
    for complaint in complaints:
        assert re.search(r"(remedy|REMEDIES\[.*?\]|PROVISION|\"[^\"]+\"),?\s*\)\n$", complaint), complaint


def test_a_quota_that_comes_near_is_a_warning(bench: Bench, offline: config.Config) -> None:
    offline.state_dir.mkdir()

    def finding(quota_mb: int) -> checks.Finding:
        storage = dataclasses.replace(offline.storage, quota_mb=quota_mb, min_free_mb=0)
        return checks._disk(dataclasses.replace(offline, storage=storage), bench.store)

    bench.journal.execute(lambda c: keep_opening(c, 0, "input", bytes(5_000_000), as_file=True)).result(60)
    used = bench.store.bytes_on_disk() // MB
    assert finding(10 * used).state == "ok"
    assert finding(used + 1).state == "warn" and finding(used + 1).remedy
    full = finding(used)
    assert full.state == "fail" and "quota_reached" in full.detail and full.remedy
