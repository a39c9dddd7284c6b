"""``python -m benchmarks.checker FOLDER QUESTION,…|all|bare``: one pass over a million records, alone in a process.

Prints one JSON object: CPU seconds of the pass, the process's peak memory in MB, what came out. ``bare`` is the loop
that verifying is measured against: the leaf hashes of the headers, which lie in memory, and the root over them.
"""

from __future__ import annotations

import json
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import memory_mb
from edgeseal.bundle import Bundle
from edgeseal.trust import parse
from edgeseal.verify import QUESTIONS, verify
from edgeseal_console.investigate.opening import FolderSource

HEADERS: Final = "headers.bin"
"""Headers one after another, each after its length in two bytes."""
BUNDLE: Final = "bundle"
TRUST: Final = "trust.yaml"
ALL: Final = "all"
BARE: Final = "bare"


def main() -> int:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    found = bare(folder) if what == BARE else checked(folder, what)
    print(json.dumps({**found, "peak_mb": memory_mb("self", "VmHWM")}))
    return 0


def checked(folder: Path, what: str) -> dict[str, Any]:
    """Verify the bundle in ``folder``: open it, read it, judge it."""
    asked = QUESTIONS if what == ALL else tuple(what.split(","))
    started = time.process_time()
    told = parse((folder / TRUST).read_bytes())
    verdict = verify(Bundle(FolderSource(folder / BUNDLE)), told, ask=asked)
    used = time.process_time() - started
    states: dict[str, list[str]] = {}
    for question, answer in verdict.questions.items():
        states.setdefault(answer.answer, []).append(question)
    return {"cpu_s": used, "records": verdict.records, "heads": verdict.heads, "states": states}


def bare(folder: Path) -> dict[str, Any]:
    """Hash every header and fold the hashes to one root, as plainly as Python can."""
    data, headers, at = (folder / HEADERS).read_bytes(), list[bytes](), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        headers.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    started = time.process_time()
    level = [sha256(b"\x00" + header).digest() for header in headers]
    while len(level) > 1:
        pairs = iter(level[: len(level) & ~1])
        left_over = level[len(level) & ~1 :]
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)] + left_over
    return {"cpu_s": time.process_time() - started, "records": len(headers), "root": level[0].hex()}


if __name__ == "__main__":
    raise SystemExit(main())
