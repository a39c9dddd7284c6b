"""``edgeseal-gateway claim``: one-time tokens with which devices may apply for enrolment.

It works on the store itself, also while the gateway runs.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

from edgeseal import attestation
from edgeseal.errors import UsageError
from edgeseal_gateway import enrolling
from edgeseal_gateway.config import Config
from edgeseal_gateway.store import enrolling as store
from edgeseal_gateway.store.database import Database

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def new(config: Config, out: Path | None, groups: tuple[str, ...], seconds: int) -> dict[str, Any]:
    """Make a claim, write its token to ``out`` (a new file, mode 0600) and return what is known of it.

    The token itself is returned to nobody and kept nowhere else.

    Raises UsageError ``claim_file``, ``claim_groups``, ``claim_seconds``, and the store's.
    """
    if out is None:
        raise UsageError("claim_file", "the token goes into a file", "give --out FILE")
    if not all(_NAME.fullmatch(group) for group in groups):
        raise UsageError("claim_groups", "a group is 1-64 of a-z 0-9 . _ - and begins with a letter or digit")
    token, database = secrets.token_bytes(enrolling.TOKEN_SIZE), _open(config)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError("claim_file", f"cannot write {out}: {error.strerror}", "choose a new file") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(token.hex() + "\n")
    now_ms = time.time_ns() // 1_000_000
    with database.write() as connection:
        enrolling.new_claim(connection, token, groups, now_ms, seconds)
    # Durable: the claim. A token whose claim is not is good for nothing.
    return {"claim": attestation.claim_digest(token).hex(), "groups": list(groups), "expires": now_ms + 1_000 * seconds}


def listed(config: Config) -> dict[str, Any]:
    """Return all claims by digest, with their state: new, used (by which offer), revoked, or expired."""
    now_ms = time.time_ns() // 1_000_000
    with _open(config).read() as connection:
        found = store.claims(connection)
    return {
        "claims": [
            {
                "claim": one.digest.hex(), "groups": list(one.groups), "expires": one.expires_ms,
                "state": "expired" if one.state == store.NEW and one.expires_ms <= now_ms else one.state,
                "offer": None if one.offer is None else one.offer.hex(),
            }
            for one in found
        ]
    }  # fmt: skip


def revoke(config: Config, claim: str | None) -> dict[str, Any]:
    """Revoke a claim that was not used. Raises UsageError ``claim_unknown``: there is none, or it was used."""
    try:
        digest = bytes.fromhex(claim or "")
    except ValueError:
        digest = b""
    with _open(config).write() as connection:
        if not store.set_claim(connection, digest, store.REVOKED):
            raise UsageError("claim_unknown", "no unused claim has this digest", "see: edgeseal-gateway claim list")
    return {"claim": digest.hex(), "state": store.REVOKED}


def _open(config: Config) -> Database:
    database = Database(config.store)
    with database.write() as connection:
        store.prepare(connection)
    return database
