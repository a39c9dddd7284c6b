"""Fixtures: keys in real SoftHSM tokens, in stores of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseal.adapters import softhsm
from edgeseal.adapters.pkcs11 import Pkcs11Signer, TokenKey, provision_softhsm

MakeKey = Callable[..., TokenKey]


def make_key(directory: Path, token_label: str = "edge", key_label: str = "audit") -> TokenKey:
    """Make a SoftHSM token with one key in ``directory``, under random PINs."""
    pins = secrets.token_hex(8), secrets.token_hex(8)
    return provision_softhsm(directory, softhsm.find_module(), token_label, key_label, pins)


@pytest.fixture
def token_key(tmp_path: Path) -> TokenKey:
    """A fresh key in a store of its own, which the test may damage."""
    return make_key(tmp_path / "token")


@pytest.fixture(scope="session")
def shared_key(tmp_path_factory: pytest.TempPathFactory) -> TokenKey:
    """A key that tests only sign with."""
    return make_key(tmp_path_factory.mktemp("token") / "store")


@pytest.fixture(scope="session")
def signer(shared_key: TokenKey) -> Pkcs11Signer:
    """A signer in a real token, for whatever needs a signature."""
    return Pkcs11Signer(shared_key)
