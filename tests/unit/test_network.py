from __future__ import annotations

import dataclasses
from importlib.resources import files

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgeseal.chainrules import Preset
from edgeseal.cose import PublicKey
from edgeseal.network import Deployed, NetworkProfile, endpoint_name
from edgeseal.pack import fleet_log_id
from tests.changed import refusal_of

NUMBERS = ec.derive_private_key(7, ec.SECP256R1()).public_key().public_numbers()
ROOT = PublicKey.of(NUMBERS.x.to_bytes(32, "big"), NUMBERS.y.to_bytes(32, "big"))
PROFILE = NetworkProfile(
    chain_id=31337,
    kind="operator",
    fleet_log_contract=bytes.fromhex("11" * 20),
    identity_registry=bytes.fromhex("22" * 20),
    fleet_log_code=bytes.fromhex("33" * 32),
    registry_code=bytes.fromhex("44" * 32),
    endpoints=("http://127.0.0.1:8545",),
    tenant_root=ROOT,
    nonce=bytes(32),
    fleet_log=fleet_log_id(ROOT.kid, 31337, bytes.fromhex("11" * 20), bytes(32)),
)


NETWORKS = files("edgeseal.contracts") / "networks"
PRESETS = {entry.name.removesuffix(".yaml"): entry.read_bytes() for entry in NETWORKS.iterdir()}
FULL = dataclasses.replace(
    PROFILE,
    command_log=Deployed(bytes.fromhex("55" * 20), bytes.fromhex("56" * 32)),
    model_registry=Deployed(bytes.fromhex("57" * 20), bytes.fromhex("58" * 32)),
    record_verifier=Deployed(bytes.fromhex("59" * 20), bytes.fromhex("5a" * 32)),
    tenant_admin=Deployed(bytes.fromhex("5b" * 20), bytes.fromhex("5c" * 32)),
    rules=Preset.decode(PRESETS["base"]).rules,
    first_block=17,
)


@pytest.mark.parametrize("profile", [PROFILE, FULL, dataclasses.replace(FULL, model_registry=None)])
def test_what_is_written_is_read_back(profile: NetworkProfile) -> None:
    assert NetworkProfile.decode(profile.encode()) == profile


def test_presets_are_of_the_chains_they_say() -> None:
    found = {name: Preset.decode(data) for name, data in PRESETS.items()}
    assert {name: preset.chain_id for name, preset in found.items()} == {
        "anvil": 31337, "ethereum": 1, "base": 8453, "optimism": 10, "arbitrum": 42161, "private": None,
    }  # fmt: skip
    for name, preset in found.items():
        assert preset.rules.name == name
        assert preset.kind == ("operator" if name in ("anvil", "private") else "public")
        assert b"http" not in PRESETS[name], "a preset names no host"
    assert found["arbitrum"].rules.mempool == "none"
    assert {name for name, preset in found.items() if preset.rules.l1_fee_oracle} == {"base", "optimism", "arbitrum"}


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"finality: tag", b"finality: soon", "yaml_range"),
        (b"confirmations: 10", b"confirmations: 0", "yaml_range"),
        (b"  mempool: private\n", b"", "yaml_missing_key"),
        (b"max_tip_wei: 1000000000", b"max_tip_wei: 5000000001", "yaml_range"),
        (b"min_tip_wei: 1000", b"min_tip_wei: 1000000001", "yaml_range"),
        (b"l1_fee: opstack", b"l1_fee: none", "yaml_unknown_key"),
        (b"chain_id: 8453\n", b"", "yaml_missing_key"),
        (b"chain:\n", b"chain:\n  more: 1\n", "yaml_unknown_key"),
    ],
)
def test_a_changed_preset_is_refused(old: bytes, new: bytes, code: str) -> None:
    assert refusal_of(Preset.decode, PRESETS["base"], old, new) == code


def test_a_contract_is_named_with_its_code() -> None:
    line = b'\n  model_registry: "' + b"58" * 32 + b'"'
    assert refusal_of(NetworkProfile.decode, FULL.encode(), line, b"") == "yaml_missing_key"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"chain_id: 31337", b"chain_id: 1", "profile_log"),
        (b"kind: operator", b"kind: other", "yaml_range"),
        (b'nonce: "0000', b'nonce: "1000', "profile_log"),
        (b"http://", b"file://", "yaml_range"),
        (b"kind: operator", b"kind: operator\nmore: 1", "yaml_unknown_key"),
        (b"schema: edgeseal-network/1\n", b"", "yaml_missing_key"),
    ],
)
def test_a_changed_profile_is_refused(old: bytes, new: bytes, code: str) -> None:
    assert refusal_of(NetworkProfile.decode, PROFILE.encode(), old, new) == code


@pytest.mark.parametrize(
    "url",
    [
        "https://node.example:8545/v3/c0ffee?key=c0ffee#c0ffee", "https://user:c0ffee@node.example:8545",
        "https://c0ffee@node.example:8545?c0ffee", "https://node.example:8545",
    ],
)  # fmt: skip
def test_of_an_endpoint_no_more_is_shown_than_where_it_is(url: str) -> None:
    assert endpoint_name(url) == "https://node.example:8545"
