"""A terminal, as far as the documents need one: a shell that keeps its variables from one block to the next."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


class Terminal:
    """A bash in a folder, which ends at the first command that fails; with ``prefix``, one that these words start
    elsewhere. A context manager.
    """

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        self._shell = subprocess.Popen(
            [*prefix, "bash", "-e", "-o", "pipefail"],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, block: str) -> str:
        """Run a block as it is written and return what it printed; a command that fails fails the test."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        end = f"done-{uuid.uuid4().hex}"
        self._shell.stdin.write(f"{block}\necho {end}\n")
        self._shell.stdin.flush()
        said: list[str] = []
        for line in self._shell.stdout:
            if line == f"{end}\n":
                return "".join(said)
            said.append(line)
        pytest.fail(f"exit {self._shell.wait()} in\n{block}\nwhich said\n{''.join(said)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait()
