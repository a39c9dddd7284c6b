"""``status.json``: what only the running process knows, written for ``edgeseal-agent status``."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from edgeseal_agent.parts import Parts

NAME: Final = "status.json"
EVERY_S: Final = 1.0


def write(parts: Parts, running: bool) -> None:
    """Write it; not durable, and gone with the next start. A disk that takes nothing is the journal's to report."""
    reporting = {"intake": parts.intake, "uplink": parts.uplink, "commands": parts.commands}
    report: dict[str, Any] = {
        "running": running,
        "written": int(time.time()),
        "uptime_s": int(time.monotonic() - parts.started_s),
        "sealer": None if parts.sealer.failure is None else str(parts.sealer.failure),
        **{name: None if part is None else part.status() for name, part in reporting.items()},
    }
    if parts.link is not None and report["uplink"] is not None:
        report["uplink"]["trouble"] = parts.link.trouble
    path = parts.config.state_dir / NAME
    draft = path.with_name(f".{NAME}.new")
    try:
        draft.write_text(json.dumps(report))
        draft.rename(path)
    except OSError:
        return
