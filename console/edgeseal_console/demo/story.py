"""The demo's story: what happens, in order, with what it shows. The parts are put together by ``fleet``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from types import FrameType
from typing import Any, Final

from edgeseal import cbor, limits
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal_console.demo.chapters import CHAPTERS, OPENING
from edgeseal_console.demo.fleet import BIN, GROUP, Device, Fleet
from edgeseal_console.demo.parts import CHECKOUT

MODEL: Final = CHECKOUT / "models" / "digits"
DEVICES: Final = ("camera-a", "camera-b")
HEARTBEAT: Final = "seal: {heartbeat_s: 300}"
"""Rare enough that nothing is anchored between collecting and asking the chain, which would leave questions open."""
MAX_LOG_COPY: Final = 16 * 1024 * 1024


class Narrator:
    """Prints the story: numbered chapters, what is done, and the command lines that do it."""

    def __init__(self) -> None:
        self._chapter = 0
        self._start = time.monotonic()
        self._bold = sys.stdout.isatty()

    def chapter(self) -> None:
        """Begin the next chapter: its title, and what it is about."""
        title, about = CHAPTERS[self._chapter]
        self._chapter += 1
        text = f"[{self._chapter}/{len(CHAPTERS)}] {title}"
        print(f"\n\033[1m{text}\033[0m" if self._bold else f"\n{text}", flush=True)
        print(fill(about, 100, initial_indent="  ", subsequent_indent="  "), flush=True)

    def say(self, text: str) -> None:
        """Say one thing that happens or holds."""
        print(f"  {text}", flush=True)

    def show(self, line: str) -> None:
        """Show a command line as it is run."""
        shown = line.replace(str(Path.cwd()) + "/", "")
        print(f"    $ {shown}", flush=True)

    def quote(self, text: str) -> None:
        """Print a program's own words."""
        for line in text.rstrip().splitlines():
            print(f"    | {line}", flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._start


def tell(out: Path, *, inferences: int, keep: bool, rpc: str | None, account_key: Path | None) -> int:
    """Tell the whole story; return 0 when everything held that should, 2 when something did not.

    Everything started is stopped on every way out, Ctrl-C and SIGTERM included. What the programs logged stays in
    ``out``/work on failure.
    """
    if inferences < 500:
        raise UsageError("usage", "the demo shows at least 500 inferences", "use --inferences 500 or more")
    if rpc and not account_key:
        raise UsageError("usage", "with --rpc an account with funds is needed", "add --account-key FILE")
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it otherwise
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        work = out.resolve() / "work"
        shutil.rmtree(work, ignore_errors=True)
        narrator = Narrator()
        print(OPENING, flush=True)
        try:
            with Fleet(work, narrator.say, rpc=rpc, account_key=account_key, show=narrator.show) as fleet:
                summary = _Demo(fleet, narrator, out.resolve(), inferences).tell()
                if keep:
                    _keep(fleet, narrator, out)
        except (KeyboardInterrupt, EdgesealError):
            shown = Path(os.path.relpath(work))
            print(f"\nstopped before the end; nothing of it runs any more. State and logs: {shown}", flush=True)
            raise
        _close(out, work, summary, narrator)
    return 0 if summary["ok"] else 2


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other demos out of ``out``: they would clear away what this one runs on. Raises UsageError
    ``demo_running``.
    """
    with (out / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                "demo_running", f"another demo runs in {out}", "stop it, or choose another folder with --out"
            ) from None
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Demo:
    def __init__(self, fleet: Fleet, narrator: Narrator, out: Path, inferences: int) -> None:
        self.fleet = fleet
        self.narrator = narrator
        self.out = out
        self.inferences = inferences
        self.summary: dict[str, Any] = {"schema": "edgeseal-demo/1", "inferences": inferences}

    def tell(self) -> dict[str, Any]:
        """Go through the chapters."""
        narrator, fleet = self.narrator, self.fleet
        narrator.chapter()
        fleet.start_parts()
        narrator.chapter()
        fleet.make_operator()
        fleet.make_gateway()
        fleet.start_gateway()
        narrator.say(f"gateway page: http://127.0.0.1:{fleet.api_port}/")
        narrator.chapter()
        devices = [fleet.add_device(name, extra=HEARTBEAT, prove=True) for name in DEVICES]
        for device in devices:
            device.program.start()
        narrator.chapter()
        self._activate()
        narrator.chapter()
        self._infer(devices)
        narrator.chapter()
        self._collect(devices)
        narrator.chapter()
        self._verify()
        narrator.chapter()
        self._replay()
        narrator.chapter()
        self._tamper()
        self.summary["ok"] = all(self.summary[name] for name in ("verified_offline", "reexecuted", "tamper_found"))
        return self.summary

    def _activate(self) -> None:
        fleet = self.fleet
        fleet.run("edgeseal", "model", "publish", "--home", fleet.home, MODEL / "package")
        done = fleet.run_json(
            "edgeseal", "command", "send", "--home", fleet.home, "--group", GROUP, "--wait", "120",
            "model.activate", "--package", MODEL / "package",
        )  # fmt: skip
        states = {result["log"]: result["state"] for result in done["results"]}
        if len(states) != len(fleet.devices) or set(states.values()) != {"done"}:
            raise Unavailable("not_in_time", f"model.activate was not carried out everywhere: {states}")
        for device in fleet.devices:
            self.narrator.say(
                f"{device.name} checked the command, recorded it, fetched the package, ran its golden vectors"
            )
        self.summary["command"] = done["digest"]

    def _infer(self, devices: list[Device]) -> None:
        images = self._images()
        for device in devices:
            self.fleet.wait_told(device)
        self.narrator.say("both devices know of an anchored block: their heads name it, so they are younger than it")
        share = self.inferences // len(devices)
        counts = [share] * (len(devices) - 1) + [self.inferences - share * (len(devices) - 1)]
        for device, count in zip(devices, counts, strict=True):
            files = [images[number % len(images)] for number in range(count)]
            self.fleet.drop_inputs(device, files, "digit")
        for device, count in zip(devices, counts, strict=True):
            self._wait_done(device, count)
        self.fleet.run(
            "edgeseal", "command", "send", "--home", self.fleet.home, "--group", GROUP, "--wait", "60", "ping",
            ok=(0, 3),  # a machine that is busy may take longer: the anchor is waited for below
        )  # fmt: skip
        for device in devices:
            size = self.fleet.head_size(device)
            self.narrator.say(
                f"{device.name}: {size} records under its newest head; waiting for the anchor to be final"
            )
            self.fleet.wait_anchored(device, size)
        with self.fleet.api() as api:
            status = api.get("/v1/status")
        self.summary["status"] = status
        self.narrator.say("every record of both devices is under a fleet head that the contract holds")

    def _wait_done(self, device: Device, count: int) -> None:
        shown = -1

        def finished() -> bool:
            nonlocal shown
            done = sum(1 for _ in device.done.iterdir()) if device.done.is_dir() else 0
            if done * 4 // count != shown:
                shown = done * 4 // count
                self.narrator.say(f"{device.name}: {done} of {count} inferences recorded")
            return done >= count

        self.fleet.wait(f"{count} inferences on {device.name}", finished, seconds=300)

    def _images(self) -> list[Path]:
        folder = self.fleet.folder / "held-out"
        folder.mkdir()
        with zipfile.ZipFile(MODEL / "held-out.zip") as archive:
            archive.extractall(folder)
        return sorted(folder.glob("*.png"))

    def _collect(self, devices: list[Device]) -> None:
        fleet, exports = self.fleet, []
        for device in devices:
            export = fleet.folder / f"{device.name}-export.zip"
            fleet.run("edgeseal-agent", "export", "--config", device.config, "--out", export)
            exports += ["--device", str(export)]
        self.bundle = self.out / "bundle.zip"
        self.bundle.unlink(missing_ok=True)
        fleet.run(
            "edgeseal", "collect", "--home", fleet.home, *exports, "--anchored", "--out", self.bundle
        )  # fmt: skip
        self.trust = self.out / "trust.yaml"
        blocks = [word for block in fleet.anchor_blocks() for word in ("--block", block)]
        fleet.run("edgeseal", "trust", "--home", fleet.home, *blocks, "--endpoint", fleet.rpc, "--out", self.trust)
        self.narrator.say(
            f"bundle: {self.bundle.stat().st_size:,} bytes; trust file: what a stranger is told to believe,"
        )
        self.narrator.say(
            "that is the tenant root key, the contracts and the hashes of the blocks, read from the node itself"
        )

    def _verify(self) -> None:
        self.narrator.say("offline: no network, no gateway, no agent; the bundle and the trust file only")
        offline = self._questions("verify", self.bundle, "--trust", self.trust)
        self.summary["offline"] = offline
        self.summary["verified_offline"] = not any(answer["answer"] == "failed" for answer in offline.values())
        self.narrator.say("with the RPC endpoint that the trust file names:")
        online = self._questions("verify", self.bundle, "--trust", self.trust, "--rpc", self.fleet.rpc)
        self.summary["online"] = online
        self.summary["verified_offline"] &= not any(answer["answer"] == "failed" for answer in online.values())
        report = self.out / "report.html"
        report.unlink(missing_ok=True)
        self.fleet.run(
            "edgeseal", "report", self.bundle, "--trust", self.trust, "--out", report, ok=(0, 2, 3)
        )  # fmt: skip

    def _questions(self, *words: str | Path) -> dict[str, dict[str, Any]]:
        verdict = self.fleet.run_json("edgeseal", *words, ok=(0, 2, 3))
        questions: dict[str, dict[str, Any]] = verdict["questions"]
        for name, answer in questions.items():
            grounds = (
                f"{answer['ground']}{' by ' + answer['by'] if answer.get('by') else ''}" if "ground" in answer else ""
            )
            why = grounds or f"{answer['reason']}: {answer['detail']}"
            self.narrator.quote(f"{name:<20} {answer['answer']:<13} {why}")
        return questions

    def _replay(self) -> None:
        verdict = self.fleet.run_json(
            "edgeseal", "replay", self.bundle, "--trust", self.trust, "--reinfer", ok=(0, 2, 3)
        )  # fmt: skip
        answer = verdict["questions"]["reexecution"]
        self.summary["reexecution"] = answer
        self.summary["reexecuted"] = answer["answer"] == "ok"
        for device in verdict["devices"]:
            one = device["questions"]["reexecution"]
            self.narrator.quote(f"{device['log'][:16]}…  {one['answer']:<13} {one['detail']}")

    def _tamper(self) -> None:
        copy = self.out / "tampered.zip"
        place = flip_one_byte(self.bundle, copy)
        self.narrator.say(f"one bit of record {place[1]} of log {place[0][:16]}… changed in {copy.name}")
        verdict = self.fleet.run_json("edgeseal", "verify", copy, "--trust", self.trust, ok=(2,))
        hits = [f for f in verdict["failures"] if f["log"] == place[0] and f["seq"] == place[1]]
        self.summary["tamper_found"] = bool(hits)
        self.summary["tampered"] = {"log": place[0], "seq": place[1], "failures": verdict["failures"][:10]}
        for failure in hits[:1]:
            self.narrator.quote(
                f"{failure['question']} failed at record {failure['seq']} of log {failure['log'][:16]}…: "
                f"{failure['reason']}; {failure['detail']}"
            )


def flip_one_byte(bundle: Path, copy: Path) -> tuple[str, int]:
    """Write a copy of ``bundle`` with one bit of one record's body flipped; return (log id hex, seq) of that record."""
    place: tuple[str, int] | None = None
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            data = source.read(entry)
            if place is None and entry.filename.startswith("records/"):
                fields = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=2**24)
                chosen = len(fields["items"]) // 2
                body = bytearray(fields["items"][chosen][2])
                body[-1] ^= 1
                fields["items"][chosen][2] = bytes(body)
                data = cbor.encode(fields)
                place = (fields["log"].hex(), fields["from"] + chosen)
            target.writestr(entry.filename, data)
    if place is None:
        raise UsageError("bundle_missing", "the bundle holds no records")
    return place


def _keep(fleet: Fleet, narrator: Narrator, out: Path) -> None:
    home, config, run = fleet.home, fleet.devices[0].config, os.path.relpath(BIN / "edgeseal")
    print(
        f"""
Everything keeps running until Ctrl-C. (That also clears {fleet.folder} away.) Try, in another terminal:
  {run} identity list --home {home}
  {run} command send --home {home} --device {fleet.devices[0].name} --wait 30 ping --text hello
  {run} command list --home {home}
  {run}-agent status --config {config}
  {run}-gateway status --config {fleet.gateway.config}
  cp {fleet.folder}/held-out/0*.png {fleet.devices[0].inbox}/        more inferences (digits, 8×8)
  {run} inspect {out}/bundle.zip
  and the gateway's page: http://127.0.0.1:{fleet.api_port}/""",
        flush=True,
    )
    try:
        while True:
            time.sleep(1)
            for part in (*(device.program for device in fleet.devices), fleet.gateway):
                if part.pid() is None:
                    narrator.say(f"{part.name} has ended; its log: {part.log}")
                    return
    except KeyboardInterrupt:
        print("\nstopping everything", flush=True)


def _close(out: Path, work: Path, summary: dict[str, Any], narrator: Narrator) -> None:
    summary["seconds"] = round(narrator.seconds, 1)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    logs = out / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    for path in work.rglob("*.log"):
        if path.stat().st_size <= MAX_LOG_COPY:
            shutil.copyfile(path, logs / f"{path.parent.name}-{path.name}")
    if summary["ok"]:
        shutil.rmtree(work, ignore_errors=True)
    shown, run = os.path.relpath(out), os.path.relpath(BIN / "edgeseal")
    print(f"""
{"Everything held." if summary["ok"] else "Something did not hold: see above."} {summary["seconds"]} s.
  {shown}/bundle.zip     the evidence               {shown}/trust.yaml    what to believe it by
  {shown}/tampered.zip   the same but for one bit   {shown}/report.html   for people to read
  {shown}/summary.json   this run, for machines     {shown}/logs          what the programs said
Next, and how it exits (0 ok, 2 something failed, 3 something is not answered):
  0  {run} verify {shown}/bundle.zip --trust {shown}/trust.yaml           each question, its answer, its ground
  3  {run} verify {shown}/bundle.zip                                     without trust: what can still be said
  2  {run} verify {shown}/tampered.zip --trust {shown}/trust.yaml         what broke, and where
  0  {run} replay {shown}/bundle.zip --trust {shown}/trust.yaml | less    the devices' histories
     {run} demo --keep     the same, left running: give it orders, and a model of your own (README.md)""")
