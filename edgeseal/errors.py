"""The error tree: bad evidence, a world that is down, a broken invariant of ours, a usage error.

Who is at fault decides what happens next, so each branch has one handling:

===================  =======================================  ==============================================
branch               meaning                                  handling
===================  =======================================  ==============================================
``EvidenceError``    bytes somebody handed us are wrong       keep them, report the code, never retry
``Unavailable``      broker, node, token, disk: not there     retry with back-off
``InvariantBroken``  our own state contradicts itself         stop; start-up runs the same code as normal work
``UsageError``       the caller asked for what cannot be      print cause and remedy, exit 1
===================  =======================================  ==============================================

The reason codes of evidence errors are listed in ``docs/format.md``; they are part of the format and never change
meaning.
"""

from __future__ import annotations


class EdgesealError(Exception):
    """Root of every error this project raises on purpose.

    ``code`` is a lower_snake reason code (stable, for machines and tests), ``message`` one sentence for people that may
    quote sizes and positions but never secrets, ``remedy`` says what to do about it, or is None where nothing can be
    done. Picklable, so that it can cross a process boundary.
    """

    def __init__(self, code: str, message: str, remedy: str | None = None) -> None:
        super().__init__(code, message, remedy)
        self.code = code
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return ``code: message``, without the remedy."""
        return f"{self.code}: {self.message}"


class EvidenceError(EdgesealError):
    """The bytes are wrong and will stay wrong: keep them as evidence, never retry."""


class FormatError(EvidenceError):
    """The bytes are not a well-formed object of the format: decoding, types, ranges, limits."""


class VerificationError(EvidenceError):
    """The object is well formed and does not hold: a hash, a proof path, a signature, a link between two objects."""


class TrustError(EvidenceError):
    """The object holds, but was made by a key that may not say this, or that nothing we trust names."""


class Unavailable(EdgesealError):
    """Something outside this process is not there or not ready. Nothing is lost; the same call may work later."""


class InvariantBroken(EdgesealError):
    """Our own state contradicts itself. The process must stop: going on could sign or store a falsehood."""


class UsageError(EdgesealError):
    """The caller, a configuration file or a command line asked for something that cannot be done as asked."""
