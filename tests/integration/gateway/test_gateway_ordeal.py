"""The running gateway, killed at any moment while its chain reorganises, forgets transactions, its account is empty."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from edgeseal.adapters.evm import Account
from edgeseal.fleetlog_event import decode_anchored
from edgeseal_console.demo.parts import Broker, Chain
from edgeseal_gateway.chain import history
from tests.integration.gateway.rig import Rig, until


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_no_anchor_is_lost_or_doubled_and_all_are_final(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Broker() as broker, Chain(tmp_path) as chain:
        rig = Rig(tmp_path, broker, chain)
        rig.config.write_text(rig.config.read_text().replace("confirmations: 1", "confirmations: 4"))
        account = "0x" + Account.from_file(tmp_path / "account.key").address.hex()
        try:
            rig.start()
            for number in range(12):
                rig.tenant.take_pack(rig.http.get("/v1/pack").content)
                rig.hand_in(rig.tenant.enrolment(rig.tenant.device_of(f"cam-{number}")))
                chain.call("anvil_mine", hex(chance.randrange(1, 4)))
                time.sleep(chance.random())  # when the kill comes, not what is waited for
                if chance.random() < 0.4:
                    chain.fund(account, 1)
                rig.stop(signal.SIGKILL)
                trouble = chance.randrange(3)
                if trouble == 0:
                    chain.call("anvil_reorg", chance.randrange(1, 4), [])
                elif trouble == 1:
                    chain.call("anvil_dropAllTransactions")
                rig.start()
                chain.fund(account)

            def done() -> bool:
                chain.call("anvil_mine")
                status = rig.get("/v1/status")
                final = status["anchor"]["final"]
                return final is not None and final["size"] == status["size"]

            until(done, "the newest leaf is under a final anchor")
            assert rig.stop() == 0
            rig.start()
            events = history.events(rig.network.fleet, rig.network.profile.fleet_log)
            topic = rig.network.fleet_abi.event_topic("Anchored")
            taken = [decode_anchored(one.log).size for one in events if one.log.topics[0] == topic]
            assert taken[::-1] == [one["size"] for one in rig.get("/v1/export/index")["anchors"]], (
                "none lost, none twice"
            )
        finally:
            rig.close()
