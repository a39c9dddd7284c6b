"""SoftHSM's files: a private token store, its first token, and a copy that survives a kill in the middle of a login.

SoftHSM 2.6 rewrites ``token.object`` in place (truncate, then write) at every login, to note the PIN's flags. A process
killed, or a machine losing power, between the two leaves an empty file: the token has then lost its label and PINs, and
with them every key in it. Nothing else in the file changes after set-up but a generation number and these flags, so a
copy made at set-up stays good for ever: ``seal_copy`` makes it, ``mend`` puts it back where the original does not
match.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
from pathlib import Path

from edgeseal.errors import Unavailable, UsageError

CONFIG_NAME = "softhsm2.conf"
CONFIG_VARIABLE = "SOFTHSM2_CONF"
_COPY_NAME = "tokens.copy"
_MODULES = (
    ("/usr/lib/softhsm", "libsofthsm2.so"),  # Debian, on every architecture
    ("/usr/lib", "*/softhsm/libsofthsm2.so"),
    ("/usr", "lib*/pkcs11/libsofthsm2.so"),
)
_FLAGS = re.compile(rb"(\x00{4}\x80\x00SK\x00{7}\x02).{8}", re.DOTALL)
"""The attribute CKA_OS_TOKENFLAGS (0x8000534b) of type 2, number; its value follows."""


def find_module() -> str:
    """Return the path of SoftHSM's PKCS#11 module. Raises UsageError ``token_module`` when this machine has none."""
    for base, pattern in _MODULES:
        for path in sorted(Path(base).glob(pattern)):
            return str(path)
    raise UsageError("token_module", "SoftHSM's PKCS#11 module is not on this machine", "install the package softhsm2")


def create_store(directory: Path) -> Path:
    """Make ``directory`` (mode 0700) a SoftHSM store without tokens; return its configuration file.

    Idempotent: a store that is there is left as it is. Raises UsageError ``token_store`` when the directory holds
    something else or cannot be written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        tokens, config = directory / "tokens", directory / CONFIG_NAME
        tokens.mkdir(mode=0o700, exist_ok=True)
        if not config.exists():
            config.write_text(
                f"directories.tokendir = {tokens.resolve()}\n"
                "objectstore.backend = file\n"
                "objectstore.umask = 0077\n"
                "log.level = ERROR\n"
                "slots.removable = false\n"
            )
        return config
    except OSError as error:
        raise UsageError("token_store", f"cannot make a token store in {directory}: {error}") from error


def init_token(module: str, config: Path, label: str, so_pin: bytes, user_pin: bytes) -> None:
    """Initialise one more token in the store of ``config`` and set both PINs, which stay inside this process.

    The PKCS#11 library must not be in use in this process while this runs (``edgeseal.adapters.pkcs11`` sees to it),
    since it is initialised and finalised here. Raises UsageError ``token_module`` or ``token_init``. After a kill in
    the middle a half-made token may be left; remove the store and start again.
    """
    os.environ[CONFIG_VARIABLE] = str(config)
    try:
        library = ctypes.CDLL(module)
    except OSError as error:
        raise UsageError("token_module", f"cannot load {module}: {error}", "install softhsm2") from error
    name = label.encode().ljust(32)
    if len(name) > 32:
        raise UsageError("token_init", "a token label has at most 32 bytes")
    _call(library, "C_Initialize", None)
    try:
        free = _slots(library)[-1]  # SoftHSM always shows one uninitialised token, in the last slot
        _call(library, "C_InitToken", ctypes.c_ulong(free), so_pin, ctypes.c_ulong(len(so_pin)), name)
        session = ctypes.c_ulong()
        serial_and_write = ctypes.c_ulong(4 | 2)
        # The new token keeps its slot until the library is finalised.
        _call(library, "C_OpenSession", ctypes.c_ulong(free), serial_and_write, None, None, ctypes.byref(session))
        _call(library, "C_Login", session, ctypes.c_ulong(0), so_pin, ctypes.c_ulong(len(so_pin)))
        _call(library, "C_InitPIN", session, user_pin, ctypes.c_ulong(len(user_pin)))
    finally:
        library.C_Finalize(None)


def _slots(library: ctypes.CDLL) -> list[int]:
    count = ctypes.c_ulong()
    _call(library, "C_GetSlotList", 0, None, ctypes.byref(count))
    slots = (ctypes.c_ulong * count.value)()
    _call(library, "C_GetSlotList", 0, slots, ctypes.byref(count))
    return list(slots)


def _call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    result = getattr(library, function)(*arguments) & 0xFFFFFFFF
    if result:
        raise UsageError("token_init", f"{function} answered 0x{result:x}", "is the token store readable and writable?")


def seal_copy(config: Path) -> None:
    """Copy the store's tokens beside it; to be called after each change of tokens or keys, with no login going on.

    Durable when it returns: the new copy is complete before it replaces the old one. Raises Unavailable
    ``token_store``.
    """
    tokens = _tokens_of(config)
    copy = config.parent / _COPY_NAME
    fresh, old = copy.with_suffix(".new"), copy.with_suffix(".old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(tokens, fresh)
        for path in [*fresh.rglob("*"), fresh]:
            _sync(path)
        if copy.exists():
            copy.rename(old)
            # Now there is no copy by its name; a restart finds none and mends nothing until the next call.
        fresh.rename(copy)
        _sync(config.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise Unavailable("token_store", f"cannot copy the token store {tokens}: {error}") from error


def mend(config: Path) -> list[Path]:
    """Put back from the copy what a killed login or a power cut broke; return the files that were put back.

    Does nothing where no copy was made. Safe beside other processes that log in: a token file is looked at and replaced
    under the lock SoftHSM itself takes. Must run in no process that has the library initialised. Raises Unavailable
    ``token_store``.
    """
    copy = config.parent / _COPY_NAME
    mended: list[Path] = []
    try:
        if not copy.is_dir():
            return mended
        tokens = _tokens_of(config)
        for good in sorted(copy.rglob("*.object")):
            path = tokens / good.relative_to(copy)
            if _replace_if_broken(path, good):
                mended.append(path)
        return mended
    except OSError as error:
        raise Unavailable("token_store", f"cannot check the token store of {config}: {error}") from error


def _replace_if_broken(path: Path, good: Path) -> bool:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with open(path, "a+b") as current:
        fcntl.lockf(current, fcntl.LOCK_EX)  # waits for a login that is writing just now
        current.seek(0)
        expected = good.read_bytes()
        if _constant_part(current.read()) == _constant_part(expected):
            return False
        temporary = path.with_suffix(".mending")
        temporary.touch(mode=0o600)
        temporary.write_bytes(expected)
        _sync(temporary)
        temporary.rename(path)
        # The good file is in place; a kill before the next line leaves at worst the old name after a power cut, and
        # the next start mends again.
        _sync(path.parent)
        return True


def _constant_part(raw: bytes) -> bytes:
    """Return an object file without what SoftHSM changes in it: the generation number and the token's flags."""
    return _FLAGS.sub(rb"\1", raw[8:])


def _tokens_of(config: Path) -> Path:
    """Return the directory a SoftHSM configuration keeps its tokens in."""
    for line in config.read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "directories.tokendir":
            return Path(value.strip())
    raise UsageError("token_store", f"{config} names no directories.tokendir")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
