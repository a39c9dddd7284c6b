#!/usr/bin/python3
"""``systemctl`` and ``systemd-run`` as far as docs/field-guide.md types them, on a machine that systemd did not boot.

Real: units and drop-ins as they are installed, enabling (by systemctl itself), the condition, command line, account and
groups, credentials, mounts, capabilities, system call filter, readiness, and the end by SIGTERM. Stood in for: the
manager. So nothing here shows ordering, restarts, the watchdog, or what control groups limit (memory, devices).

Installed in the place of both programs, with the real systemctl beside it as ``systemctl.real``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path("/run/standin")
"""What runs: <unit>.pid and <unit>.log; ``sandbox.py`` lies there too."""
PLACES = ("/etc/systemd/system", "/usr/lib/systemd/system")
READ_ONLY = """
for place in $WRITABLE; do mount --bind "$place" "$place"; done
mount -o remount,bind,ro /
exec "$@"
"""
READY_S = 180.0
LEAVE_S = 90.0

Directives = dict[str, list[str]]


def systemctl(words: list[str]) -> int:
    """Do one verb, and for enable and disable with --now two."""
    real = str(Path(sys.argv[0]).with_name("systemctl.real"))
    verb, *names = [word for word in words if not word.startswith("-")]
    units = [name if name.endswith(".service") else f"{name}.service" for name in names]
    if verb in ("enable", "disable"):
        alone = {**os.environ, "SYSTEMD_OFFLINE": "1"}
        subprocess.run([real, *[word for word in words if word != "--now"]], env=alone, check=True)
        verb = {"enable": "start", "disable": "stop"}[verb] if "--now" in words else "nothing"
    act = {"start": start, "stop": stop, "status": status, "try-restart": try_restart}
    if verb == "restart":
        return max(stop(unit) or start(unit) for unit in units)
    if verb == "daemon-reload":
        return subprocess.run(["systemd-analyze", "verify", *_installed()], check=False).returncode
    return 0 if verb == "nothing" else max(act[verb](unit) for unit in units)


def _installed() -> list[str]:
    return [str(path) for place in PLACES for path in Path(place).glob("edgeseal*.service")]


def directives(unit: str, section: str) -> Directives:
    """Return a section of an installed unit with its drop-ins."""
    (file, *_) = [path for place in PLACES if (path := Path(place, unit)).exists()]
    found: Directives = {}
    for path in [file, *sorted(Path(PLACES[0], f"{unit}.d").glob("*.conf"))]:
        here = ""
        for line in path.read_text().splitlines():
            if line.startswith("["):
                here = line.strip("[]")
            elif here == section and "=" in line and not line.startswith("#"):
                name, _, value = line.partition("=")
                found.setdefault(name, []).append(value)
    return found


def start(unit: str) -> int:
    """Start a unit and wait until it says that it is ready."""
    if _pid(unit) is not None:
        return 0
    for path in directives(unit, "Unit").get("ConditionPathExists", []):
        if not Path(path).exists():
            print(f"{unit}: not started, there is no {path}", file=sys.stderr)
            return 0
    said = directives(unit, "Service")
    (user,) = said["User"]
    state = Path("/var/lib", said["StateDirectory"][0])
    writable = [str(state), *said.get("ReadWritePaths", [])]
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(f"\0{unit}")
    channel.settimeout(0.2)
    environment = {**_environment(user), **dict(value.split("=", 1) for value in said.get("Environment", []))}
    environment |= {"NOTIFY_SOCKET": f"@{unit}", "WRITABLE": " ".join(writable)}
    environment |= credentials(unit, user, said.get("LoadCredential", []))
    confined = [*become(user, said.get("SupplementaryGroups", [])), "--bounding-set=-all", "--inh-caps=-all"]
    filtered = ["python3", str(HERE / "sandbox.py"), _file(unit), "--", *said["ExecStart"][0].split()]
    line = ["unshare", "--mount", "sh", "-e", "-c", READ_ONLY, "sh", *confined, "--no-new-privs", "--", *filtered]
    with (HERE / f"{unit}.log").open("ab") as log:
        process = subprocess.Popen(
            line, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            umask=int(said["UMask"][0], 8), start_new_session=True,
        )  # fmt: skip
    (HERE / f"{unit}.pid").write_text(str(process.pid))
    return _until_ready(unit, process, channel)


def _until_ready(unit: str, process: subprocess.Popen[bytes], channel: socket.socket) -> int:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if b"READY=1" in channel.recv(4096).splitlines():
                return 0
        except TimeoutError:
            continue
    print(f"{unit} did not become ready:\n{(HERE / f'{unit}.log').read_text()[-3000:]}", file=sys.stderr)
    return 1


def _file(unit: str) -> str:
    return next(str(path) for place in PLACES if (path := Path(place, unit)).exists())


def _pid(unit: str) -> int | None:
    try:
        pid = int((HERE / f"{unit}.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
    return None if state == "Z" else pid


def stop(unit: str) -> int:
    """End a unit in order, and by force after its time."""
    pid = _pid(unit)
    if pid is None:
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + LEAVE_S
    while _pid(unit) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(f"/run/credentials/{unit}", ignore_errors=True)
    return 0


def try_restart(unit: str) -> int:
    """Start a unit anew where it runs."""
    return 0 if _pid(unit) is None else stop(unit) or start(unit)


def status(unit: str) -> int:
    """Print whether a unit runs; 3 where it does not, as systemctl."""
    pid = _pid(unit)
    print(f"● {unit}\n     Active: {'inactive (dead)' if pid is None else f'active (running), pid {pid}'}")
    return 3 if pid is None else 0


def become(user: str, groups: list[str]) -> list[str]:
    """Return the words that run what follows as an account, in more groups than its own."""
    more = [word for value in groups for word in value.split()]
    supplementary = ["--groups", ",".join(more)] if more else ["--clear-groups"]
    return ["setpriv", "--reuid", user, "--regid", user, *supplementary]


def _environment(user: str) -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "USER": user, "LANG": "C.UTF-8"}


def credentials(unit: str, user: str, wanted: list[str]) -> dict[str, str]:
    """Hand over copies of secrets that only the account can read; return what tells it where."""
    folder = Path("/run/credentials", unit)
    if not wanted:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    for value in wanted:
        name, _, source = value.partition(":")
        shutil.copyfile(source, folder / name)
        (folder / name).chmod(0o400)
        shutil.chown(folder / name, user, user)
    return {"CREDENTIALS_DIRECTORY": str(folder)}


def systemd_run(words: list[str]) -> int:
    """Run a command to its end as a service of its own would: in /, as an account, with its groups and credentials."""
    settings: Directives = {}
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "-p":
            name, _, value = words.pop(0).partition("=")
            settings.setdefault(name, []).append(value)
        elif word not in ("--pipe", "--wait", "--quiet"):
            print(f"systemd-run: {word} is nothing that this stands in for", file=sys.stderr)
            return 1
    unknown = settings.keys() - {"User", "UMask", "SupplementaryGroups", "LoadCredential"}
    if unknown:
        print(f"systemd-run: {sorted(unknown)} are nothing that this stands in for", file=sys.stderr)
        return 1
    (user,), unit = settings["User"], f"run-{os.getpid()}.service"
    environment = _environment(user) | credentials(unit, user, settings.get("LoadCredential", []))
    umask = int(settings.get("UMask", ["0022"])[0], 8)
    line = [*become(user, settings.get("SupplementaryGroups", [])), "--", *words]
    done = subprocess.run(line, env=environment, cwd="/", umask=umask, check=False)
    shutil.rmtree(f"/run/credentials/{unit}", ignore_errors=True)
    return done.returncode


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    programs = {"systemctl": systemctl, "systemd-run": systemd_run}
    sys.exit(programs[Path(sys.argv[0]).name](sys.argv[1:]))
