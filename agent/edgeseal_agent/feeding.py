"""From a loaded model to inputs: what a start does beside everything else, in a thread of its own."""

from __future__ import annotations

from edgeseal.errors import UsageError
from edgeseal_agent.foldersource import FolderSource
from edgeseal_agent.inference import InferenceRecorder
from edgeseal_agent.intake import Intake
from edgeseal_agent.listsource import ListSource
from edgeseal_agent.parts import Parts, build_name
from edgeseal_agent.source import Source


def load(parts: Parts) -> None:
    """Load the model, begin to obey commands, open the source and take inputs from it.

    Raises nothing: what failed is ``parts.model_failure``, and ``parts.loaded`` is set in either case.
    """
    assert parts.activation is not None and parts.commands is not None
    try:
        parts.activation.start_up()
        if parts.stopping.is_set():
            return
        parts.commands.start()
        source = _make_source(parts)
        if source is None:
            return
        if parts.options.once and parts.config.mqtt is None and parts.engine.package is None:
            raise UsageError("no_model", "no model is active, and without mqtt none can come", "set model.package")
        parts.intake = _make_intake(parts, source)
        parts.intake.start()
    except Exception as error:  # whatever nobody foresaw too: the agent must not go on without its model
        parts.model_failure = error
    finally:
        parts.loaded.set()


def _make_source(parts: Parts) -> Source | None:
    config, path, journal = parts.config.source, parts.options.list_path, parts.journal
    if path is None and config.kind == "list":
        path = config.path
    if path is not None:
        if parts.options.again:
            journal.execute(lambda c: c.execute("DELETE FROM taken WHERE source LIKE 'list:%'")).result()
        return ListSource(parts.store, path)
    if config.kind == "none" or config.path is None or config.done_dir is None or config.failed_dir is None:
        return None

    def forget(source: str, notes: list[tuple[str, bytes]]) -> None:
        rows = [(source, *note) for note in notes]
        journal.execute(lambda c: c.executemany("DELETE FROM taken WHERE source = ? AND name = ? AND mark = ?", rows))

    return FolderSource(parts.store, config.path, config.done_dir, config.failed_dir, config.settle_ms, forget)


def _make_intake(parts: Parts, source: Source) -> Intake:
    config = parts.config
    recorder = InferenceRecorder(
        parts.journal,
        log=parts.identity.log,
        secret=parts.secret,
        config_digest=config.digest,
        build=build_name(),
        plain_input=config.source.input_mode == "plain",
        keeps=parts.guard.keep,
        flagged=lambda: parts.model_watch.flagged,
    )
    return Intake(
        source, parts.engine, recorder, parts.journal, poll_ms=config.source.poll_ms, room=parts.guard.room
    )  # fmt: skip
