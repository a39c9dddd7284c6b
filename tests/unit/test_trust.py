"""The trust file: what it says, and that nothing else gets by."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgeseal.cose import PublicKey
from edgeseal.trust import ChainTrust, Trust, parse, render
from tests.changed import refusal_of

_numbers = ec.derive_private_key(7, ec.SECP256R1()).public_key().public_numbers()
KEY = PublicKey.of(_numbers.x.to_bytes(32, "big"), _numbers.y.to_bytes(32, "big"))
CHAIN = ChainTrust(
    31337,
    "operator",
    b"\x01" * 20,
    b"\x02" * 20,
    b"\x03" * 32,
    None,
    frozenset({b"\x04" * 32}),
    ("http://[::1]:8545/x'",),
)
TRUST = Trust(KEY, b"\x12" * 32, CHAIN, frozenset({b"\x05" * 32}), frozenset({b"\x11" * 32, b"\x12" * 32}))


@pytest.mark.parametrize("trust", [TRUST, Trust(KEY, b"\x12" * 32)])
def test_rendered_trust_is_read_back(trust: Trust) -> None:
    assert parse(render(trust)) == trust


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"kind: operator", b"kind: Operator", "yaml_range"),
        (b"kind: operator", b"kinds: operator", "yaml_missing_key"),
        (b"publishers:", b"publisher:", "yaml_unknown_key"),
        (b"  id: 31337", b"  id: '31337'", "yaml_type"),
        (b"http://", b"file://", "yaml_range"),
        (b"schema: edgeseal-trust/1", b"schema: edgeseal-trust/2", "yaml_range"),
        (b"schema: edgeseal-trust/1", b"schema: &a edgeseal-trust/1", "yaml_alias"),
        (KEY.x.hex().encode(), b"00" * 32, "key_invalid"),
        (b'"' + b"11" * 32 + b'"', b"11" * 32, "yaml_range"),
    ],
)
def test_what_it_does_not_mean_is_refused(old: bytes, new: bytes, code: str) -> None:
    assert refusal_of(parse, render(TRUST), old, new) == code
