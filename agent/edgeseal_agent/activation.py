"""Which model runs: taken up again at a start, set by the local configuration, or ordered by an operator's command."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from edgeseal.errors import EdgesealError, EvidenceError, Unavailable
from edgeseal_agent.commands import Outcome
from edgeseal_agent.configmodel import ModelConfig
from edgeseal_agent.inference import Engine, LoadedModel, explain, load_model
from edgeseal_agent.journal import Journal
from edgeseal_agent.modelwatch import SAFE_MODEL, STOP, WHAT
from edgeseal_agent.packages import Packages
from edgeseal_agent.store import Store

logger = logging.getLogger(__name__)

Fetch = Callable[[bytes], bytes]
"""Gets a package's archive from the gateway by digest. Raises Unavailable ``package_unavailable``."""


def ping(digest: bytes, args: dict[str, Any]) -> Outcome:
    """Answer with the text that was sent: the command arrived, was believed, and is in the log."""
    return Outcome(True, result={"text": args["text"]})


class Activation:
    """Decides on models. ``start_up`` runs once, ``obey`` for each ``model.activate``, ``fall_back`` when the model's
    files were tampered with; one at a time.
    """

    def __init__(self, store: Store, journal: Journal, engine: Engine, config: ModelConfig, fetch: Fetch) -> None:
        self._store = store
        self._journal = journal
        self._engine = engine
        self._config = config
        self._fetch = fetch
        self._packages = Packages(config.packages_dir)
        self._one = threading.Lock()

    def start_up(self) -> None:
        """Make a model active again, or the configured one if the configuration names another than it did last time.

        A model that does not load or does not pass its golden vectors is recorded as ``model.rejected``. Files that
        were changed while nobody ran are a ``tamper`` record and do not run; what follows is ``model.on_tamper``'s.

        Raises:
            UsageError: ``runtime_option``. Unavailable: no runtime, or the journal. What reading the configured
                folder raises.
        """
        facts = self._store.meta()
        active, configured = facts.get("model"), self._read_configured()
        if configured is not None and configured[0] != facts.get("configured_model"):
            reason = self._activate(*configured, None, {"configured_model": configured[0]})
            if reason is None:
                return
        if active is None:
            return
        files = self._packages.find(active) or self._replace(active, configured)
        if files is None:
            return
        try:
            self._engine.resume(load_model(files, self._config))
            logger.info("model %s active again", active.hex())
        except EvidenceError as error:
            self._reject(active, None, error.code, explain(error))

    def _replace(self, active: bytes, configured: tuple[bytes, dict[str, bytes]] | None) -> dict[str, bytes] | None:
        """Return the files of the active package where they are not in their place and the configured ones are the
        same; None where there are none, or ``model.on_tamper`` has something else done.
        """
        reason, detail, wanted = "package_unavailable", "the package is gone from packages_dir", "continue-flagged"
        if self._packages.is_changed(active):
            reason, detail, wanted = (
                "package_mismatch",
                "the files are not those that were activated",
                self._config.on_tamper,
            )
            self._journal.append("tamper", {"what": WHAT, "detail": f"{active.hex()}: {detail}"})
            # Durable: the finding; a restart looks at the files again before it uses them.
        if wanted != STOP and configured is not None and configured[0] == active:
            self._packages.install(configured[1])
            return configured[1]
        self._reject(active, None, reason, detail)
        if wanted == SAFE_MODEL and (why := self.fall_back()) is not None:
            logger.warning("nor can the safe model be used: %s", why)
        return None

    def fall_back(self) -> str | None:
        """Activate the safe package, which stays active over restarts until a command names another one; return None,
        or why it cannot be used.
        """
        from edgeseal.adapters.packagedir import read_package
        from edgeseal.model import package_digest

        if self._config.safe_package is None:
            return "none is configured"
        try:
            files = read_package(self._config.safe_package)
            digest = package_digest(files)
        except EdgesealError as error:
            return explain(error)
        active = self._engine.package
        if active is not None and active.digest == digest:
            return "it is the one that was changed"
        return self._activate(digest, files, None, {})

    def obey(self, digest: bytes, args: dict[str, Any]) -> Outcome:
        """Activate the package a command names, from this device or fetched; else the old one stays.

        Repeatable: after a crash the same command finds its work done, or does it. Raises Unavailable when interrupted.
        """
        wanted: bytes = args["model"]
        package = self._engine.package
        if package is not None and package.digest == wanted and self._store.meta().get("model_command") == digest:
            return Outcome(True)
        try:
            files = self._packages.find(wanted) or self._packages.unpack(self._fetch(wanted), wanted)
        except EvidenceError as error:
            self._reject(wanted, digest, error.code, explain(error))
            return Outcome(False, error.code)
        except Unavailable as error:
            if error.code != "package_unavailable":
                raise
            self._reject(wanted, digest, error.code, str(error)[:400])
            return Outcome(False, error.code)
        reason = self._activate(wanted, files, digest, {"model_command": digest})
        return Outcome(reason is None, reason)

    def _activate(
        self, wanted: bytes, files: dict[str, bytes], command: bytes | None, facts: dict[str, bytes]
    ) -> str | None:
        """Load, check, record and switch; return None, or the code of what is wrong after recording that instead."""
        with self._one:
            try:
                model = load_model(files, self._config)
            except (EvidenceError, Unavailable) as error:
                self._reject(wanted, command, error.code, str(error)[:400])
                return error.code
            self._packages.install(files)
            # Durable: the package; a restart finds it by its digest.
            self._switch(model, command, facts)
        return None

    def _switch(self, model: LoadedModel, command: bytes | None, facts: dict[str, bytes]) -> None:
        self._engine.activate(model, self._journal, command, **facts).result()
        manifest, info = model.package.manifest, model.runner.info
        logger.info(
            "model %s %s active on %s %s, %s", manifest.name, manifest.version, info.family, info.version, info.delegate
        )
        # Durable: the activation and that it is the active model; a restart loads it again.

    def _reject(self, digest: bytes, command: bytes | None, reason: str, detail: str) -> None:
        fields = {"model": digest, "cmd": command, "reason": reason, "detail": detail}
        self._journal.append("model.rejected", fields)
        logger.warning("model %s rejected: %s (%r)", digest.hex(), reason, detail)

    def _read_configured(self) -> tuple[bytes, dict[str, bytes]] | None:
        if self._config.package is None:
            return None
        from edgeseal.adapters.packagedir import read_package
        from edgeseal.model import package_digest

        files = read_package(self._config.package)
        return package_digest(files), files


def used_models(store: Store) -> list[bytes]:
    """Return the digests of all packages this log says it activated, in order of their first activation."""
    from edgeseal.record import decode_body

    with closing(store.reader()) as connection:
        rows = connection.execute("SELECT body FROM records WHERE kind = 'model.activated' ORDER BY seq").fetchall()
    found: dict[bytes, None] = {}
    for (body,) in rows:
        try:
            found[decode_body("model.activated", body)["model"]] = None
        except EdgesealError:
            continue
    return list(found)
