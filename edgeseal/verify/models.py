"""model_identity, reexecution: which model each inference says it ran, and whether running it again gives the same
(format.md 4, 13).

What each party can do to these answers: the model of an inference is the device's word (ATTESTED) until it is run
again; an edited package no longer has the digest that the records name; a re-execution is only as good as the
machine and the runtime of whoever did it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from edgeseal import model
from edgeseal.bundle import Bundle
from edgeseal.commitment import Opening
from edgeseal.errors import EvidenceError
from edgeseal.verify.case import Case
from edgeseal.verify.commands import Commands
from edgeseal.verify.history import History, Seen
from edgeseal.verify.logs import Compared, need_signed

Identity = tuple[bytes, bytes]
"""(package digest, model file digest)."""


@dataclass(frozen=True, slots=True)
class Reexecution:
    """What running a log's inferences again gave: made by the investigator's replay, judged here.

    ``matched`` inferences gave the committed output bit for bit; ``mismatched`` are (seq, detail) where equality was
    owed and missed; ``skipped`` maps a reason code to (how many, detail). ``environment`` names runtime and machine.
    """

    matched: int = 0
    mismatched: tuple[tuple[int, str], ...] = ()
    skipped: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    environment: str = ""


class Models:
    """Watches activations, and each inference through :meth:`infer`."""

    kinds = frozenset({"model.activated", "inference"})

    def __init__(self, history: History) -> None:
        """Collect for one log."""
        self._case = history.cases["model_identity"]
        self._history = history
        self._active: Identity | None = None
        self._unsure = False
        self.inferences = 0
        self.unread = 0
        self.used: dict[Identity, int] = {}
        self.activations: list[tuple[int, Identity, bytes | None]] = []

    def infer(self, seq: int, package: bytes, file: bytes) -> None:
        """Take one inference: it must name the model activated last."""
        self.inferences += 1
        identity = (package, file)
        self.used[identity] = self.used.get(identity, 0) + 1
        if identity != self._active and not self._unsure and not self._history.holes:
            if self._active is None:
                self._case.fail("model_not_activated", f"inference {seq} ran before any model was activated", seq)
            else:
                self._case.fail("model_mismatch", f"inference {seq} names another model than the one activated", seq)

    def see(self, record: Seen) -> None:
        """Take an activation, or a record that cannot be read."""
        fields = record.fields
        if fields is None:
            self._case.leave_open("body_withheld", f"{record.kind or 'bare leaf'} record {record.seq} cannot be read")
            self._unsure |= record.kind != "inference"
            self.unread += record.kind in ("inference", "")
        elif record.kind == "model.activated":
            self._active, self._unsure = (fields["model"], fields["file"]), False
            self.activations.append((record.seq, self._active, fields["cmd"]))


def judge_identity(
    history: History,
    models: Models,
    commands: Commands,
    compared: Compared,
    bundle: Bundle,
    openings: Mapping[tuple[int, str], Opening],
) -> None:
    """Answer model_identity: (1) each inference names the model activated last, checked while reading; (2) an
    activation by command is of the package that the command names, where its arguments are here; (3) packages in the
    bundle have their digests and hold their file."""
    case = history.cases["model_identity"]
    if history.holes:
        case.leave_open("records_missing", "records are missing, an activation could be among them")
    need_signed(case, history, compared)
    # (2)
    for seq, (package, _), digest in models.activations:
        taken = commands.taken.get(digest) if digest is not None else None
        opening = openings.get((taken.seq, "args")) if taken else None
        if taken is None or opening is None or opening.data is None:
            continue
        try:
            named = taken.command.open_args(opening.salt, opening.data).get("model")
        except EvidenceError:
            continue  # command_authority says so
        if named != package:
            case.fail("model_mismatch", f"record {seq} activates another package than its command names", seq)
    # (3)
    here = set(bundle.packages())
    for package, file in models.used:
        if package in here:
            _judge_package(bundle, package, file, case)
    local = sum(1 for _, _, digest in models.activations if digest is None)
    key = history.key.kid.hex()[:16] if history.key else "unknown"
    shown = sum(1 for package, _ in models.used if package in here)
    case.attest(
        f"device key {key}…",
        f"{models.inferences} inferences name the model activated last; {len(models.activations)} "
        f"activations, {local} by local "
        f"configuration; {shown} of {len(models.used)} packages are here and have their digests",
    )


def _judge_package(bundle: Bundle, package: bytes, file: bytes, case: Case) -> None:
    try:
        files = bundle.package(package)
        found = model.package_digest(files)
    except EvidenceError as error:
        case.fail(error.code, f"model package {package.hex()}: {error.message}")
        return
    if found != package:
        case.fail("package_mismatch", f"the files under models/{package.hex()} make another package")
    elif all(sha256(data).digest() != file for data in files.values()):
        case.fail("model_file_mismatch", f"no file of package {package.hex()} is the model file that inferences name")


def judge_reexecution(history: History, models: Models, compared: Compared, done: Reexecution | None) -> None:
    """Answer reexecution from what the investigator's replay reported: ok only if every inference under the log's
    signed heads was run again and gave its output.
    """
    case = history.cases["reexecution"]
    if done is None:
        case.leave_open("not_reexecuted", "nothing was run again; `edgeseal replay --reinfer` does it")
        return
    for seq, detail in done.mismatched:
        case.fail("output_mismatch", detail, seq)
    for reason, (count, detail) in done.skipped.items():
        case.leave_open(reason, f"{count} inferences: {detail}")
    left = models.inferences - done.matched - len(done.mismatched) - sum(count for count, _ in done.skipped.values())
    if left > 0:
        case.leave_open("not_reexecuted", f"{left} inferences were not run again")
    if models.unread:
        case.leave_open("body_withheld", f"{models.unread} inferences, or leaves that may be one, cannot be read")
    if history.holes:
        case.leave_open("records_missing", "records are missing, inferences could be among them")
    need_signed(case, history, compared)
    if models.inferences:
        where = f"run again on {done.environment}"
        case.prove(f"{done.matched} inferences {where} gave their committed outputs, bit for bit")
    else:
        case.prove("this history holds no inference that could be run again")
