"""Manual operations that the sequencer's stage carries out: anchor now. The sender does its own (``chain/manual.py``).

An operation is stored when it is asked for (``web/operations``) and carried out by the stage that owns what it touches,
after a restart too; its outcome stays beside it.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeseal_gateway.store import anchors, fleetlog, operations
from edgeseal_gateway.store.database import Database


def carry_out_flushes(database: Database, flush: Callable[[], None], at_ms: int) -> int:
    """Carry out the flushes that wait and return how many; ``flush`` has the next head anchored. Raises Unavailable:
    the store; they go on waiting.
    """
    with database.read() as connection:
        asked = [one for one in operations.asked(connection) if one.what == operations.FLUSH]
        if not asked:
            return 0
        size, settled = fleetlog.size(connection), anchors.newest_settled(connection)
        under_way = anchors.open_anchor(connection) or anchors.newest_wanted(connection)
    if settled is not None and settled.size == size:
        outcome = f"everything is anchored: size {size} is {settled.state}"
    elif under_way is not None:
        outcome = f"size {under_way.size} is under way; what came after it follows as soon as that one is settled"
    else:
        outcome = f"the next head, of size {size} or more, is anchored at once"
    flush()
    with database.write() as connection:
        for one in asked:
            operations.finish(connection, one.id, operations.DONE, outcome, at_ms)
    # Durable: what came of them. A crash before this has them carried out once more: an anchor too many at most.
    return len(asked)
