from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError
from edgeseal.network import NetworkProfile
from edgeseal.pack import fleet_log_id

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


def test_what_is_written_is_read_back() -> None:
    assert NetworkProfile.decode(PROFILE.encode()) == PROFILE


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
    data = PROFILE.encode()
    assert old in data
    with pytest.raises(FormatError) as caught:
        NetworkProfile.decode(data.replace(old, new))
    assert caught.value.code == code
