"""``edgeseal demo`` as a user runs it, and the README's "your own model" on the fleet that it leaves running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseal.verify import QUESTIONS
from edgeseal_console.demo.fleet import BIN
from tests.e2e.documents import blocks, split
from tests.e2e.processes import alive, assert_none_left, marked, wait_for
from tests.e2e.terminal import Terminal
from tests.models.build import MODELS

KEEPS_RUNNING = "Everything keeps running until Ctrl-C."
LEFT = ("bundle.zip", "trust.yaml", "summary.json", "report.html", "tampered.zip")
INPUTS = 6


@dataclass
class Demo:
    """A demo under way in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes]
    mark: str

    @property
    def out(self) -> Path:
        return self.folder / "demo-out"

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def wait_for(self, words: str) -> None:
        """Wait until it has said ``words``; fail when it ends before."""
        wait_for(f"the demo's {words!r}", lambda: words in self.said() or self.process.poll() is not None, seconds=500)
        assert words in self.said(), f"the demo ended with {self.process.poll()}: {self.said()}"

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Interrupt it, as a terminal does: it and what it runs just now; return its exit code."""
        os.killpg(self.process.pid, how)
        return self.process.wait(120)


def start_demo(folder: Path, *words: str) -> Demo:
    mark, environment = marked()
    with open(folder / "said", "wb") as said:
        process = subprocess.Popen(
            [str(BIN / "edgeseal"), "demo", *words],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    return Demo(folder, process, mark)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that has told its story and keeps its fleet running."""
    demo = start_demo(tmp_path_factory.mktemp("kept"), "--keep", "--inferences", "500")
    try:
        demo.wait_for(KEEPS_RUNNING)
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.end()
        assert_none_left(demo.mark)


@pytest.mark.timeout(900)
def test_the_story_holds(kept: Demo) -> None:
    said = kept.said()
    assert [f"[{n}/9]" in said for n in range(1, 10)] == [True] * 9
    assert all((kept.out / name).stat().st_size > 0 for name in LEFT if name != "summary.json")
    for answers in (verify(kept, "bundle.zip", 0), verify(kept, "bundle.zip", 3, trust=False)):
        assert set(answers) == set(QUESTIONS)
        assert not [name for name, answer in answers.items() if answer["answer"] == "failed"]
    tampered = verify(kept, "tampered.zip", 2)
    assert tampered["integrity"]["answer"] == "failed"
    assert "Traceback" not in said


def verify(demo: Demo, name: str, code: int, *, trust: bool = True) -> dict[str, dict[str, str]]:
    """Return the answers of ``edgeseal verify``, which is to exit with ``code``."""
    words = ["--trust", str(demo.out / "trust.yaml")] if trust else []
    done = subprocess.run(
        [str(BIN / "edgeseal"), "verify", str(demo.out / name), *words, "--json"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    answers: dict[str, dict[str, str]] = json.loads(done.stdout)["questions"]
    return answers


@pytest.mark.timeout(600)
def test_the_readme_tour(kept: Demo) -> None:
    """The README's five minutes, on what the demo left."""
    tour = next(block for block in blocks("README.md") if "tampered.zip" in block)
    for words in split(tour):
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=kept.folder, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        open_without_trust = words[1] == "verify" and "--trust" not in words
        expected = 3 if open_without_trust else 2 if "tampered" in words[2] else 0
        assert done.returncode == expected, f"{words}: {done.stdout}{done.stderr}"
        assert done.stdout


def images_for(size: int) -> Callable[[Path], None]:
    """Return what writes images into a folder: every other one a JPEG, and not all of the model's own size."""

    def write(folder: Path) -> None:
        random = np.random.default_rng(size)
        for number in range(INPUTS):
            side = size if number % 3 else size + 17
            picture = Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8))
            picture.save(folder / f"photo-{number}.{'jpg' if number % 2 else 'png'}")

    return write


def tensors(folder: Path) -> None:
    """Write what a model of two inputs takes: a folder of .npy files for each inference."""
    random = np.random.default_rng(2)
    for number in range(INPUTS):
        one = folder / f"measured-{number}"
        one.mkdir()
        np.save(one / "0-left.npy", random.normal(size=(1, 16)).astype(np.float32))
        np.save(one / "1-right.npy", random.normal(size=(1, 1)).astype(np.float32))


OWN_MODELS = {
    "image-float32.tflite": images_for(224),
    "image-uint8.tflite": images_for(32),
    "two-inputs.tflite": tensors,
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", OWN_MODELS)
def test_the_readme_runs_a_model_of_your_own(kept: Demo, model: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(MODELS[model]())
    (tmp_path / "inputs").mkdir()
    OWN_MODELS[model](tmp_path / "inputs")
    (tmp_path / "demo-out").symlink_to(kept.out)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = kept.out / "work" / "camera-a" / "inbox.done"
    before = len(os.listdir(done))
    activate, infer, look = blocks("README.md", "own-model")
    with Terminal(tmp_path) as terminal:
        assert "done" in terminal.run(activate)
        terminal.run(infer)
        wait_for(f"{INPUTS} inferences of {model}", lambda: len(os.listdir(done)) == before + INPUTS)
        said = terminal.run(look)
    assert "reexecution" in said
    digest = package_digest(tmp_path)
    with zipfile.ZipFile(tmp_path / "mine.zip") as bundle:
        assert any(name.startswith(f"models/{digest}/") for name in bundle.namelist())


def package_digest(folder: Path) -> str:
    """Return the digest of the package that the README's block made."""
    from edgeseal.adapters.packagedir import read_package
    from edgeseal.model import parse_package

    return parse_package(read_package(folder / "my-package")).digest.hex()


def test_a_second_demo_keeps_out_of_a_folder_in_use(kept: Demo) -> None:
    second = [str(BIN / "edgeseal"), "demo", "--out", str(kept.out)]
    done = subprocess.run(second, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1 and "demo_running" in done.stderr


@pytest.mark.timeout(600)
def test_ctrl_c_ends_a_kept_demo(kept: Demo) -> None:
    """Last of the module: it stops the fleet the others use."""
    assert len(alive(kept.mark)) >= 6, "demo, broker, chain, gateway and two agents"
    assert kept.end() == 0, kept.said()
    assert_none_left(kept.mark)
    summary = json.loads((kept.out / "summary.json").read_text())
    assert summary["schema"] == "edgeseal-demo/1"
    assert summary["inferences"] == 500
    assert [summary[name] for name in ("ok", "verified_offline", "reexecuted", "tamper_found")] == [True] * 4
    for asked in ("offline", "online"):
        open_ones = {name: answer["reason"] for name, answer in summary[asked].items() if answer["answer"] != "ok"}
        assert open_ones == {"reexecution": "not_reexecuted"}
        assert all(answer["ground"] for answer in summary[asked].values() if answer["answer"] == "ok")
    assert summary["reexecution"]["answer"] == "ok"
    assert summary["tampered"]["failures"][0]["seq"] == summary["tampered"]["seq"]
    assert not (kept.out / "work").exists()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    demo = start_demo(tmp_path)
    try:
        demo.wait_for("[5/9]" if how is signal.SIGINT else "[2/9]")
        assert demo.end(how) == 130, demo.said()
        assert "Traceback" not in demo.said()
    finally:
        demo.process.kill()
        demo.process.wait()
    assert_none_left(demo.mark)
    shutil.rmtree(demo.out)
