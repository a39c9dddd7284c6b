"""kill -9 of processes that log in to a SoftHSM token in a loop: the key is always there again at the next start."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseal.adapters import pkcs11 as adapter
from edgeseal.adapters import softhsm
from edgeseal.adapters.pkcs11 import Pkcs11Signer, TokenKey

LOGIN_LOOP = """
import os, sys
module, config, label, pin = sys.argv[1:]
os.environ["SOFTHSM2_CONF"] = config
import pkcs11
token = pkcs11.lib(module).get_token(token_label=label)
while True:
    token.open(user_pin=open(pin).read().strip()).close()
    os.write(1, b".")
"""


def kill_logins(key: TokenKey, kills: int) -> int:
    """Kill so many login loops at random moments; return how often the token had to be mended."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    config = dict(key.environment)[softhsm.CONFIG_VARIABLE]
    public_key = Pkcs11Signer(key).public_key
    mended = 0
    for _ in range(kills):
        adapter.release(key)
        command = [sys.executable, "-c", LOGIN_LOOP, key.module, config, key.token_label, str(key.pin_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as loop:
            assert loop.stdout is not None
            loop.stdout.read(chance.randrange(1, 40))
            loop.kill()
        mended += len(softhsm.mend(Path(config)))
        signer = Pkcs11Signer(key)
        assert signer.public_key == public_key
        signer.public_key.verify(b"alive", signer.sign(b"alive"))
    print(f"{kills} kills, {mended} times mended")
    return mended


def test_a_few_kills(token_key: TokenKey) -> None:
    kill_logins(token_key, 10)


@pytest.mark.soak
def test_many_kills(token_key: TokenKey) -> None:
    kill_logins(token_key, 400)
