"""What holds for every test: in CI a skip needs a reason that is written down here."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

# The real parts tests run on.
pytest_plugins = ["tests.realparts.services", "tests.realparts.tokens", "tests.realparts.tpm"]

# The only reasons for which a test may be skipped on a CI machine. Full matches.
EXPLAINED_SKIPS = (
    r"no \w+ for this platform",
    r"no [\w -]+ on this machine",
    r"needs root",
    r"needs an ordinary user",
)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _fail_if_unexplained(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not IN_CI or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not any(re.fullmatch(known, reason) for known in EXPLAINED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"unexplained skip in CI: {reason!r} (explain it in tests/conftest.py or make the test run)"


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
