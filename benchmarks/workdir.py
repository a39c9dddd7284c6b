"""A folder for what a benchmark writes, on a real disk: an fsync into memory would measure nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


@contextmanager
def folder() -> Iterator[Path]:
    """Give a new folder and remove it afterwards: in ``EDGESEAL_BENCH_DIR``, else in /var/tmp."""
    base = Path(os.environ.get("EDGESEAL_BENCH_DIR", "/var/tmp"))
    base.mkdir(parents=True, exist_ok=True)
    if _filesystem(base.resolve()) in _IN_MEMORY:
        raise SystemExit(f"{base} is in memory; set EDGESEAL_BENCH_DIR to a folder on a disk")
    made = Path(tempfile.mkdtemp(prefix="edgeseal-bench-", dir=base))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _filesystem(path: Path) -> str:
    """Return the type of the file system that holds ``path``."""
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if path.is_relative_to(where) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]
