"""The end of a run: source and commands stop, a shutdown record comes under a signed head, the uplink has its last
chance, the journal closes.
"""

from __future__ import annotations

import logging
from typing import Final

from edgeseal.errors import EdgesealError
from edgeseal_agent import statusfile
from edgeseal_agent.parts import Parts

logger = logging.getLogger(__name__)

SEAL_TIMEOUT_S: Final = 60.0


def leave(parts: Parts) -> None:
    """Seal everything, give the uplink its time, close. Raises nothing that another error would hide."""
    parts.notifier.send("STOPPING=1")
    if parts.loading is not None:
        parts.loading.join(SEAL_TIMEOUT_S)
    for part in (parts.intake, parts.commands, parts.attests):
        if part is not None:
            part.stop()
    try:
        if parts.journal.failure is None:
            if parts.intake is not None:
                parts.intake.tidy()
            parts.journal.append("shutdown", {"reason": "once" if not parts.stopping.is_set() else "signal"})
            # Durable with a head payload over everything; a restart signs it if we do not get that far.
            parts.sealer.wait_for(parts.journal.size, SEAL_TIMEOUT_S)
            _flush(parts)
    except EdgesealError as error:
        logger.warning("not left cleanly: %s", error)
    finally:
        close(parts)


def close(parts: Parts) -> None:
    """Stop what writes nothing new; the journal last."""
    if parts.uplink is not None:
        parts.uplink.stop()
    if parts.link is not None:
        parts.link.stop(1.0)
    parts.sealer.stop()
    parts.journal.close()
    statusfile.write(parts, running=False)
    logger.info("left with %d records, %d of them under a signed head", parts.journal.size, parts.sealer.size)


def _flush(parts: Parts) -> None:
    if parts.uplink is not None and parts.link is not None and parts.link.ready:
        parts.uplink.flush(parts.journal.size, parts.config.uplink.flush_s)
