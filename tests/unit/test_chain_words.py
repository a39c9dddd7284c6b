"""What the chain commands know beforehand: presets, remedies for refusals, vectors for the precompile, costs."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from edgeseal.adapters.evm import Contract, EvmClient, Reverted
from edgeseal.cose import PublicKey
from edgeseal.errors import UsageError, VerificationError
from edgeseal.evmproof.keccak import keccak256
from edgeseal_console.operate import cost, deployment, networks, p256probe
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.contracterrors import REMEDIES, advised
from edgeseal_console.operate.l1fee import l1_fee, stand_in

CONTRACTS = sorted(
    entry.name.removesuffix(".json")
    for entry in (files("edgeseal.contracts")).iterdir()
    if entry.name.endswith(".json") and entry.name[0].isupper()
)


def errors_of(name: str) -> set[str]:
    artifact = json.loads((files("edgeseal.contracts") / f"{name}.json").read_text("utf-8"))
    return {item["name"] for item in artifact["abi"] if item["type"] == "error"}


def test_every_remedy_is_for_an_error_that_exists() -> None:
    assert set(REMEDIES) <= set().union(*map(errors_of, CONTRACTS))


def test_what_a_persons_command_runs_into_has_a_remedy() -> None:
    common = {"NotTenantAdmin", "UnknownKey", "KeyExists", "WrongStatus", "BadSignature", "HighS", "Expired"}
    positions = {"UntilAboveAnchored", "UntilNotLower", "FromBelowAnchored", "VetoWindowOpen", "RetiredGatewayKey"}
    assert common | positions <= set(REMEDIES)


def test_a_refusal_says_what_to_do() -> None:
    assert advised(Reverted("VetoWindowOpen", (1, 2), b"")).remedy == REMEDIES["VetoWindowOpen"]
    assert advised(Reverted("0x12345678", (), b"")).remedy is None


def test_the_precompiles_vectors_are_what_they_say() -> None:
    key = PublicKey.of(p256probe.LOW[96:128], p256probe.LOW[128:160])
    key.verify(b"sample", p256probe.LOW[32:96])
    with pytest.raises(VerificationError) as high:
        key.verify(b"sample", p256probe.HIGH[32:96])
    assert high.value.code == "high_s"
    assert [len(data) for data in (p256probe.LOW, p256probe.HIGH, p256probe.BAD)] == [160] * 3
    assert (p256probe.BAD[:32], p256probe.BAD[32:]) != (p256probe.LOW[:32], p256probe.LOW[32:])
    assert p256probe.BAD[32:] == p256probe.LOW[32:]


def test_networks_are_found_by_name_and_by_chain() -> None:
    assert networks.fitting(8453) == "base"
    assert networks.fitting(424242) == "private"
    with pytest.raises(UsageError) as refused:
        networks.preset("goerli")
    assert refused.value.code == "network_unknown"


def test_addresses_follow_from_salt_and_code() -> None:
    plans, expected = deployment.plan_contracts(deployment.salt_of("a"))
    again, _ = deployment.plan_contracts(deployment.salt_of("a"))
    other, _ = deployment.plan_contracts(deployment.salt_of("b"))
    assert [plan.address for plan in plans] == [plan.address for plan in again]
    assert not {plan.address for plan in plans} & {plan.address for plan in other}
    assert set(expected) == {"IdentityRegistry", "FleetLog", *deployment.OVER_REGISTRY}


def test_the_proxys_transaction_makes_the_proxy() -> None:
    made = keccak256(b"\xd6\x94" + deployment.PROXY_MAKER + b"\x80")[12:]
    assert made == deployment.PROXY
    assert deployment.PROXY_TRANSACTION[:3] == b"\xf8\xa5\x80", "a legacy transaction with nonce 0"


def test_code_is_ours_only_with_the_right_immutables() -> None:
    contract = Contract("CommandLog")
    parts = {"": bytes(20), "registry": b"\x01" * 20, "fleetLog": b"\x02" * 20}
    code = bytearray(contract.runtime)
    for name, places in contract.immutables.items():
        for place in places:
            code[place : place + 32] = deployment.word(parts[name])
    assert deployment.code_problem(contract, bytes(code), parts) is None
    assert deployment.code_problem(contract, b"", parts) == "nothing is deployed there"
    assert deployment.code_problem(contract, bytes(code) + b"\x00", parts) == "other code than ours"
    swapped = parts | {"registry": b"\x03" * 20}
    assert "registry is not 0x0303" in str(deployment.code_problem(contract, bytes(code), swapped))
    code[5] ^= 1
    assert deployment.code_problem(contract, bytes(code), None) == "other code than ours"


class Oracle(EvmClient):
    """Answers every call with the same bytes, and keeps what was asked."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("http://127.0.0.1:9")
        self.answer = answer
        self.asked: list[tuple[bytes, bytes]] = []

    def call(self, to: bytes, data: bytes, block: int | bytes | str = "latest", sender: bytes | None = None) -> bytes:
        self.asked.append((to, data))
        return self.answer


def test_the_fee_for_data_is_asked_in_the_oracles_form() -> None:
    base, arbitrum = networks.preset("base").rules, networks.preset("arbitrum").rules
    oracle = Oracle((777).to_bytes(32, "big"))
    assert l1_fee(oracle, base, bytes(20), b"\x01" * 100) == 777
    to, data = oracle.asked[0]
    assert to.hex() == "420000000000000000000000000000000000000f"
    assert data[:4].hex() == "49948e0e"  # getL1Fee(bytes)
    assert int.from_bytes(data[36:68], "big") == 220
    with pytest.raises(UsageError) as refused:
        l1_fee(Oracle(b""), base, bytes(20), b"")
    assert refused.value.code == "l1_fee_oracle"

    oracle = Oracle((50).to_bytes(32, "big") + (3).to_bytes(32, "big") + (9).to_bytes(32, "big"))
    assert l1_fee(oracle, arbitrum, b"\x05" * 20, b"\x01" * 33) == 150
    to, data = oracle.asked[0]
    assert (to, len(data)) == (bytes(19) + b"\xc8", 4 + 4 * 32 + 64)
    assert l1_fee(oracle, networks.preset("ethereum").rules, bytes(20), b"") == 0
    assert len(stand_in(1_000)) == 1_000


def test_costs_follow_from_gas_and_fees() -> None:
    fees = cost.Fees(base=7, base_least=5, base_most=9, tip=3, l1=1_000)
    found = cost.table(fees, None)
    gas = cost.measured()["anchor"]["drawn pairs: median"]
    assert found["anchor"]["wei"]["median"] == gas * 10 + 1_000
    assert found["records"][1]["wei_a_record"] == (gas * 10 + 1_000) / 100
    assert "money" not in json.dumps(found)
    priced = cost.table(fees, 2_000.0)["records"][2]
    assert priced["money_a_million_records"] == pytest.approx(priced["wei_a_million_records"] / 1e18 * 2_000)


def test_console_yaml_names_further_keys(tmp_path: Path) -> None:
    key = "{module: m, token: t, label: l, pin_file: p}"
    text = (
        "schema: edgeseal-console/1\ngateway: {url: http://127.0.0.1:1}\nnetwork_profile: n\naccount_key_file: a\n"
        f"keys:\n  root: {key}\n  operator: {key}\n  approver: {key}\n"
    )
    path = tmp_path / homes.CONFIG_NAME
    path.write_text(text)
    home = homes.load(tmp_path)
    assert [name for name, _ in home.further_keys] == ["approver"]
    with pytest.raises(UsageError) as refused:
        home.signer("publisher")
    assert refused.value.code == "key_unknown"
    path.write_text(text.replace("approver", "Approver"))
    with pytest.raises(UsageError) as refused:
        homes.load(tmp_path)
    assert refused.value.code == "config_invalid"
