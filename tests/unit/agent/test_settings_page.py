"""agent/README.md, which a device carries as its settings page, against the reader of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgeseal import limits, strictyaml
from edgeseal_agent import config
from edgeseal_console.demo.parts import CHECKOUT

ALL = """\
schema: edgeseal-agent/1
name: cam-1
state_dir: state
provisioning: pack.cbor
tpm: {evidence_dir: shown}
mqtt: {host: broker.example}
"""
CREATED = "key: {token: edge, label: device, create: true}\n"
GIVEN = "key: {token: edge, label: device, pin_file: pin}\n"
EXAMPLES = {"key.create": False, "source.kind": "none", "incidents.on": [], "groups": []}
"""What the page shows as an example, and what holds without it."""
_MISSING = object()


def page() -> dict[str, Any]:
    """Return the page's example, which holds every setting, as dotted names and values."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "agent/README.md").read_text(), re.DOTALL)
    return dict(flat(strictyaml.load(block.encode(), limits.MAX_YAML)))


def flat(section: Mapping[str, Any], where: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in section.items():
        found += flat(value, f"{where}{name}.") if isinstance(value, dict) else [(where + name, value)]
    return found


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every setting that the reader asks for, with its default; what has none is _MISSING."""
    found: dict[str, Any] = {}
    take, contains = strictyaml.Section.take, strictyaml.Section.__contains__

    def noting_take(self: strictyaml.Section, key: str, default: object = strictyaml._END) -> object:
        found[self.path(key)] = _MISSING if default is strictyaml._END else default
        return take(self, key, default)

    def noting_contains(self: strictyaml.Section, key: str) -> bool:
        found.setdefault(self.path(key), _MISSING)
        return contains(self, key)

    monkeypatch.setattr(strictyaml.Section, "take", noting_take)
    monkeypatch.setattr(strictyaml.Section, "__contains__", noting_contains)
    for number, key in enumerate((CREATED, GIVEN)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(ALL + key)
        config.load(file)
    sections = {name.rpartition(".")[0] for name in found}
    return {name: default for name, default in found.items() if name not in sections}


def test_the_page_shows_every_setting_and_no_other(asked: dict[str, Any]) -> None:
    shown, known = ({_as_one(name) for name in names} for names in (page(), asked))
    text = (CHECKOUT / "agent/README.md").read_text()
    beside = {name for name in known - shown if f"`{name}`" in text or _in_a_remark(name, text)}
    assert shown <= known, f"the reader knows none of {sorted(shown - known)}"
    assert known <= shown | beside, f"the page says nothing of {sorted(known - shown - beside)}"


def _as_one(name: str) -> str:
    """Return the name of a setting; classes of records, one of which the page shows, count as one."""
    return "storage.class_retention_days" if name.startswith("storage.class_retention_days") else name


def _in_a_remark(name: str, text: str) -> bool:
    """Say whether a remark of the example names a setting that stands in the place of another."""
    return re.search(rf"#.*\b{re.escape(name.rpartition('.')[2])}\b", text) is not None


def test_the_defaults_on_the_page_are_those_of_the_reader(asked: dict[str, Any]) -> None:
    for name, shown in page().items():
        default = asked.get(name, _MISSING)
        if default is _MISSING or default == {}:
            continue
        assert default == EXAMPLES.get(name, shown), f"{name}: the page shows {shown!r}, the reader takes {default!r}"
