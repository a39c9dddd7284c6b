"""halmos proves head monotonicity, role checks and terminal states, and `contracts/audit/halmos.md` says so.

It runs in a virtual environment of its own, made from `requirements/halmos.lock`.
"""

from __future__ import annotations

import platform

import pytest

from tests.contract.test_contracts_forge import ROOT, load


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="no forge for this platform")
def test_every_property_is_proved() -> None:
    assert load(ROOT / "contracts" / "script" / "halmos.py").main(["--check"]) == 0


def test_the_record_names_every_property_in_the_sources() -> None:
    halmos = load(ROOT / "contracts" / "script" / "halmos.py")
    said, found = halmos.promises(), halmos.recorded()
    assert len(said) >= 9
    assert {row.name for row in found} == set(said)
    assert all(row.proved for row in found)
    assert halmos.RECORD.read_text("utf-8") == halmos.render(found)
