"""Which bodies are missing without a word (format 6.4): the sweep over both tables says what the rule says."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from edgeseal_gateway.store import devicelog

TABLES = """
CREATE TABLE device_head (dev INTEGER, size INTEGER, state INTEGER);
CREATE TABLE stripped (dev INTEGER, seq INTEGER, form INTEGER, PRIMARY KEY (dev, seq));
CREATE TABLE covered (dev INTEGER, start INTEGER, stop INTEGER, form INTEGER, PRIMARY KEY (dev, start, stop, form));
"""


@pytest.mark.parametrize("seed", range(60))
def test_heads_wait_for_the_first_body_that_nothing_names(seed: int) -> None:
    chance = random.Random(seed)
    lost = {seq: chance.choice((1, 2)) for seq in chance.sample(range(60), 12)}
    ranges = [(start, start + chance.randrange(0, 25), chance.choice((1, 2))) for start in chance.sample(range(60), 9)]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(TABLES)
        connection.executemany("INSERT INTO device_head VALUES (1, ?, 0)", [(size,) for size in range(5, 65, 5)])
        devicelog.add_stripped(connection, 1, lost.items())
        for step in (3, 6, len(ranges)):  # records that name what is gone come one after another
            for start, stop, form in ranges[:step]:
                devicelog.add_covered(connection, 1, form, [(start, stop)])
            named = [seq for seq, form in lost.items() if any(a <= seq < b and c >= form for a, b, c in ranges[:step])]
            missing = min((seq for seq in lost if seq not in named), default=None)
            found = devicelog.release_heads(connection, 1)
            waiting = {size for (size,) in connection.execute("SELECT size FROM device_head WHERE state = 0")}
            assert waiting == {size for size in range(5, 65, 5) if missing is not None and size > missing}
            assert found == (missing if waiting else None)
