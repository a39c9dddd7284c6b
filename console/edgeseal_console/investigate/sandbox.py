"""The child process that runs a model nobody need trust: no network, no files to write, bounded memory and time.

``python -I -m edgeseal_console.investigate.sandbox``, started by :mod:`edgeseal_console.investigate.reinfer` alone. It
loads the runtime and confines itself before it reads anything: (1) limits on memory, processor time and open files,
none may be written; (2) no new privileges; (3) namespaces of its own, without network and without capabilities
outside, where the kernel allows them; (4) started by root it becomes nobody, unless nobody could not read this very
program. Then it reads one package and answers input by input. What it answers is as untrusted as the model.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

from edgeseal import cbor
from edgeseal.errors import EdgesealError

MEMORY: Final = 8 << 30
"""Address space of the child, bytes: runtimes reserve far more than they use."""
CPU_S: Final = 3_600
OPEN_FILES: Final = 64
MAX_MESSAGE: Final = 1 << 30
MAX_ITEMS: Final = 1 << 20

_NEW_USER: Final = 0x10000000
_NEW_NETWORK: Final = 0x40000000
_NO_NEW_PRIVILEGES: Final = 38
_NOBODY: Final = 65_534


def main() -> int:
    """Confine, load the package that comes first, then answer each input until the pipe ends."""
    from edgeseal.adapters.tensors import load_inputs
    from edgeseal.adapters.tflite import FAMILIES, TfliteRunner
    from edgeseal.model import parse_package

    for module in FAMILIES.values():
        with suppress(ImportError):
            import_module(module)
    isolated = confine()
    pipe_in, pipe_out = sys.stdin.buffer, sys.stdout.buffer
    try:
        package = receive(pipe_in)
        parsed = parse_package(package["files"])
        runner = TfliteRunner(parsed.model, threads=package["threads"], resolver=package["resolver"])
    except EdgesealError as error:
        send(pipe_out, {"error": error.code, "detail": error.message[:400]})
        return 0
    hello = {
        "digest": parsed.digest,
        "file": parsed.model_digest,
        "isolated": isolated,
        "arithmetic": runner.arithmetic,
    }
    send(pipe_out, {**hello, "runtime": runner.info.to_list()})
    several = len(parsed.manifest.inputs) > 1
    while True:
        try:
            raw = receive(pipe_in)
        except EOFError:
            return 0
        try:
            parts = cbor.decode(raw, max_size=MAX_MESSAGE, max_items=MAX_ITEMS) if several else [raw]
            tensors = load_inputs(parsed.manifest, parts)
            send(pipe_out, {"tensors": list(tensors), "outputs": list(runner.run(tensors))})
        except EdgesealError as error:
            send(pipe_out, {"error": error.code, "detail": error.message[:400]})


def confine() -> bool:
    """Give up what a model needs not; return whether the network is shut off."""
    # (1)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
    # (2)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # (3), (4): a root process takes its network namespace first, and its own user namespace, which ends its rights,
    # last
    root = os.geteuid() == 0
    isolated: bool = root and libc.unshare(_NEW_NETWORK) == 0
    if root and all(map(_readable_by_all, (sys.prefix, sys.base_prefix, os.__file__, __file__))):
        with suppress(OSError):
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    own = libc.unshare(_NEW_USER if isolated else _NEW_USER | _NEW_NETWORK) == 0
    return isolated or own


def _readable_by_all(path: str) -> bool:
    """Say whether any user can reach ``path``."""
    parts = [Path(path).resolve(), *Path(path).resolve().parents]
    return all(part.stat().st_mode & (0o005 if part.is_dir() else 0o004) for part in parts)


def send(pipe: IO[bytes], message: Any) -> None:
    """Write one message: 4 bytes of length, then CBOR."""
    data = cbor.encode(message)
    pipe.write(len(data).to_bytes(4, "big") + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Read one message. Raises EOFError at the end of the pipe, FormatError for what is no message."""
    head = pipe.read(4)
    if len(head) < 4:
        raise EOFError
    size = int.from_bytes(head, "big")
    data = pipe.read(min(size, MAX_MESSAGE + 1))
    if len(data) < size:
        raise EOFError
    return cbor.decode(data, max_size=MAX_MESSAGE, max_items=MAX_ITEMS)


if __name__ == "__main__":
    sys.exit(main())
