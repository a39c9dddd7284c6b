"""The sections ``model`` and ``source``: what is run, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseal import strictyaml
from edgeseal.errors import FormatError
from edgeseal_agent import configfields as fields


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The model: the package to start with (or none), where others lie or are fetched to, and the runtime's settings.

    ``runtime`` null takes the family that is installed; ``delegate`` is the path of an external delegate's library. The
    active package's files are hashed again when they change and every ``rehash_s``; where they are not what was
    activated a ``tamper`` record says so, and the agent ends (``stop``), goes on with the model in memory and says so
    in every inference (``continue-flagged``), or activates the package in ``safe_package`` (``safe-model``).
    """

    package: Path | None
    packages_dir: Path
    max_package_mb: int
    runtime: str | None
    resolver: str
    delegate: Path | None
    threads: int
    on_tamper: str = "continue-flagged"
    rehash_s: int = 3_600
    safe_package: Path | None = None


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where inputs come from: ``watch`` a folder, one ``list``, or ``none``.

    A watched file counts as complete when neither size nor time changed for ``settle_ms``; better is to write it
    under a name that begins with a dot and rename it. What was recorded moves to ``done_dir``, what could not be read
    as an input to ``failed_dir``. ``input_mode`` is the commitment mode of the raw input: ``salted`` or ``plain``.
    """

    kind: str
    path: Path | None
    done_dir: Path | None
    failed_dir: Path | None
    poll_ms: int
    settle_ms: int
    input_mode: str


def read_model(section: strictyaml.Section, base: Path, state_dir: Path) -> ModelConfig:
    """Read the section ``model``. Raises FormatError."""
    model = ModelConfig(
        package=fields.maybe_path(section, "package", base),
        packages_dir=fields.maybe_path(section, "packages_dir", base) or state_dir / "packages",
        max_package_mb=section.integer("max_package_mb", 1, 4_096, 64),
        runtime=section.text("runtime", "ai-edge-litert|tflite-runtime") if "runtime" in section else None,
        resolver=section.text("resolver", "auto|builtin|reference", "auto"),
        delegate=fields.maybe_path(section, "delegate", base),
        threads=section.integer("threads", 1, 64, 1),
        on_tamper=section.text("on_tamper", "stop|continue-flagged|safe-model", "continue-flagged"),
        rehash_s=section.integer("rehash_s", 1, 604_800, 3_600),
        safe_package=fields.maybe_path(section, "safe_package", base),
    )
    section.done()
    if model.on_tamper == "safe-model" and model.safe_package is None:
        raise FormatError("yaml_missing_key", f"{section.path('on_tamper')} safe-model needs safe_package")
    return model


def read_source(section: strictyaml.Section, base: Path) -> SourceConfig:
    """Read the section ``source``. Raises FormatError."""
    kind = section.text("kind", "watch|list|none", "none")
    path = fields.maybe_path(section, "path", base)
    source = SourceConfig(
        kind=kind,
        path=path,
        done_dir=fields.maybe_path(section, "done_dir", base) or _beside(path, "done"),
        failed_dir=fields.maybe_path(section, "failed_dir", base) or _beside(path, "failed"),
        poll_ms=section.integer("poll_ms", 5, 60_000, 100),
        settle_ms=section.integer("settle_ms", 0, 60_000, 200),
        input_mode=section.text("input_mode", "salted|plain", "salted"),
    )
    section.done()
    if kind != "none" and path is None:
        raise FormatError("yaml_missing_key", f"source.path is missing for source.kind {kind}")
    return source


def _beside(path: Path | None, name: str) -> Path | None:
    return None if path is None else path.parent / f"{path.name}.{name}"
