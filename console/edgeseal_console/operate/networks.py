"""The chains many people use, from the package's own files (``edgeseal/contracts/networks``)."""

from __future__ import annotations

from importlib.resources import files

from edgeseal.chainrules import Preset
from edgeseal.errors import UsageError


def names() -> list[str]:
    """Return the names of the presets."""
    entries = (files("edgeseal.contracts") / "networks").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def preset(name: str) -> Preset:
    """Return the preset of this name. Raises UsageError ``network_unknown``."""
    if name not in names():
        raise UsageError("network_unknown", f"no network is called {name!r:.60}", f"one of: {', '.join(names())}")
    return Preset.decode((files("edgeseal.contracts") / "networks" / f"{name}.yaml").read_bytes())


def fitting(chain_id: int) -> str:
    """Return the name of the preset for a chain id; ``private`` where none names it."""
    return next((name for name in names() if preset(name).chain_id == chain_id), "private")
