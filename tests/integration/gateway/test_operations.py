"""Watching and steering a real gateway: metrics, manual operations, limits read anew, a second one, an orderly end."""

from __future__ import annotations

import dataclasses
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edgeseal.adapters.evm import read_private_key
from edgeseal.adapters.keystore import MIN_SCRYPT
from edgeseal.chainrules import ChainRules
from edgeseal.fleetlog_event import ANCHORED_TOPIC, decode_anchored
from edgeseal.messages import ReceiptMessage
from edgeseal_gateway import localapi
from edgeseal_gateway.chain import history, keystore
from edgeseal_gateway.config import read_config
from tests.integration.gateway.rig import Rig, until


def metrics(rig: Rig) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = rig.http.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    return {
        (sample.name.removeprefix("edgeseal_"), tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_happens_is_seen_in_status_and_metrics(rig: Rig) -> None:
    device = rig.device("cam-metrics")
    device.send_records(0)
    receipt = device.receipt_for(device.device.heads[-1], anchored=True)
    assert receipt.anchor is not None
    until(lambda: any(one.final for one in device.messages(ReceiptMessage)), "a receipt is final")
    size = receipt.anchor.size
    until(lambda: metrics(rig).get(("anchored_size", ("final",)), 0) >= size, "it is counted")
    found = metrics(rig)
    assert found["transactions_sent_total", ()] >= 1 and found["account_nonce", ()] >= 1
    assert found["lease_held", ()] == 1 and found["lease_token", ()] >= 1
    assert found["rpc_up", (rig.chain.url,)] == 1 and found["devices", ("active",)] >= 1
    assert 0 < found["spent_hour_wei", ()] < found["spend_limit_hour_wei", ()]
    until(lambda: metrics(rig).get(("account_balance_wei", ()), 0) > 0, "the balance is known")
    state = rig.get("/v1/status")
    assert state["lease"]["held"] and state["account"]["funds"] == "ok" and state["rpc"][0]["up"]
    assert "final on the chain" in rig.http.get("/").text
    device.close()


def test_by_hand(rig: Rig) -> None:
    done = rig.command("anchor", "flush", "--words", "auditor: before Friday")
    assert done["state"] == "done" and done["words"] == "auditor: before Friday" and done["outcome"]
    refused = localapi.operate(read_config(rig.config), "cancel", 999_999, "operator: by mistake")
    assert refused["state"] == "refused" and not refused["ok"] and "999999" in refused["outcome"]
    trail = localapi.call(read_config(rig.config), "/v1/operations")["operations"]
    assert [one["what"] for one in trail][-2:] == ["flush", "cancel"]


def operations(rig: Rig, what: str) -> list[Any]:
    return [one for one in rig.get("/v1/operations")["operations"] if one["what"] == what]


def test_limits_are_read_anew_on_sighup_and_a_bad_file_changes_nothing(rig: Rig) -> None:
    assert rig.process is not None
    text = rig.config.read_text()
    try:
        rig.config.write_text(text.replace("confirmations: 1", "confirmations: 1, max_fee_gwei: 123"))
        rig.process.send_signal(signal.SIGHUP)
        (note,) = until(lambda: operations(rig, "reload"), "it is noted")
        assert "max_fee_gwei 500 -> 123" in note["outcome"] and note["words"] == "SIGHUP"
        until(lambda: metrics(rig)["max_fee_wei", ()] == 123 * 10**9, "it counts")
        rig.config.write_text(text.replace("confirmations: 1", "confirmations: none"))
        rig.process.send_signal(signal.SIGHUP)
        until(lambda: len(operations(rig, "reload")) == 2, "the refusal is noted")
        assert "nothing was changed" in operations(rig, "reload")[1]["outcome"]
        assert metrics(rig)["max_fee_wei", ()] == 123 * 10**9
    finally:
        rig.config.write_text(text)
    rig.process.send_signal(signal.SIGHUP)
    until(lambda: "config_invalid" not in str(rig.get("/v1/status")["troubles"]), "it is well again")


def test_a_gateway_whose_lease_was_taken_stops_and_says_why(rig: Rig) -> None:
    """Somebody on another machine opened the same store. This one must not sign once more: it ends with exit code 2,
    and, started again, waits for its turn.
    """
    store = rig.folder / "state" / "gateway.db"
    with sqlite3.connect(store, timeout=60) as connection:
        connection.execute("UPDATE lease SET token = token + 1, holder = x'00', place = 'elsewhere'")
    connection.close()
    device = rig.tenant.device_of("cam-late")
    rig.hand_in(rig.tenant.enrolment(device))
    assert rig.process is not None
    assert rig.process.wait(60) == 2
    rig.process = None
    assert "lease_lost" in (rig.folder / "gateway.log").read_text()
    with sqlite3.connect(store, timeout=60) as connection:  # the other renews it again and again
        connection.execute("UPDATE lease SET until = ?", (time.time_ns() // 10**6 + 10**9,))
    connection.close()
    rig.start()
    until(lambda: "lease_held" in str(rig.get("/v1/status")["troubles"]), "it says that another one has the lease")
    assert not rig.get("/v1/status")["lease"]["held"] and rig.http.get("/v1/health").status_code == 503
    with sqlite3.connect(store, timeout=60) as connection:
        connection.execute("UPDATE lease SET holder = x'', until = 0")
    connection.close()
    until(lambda: rig.get("/v1/status")["lease"]["held"], "it takes its turn")
    digest = rig.hand_in(rig.tenant.enrolment(device))["digest"]
    assert rig.get(f"/v1/statements/{digest}", wait=30)["state"] == "sequenced", "what was handed in was not lost"


def test_at_the_end_it_follows_what_is_under_way_and_lets_go_of_the_lease(rig: Rig) -> None:
    """Told to stop with a transaction in the pool: nothing new is sent, and it sees this one into its block."""
    assert rig.process is not None
    rig.chain.call("evm_setAutomine", False)
    try:
        rig.device("cam-last").close()
        until(lambda: rig.get("/v1/status")["anchor"]["states"].get("sent"), "a transaction is in the pool")
        rig.process.send_signal(signal.SIGTERM)
        rig.chain.call("evm_mine")
        assert rig.process.wait(60) == 0
    finally:
        rig.chain.call("evm_setAutomine", True)
    rig.process = None
    with sqlite3.connect(rig.folder / "state" / "gateway.db", timeout=60) as connection:
        ((holder, until_ms),) = connection.execute("SELECT holder, until FROM lease").fetchall()
        states = dict(connection.execute("SELECT state, count(*) FROM anchor GROUP BY state"))
    connection.close()
    assert (holder, until_ms) == (b"", 0)
    assert "sent" not in states and states["final"] >= 1, states


FINALITY_BY_TAG = ChainRules("test", "tag", 1, 1_000, "public", 6_900, "none", None, 500 * 10**9, 50 * 10**9, 1)


@pytest.fixture
def public(rig: Rig, tmp_path: Path) -> Iterator[Rig]:
    """A gateway in the place of the first, of a tenant of its own, as on a public chain: its account's key is
    encrypted, and it calls final what the chain's ``finalized`` tag has reached.
    """
    rig.stop(signal.SIGKILL)
    other = Rig(tmp_path, rig.broker, rig.chain)
    profile = dataclasses.replace(other.network.profile, rules=FINALITY_BY_TAG, kind="public")
    (tmp_path / "network.yaml").write_bytes(profile.encode())
    encrypted = "keystore_file: account.json, passphrase_file: passphrase"
    other.config.write_text(other.config.read_text().replace("account_key_file: account.key", encrypted))
    plain = tmp_path / "account.key"
    keystore.create(read_config(other.config).chain, read_private_key(plain), MIN_SCRYPT)
    plain.unlink()
    try:
        other.start()
        yield other
    finally:
        other.close()


def anchored_sizes(rig: Rig) -> list[int]:
    """Return the sizes the contract took, in the history that stands."""
    return [
        decode_anchored(entry.log).size
        for entry in history.events(rig.network.fleet, rig.network.profile.fleet_log)
        if entry.log.topics[0] == ANCHORED_TOPIC
    ]


def test_reorganisations_crashes_and_empty_pockets_lose_nothing_and_double_nothing(public: Rig) -> None:
    """The chain takes an anchor's block back, the process dies, the account is empty: receipts are taken back and given
    again, and in the end everything is final, once.
    """
    device = public.device("cam-reorg")
    device.send_records(0)
    head = device.device.heads[-1]
    first = device.receipt_for(head, anchored=True)
    assert first.anchor is not None and not first.final

    def states() -> list[tuple[bool, bool]]:
        """(anchored, final) of each receipt for the head, in order."""
        found = device.messages(ReceiptMessage)
        return [(one.anchor is not None, one.final) for one in found if one.head == head]

    public.chain.call("anvil_reorg", 1, [])
    until(lambda: (False, False) in states()[states().index((True, False)) :], "the receipt is taken back")
    public.stop(signal.SIGKILL)
    public.start()
    until(lambda: states()[-1] == (True, False), "the receipt is given again")

    account = public.get("/v1/status")["account"]["address"]
    public.chain.call("anvil_setBalance", account, "0x0")
    more = public.device("cam-poor")
    more.send_records(0)
    until(lambda: "funds" in str(public.get("/v1/status")["troubles"]), "it says that it cannot pay")
    assert public.http.get("/v1/health").status_code == 503
    public.chain.fund(account)
    paid = more.receipt_for(more.device.heads[-1], anchored=True)
    assert paid.anchor is not None

    def finish() -> bool:
        public.chain.call("anvil_mine", "0x1")
        anchor = public.get("/v1/status")["anchor"]
        return anchor["final"] is not None and anchor["final"]["size"] >= paid.anchor.size and not anchor["in_flight"]  # type: ignore[union-attr]

    until(finish, "all of it is final")
    until(lambda: states()[-1] == (True, True), "the device is told")
    sizes = anchored_sizes(public)
    assert len(sizes) == len(set(sizes)) and max(sizes) >= paid.anchor.size, sizes
    for one in (device, more):
        one.close()
