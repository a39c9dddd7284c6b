"""The steps from a bundle to a verdict.

(1) Take the tenant root and the fleet log from the trust file, or, without one, from what the devices claim, by
thumbprint only; (2) read the fleet log's statements, receipts and heads; (3) read each device's history once; (4)
settle one view of the fleet log; (5) answer each question about each log on its own; (6) roll up. Without a trust file
the questions of ``NEED_TRUST`` are not answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeseal.bundle import Bundle
from edgeseal.commitment import Opening
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError, FormatError
from edgeseal.merkle import leaf_hash
from edgeseal.record import Header, decode_body
from edgeseal.trust import Trust
from edgeseal.verify.approval import judge_approvals
from edgeseal.verify.attests import Attests, judge_attests, leave_attests_open
from edgeseal.verify.authority import judge_commands
from edgeseal.verify.case import Cases
from edgeseal.verify.chain import Anchors, ChainView
from edgeseal.verify.commands import Commands
from edgeseal.verify.fleet import Fleet
from edgeseal.verify.history import History
from edgeseal.verify.identity import Identity, identity_of, judge_attribution
from edgeseal.verify.logs import (
    Compared,
    compare,
    judge_append_only,
    judge_completeness,
    judge_integrity,
    judge_position,
)
from edgeseal.verify.models import Models, Reexecution, judge_identity, judge_reexecution
from edgeseal.verify.policy import Policy
from edgeseal.verify.reading import Reading
from edgeseal.verify.state import States
from edgeseal.verify.times import Silence, judge_cadence, judge_existed_after, judge_existed_by
from edgeseal.verify.validity import judge_key_valid
from edgeseal.verify.verdict import (
    NEED_TRUST,
    PROVED,
    Answer,
    ChainShown,
    DeviceVerdict,
    Failure,
    Unanswered,
    Verdict,
    roll_up,
)
from edgeseal.verify.view import View
from edgeseal.verify.views import judge_device, judge_fleet

_NO_TRUST = "no trust file was given, so keys are known by thumbprint only"

FLEET_QUESTIONS = frozenset(
    {
        "single_view_fleet",
        "append_only",
        "position",
        "existed_by",
        "key_valid",
        "command_authority",
        "model_identity",
    }
)
"""Questions that are (also) about the fleet log, or the chain it stands on, as a whole."""


class Verification:
    """One verification, step by step. Used once."""

    def __init__(
        self,
        bundle: Bundle,
        trust: Trust | None,
        chain: ChainView | None,
        asked: tuple[str, ...],
        reexecuted: Mapping[bytes, Reexecution],
        progress: Callable[[str], None],
    ) -> None:
        self._bundle = bundle
        self._trust = trust
        self._chain = chain if trust else None
        self._asked = asked
        self._reexecuted = reexecuted
        self._progress = progress
        self._histories: dict[bytes, History] = {}
        self._activated: frozenset[bytes] = frozenset()
        self._states: States | None = None
        self._watchers: dict[bytes, tuple[Silence, Commands, Policy, Models]] = {}
        self._attests: dict[bytes, Attests] = {}
        self._identities: dict[bytes, Identity] = {}

    def run(self) -> Verdict:
        """Take the steps and return the verdict. Raises FormatError where a file of the bundle cannot be read."""
        bundle = self._bundle
        # (1)
        first = {log: _begin(bundle, log) for log in sorted([*bundle.logs(), *bundle.absent()])}
        fleet = self._fleet(first)
        # (2)
        if fleet is not None:
            self._progress("fleet log")
            fleet.keys.update({key.kid: key for _, key in first.values() if key is not None})
            fleet.load(bundle)
        # (3)
        for number, log in enumerate(first, 1):
            self._progress(f"device log {number} of {len(first)}, {log.hex()[:16]}…")
            self._read(log, fleet, first[log][1])
        if fleet is not None:
            fleet.retry(leaf_hash(f.raw) for h in self._histories.values() for f in h.heads if f.position is None)
        # (4)
        anchors = Anchors(self._trust, self._chain)
        anchors.load(bundle.anchors())
        if self._trust is not None:
            self._states = States(self._trust)
            self._states.load(bundle, anchors, self._chain.proofs if self._chain else None)
        view = self._view(fleet, anchors)
        # (5)
        shared = Cases(None, frozenset(self._asked))
        for log, history in self._histories.items():
            identity = identity_of(history, view, bundle, self._trust) if view is not None else None
            if identity is not None:
                self._identities[log] = identity
        for log, history in self._histories.items():
            self._judge(history, *self._watchers[log], view)
        if view is not None:
            judge_fleet(shared, view, self._histories.values())
        for reason, detail in anchors.failures:
            shared["existed_by"].fail(reason, detail)
        for question, reason, detail in self._states.failures if self._states else ():
            shared[question].fail(reason, detail)
        # (6)
        return self._roll_up(shared, view)

    def _fleet(self, first: Mapping[bytes, tuple[dict[str, bytes] | None, PublicKey | None]]) -> Fleet | None:
        if self._trust is not None:
            return Fleet(self._trust.fleet_log, self._trust.tenant_root.kid)
        claimed = [genesis for genesis, _ in first.values() if genesis is not None]
        return Fleet(claimed[0]["home"], claimed[0]["root"]) if claimed else None

    def _read(self, log: bytes, fleet: Fleet | None, key: PublicKey | None) -> None:
        history = History(log, Cases(log, frozenset(self._asked)))
        placed = fleet.device_heads(log) if fleet else []
        keys = dict(fleet.keys) if fleet else {k.kid: k for k in self._bundle.public_keys()}
        if key is not None:
            keys[key.kid] = key
        history.take_heads(self._bundle, placed, keys)
        silence, commands = Silence(), Commands(history, fleet)
        policy, models = Policy(history, fleet), Models(history)
        attests = self._attests[log] = Attests()
        Reading(history, (silence, commands, policy, models, attests), models.infer).run(self._bundle)
        if fleet is not None and history.genesis is not None and history.genesis["home"] == fleet.log:
            before = len(fleet.defects)
            fleet.take_head(history.genesis["fleet"], f"the genesis of log {log.hex()[:16]}…")
            history.defects = fleet.defects[before:]
            del fleet.defects[before:]
        self._histories[log] = history
        self._watchers[log] = (silence, commands, policy, models)

    def _view(self, fleet: Fleet | None, anchors: Anchors) -> View | None:
        if fleet is None:
            return None
        view = View(fleet, anchors, self._states)
        heads = (fact.head for history in self._histories.values() for fact in history.heads)
        view.need_roots({head.seen.size for head in heads if head.seen and head.seen.log == fleet.log})
        view.settle(self._bundle.consistency(), self._bundle.snapshot_proofs())
        return view

    def _judge(
        self, history: History, silence: Silence, commands: Commands, policy: Policy, models: Models, view: View | None
    ) -> None:
        compared: Compared = compare(history)
        openings = self._openings(history.log, {taken.seq for taken in commands.received})
        judge_integrity(history, compared)
        judge_append_only(history, compared)
        judge_position(history, compared, view)
        judge_completeness(history, compared, view, self._histories)
        identity = self._identities.get(history.log)
        shown = None if identity is None else identity.shown
        proved = identity is not None and identity.assurance.ground == PROVED
        enrolment = None if identity is None or shown is not None else identity.enrolment
        named = enrolment is not None and enrolment.evidence is not None and enrolment.assurance.startswith("tpm")
        judge_attests(history, self._attests[history.log], None if shown is None else shown.ak, proved)
        leave_attests_open(history, self._attests[history.log], named)
        policy.judge(compared)
        judge_cadence(history, silence, compared, view)
        judge_identity(history, models, commands, compared, self._bundle, openings)
        judge_approvals(history, models, compared, view)
        judge_reexecution(history, models, compared, self._reexecuted.get(history.log))
        if view is not None and self._trust is not None:
            others = [other for log, other in self._identities.items() if log != history.log]
            judge_attribution(history, compared, view, identity, others)
            judge_key_valid(history, view)
            judge_device(history, compared, view, self._histories)
            judge_existed_by(history, compared, view)
            judge_existed_after(history, compared, view)
            self._activated |= judge_commands(history, commands, compared, view, openings)

    def _openings(self, log: bytes, wanted: set[int]) -> dict[tuple[int, str], Opening]:
        """Return the openings of commands' arguments; those of inferences are replay's to use."""
        if not wanted:
            return {}
        return {(o.seq, o.field): o for o in self._bundle.openings(log) if o.field == "args" and o.seq in wanted}

    def _roll_up(self, shared: Cases, view: View | None) -> Verdict:
        devices = []
        for log, history in sorted(self._histories.items()):
            answers = {
                question: self._answer(history.cases, question)
                for question in self._asked
                if question != "single_view_fleet"
            }
            kid = history.key.kid if history.key else None
            known = self._identities.get(log) if self._trust is not None else None
            level = None if known is None else known.assurance.as_json()
            devices.append(DeviceVerdict(log, kid, history.records, answers, level))
        questions = {}
        for question in self._asked:
            about = [device.questions[question] for device in devices if question in device.questions]
            if question == "single_view_fleet":
                about = [self._answer(shared, question)]
            elif question in FLEET_QUESTIONS and (shared[question].failures or shared[question].open):
                about.append(self._answer(shared, question))
            questions[question] = roll_up(about)
        all_cases = [history.cases for _, history in sorted(self._histories.items())] + [shared]
        return Verdict(
            self._asked,
            questions,
            self._listed_failures(all_cases),
            self._listed_unanswered(all_cases),
            devices,
            sum(history.records for history in self._histories.values()),
            sum(len(history.heads) for history in self._histories.values()),
            view.fleet.statements if view else 0,
            activated=self._activated,
            chain=_shown(self._states),
        )

    def _answer(self, cases: Cases, question: str) -> Answer:
        if self._trust is None and question in NEED_TRUST:
            return Answer("not_answered", _NO_TRUST, reason="no_trust")
        return cases[question].answer()

    def _listed_failures(self, all_cases: list[Cases]) -> list[tuple[str, Failure]]:
        return [
            (question, failure)
            for question in self._asked
            if self._trust is not None or question not in NEED_TRUST
            for cases in all_cases
            for failure in cases[question].failures
        ]

    def _listed_unanswered(self, all_cases: list[Cases]) -> list[tuple[str, Unanswered]]:
        found = []
        for question in self._asked:
            if self._trust is None and question in NEED_TRUST:
                found.append((question, Unanswered(None, "no_trust", _NO_TRUST)))
                continue
            for cases in all_cases:
                found += [(question, entry) for entry in cases[question].open]
        return found


def _shown(states: States | None) -> ChainShown | None:
    """Return what is said of the chain beside the answers, None where no state on it is believed."""
    if states is None or not states.believed:
        return None
    blocks = tuple((state.block, state.number, state.time, state.size) for state in states.believed)
    return ChainShown(blocks, tuple(states.commands))


def _begin(bundle: Bundle, log: bytes) -> tuple[dict[str, bytes] | None, PublicKey | None]:
    """Return (genesis body, bound key) of a log where its first two records are whole and well formed; nothing is
    believed of it.
    """
    for start, items in bundle.records(log):
        bodies = []
        for wanted, item in zip(("genesis", "key.bound"), items, strict=False):
            try:
                if start or item[0] != 0 or Header.decode(item[1]).kind != wanted:
                    return None, None
                bodies.append(decode_body(wanted, item[2]))
            except (EvidenceError, TypeError, IndexError, KeyError):
                return None, None
        if len(bodies) < 2:
            return None, None
        try:
            return bodies[0], PublicKey.from_point(bodies[1]["key"])
        except FormatError:
            return bodies[0], None
    return None, None
