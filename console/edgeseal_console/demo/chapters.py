"""What the demo says of itself: its opening, and for each chapter a title and what it is about."""

from __future__ import annotations

from typing import Final

OPENING: Final = """\
edgeseal: two devices, one gateway, one chain; every part real, all of it on this machine. One to four minutes.
Lines with $ are commands as you could type them, lines with | what they answer. Ctrl-C stops everything."""

CHAPTERS: Final = (
    ("Start the outside world",
     "What the fleet leans on, and nobody has to trust: a message broker and an EVM chain."),
    ("Found the fleet: keys, contracts, fleet log",
     "The tenant root key says who may sign what. The fleet log is an append-only list; the gateway signs a hash tree "
     "over it, and a contract holds the log's size and root: only larger ones, and only such as contain what stood "
     "there."),
    ("Enrol two devices",
     "Each device makes a key that never leaves its token, and a log of its own under it. An operator who has seen the "
     "key signs that it belongs to the fleet."),
    ("Deploy the model by a signed command",
     "A model is known by the digest of every byte of its package. The order to run it is a signed statement with a "
     "place in the fleet log: a device checks signer, scope, place and expiry before it obeys, and records it."),
    ("Run inferences on held-out images, and anchor them",
     "Each answer of the model becomes a record; the token signs hash trees over the records; the gateway puts these "
     "signed heads into the fleet log, and the root of that log onto the chain."),
    ("Collect the evidence",
     "One file with all the evidence, and apart from it one that says what its reader believes."),
    ("Verify it: offline, then against the chain",
     "Fifteen questions. ok: the evidence shows it, PROVED by recomputation or ATTESTED by the one named. failed: it "
     "shows the contrary. not_answered: it cannot reach the question, for the reason named. What leans on a chain that "
     "its operator runs, such as this demo's own, is ATTESTED; on a public chain it is PROVED."),
    ("Re-execute every inference",
     "The question that was left open. The devices' exports hold the inputs: the same model, run again on them in a "
     "sandbox without network, must give the same bits."),
    ("Change one bit in a copy",
     "The least that a forger can do."),
)  # fmt: skip
