"""``edgeseal-gateway account``: the EVM account that pays for anchors, made, imported, shown. No secret is printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseal.adapters import keystore as files
from edgeseal.adapters.evm import read_private_key
from edgeseal.errors import UsageError
from edgeseal_gateway.chain import keystore
from edgeseal_gateway.config import ChainConfig, Config

NEW, SHOW, IMPORT = "new", "show", "import"


def run(config: Config, action: str, passphrase_file: Path | None, key_file: Path | None) -> dict[str, Any]:
    """Do one of NEW, SHOW, IMPORT; ``passphrase_file`` takes the place of the configured source of the passphrase.

    Raises UsageError: ``key_file`` where IMPORT has none, and what :mod:`edgeseal_gateway.chain.keystore` raises.
    """
    chain = config.chain
    if passphrase_file is not None:
        chain = replace(chain, passphrase_file=passphrase_file, passphrase_credential=None)
    if action == SHOW:
        return _show(chain, config.network().kind)
    if action == IMPORT and key_file is None:
        raise UsageError("key_file", "import needs --key-file", "a file with the private key as 64 hex digits")
    key = None if key_file is None or action == NEW else read_private_key(key_file)
    made = keystore.create(chain, key)
    found = {"address": "0x" + made.address.hex(), "keystore": str(chain.keystore_file)}
    if key is not None:
        found["next"] = f"delete {key_file} once the gateway runs with the keystore, and every copy of it"
    return found


def _show(chain: ChainConfig, kind: str) -> dict[str, Any]:
    """Say which account it is; without a passphrase what the keystore says of itself, marked as not verified."""
    if chain.keystore_file is None:
        return {
            "address": "0x" + keystore.open_account(chain, kind).address.hex(),
            "key": f"in the clear in {chain.account_key_file}", "verified": True,
        }  # fmt: skip
    found: dict[str, Any] = {"key": f"encrypted in {chain.keystore_file}"}
    try:
        return {"address": "0x" + keystore.open_account(chain, kind).address.hex(), **found, "verified": True}
    except UsageError as error:
        if error.code not in ("credential_missing", "passphrase_file"):
            raise
        named = files.address(keystore.read_keystore(chain))
        shown = None if named is None else "0x" + named.hex()
        return {"address": shown, **found, "verified": False, "because": error.message}
