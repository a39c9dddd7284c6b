"""What nobody foresaw, in any thread of the agent: it is named, and the agent does not go on without that thread."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeseal.errors import InvariantBroken
from edgeseal.record import decode_body
from edgeseal_agent import feeding, watching
from edgeseal_agent.attestwatch import AttestWatch

from .conftest import Bench
from .loop import Agent, wait
from .test_commands import send
from .test_intake import make, names


class Defect(Exception):
    """Something that no handler knows."""


def defect(*_: Any, **__: Any) -> Any:
    raise Defect("never thought of")


def raised(**parts: Any) -> str:
    """Return what the loop of the agent makes of its parts."""
    none: dict[str, Any] = dict.fromkeys(("journal", "uplink", "commands", "intake", "model_failure"))
    found = SimpleNamespace(**(none | {"sealer": SimpleNamespace(failure=None)} | parts))
    with pytest.raises(InvariantBroken) as caught:
        watching.raise_failures(found)  # type: ignore[arg-type]
    return f"{caught.value.code}: {caught.value.message}"


SAID = "agent_defect: Defect: never thought of"


def test_of_the_intake(bench: Bench, tmp_path: Path) -> None:
    intake, engine = make(bench, tmp_path)
    engine.run = defect  # type: ignore[method-assign]
    engine.ready.set()
    (tmp_path / "in" / "a").write_bytes(b"good")
    intake.start()
    wait(lambda: intake.failure is not None)
    intake.stop()
    assert raised(intake=intake) == SAID and names(tmp_path / "in") == ["a"]


def test_an_input_that_memory_does_not_hold_is_a_fault(bench: Bench, tmp_path: Path) -> None:
    intake, engine = make(bench, tmp_path)

    def run(raw: Any, submit: Any) -> Any:
        raise MemoryError

    engine.run = run  # type: ignore[method-assign]
    engine.ready.set()
    (tmp_path / "in" / "a").write_bytes(b"good")
    intake.start()
    wait(lambda: intake.settled == 1)
    intake.stop()
    assert intake.failure is None and names(tmp_path / "failed") == ["a"]
    ((body,),) = bench.rows("SELECT body FROM records WHERE kind = 'fault'")
    assert "input_too_large" in decode_body("fault", body)["detail"]


def test_of_the_commands_and_the_uplink(bench: Bench) -> None:
    bench.fleet.enrol(bench.request)
    agent = Agent(bench, {"ping": defect})
    agent.start()
    send(agent)
    wait(lambda: agent.commands.failure is not None)
    assert raised(commands=agent.commands) == SAID
    agent.uplink._events.put(defect)
    wait(lambda: agent.uplink.failure is not None)
    assert raised(uplink=agent.uplink) == SAID
    agent.stop()


def test_of_the_sealer(bench: Bench) -> None:
    bench.sealer._signer = SimpleNamespace(sign=defect, public_key=bench.signer.public_key)
    for _ in range(bench.head_every):
        bench.journal.append("state", {"name": "x", "pub": {}})
    wait(lambda: bench.sealer.failure is not None)
    assert raised(sealer=bench.sealer) == SAID


def test_of_loading_the_model() -> None:
    activation, commands = SimpleNamespace(start_up=defect), SimpleNamespace()
    parts: Any = SimpleNamespace(activation=activation, commands=commands, loaded=threading.Event())
    feeding.load(parts)
    assert parts.loaded.is_set() and raised(model_failure=parts.model_failure) == SAID


def test_a_tool_of_the_tpm_that_cannot_be_run_ends_nothing(bench: Bench) -> None:
    def quote(qualifier: bytes) -> Any:
        raise FileNotFoundError(2, "No such file or directory", "tpm2_quote")

    config: Any = SimpleNamespace(counter=None, attest_s=1)
    watch = AttestWatch(config, bench.store, bench.journal, bench.identity.log, SimpleNamespace(quote=quote))
    assert watch._step() == 1
    bench.journal.append("state", {"name": "x", "pub": {}})
    ((body,),) = bench.rows("SELECT body FROM records WHERE kind = 'fault'")
    assert "tpm2_quote" in decode_body("fault", body)["detail"]
