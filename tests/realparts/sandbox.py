"""What a systemd unit forbids, put on by the means that systemd itself uses, where no systemd runs.

A mount namespace with a read-only root, no capabilities, no new privileges, and the unit's system call filter, loaded
with libseccomp.

Run as a program: ``python -m tests.realparts.sandbox UNIT -- COMMAND …`` replaces itself by the command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_ALLOW, _ERRNO_EPERM = 0x7FFF0000, 0x00050000 | errno.EPERM
_MASKED_EQUAL, _PROT_WRITE, _PROT_EXEC = 7, 2, 4
_SET_NO_NEW_PRIVS = 38


def is_possible() -> bool:
    """Say whether who runs the tests may make one."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def directives(unit: Path) -> dict[str, list[str]]:
    """Return the ``[Service]`` directives of a unit, each with its values in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "Service" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: Iterable[str]) -> set[str]:
    """Return the names that ``SystemCallFilter=`` lines allow, the first an allow list, as systemd reads them."""
    allowed: set[str] = set()
    for line in filters:
        names = {call for word in line.removeprefix("~").split() for call in _expand(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _expand(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    printed = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", word], capture_output=True, text=True, check=True
    ).stdout
    members = [line.strip() for line in printed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for member in members for call in _expand(member)}


def confine(unit: Path) -> None:
    """Load the unit's system call filters into this process, for ever."""
    given = directives(unit)
    assert given["SystemCallErrorNumber"] == ["EPERM"]
    libc, seccomp = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("libseccomp.so.2")
    assert libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    seccomp.seccomp_init.restype = ctypes.c_void_p
    calls = allowed_calls(given["SystemCallFilter"])
    if given.get("MemoryDenyWriteExecute") == ["yes"]:
        _load(seccomp, _ALLOW, [
            ("mmap", 2, _PROT_WRITE | _PROT_EXEC), ("mprotect", 2, _PROT_EXEC), ("pkey_mprotect", 2, _PROT_EXEC),
        ])  # fmt: skip
    _load(seccomp, _ERRNO_EPERM, [(name, None, 0) for name in calls])


def _load(seccomp: ctypes.CDLL, default: int, rules: list[tuple[str, int | None, int]]) -> None:
    """Load one filter: each rule does the opposite of the default, for a call or for one whose argument has a mask."""
    context = ctypes.c_void_p(seccomp.seccomp_init(default))
    action = _ERRNO_EPERM if default == _ALLOW else _ALLOW
    for name, argument, mask in rules:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # not a call of this architecture
        conditions = [] if argument is None else [_Condition(argument, _MASKED_EQUAL, mask, mask)]
        array = (_Condition * len(conditions))(*conditions)
        code = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(conditions), array)
        assert code == 0, f"{name}: {code}"
    assert seccomp.seccomp_load(context) == 0


def command(unit: Path, writable: Path, line: list[str]) -> list[str]:
    """Return the command line that runs ``line`` so confined, with ``writable`` the only folder to write. As root."""
    mounts = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec setpriv '
        '--bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"'
    )
    inner = [sys.executable, "-m", "tests.realparts.sandbox", str(unit), "--", *line]
    return ["unshare", "--mount", "sh", "-c", mounts, str(writable), *inner]


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    words = sys.argv[sys.argv.index("--") + 1 :]
    os.execvp(words[0], words)
