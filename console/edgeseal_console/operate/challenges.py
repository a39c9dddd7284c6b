"""The challenges this operator made and has not used up: a proof counts only as the answer to one of them.

A signature that a key's holder once gave proves possession then, not now; and which position it names was the
operator's to say. So each challenge is kept until its answer was brought on chain, and an answer to anything else is
refused.
"""

from __future__ import annotations

from pathlib import Path

from edgeseal import limits
from edgeseal.adapters.namedfile import read_named
from edgeseal.errors import UsageError
from edgeseal.possession import Challenge, Proof, decode, encode
from edgeseal_console.operate.home import Home


def keep(home: Home, challenge: Challenge, out: Path) -> None:
    """Keep a challenge and write it to ``out``, for whoever holds the key."""
    folder = home.folder / "challenges"
    folder.mkdir(mode=0o700, exist_ok=True)
    _file(home, challenge).write_bytes(encode(challenge))
    # Durable: what was asked, before anybody can answer it.
    out.write_bytes(encode(challenge))


def read_proof(home: Home, path: Path) -> Proof:
    """Return the proof in an untrusted file, checked, if it answers a challenge of ours.

    Raises:
        UsageError: ``proof_file``, ``challenge_unknown``. FormatError, VerificationError as :meth:`Proof.decode`.
    """
    proof = Proof.decode(read_named(path, limits.MAX_YAML, "proof_file"))
    try:
        asked = decode(_file(home, proof.challenge).read_bytes())
    except FileNotFoundError:
        asked = None
    if asked != proof.challenge:
        raise UsageError(
            "challenge_unknown", f"{path} answers no challenge that waits here",
            "make one with edgeseal identity challenge, in this same folder",
        )  # fmt: skip
    return proof


def used(home: Home, challenge: Challenge) -> None:
    """Forget a challenge whose answer is on chain."""
    _file(home, challenge).unlink(missing_ok=True)


def _file(home: Home, challenge: Challenge) -> Path:
    return home.folder / "challenges" / f"{challenge.nonce.hex()}.json"
