"""Re-execution of real inferences of the digits model, in the real sandboxed child."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgeseal import cbor, model, trust
from edgeseal.adapters.packagedir import read_package
from edgeseal.adapters.tensors import load_inputs
from edgeseal.adapters.tflite import TfliteRunner
from edgeseal.commitment import Opening, commit
from edgeseal_console.investigate import reinfer
from edgeseal_console.investigate.replay import reexecute
from edgeseal_console.investigate.verify import judge
from tests.world import Device, World

DIGITS = Path(__file__).parents[2] / "models" / "digits"


@pytest.fixture(scope="module")
def package() -> model.ModelPackage:
    return model.parse_package(read_package(DIGITS / "package"))


@pytest.fixture(scope="module")
def runner(package: model.ModelPackage) -> TfliteRunner:
    return TfliteRunner(package.model)


def images(count: int) -> list[bytes]:
    with zipfile.ZipFile(DIGITS / "held-out.zip") as archive:
        return [archive.read(name) for name in archive.namelist()[:count]]


def record(device: Device, package: model.ModelPackage, runner: TfliteRunner, raw: bytes, **changes: Any) -> int:
    """Append one real inference, with its openings and its input; ``changes`` replace fields of the body."""
    seq = device.size
    tensors = load_inputs(package.manifest, [raw])
    data = {"input": raw, "tensor": cbor.encode(list(tensors)), "output": cbor.encode(list(runner.run(tensors)))}
    data |= changes.pop("data", {})
    salts = {name: sha256(b"%d" % seq + name.encode()).digest() for name in data}
    device.inputs[sha256(raw).digest()] = raw
    device.openings += [
        Opening(device.log, seq, "input", salts["input"], file=sha256(raw).digest()),
        *(Opening(device.log, seq, name, salts[name], data=data[name]) for name in ("tensor", "output")),
    ]
    fields: dict[str, Any] = {
        "model": package.digest, "file": package.model_digest, "rt": runner.info.to_list(), "pub": {}, "us": 1,
        "config": bytes(32), "build": "1", **{name: commit(name, data[name], salts[name]) for name in data},
    }  # fmt: skip
    return device.add("inference", **{**fields, **changes})


def started(package: model.ModelPackage, by_command: bool = True) -> tuple[World, Device]:
    world = World()
    device = world.device("cam-1")
    if by_command:
        sent = world.send(device, "model.activate", {"model": package.digest})
        device.add("command.received", id=sent.command.id, cmd=sent.raw, receipt=sent.receipt)
        device.openings.append(Opening(device.log, device.size - 1, "args", sent.salt, data=sent.args))
        device.activate(package.digest, package.model_digest, cmd=sent.digest)
        device.add("command.result", id=sent.command.id, cmd=sent.digest, ok=True, reason=None, result=None, pub={})
    else:
        device.activate(package.digest, package.model_digest)
    return world, device


def finished(world: World, device: Device, package: model.ModelPackage, folder: Path) -> tuple[Path, trust.Trust]:
    device.seal()
    world.deliver(device)
    world.anchor()
    path = folder / "case.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in world.files(packages={package.digest: dict(package.files)}).items():
            archive.writestr(name, data)
    return path, world.trust()


def outcome(path: Path, trusted: trust.Trust | None, untrusted: bool = False) -> Any:
    done = reexecute(path, trusted, untrusted, lambda text: None)
    return judge(path, trusted, ask=("reexecution",), reexecuted=done).questions["reexecution"]


def test_every_inference_gives_its_output_again(package: Any, runner: Any, tmp_path: Path) -> None:
    world, device = started(package)
    for raw in images(20):
        record(device, package, runner, raw)
    path, trusted = finished(world, device, package, tmp_path)
    found = outcome(path, trusted)
    assert (found.answer, found.ground) == ("ok", "PROVED"), found.detail
    assert "20 inferences" in found.detail and runner.info.family in found.detail


def test_an_output_the_model_never_gave_fails(package: Any, runner: Any, tmp_path: Path) -> None:
    world, device = started(package)
    first, second = images(2)
    record(device, package, runner, first)
    place = record(device, package, runner, second, data={"output": cbor.encode([bytes(10)])})
    path, trusted = finished(world, device, package, tmp_path)
    done = reexecute(path, trusted, False, lambda text: None)
    verdict = judge(path, trusted, ask=("reexecution",), reexecuted=done)
    assert verdict.exit_code == 2 and verdict.failures[0][1].seq == place
    assert verdict.questions["reexecution"].reason == "output_mismatch"


def test_another_environment_owes_nothing_and_is_named(package: Any, runner: Any, tmp_path: Path) -> None:
    world, device = started(package)
    elsewhere = [*runner.info.to_list()]
    elsewhere[0] = "tflite-runtime"
    record(device, package, runner, images(1)[0], rt=elsewhere, data={"output": cbor.encode([bytes(10)])})
    found = outcome(*finished(world, device, package, tmp_path))
    assert (found.answer, found.reason) == ("not_answered", "environment_differs")
    assert "tflite-runtime" in found.detail


def test_a_model_that_no_operator_activated_is_not_run(package: Any, runner: Any, tmp_path: Path) -> None:
    world, device = started(package, by_command=False)
    record(device, package, runner, images(1)[0])
    path, trusted = finished(world, device, package, tmp_path)
    assert outcome(path, trusted).reason == "package_not_trusted"
    assert outcome(path, None).reason == "package_not_trusted"
    assert outcome(path, None, untrusted=True).answer == "ok"
    named = trust.Trust(trusted.tenant_root, trusted.fleet_log, trusted.chain, publishers=frozenset({package.digest}))
    assert outcome(path, named).answer == "ok"


def test_an_input_that_is_gone_is_said_to_be(package: Any, runner: Any, tmp_path: Path) -> None:
    world, device = started(package)
    first, second = images(2)
    record(device, package, runner, first)
    record(device, package, runner, second)
    del device.inputs[sha256(second).digest()]
    found = outcome(*finished(world, device, package, tmp_path))
    assert (found.answer, found.reason) == ("not_answered", "input_not_retained")


def test_a_package_that_was_changed_is_not_run(package: Any, runner: Any, tmp_path: Path) -> None:
    world, device = started(package)
    record(device, package, runner, images(1)[0])
    changed = dict(package.files)
    changed["labels.txt"] = b"a\nb\n"
    path, trusted = finished(world, device, model.ModelPackage(**{**_fields(package), "files": changed}), tmp_path)
    assert outcome(path, trusted).reason == "package_mismatch"


def _fields(package: model.ModelPackage) -> dict[str, Any]:
    return {name: getattr(package, name) for name in package.__dataclass_fields__}


def test_the_child_has_no_network_and_writes_nothing(package: Any, tmp_path: Path) -> None:
    child = reinfer.Child(dict(package.files), 1, "auto")
    try:
        limits = Path(f"/proc/{child._process.pid}/limits").read_text()
        routes = Path(f"/proc/{child._process.pid}/net/dev").read_text()
        assert "Max file size             0                    0" in limits
        assert "NoNewPrivs:\t1" in Path(f"/proc/{child._process.pid}/status").read_text()
        if child.isolated:
            assert {line.split(":")[0].strip() for line in routes.splitlines()[2:]} <= {"lo"}
    finally:
        child.close()


def test_a_child_that_dies_is_a_reason_and_no_crash(package: Any) -> None:
    child = reinfer.Child(dict(package.files), 1, "auto")
    child._process.kill()
    child._process.wait()
    with pytest.raises(reinfer.Skip) as caught:
        child.ask(b"x")
    assert caught.value.reason == "sandbox_failed"
    child.close()
