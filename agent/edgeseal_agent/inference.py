"""Running the model, and what a record says of one run: commitments, declared outputs, latency.

The model that runs is loaded from the bytes that were hashed. Commitments are made by the journal's writer, since their
salts depend on the record's position; the thread that runs the model only hands over bytes.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgeseal import cbor, commitment, limits
from edgeseal.errors import EdgesealError, UsageError
from edgeseal_agent.configmodel import ModelConfig
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import set_meta
from edgeseal_agent.ticket import Appended, Ticket

if TYPE_CHECKING:
    from edgeseal.adapters.tflite import TfliteRunner
    from edgeseal.model import ModelPackage

MAX_INLINE: Final = 65_536
"""Openings up to this many bytes are kept beside the record, larger data once under its digest."""


FLAG: Final = "edgeseal.flag"
"""The public field of an inference of which something has to be known; see ``model.on_tamper``."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A package and the runner made of its model file, golden vectors passed."""

    package: ModelPackage
    runner: TfliteRunner


class Inference(NamedTuple):
    """One run: what ran, what went in, what came out, and how many microseconds the invocation took."""

    model: LoadedModel
    raw: tuple[bytes, ...]
    tensors: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    latency_us: int


def load_model(files: Mapping[str, bytes], config: ModelConfig) -> LoadedModel:
    """Return the model in a package's files, loaded and checked against its golden vectors.

    Raises:
        EvidenceError: the package or its golden vectors do not hold; the code says which.
        Unavailable: no runtime, or the delegate does not load.
    """
    from edgeseal.adapters.tflite import TfliteRunner, check_golden
    from edgeseal.model import parse_package

    package = parse_package(files)
    runner = TfliteRunner(
        package.model,
        threads=config.threads,
        resolver=config.resolver,
        delegate=None if config.delegate is None else str(config.delegate),
        family=config.runtime,
    )
    check_golden(package, runner)
    return LoadedModel(package, runner)


class Engine:
    """Holds the active model. One thread runs inferences, another may activate; a lock keeps them apart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: LoadedModel | None = None
        self.ready = threading.Event()

    @property
    def package(self) -> ModelPackage | None:
        """The active package, None while there is none."""
        model = self._model
        return None if model is None else model.package

    def resume(self, model: LoadedModel) -> None:
        """Make ``model`` active again after a restart: its activation is in the log already."""
        with self._lock:
            self._model = model
        self.ready.set()

    def activate(self, model: LoadedModel, journal: Journal, command: bytes | None, **facts: bytes) -> Ticket[Appended]:
        """Record ``model.activated`` and switch, so that no inference of either model is on the wrong side of it.

        ``command`` is the digest of the operator's command, None for the local configuration; ``facts`` are stored
        with the record. Returns the record's ticket at once.
        """
        package = model.package

        def also(connection: sqlite3.Connection, seq: int) -> None:
            for key, value in {"model": package.digest, **facts}.items():
                set_meta(connection, key, value)

        with self._lock:
            before = self._model
            fields = {
                "model": package.digest,
                "file": package.model_digest,
                "name": package.manifest.name,
                "version": package.manifest.version,
                "cmd": command,
                "prev": None if before is None else before.package.digest,
                "golden": len(package.golden),
            }
            ticket = journal.submit("model.activated", fields, also)
            self._model = model
            # Queued, not yet durable: no inference with this model can become durable before it.
        self.ready.set()
        return ticket

    def run(self, raw: Sequence[bytes], submit: Callable[[Inference], Any]) -> Any:
        """Run the active model on raw input files and return what ``submit`` makes of it, before the model can change.

        Raises:
            UsageError: ``no_model``.
            EvidenceError: the input does not fit the model, or the model failed on it.
        """
        from edgeseal.adapters.tensors import load_inputs

        with self._lock:
            model = self._model
            if model is None:
                raise UsageError("no_model", "no model is active")
            tensors = load_inputs(model.package.manifest, raw)
            started = time.perf_counter_ns()
            outputs = model.runner.run(tensors)
            latency_us = (time.perf_counter_ns() - started) // 1_000
            return submit(Inference(model, tuple(raw), tensors, outputs, latency_us))


class InferenceRecorder:
    """Makes records of inferences, and keeps their openings and inputs while ``keeps`` says so."""

    def __init__(
        self, journal: Journal, *, log: bytes, secret: bytes, config_digest: bytes, build: str, plain_input: bool,
        keeps: Callable[[int], bool], flagged: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._flagged = flagged
        self._journal = journal
        self._log = log
        self._secret = secret
        self._config_digest = config_digest
        self._build = build
        self._plain_input = plain_input
        self._keeps = keeps

    def submit(self, done: Inference, also: Callable[[sqlite3.Connection, int], None]) -> Ticket[Appended]:
        """Queue the record of one inference; its openings and ``also`` commit with it. Errors of Journal.submit.

        The thread that runs the model only queues: everything else happens in the journal's writer.
        """
        recording = _Recording(self, done, also)
        return self._journal.submit("inference", recording.build, recording.write)

    def fields(self, seq: int, done: Inference, data: Mapping[str, bytes]) -> dict[str, Any]:
        """Return the body of the record of ``done`` at position ``seq``; ``data`` are the committed contents."""
        from edgeseal.model import public_fields

        package, commit = done.model.package, self._commit
        return {
            "model": package.digest, "file": package.model_digest, "rt": done.model.runner.info.to_list(),
            "input": commit(seq, "input", data["input"]), "tensor": commit(seq, "tensor", data["tensor"]),
            "output": commit(seq, "output", data["output"]), "pub": self._public(public_fields(package, done.outputs)),
            "us": done.latency_us, "config": self._config_digest, "build": self._build,
        }  # fmt: skip

    def _public(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the public fields, with the flag on a model whose files are no longer what was activated."""
        if not self._flagged():
            return fields
        room = limits.MAX_PUB_ENTRIES - 1  # the flag counts more than the last field
        return {**dict(list(fields.items())[:room]), FLAG: "model_tampered"}

    def keep(self, connection: sqlite3.Connection, seq: int, data: Mapping[str, bytes]) -> None:
        """Keep what opens the commitments of record ``seq``, in the caller's transaction, if anything is kept."""
        if self._keeps(sum(map(len, data.values()))):
            for field, content in data.items():
                keep_opening(connection, seq, field, content, self._is_plain(field), as_file=field == "input")

    def _is_plain(self, field: str) -> bool:
        return self._plain_input and field == "input"

    def _commit(self, seq: int, field: str, content: bytes) -> list[Any]:
        plain = self._is_plain(field)
        salt = None if plain else commitment.derive_salt(self._secret, self._log, seq, field)
        return commitment.commit(field, content, salt)


class _Recording:
    """One inference on its way into the journal: what the writer calls to build its record and to add its openings."""

    __slots__ = ("_also", "_data", "_done", "_recorder")

    def __init__(
        self, recorder: InferenceRecorder, done: Inference, also: Callable[[sqlite3.Connection, int], None]
    ) -> None:
        self._recorder = recorder
        self._done = done
        self._also = also

    def build(self, seq: int) -> dict[str, Any]:
        done = self._done
        self._data = {
            "input": done.raw[0] if len(done.raw) == 1 else cbor.encode(list(done.raw)),
            "tensor": cbor.encode(list(done.tensors)),
            "output": cbor.encode(list(done.outputs)),
        }
        return self._recorder.fields(seq, done, self._data)

    def write(self, connection: sqlite3.Connection, seq: int) -> None:
        self._also(connection, seq)
        self._recorder.keep(connection, seq, self._data)


def keep_opening(
    connection: sqlite3.Connection, seq: int, field: str, content: bytes, plain: bool = False, as_file: bool = False
) -> None:
    """Keep what opens one commitment of record ``seq``, in the caller's transaction; the salt is derived again later.

    With ``as_file``, or beyond MAX_INLINE, the data is kept once under its digest, however many records share it.
    """
    if not as_file and len(content) <= MAX_INLINE:
        connection.execute("INSERT INTO openings VALUES (?, ?, ?, ?, NULL)", (seq, field, plain, content))
        return
    digest = sha256(content).digest()
    connection.execute("INSERT OR IGNORE INTO inputs VALUES (?, ?)", (digest, content))
    connection.execute("INSERT INTO openings VALUES (?, ?, ?, NULL, ?)", (seq, field, plain, digest))


def explain(error: EdgesealError) -> str:
    """Return an error as the short text a record may carry."""
    return str(error)[:400]
