"""The page for people: it says no more than was seen, and stays a page however large the fleet is."""

from __future__ import annotations

from typing import Any

import pytest

from edgeseal_gateway.store import devices
from edgeseal_gateway.web import answers, page
from tests.gatewaystore import Founded


def state_of(founded: Founded) -> dict[str, Any]:
    return founded.ask(answers.status, founded.profile, founded.signer.public_key.kid)


def device(number: int, **other: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": f"cam-{number}", "log": f"{number:064x}", "state": "active", "model": None, "size": 9,
        "anchored_size": 9, "assurance": "softhsm", "last_contact": 1, "refusals": {},
    }  # fmt: skip
    return found | other


def test_what_is_not_signed_yet_is_not_called_signed(founded: Founded) -> None:
    assert "all under a signed head" in page.render(state_of(founded), {"devices": [], "applicants": []}, [])
    founded.hand_in(founded.tenant.enrolment(founded.tenant.device_of("cam-1")))
    with founded.database.write() as connection:
        assert founded.sequencer._sequence(connection)
    text = page.render(state_of(founded), {"devices": [], "applicants": []}, [])
    assert "2 under a signed head" in text and "all under" not in text


@pytest.mark.parametrize(("by", "said"), [("tag", False), ("confirmations", True)])
def test_finality_by_depth_is_called_the_operators_word(founded: Founded, by: str, said: bool) -> None:
    founded.finish_anchor(2)
    state = state_of(founded)
    state["anchor"]["final_by"] = by
    text = page.render(state, {"devices": [], "applicants": []}, [])
    assert "block 7" in text and ("final by its depth" in text.replace("&#x27;", "'")) is said


def test_a_large_fleet_shows_those_to_look_at_first_and_says_so(founded: Founded) -> None:
    every = [device(number) for number in range(page.MAX_DEVICES + 300)]
    every[-1]["state"], every[-2]["refusals"] = devices.FROZEN, {"quota": 3}
    asked = [{"log": f"{number:064x}", "size": 1, "last": 1} for number in range(page.MAX_APPLICANTS + 1)]
    text = page.render(state_of(founded), {"devices": every, "applicants": asked}, [])
    assert text.count("<tr>") == page.MAX_DEVICES + page.MAX_APPLICANTS + 2
    assert text.index("cam-798<") < text.index("cam-0<") and "frozen" in text and "500 of 800" in text
    assert "100 of 101" in text


def test_what_devices_and_strangers_say_is_escaped(founded: Founded) -> None:
    bad = "<script>alert(1)</script>\"'"
    state = state_of(founded)
    state["newest_refusals"] = [{"log": bad, "code": bad, "n": 1, "at": 1, "detail": bad, "remedy": bad}]
    model = {"name": bad, "version": bad, "package": bad}
    one = device(1, name=bad, log=bad, assurance=bad, state=bad, model=model, refusals={bad: 1})
    found = {"devices": [one], "applicants": [{"log": bad, "size": 1, "last": 1}]}
    text = page.render(state, found, [{"stage": bad, "code": bad, "message": bad, "remedy": bad}])
    assert "<script" not in text and bad not in text and "alert(1)&lt;/script&gt;&quot;" in text
