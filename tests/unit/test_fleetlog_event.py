"""The Anchored event: its topic as the contract's ABI has it, its fields, and logs that are not one."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from edgeseal.errors import EvidenceError
from edgeseal.evmproof import Log, keccak256
from edgeseal.fleetlog_event import ANCHORED_SIGNATURE, ANCHORED_TOPIC, Anchored, decode_anchored

LOG_ID, ROOT, KID = (bytes([n]) * 32 for n in (1, 2, 3))


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def event(size: int = 7, previous: int = 90, topics: tuple[bytes, ...] = (ANCHORED_TOPIC, LOG_ID)) -> Log:
    return Log(bytes(20), topics, word(size) + ROOT + KID + word(previous))


def test_the_topic_is_the_one_of_the_contract() -> None:
    artefact = json.loads(files("edgeseal").joinpath("contracts/FleetLog.json").read_text("utf-8"))
    (entry,) = (item for item in artefact["abi"] if item["type"] == "event" and item["name"] == "Anchored")
    signature = f"Anchored({','.join(argument['type'] for argument in entry['inputs'])})"
    assert [argument["indexed"] for argument in entry["inputs"]] == [True, False, False, False, False]
    assert signature == ANCHORED_SIGNATURE
    assert keccak256(signature.encode()) == ANCHORED_TOPIC


def test_fields() -> None:
    largest = (1 << 64) - 1
    assert decode_anchored(event()) == Anchored(LOG_ID, 7, ROOT, KID, 90)
    assert decode_anchored(event(largest, largest)) == Anchored(LOG_ID, largest, ROOT, KID, largest)


@pytest.mark.parametrize(
    ("log", "code"),
    [
        (event(topics=()), "event_other"),
        (event(topics=(LOG_ID, LOG_ID)), "event_other"),
        (event(topics=(ANCHORED_TOPIC,)), "event_topics"),
        (event(topics=(ANCHORED_TOPIC, LOG_ID, LOG_ID)), "event_topics"),
        (Log(bytes(20), (ANCHORED_TOPIC, LOG_ID), event().data[:-1]), "event_data_size"),
        (Log(bytes(20), (ANCHORED_TOPIC, LOG_ID), event().data + bytes(32)), "event_data_size"),
        (event(size=1 << 64), "event_integer"),
        (event(previous=1 << 64), "event_integer"),
    ],
)
def test_what_is_no_such_event(log: Log, code: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        decode_anchored(log)
    assert caught.value.code == code
