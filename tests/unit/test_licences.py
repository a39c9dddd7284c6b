"""What is installed beside edgeseal may be distributed under Apache-2.0; docs/third-party.md says under what."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("core", "agent", "gateway", "console")
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0",
    "MIT-CMU", "PSF-2.0", "Public Domain", "Zlib",
}  # fmt: skip
BY_FILE = {"certifi", "hypothesis", "pathspec", "tqdm"}
"""Under MPL-2.0, which asks for the source of its own files alone: they are passed on as their makers publish them."""
SAID_OTHERWISE = {
    "Apache 2.0": "Apache-2.0", "BSD 2-Clause License": "BSD-2-Clause", "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0", "BSD License": "BSD", "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}  # fmt: skip
WITHOUT_FIELD = {"memorystream": "MIT"}
"""npm packages whose lock entry names no licence, as their package.json has it in an older form."""


def locked(lock: str) -> list[str]:
    names = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements" / f"{lock}.lock").read_text(), re.MULTILINE)
    return sorted(set(names))


def licence(name: str) -> str:
    """Return what a package says of its licence: the expression, else the classifiers, else its words."""
    try:
        said = metadata(name)
    except PackageNotFoundError:  # of another Python or machine than this one
        return listed()[name]
    if expressions := said.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [line.split(" :: ") for line in said.get_all("Classifier") or []]
    classes = [words[-1] for words in classifiers if words[0] == "License"]
    named = [one for one in classes if one not in ("OSI Approved", "DFSG approved")]
    found = named or said.get_all("License") or ["none"]
    return " AND ".join(SAID_OTHERWISE.get(one, one) for one in found)


def allowed(expression: str, further: frozenset[str] = frozenset()) -> bool:
    """Tell whether each part of an expression, or one of its alternatives, is a permissive licence."""
    good = PERMISSIVE | further
    return all(any(one.strip(" ()") in good for one in part.split(" OR ")) for part in expression.split(" AND "))


def listed() -> dict[str, str]:
    """Return what the page says, by package."""
    page = (ROOT / "docs" / "third-party.md").read_text("utf-8")
    return dict(re.findall(r"^\| ([a-z0-9._-]+) \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)[1:])


def rows() -> list[str]:
    """Return the table of docs/third-party.md that follows from the locks and the packages' own words."""
    users = {name: [part for part in PARTS if name in locked(part)] for name in locked("dev")}
    return [f"| {name} | {licence(name)} | {' '.join(used) or 'tests'} |" for name, used in sorted(users.items())]


def test_every_lock_holds_what_was_looked_at() -> None:
    assert set(locked("run")) | set().union(*map(locked, PARTS)) <= set(locked("dev"))


@pytest.mark.parametrize("name", sorted({*locked("dev"), *locked("build")}))
def test_a_package_may_be_distributed_with_ours(name: str) -> None:
    assert allowed(licence(name), frozenset({"MPL-2.0"}) if name in BY_FILE else frozenset()), licence(name)


def test_copyleft_is_told_from_what_is_allowed() -> None:
    assert allowed("EPL-2.0 OR BSD-3-Clause") and not allowed("AGPL-3.0-or-later AND MIT")


@pytest.mark.parametrize("lock", ["contracts/package-lock.json", "contracts/peers/package-lock.json"])
def test_a_chain_tool_may_be_distributed(lock: str) -> None:
    packages = json.loads((ROOT / lock).read_text())["packages"]
    for path, entry in packages.items():
        name = path.removeprefix("node_modules/")
        if name in ("", "no-hardhat") or entry.get("link"):
            continue
        assert allowed(entry.get("license") or WITHOUT_FIELD[name]), name


def test_the_list_is_what_the_packages_say() -> None:
    page = (ROOT / "docs" / "third-party.md").read_text("utf-8")
    assert [line for line in page.splitlines() if line.startswith("| ")][1:] == rows()
