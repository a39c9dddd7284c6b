"""The tables of the gateway's store, version 2."""

from __future__ import annotations

from typing import Final

from edgeseal_gateway.store import leases, operations, registry, statekeep

VERSION: Final = 2
APPLICATION_ID: Final = 0x65647367  # "edsg"

_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- The fleet log. `same` is what makes two statements the same (format 1.4), `digest` that of the whole bytes.
CREATE TABLE leaf (
    pos INTEGER PRIMARY KEY, leaf BLOB NOT NULL, same BLOB NOT NULL UNIQUE, digest BLOB NOT NULL UNIQUE,
    typ TEXT NOT NULL, sub TEXT NOT NULL, statement BLOB NOT NULL) STRICT;
CREATE INDEX leaf_subject ON leaf (sub, typ, pos);
CREATE INDEX leaf_typ ON leaf (typ, pos);
CREATE TABLE node (level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, idx)) STRICT, WITHOUT ROWID;
-- A row without signature is a head that was decided and not yet signed: the next one signs these very bytes.
CREATE TABLE fleet_head (
    size INTEGER PRIMARY KEY, root BLOB NOT NULL, prev_size INTEGER NOT NULL, prev_root BLOB NOT NULL,
    kid BLOB NOT NULL, snapshot INTEGER NOT NULL, signature BLOB) STRICT;
-- Statements accepted from operators and not yet in the log.
CREATE TABLE pending (
    id INTEGER PRIMARY KEY AUTOINCREMENT, same BLOB NOT NULL UNIQUE, digest BLOB NOT NULL UNIQUE,
    typ TEXT NOT NULL, sub TEXT NOT NULL, statement BLOB NOT NULL) STRICT;

-- Subjects as of the newest leaf, and as of each snapshot in which they differ from the one before (format 9).
CREATE TABLE subject (sub TEXT PRIMARY KEY, entry BLOB NOT NULL, changed INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX subject_changed ON subject (changed);
CREATE TABLE snapshot (pos INTEGER PRIMARY KEY, root BLOB NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE TABLE snapshot_entry (
    sub TEXT, pos INTEGER, entry BLOB NOT NULL, PRIMARY KEY (sub, pos)) STRICT, WITHOUT ROWID;

-- Devices and their logs. `before` is the state that a revoked key's log had, should the registry reinstate it.
CREATE TABLE device (
    id INTEGER PRIMARY KEY, log BLOB NOT NULL UNIQUE, kid BLOB NOT NULL UNIQUE, x BLOB NOT NULL, y BLOB NOT NULL,
    name TEXT NOT NULL, assurance TEXT NOT NULL, groups TEXT NOT NULL, cadence INTEGER NOT NULL,
    genesis BLOB NOT NULL, enrolled INTEGER NOT NULL, state TEXT NOT NULL, before TEXT NOT NULL DEFAULT 'active',
    size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL, bytes INTEGER NOT NULL,
    seen_log BLOB, seen_size INTEGER, seen_root BLOB, contact INTEGER NOT NULL) STRICT;
CREATE TABLE segment (
    id INTEGER PRIMARY KEY, dev INTEGER NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL,
    skip INTEGER NOT NULL, leaves BLOB NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX segment_start ON segment (dev, start);
-- state: 0 waits for bodies (format 6.4), 1 may be sequenced, 2 is in the fleet log, 3 a larger one is in its place.
CREATE TABLE device_head (
    id INTEGER PRIMARY KEY, dev INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, head BLOB NOT NULL,
    digest BLOB NOT NULL, state INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX device_head_size ON device_head (dev, size);
CREATE INDEX device_head_ready ON device_head (dev, size) WHERE state = 1;
CREATE INDEX device_head_sequenced ON device_head (dev, size) WHERE state = 2;
CREATE INDEX device_head_waiting ON device_head (dev, size) WHERE state = 0;
CREATE TABLE stripped (
    dev INTEGER, seq INTEGER, form INTEGER NOT NULL, PRIMARY KEY (dev, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE covered (
    dev INTEGER, start INTEGER, stop INTEGER, form INTEGER, PRIMARY KEY (dev, start, stop, form)) STRICT, WITHOUT ROWID;
CREATE TABLE patch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dev INTEGER NOT NULL, seq INTEGER NOT NULL, item BLOB NOT NULL,
    UNIQUE (dev, seq)) STRICT;
CREATE TABLE tile (dev INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY (dev, idx)) STRICT, WITHOUT ROWID;

-- What was refused, and bounded samples of it.
CREATE TABLE refusal (
    log BLOB, code TEXT, n INTEGER NOT NULL, at INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (log, code)) STRICT, WITHOUT ROWID;
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY, log BLOB NOT NULL, code TEXT NOT NULL, bytes BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX evidence_log ON evidence (log, code);
CREATE TABLE applicant (
    log BLOB PRIMARY KEY, x BLOB NOT NULL, y BLOB NOT NULL, size INTEGER NOT NULL, at INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;

-- Commands (openings travel beside them), keys no longer good, packages on disk.
CREATE TABLE command (
    digest BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, sub TEXT NOT NULL, salt BLOB NOT NULL, args BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE revoked (
    kid BLOB PRIMARY KEY, role TEXT NOT NULL, until INTEGER NOT NULL, source TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE package (
    digest BLOB PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Anchors (docs/submitter.md). block, number, tx, log_index: where it was found, until it is found there no more.
-- `evidence` (format 14.1) once final. `since`: wall time in ms when the sender first looked at it.
CREATE TABLE anchor (
    size INTEGER PRIMARY KEY, state TEXT NOT NULL, block BLOB, number INTEGER, tx BLOB, log_index INTEGER,
    evidence BLOB, since INTEGER) STRICT;
CREATE INDEX anchor_state ON anchor (state, size);
-- Signed transactions. size 0: an empty one that uses its nonce up. base: the anchored size its proof starts from.
-- taken: wall time in ms when a node first had it. paid: wei it cost, once it was mined.
CREATE TABLE attempt (
    hash BLOB PRIMARY KEY, size INTEGER NOT NULL, nonce INTEGER NOT NULL, raw BLOB NOT NULL, max_fee INTEGER NOT NULL,
    tip INTEGER NOT NULL, gas INTEGER NOT NULL, at INTEGER NOT NULL, base INTEGER NOT NULL, taken INTEGER,
    paid INTEGER) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_size ON attempt (size);
CREATE INDEX attempt_nonce ON attempt (nonce);
CREATE INDEX attempt_at ON attempt (at);
"""
TABLES: Final = _TABLES + leases.TABLES + operations.TABLES + registry.TABLES + statekeep.TABLES

INDEX_VERSION: Final = 1
INDEX_TABLES: Final = """
CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, patch INTEGER NOT NULL) STRICT;
INSERT INTO cursor VALUES (1, 0, 0);
CREATE TABLE record (
    dev INTEGER, seq INTEGER, kind TEXT NOT NULL, t INTEGER NOT NULL, boot INTEGER NOT NULL, mono INTEGER NOT NULL,
    form INTEGER NOT NULL, flag TEXT, PRIMARY KEY (dev, seq)) STRICT, WITHOUT ROWID;
CREATE INDEX record_kind ON record (dev, kind, seq) WHERE kind <> 'inference';
CREATE TABLE result (
    cmd BLOB, dev INTEGER, state TEXT NOT NULL, reason TEXT, seq INTEGER NOT NULL, PRIMARY KEY (cmd, dev))
    STRICT, WITHOUT ROWID;
CREATE TABLE model (
    dev INTEGER PRIMARY KEY, seq INTEGER NOT NULL, package BLOB NOT NULL, file BLOB NOT NULL, name TEXT NOT NULL,
    version TEXT NOT NULL) STRICT;
"""
