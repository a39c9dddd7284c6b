"""``edgeseal-agent rotate``: the old key closes its log and names the new one; the new log opens and names the old one.

Nothing but the operator's enrolment of the new log makes it count. Any step may be the last one of a run: the next run
with the same two configurations goes on there, and the old log never gets a second end.
"""

from __future__ import annotations

import json
from contextlib import closing as open_until_left
from pathlib import Path
from typing import Any

from edgeseal.cose import PublicKey
from edgeseal.errors import UsageError
from edgeseal.statements.enrolment import device_log_id
from edgeseal_agent import closing, identity
from edgeseal_agent.config import Config
from edgeseal_agent.initialise import initialise, read_pack
from edgeseal_agent.predecessor import Predecessor
from edgeseal_agent.store import Store

REASON = "rotated"


def rotate(config: Config, successor: Config) -> dict[str, Any]:
    """Close the log of ``config``, open that of ``successor``, and return the latter's enrolment request.

    1. The new key is made (or found in its token), with an empty log. 2. The old key signs ``key.rotated`` and
    ``closed``, which name the new log and key. 3. The new log's genesis names the old log's last size and root, and the
    new key signs.

    Raises:
        UsageError: ``successor_config`` when the two configurations do not follow each other, ``pack_stale``,
            ``closed_otherwise``, ``already_running``, and what ``init`` raises. Unavailable: token or disk.
            InvariantBroken: the store.
    """
    _check(config, successor)
    store = identity.open_store(config)
    with identity.exclusive(config.state_dir):
        known = identity.Identity.of(store.meta())

        def close(public: PublicKey) -> Predecessor:
            if public.kid == known.key.kid:
                raise UsageError("successor_config", "both configurations name the same key", "a new epoch, a new key")
            following = device_log_id(public.kid)
            closing.close_log(
                config, store,
                [("key.rotated", {"next": following, "key": public.point}),
                 ("closed", {"reason": REASON, "next": following})],
            )  # fmt: skip
            # Durable: the old log has ended, under a signed head that names the new key. A restart finds it so.
            size, root, head = closing.last_head(store)
            return Predecessor(known.name, known.epoch, known.key, size, root, head, None)

        if (successor.state_dir / identity.STORE_NAME).exists():
            return _opened_before(store_end=closing.ending(store), state_dir=successor.state_dir)
        _check_pack(store, successor)
        return initialise(successor, close).as_json()


def _check(config: Config, successor: Config) -> None:
    same_place = config.state_dir.resolve() == successor.state_dir.resolve()
    if successor.name != config.name or successor.epoch != config.epoch + 1 or same_place:
        raise UsageError(
            "successor_config",
            f"the next configuration has to name {config.name}, epoch {config.epoch + 1}, and another state_dir",
            "copy the configuration; change epoch, state_dir and the key's token or label",
        )


def _check_pack(store: Store, successor: Config) -> None:
    """Refuse a pack that knows less than the old log: what is past for that one must not be new for the next.

    Commands to the device's groups are the same for both logs. Under an older fleet head one that was obeyed could be
    brought again, under an older keyset one that an operator signed who was removed since.
    """
    pack = read_pack(successor.provisioning)
    keyset, head = pack.verify()
    facts = store.meta()
    with open_until_left(store.reader()) as connection:
        (version,) = connection.execute("SELECT max(version) FROM keysets").fetchone()
    is_before = pack.log == facts["home"] and head.size <= facts.get("command_pos", -1)
    if keyset.version < version or is_before:
        raise UsageError(
            "pack_stale", f"{successor.provisioning} is older than the newest keyset or command of this device",
            "put a fresh pack there: edgeseal provision writes it",
        )  # fmt: skip


def _opened_before(*, store_end: dict[str, Any] | None, state_dir: Path) -> dict[str, Any]:
    """Return the request of a successor that is open already, if it is the one that the old log names."""
    request: dict[str, Any] = json.loads((state_dir / identity.REQUEST_NAME).read_text())
    if store_end is None or store_end["next"] != bytes.fromhex(request["log"]):
        raise UsageError(
            "state_exists", f"{state_dir} holds a log that the old one does not name", "choose another state_dir"
        )
    return request
