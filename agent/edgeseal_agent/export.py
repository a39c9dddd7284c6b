"""``edgeseal-agent export``: everything this device can show, as a bundle of ``docs/format.md`` section 14.

Reads one snapshot of the store, so the agent may be running. ``edgeseal collect --device`` merges it with the
gateway's.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from edgeseal import commitment, cose
from edgeseal.bundle import Item
from edgeseal.bundlewriter import Writer
from edgeseal.commitment import Opening
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal.record import decode_body
from edgeseal.statements import decode as decode_statement
from edgeseal.statements.keyset import Keyset
from edgeseal_agent.activation import used_models
from edgeseal_agent.config import Config
from edgeseal_agent.identity import Identity, open_store, read_secret
from edgeseal_agent.packages import Packages
from edgeseal_agent.store import Store
from edgeseal_agent.thinning import stripped

EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: a .zip can state none before, where the clock of a device that was never set stands."""


def export(config: Config, out: Path) -> dict[str, Any]:
    """Write the export to ``out``, a new folder or a new .zip, and return what is in it, as counts.

    It appears under its name complete or not at all.

    Raises:
        UsageError: ``out_exists``, ``state_missing``. Unavailable: ``export_failed``. InvariantBroken: the store.
    """
    if out.exists():
        raise UsageError("out_exists", f"{out} exists", "choose another name or remove it")
    store, secret = open_store(config), read_secret(config.state_dir)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".zip":
            return _to_zip(out, lambda writer: _write(store, secret, config, writer))
        return _to_folder(out, lambda writer: _write(store, secret, config, writer))
    except OSError as error:
        raise Unavailable(
            "export_failed", f"{error.filename or out}: {error.strerror}", "choose a place where this account may write"
        ) from error


def _to_zip(out: Path, write: Callable[[Writer], dict[str, Any]]) -> dict[str, Any]:
    draft = out.with_name(f".{out.name}.new")
    try:
        with zipfile.ZipFile(draft, "w") as archive:
            counts = write(Writer(lambda name, data: archive.writestr(_entry(name), data, zipfile.ZIP_DEFLATED, 1)))
        draft.rename(out)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return counts


def _entry(name: str) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name, EARLIEST)
    found.external_attr = 0o600 << 16
    return found


def _to_folder(out: Path, write: Callable[[Writer], dict[str, Any]]) -> dict[str, Any]:
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))

    def put(name: str, data: bytes) -> None:
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    try:
        counts = write(Writer(put))
        os.chmod(draft, 0o755)
        draft.rename(out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return counts


def _write(store: Store, secret: bytes, config: Config, writer: Writer) -> dict[str, Any]:
    known = Identity.of(store.meta())
    with closing(store.reader()) as connection:
        connection.execute("BEGIN")
        (size,) = connection.execute("SELECT size FROM log").fetchone()
        writer.records(known.log, _records(connection))
        writer.heads(known.log, _column(connection, "SELECT signed FROM heads WHERE signed IS NOT NULL ORDER BY size"))
        statements = list(_statements(connection))
        writer.statements(statements)
        receipts = list(_column(connection, "SELECT receipt FROM receipts ORDER BY pos"))
        writer.receipts(receipts)
        first, home, keys = _beginnings(connection, known)
        writer.fleet(home, [first], [], [])
        for key in keys:
            writer.key(key)
        inputs = 0
        for data in _column(connection, "SELECT data FROM inputs ORDER BY digest"):
            writer.input(data)
            inputs += 1
        writer.openings(known.log, _openings(connection, known.log, secret))
        models = _models(store, config, writer)
        writer.finish(home)
    return {
        "log": known.log.hex(), "records": size, "statements": len(statements), "receipts": len(receipts),
        "inputs": inputs, "models": models,
    }  # fmt: skip


def _records(connection: sqlite3.Connection) -> Iterator[Item]:
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    gone = {seq: item.reason for item in stripped(connection, 0, size) for seq in range(item.start, item.stop)}
    for seq, header, body in connection.execute("SELECT seq, header, body FROM records ORDER BY seq"):
        yield (0, header, body) if body else (1, header, gone[seq])


def _column(connection: sqlite3.Connection, query: str) -> Iterator[bytes]:
    for (value,) in connection.execute(query):
        yield value


def _statements(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    """Yield the statements whose fleet position this device was shown: its own heads, and commands it took."""
    found: dict[int, bytes] = dict(connection.execute("SELECT pos, head FROM receipts").fetchall())
    for pos, body in connection.execute(
        "SELECT pos, body FROM commands JOIN records ON records.seq = commands.seq"
    ).fetchall():
        found[pos] = decode_body("command.received", body)["cmd"]
    yield from sorted(found.items())


def _beginnings(connection: sqlite3.Connection, known: Identity) -> tuple[bytes, bytes, list[cose.PublicKey]]:
    """Return the fleet head in genesis, the home log, and every key that this device was told of."""
    (genesis,) = connection.execute("SELECT body FROM records WHERE seq = 0").fetchone()
    (home,) = connection.execute("SELECT value FROM meta WHERE key = 'home'").fetchone()
    keys = {known.key.kid: known.key, known.root.kid: known.root}
    for statement in _column(connection, "SELECT statement FROM keysets ORDER BY version"):
        keyset = decode_statement(statement).content
        assert isinstance(keyset, Keyset)
        keys |= {member.key.kid: member.key for member in keyset.members}
    return decode_body("genesis", genesis)["fleet"], home, list(keys.values())


def _openings(connection: sqlite3.Connection, log: bytes, secret: bytes) -> Iterator[Opening]:
    for seq, field, plain, data, file in connection.execute(
        "SELECT seq, field, plain, data, file FROM openings ORDER BY seq, field"
    ):
        salt = commitment.NO_SALT if plain else commitment.derive_salt(secret, log, seq, field)
        yield Opening(log, seq, field, salt, data, file)
    for seq, salt, args in connection.execute("SELECT seq, salt, args FROM commands ORDER BY seq"):
        yield Opening(log, seq, "args", salt, args)


def _models(store: Store, config: Config, writer: Writer) -> int:
    packages, count = Packages(config.model.packages_dir), 0
    for digest in used_models(store):
        try:
            files = packages.find(digest)
        except EdgesealError:
            files = None
        if files is not None:
            writer.package(digest, files)
            count += 1
    return count
