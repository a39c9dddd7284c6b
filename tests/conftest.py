"""What holds for every test: in CI a skip needs a reason that is written down here."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# The real parts tests run on.
pytest_plugins = ["tests.realparts.services", "tests.realparts.tokens", "tests.realparts.tpm"]

# The only reasons for which a test may be skipped on a CI machine. Full matches.
EXPLAINED_SKIPS = (
    r"no \w+ for this platform",
    r"no [\w -]+ on this machine",
    r"needs root",
    r"needs an ordinary user",
)

# Files that build in the same folder stay with one of the processes that run tests.
TOGETHER = {
    "test_contracts_forge.py": "forge",
    "test_contracts_slither.py": "forge",
    "test_contracts_anvil.py": "forge",
    "test_deb.py": "deb",
    "test_field_guide.py": "deb",
    "test_tpm.py": "tpm",
    "test_attested_enrolment.py": "tpm",
}

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _fail_if_unexplained(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not IN_CI or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not any(re.fullmatch(known, reason) for known in EXPLAINED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"unexplained skip in CI: {reason!r} (explain it in tests/conftest.py or make the test run)"


class ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Deals files out to the processes of ``-n``: what a file's fixtures start is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return TOGETHER.get(file.rpartition("/")[2], file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_unexplained(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_unexplained(report)
    return report
