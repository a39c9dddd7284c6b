"""Running a history's inferences again, each in a sandboxed child, and comparing bit for bit (format.md 13; DESIGN:
`--reinfer`).

Steps for each inference: (1) its package is here and may be run; (2) its input is here and is the one committed to;
(3) a child of its package, resolver and thread count runs it; (4) the outputs open the output commitment: matched;
else (5) it is a mismatch only where equal outputs are owed (:func:`edgeseal.runtime.exactness`), and skipped with
the difference named elsewhere.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edgeseal import cbor, commitment
from edgeseal.bundle import Bundle
from edgeseal.commitment import Opening
from edgeseal.errors import EvidenceError, FormatError
from edgeseal.record import Header, body_hash, decode_body
from edgeseal.runtime import exactness, parse_runtime
from edgeseal.segment import item_from_list
from edgeseal.verify import Reexecution
from edgeseal_console.investigate import sandbox

ANSWER_S: Final = 120.0
"""Seconds a child may take for one answer, loading included; then it is killed."""
MAX_CHILDREN: Final = 4
MAX_MISMATCHES: Final = 200
MAX_THREADS: Final = 8

_RESOLVERS: Final = frozenset({"auto", "builtin", "reference"})


class Skip(Exception):
    """Why one inference cannot be run again or compared: a reason code and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Child:
    """One sandboxed process with one loaded package. Not thread-safe. ``close`` ends it."""

    def __init__(self, files: dict[str, bytes], threads: int, resolver: str) -> None:
        """Start it and load the package. Raises Skip where the child cannot or may not load it."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "edgeseal_console.investigate.sandbox"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/", close_fds=True,
        )  # fmt: skip
        try:
            hello = self.ask({"files": files, "threads": threads, "resolver": resolver})
            self.runtime = parse_runtime(hello.get("runtime"))
            self.file, self.isolated = hello.get("file"), hello.get("isolated") is True
            self.arithmetic: Any = "integer" if hello.get("arithmetic") == "integer" else "float"
        except (Skip, FormatError) as error:
            self.close()
            raise (
                error
                if isinstance(error, Skip)
                else Skip("sandbox_failed", "the sandboxed process gave no sensible answer")
            ) from error

    def ask(self, message: Any) -> dict[str, Any]:
        """Return the child's answer. Raises Skip for its errors, for silence, and for its death."""
        assert self._process.stdin and self._process.stdout
        timer = threading.Timer(ANSWER_S, self._process.kill)
        timer.start()
        try:
            sandbox.send(self._process.stdin, message)
            answer = sandbox.receive(self._process.stdout)
        except (OSError, EOFError, FormatError) as error:
            raise Skip("sandbox_failed", "the sandboxed process died, or took too long") from error
        finally:
            timer.cancel()
        if type(answer) is not dict:
            raise Skip("sandbox_failed", "the sandboxed process gave no sensible answer")
        if "error" in answer:
            raise Skip("not_runnable", f"{answer['error']}: {answer.get('detail', '')}"[:400])
        return answer

    def close(self) -> None:
        """Kill the child and wait for its end. May be called twice."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    continue  # what was still buffered for a dead child
        self._process.wait()


@dataclass
class Reinfer:
    """One run over a bundle's logs. ``allowed`` are the packages that may run; None allows any."""

    bundle: Bundle
    allowed: Collection[bytes] | None
    say: Callable[[str], None]
    _children: dict[Any, Child] = field(default_factory=dict)
    _refused: dict[Any, Skip] = field(default_factory=dict)

    def run(self, log: bytes) -> Reexecution:
        """Run every inference of one log again; return what came of it. Raises what Bundle raises."""
        matched = 0
        mismatched: list[tuple[int, str]] = []
        skipped: dict[str, tuple[int, str]] = {}
        environment: set[str] = set()
        openings = _Openings(self.bundle.openings(log))
        for seq, fields in inferences(self.bundle, log):
            try:
                detail, where = self._one(seq, fields, openings.at(seq))
                environment.add(where)
                if detail is None:
                    matched += 1
                elif len(mismatched) < MAX_MISMATCHES:
                    mismatched.append((seq, detail))
            except Skip as skip:
                count, first = skipped.get(skip.reason, (0, skip.detail))
                skipped[skip.reason] = (count + 1, first)
            done = matched + len(mismatched)
            if done and done % 250 == 0:
                self.say(f"{done} inferences run again")
        return Reexecution(matched, tuple(mismatched), skipped, "; ".join(sorted(environment)))

    def close(self) -> None:
        """End every child."""
        for child in self._children.values():
            child.close()
        self._children.clear()

    def _one(self, seq: int, fields: dict[str, Any], openings: dict[str, Opening]) -> tuple[str | None, str]:
        """Return (None, environment) for a match, (what differs, environment) for a mismatch that counts."""
        # (1), (3)
        raw = self._input(fields, openings)
        output = openings.get("output")
        if output is None:
            raise Skip("output_not_opened", "the salt of the output commitment is not in the bundle")
        child = self._child(fields)
        # (4)
        answer = child.ask(raw)
        outputs = answer.get("outputs")
        if type(outputs) is not list or any(type(part) is not bytes for part in outputs):
            raise Skip("sandbox_failed", "the sandboxed process gave no sensible answer")
        runtime = child.runtime
        shut = "no network" if child.isolated else "network not shut off by this kernel"
        where = f"{runtime.family} {runtime.version}, {runtime.delegate}, {runtime.resolver}, {runtime.arch}, {shut}"
        if _opens("output", fields["output"], output.salt, cbor.encode(outputs)):
            return None, where
        # (5)
        owed = exactness(parse_runtime(fields["rt"]), runtime, child.arithmetic)
        if not owed.owed:
            raise Skip("environment_differs", "; ".join(owed.differences))
        tensor, tensors = openings.get("tensor"), answer.get("tensors")
        if tensor is not None and not _opens("tensor", fields["tensor"], tensor.salt, cbor.encode(tensors)):
            raise Skip("tensor_differs", "the input becomes another tensor here than the one committed to")
        return f"inference {seq}: running it again gives another output than the one committed to", where

    def _input(self, fields: dict[str, Any], openings: dict[str, Opening]) -> bytes:
        # (2)
        opening = openings.get("input")
        if opening is None:
            raise Skip("input_not_retained", "the input's opening is not in the bundle")
        try:
            raw = opening.data if opening.file is None else self.bundle.input(opening.file)
        except FormatError as error:
            raise Skip(error.code, error.message) from error
        if raw is None:
            raise Skip("input_not_retained", "the input itself is not in the bundle")
        if not _opens("input", fields["input"], opening.salt, raw):
            raise Skip("commitment_mismatch", "the input in the bundle is not the one committed to")
        return raw

    def _child(self, fields: dict[str, Any]) -> Child:
        package = fields["model"]
        if self.allowed is not None and package not in self.allowed:
            raise Skip(
                "package_not_trusted",
                "no operator's command activated the package and the trust file does not name it: "
                "--run-untrusted runs it all the same",
            )
        resolver, threads = fields["rt"][3], max(1, min(fields["rt"][4], MAX_THREADS))
        key = (package, resolver, threads)
        if key in self._refused:
            raise self._refused[key]
        if key not in self._children:
            try:
                self._children[key] = self._started(package, resolver, threads)
            except Skip as skip:
                self._refused[key] = skip
                raise
        child = self._children[key]
        if child.file != fields["file"]:
            raise Skip("model_file_mismatch", "the package's model file is not the one the inference names")
        return child

    def _started(self, package: bytes, resolver: str, threads: int) -> Child:
        from edgeseal.model import package_digest

        files = self.bundle.package(package)
        if not files:
            raise Skip("package_missing", "the model package is not in the bundle")
        try:
            found = package_digest(files)
        except EvidenceError as error:
            raise Skip(error.code, error.message) from error
        if found != package:
            raise Skip("package_mismatch", "the files in the bundle make another package")
        if resolver not in _RESOLVERS:
            raise Skip("environment_differs", f"the recorded resolver {resolver!r} is not known here")
        while len(self._children) >= MAX_CHILDREN:
            self._children.pop(next(iter(self._children))).close()
        return Child(files, threads, resolver)


class _Openings:
    """Openings in the order of records, read as the records are: one record's at a time."""

    def __init__(self, openings: Iterator[Opening]) -> None:
        self._openings = openings
        self._next: Opening | None = next(openings, None)

    def at(self, seq: int) -> dict[str, Opening]:
        """Return the openings of one record by field; records are asked for in rising order."""
        found: dict[str, Opening] = {}
        while self._next is not None and self._next.seq <= seq:
            if self._next.seq == seq:
                found[self._next.field] = self._next
            self._next = next(self._openings, None)
        return found


def inferences(bundle: Bundle, log: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (seq, body) of each whole, well-formed inference record. Raises what Bundle raises."""
    for start, items in bundle.records(log):
        for seq, item in enumerate(items, start):
            try:
                read = item_from_list(item)
                if read.header is None or read.body is None:
                    continue
                header = Header.decode(read.header)
                if header.kind == "inference" and body_hash(read.body) == header.body:
                    yield seq, decode_body("inference", read.body)
            except EvidenceError:
                continue  # integrity says what is wrong with it


def _opens(name: str, committed: Any, salt: bytes, data: bytes) -> bool:
    try:
        commitment.verify(name, committed, salt, data)
    except EvidenceError:
        return False
    return True
