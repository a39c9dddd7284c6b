"""The device key, in a real token, answers an operator's challenge, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgeseal.errors import UsageError
from edgeseal.possession import Challenge, Place, Possession, Proof, Rotation, encode
from edgeseal_agent import cli
from edgeseal_agent import config as configuration
from edgeseal_agent.identity import Identity, open_store
from edgeseal_agent.initialise import initialise
from edgeseal_agent.possession import prove
from tests.agentrig import AgentRig
from tests.fleetside import FleetSide, make_pack


def test_a_device_proves_that_it_holds_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = FleetSide().world
    rig = AgentRig(tmp_path / "device", make_pack(world))
    config = configuration.load(rig.config)
    initialise(config)
    known = Identity.of(open_store(config).meta())
    place = Place(31337, b"\x11" * 20, known.root.kid, b"\x33" * 32)
    asked = Possession(place, known.key.kid, "device", 0, bytes(32), b"\x55" * 32, 1_800_000_000)

    challenge, answer = tmp_path / "challenge.json", tmp_path / "proof.json"
    challenge.write_bytes(encode(asked))
    words = ["possession", "--config", str(rig.config), "--challenge", str(challenge), "--out", str(answer), "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["kid"] == known.key.kid.hex()
    proof = Proof.decode(answer.read_bytes())
    assert (proof.challenge, proof.key) == (asked, known.key)

    successor = Rotation(place, known.key.kid, b"\x99" * 32, bytes(32), b"\x55" * 32, 1_800_000_000)
    assert prove(config, encode(successor)).challenge == successor

    foreign: list[Challenge] = [
        dataclasses.replace(asked, role="gateway"), dataclasses.replace(asked, kid=b"\x99" * 32),
        dataclasses.replace(asked, place=dataclasses.replace(place, tenant=b"\x98" * 32)),
        dataclasses.replace(successor, old_kid=b"\x97" * 32),
    ]  # fmt: skip
    for one in foreign:
        with pytest.raises(UsageError) as refused:
            prove(config, encode(one))
        assert refused.value.code == "challenge_foreign"
    assert cli.main([*words[:4], str(tmp_path / "none.json")]) == 1
    assert "challenge_file" in capsys.readouterr().err
