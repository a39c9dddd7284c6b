"""The sections ``seal``, ``storage`` and ``incidents``: when records are signed, and how long they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeseal import strictyaml
from edgeseal.errors import FormatError
from edgeseal_agent import configfields as fields

MAX_HEAD_EVERY: Final = 256
"""Most records one head may cover: with it a segment always fits its limits."""
MIN_BODY_RETENTION_DAYS: Final = 184
"""Shortest time after which retention may erase a record's body: half a year."""
INCIDENT_CAUSES: Final = ("tamper", "fault", "gap", "denied", "model.rejected", "command.refused")
"""What may open an incident by itself."""
RETENTION_CLASSES: Final = ("telemetry", "inference", "decision")
"""Classes of records whose bodies retention may erase."""


@dataclass(frozen=True, slots=True)
class SealConfig:
    """When a head is cut: after ``head_every`` records or ``head_max_ms`` after the first one not covered."""

    head_every: int
    head_max_ms: int
    heartbeat_s: int


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """The disk: the store's quota, what happens when it is reached, and how long inputs are kept.

    At the quota ``when_full`` either stops the agent (``stop``) or goes on without keeping inputs and openings
    (``drop_inputs``, a ``gap`` record says so), or also takes the bodies of records, lowest class first, from nine
    tenths of the quota on (``thin``, ``thinned`` records say which); inputs wait in their source for the room this
    makes, and when no body is left that may go the agent stops after all. Below ``min_free_mb`` of free disk it always
    stops. Inputs and openings are deleted ``retention_days`` after they were recorded, and never before the gateway's
    receipt covers their record; 0 keeps them for ever. Bodies of records are erased, with a ``tombstone`` record,
    ``body_retention_days`` after they were recorded (at least half a year) and never before a receipt; 0 keeps them.
    ``class_retention_days`` says so for one class of records (``telemetry inference decision``) alone. Headers are
    never deleted. When nothing can be recorded ``on_failure`` either ends the agent (``stop``) or lets the model go on,
    counts, and records a ``gap`` with the count as soon as that is possible again (``degrade``). With ``ring_records``
    inputs and openings are kept only of the newest records, so many, and of those that an incident holds.
    """

    quota_mb: int
    when_full: str
    min_free_mb: int
    retain_inputs: bool
    retention_days: int
    body_retention_days: int = 0
    class_retention_days: tuple[tuple[str, int], ...] = ()
    on_failure: str = "stop"
    ring_records: int = 0

    def retention_of(self) -> dict[str, int]:
        """Return the days after which bodies go, by class; 0: never."""
        return dict.fromkeys(RETENTION_CLASSES, self.body_retention_days) | dict(self.class_retention_days)


@dataclass(frozen=True, slots=True)
class IncidentConfig:
    """What opens an incident by itself: causes ``on`` (kinds of records, or ``denied``), and the window in records."""

    on: tuple[str, ...] = ()
    before: int = 1_000
    after: int = 1_000


def read_seal(section: strictyaml.Section) -> SealConfig:
    """Read the section ``seal``. Raises FormatError."""
    seal = SealConfig(
        head_every=section.integer("head_every", 1, MAX_HEAD_EVERY, 64),
        head_max_ms=section.integer("head_max_ms", 10, 3_600_000, 1_000),
        heartbeat_s=section.integer("heartbeat_s", 1, 86_400, 60),
    )
    section.done()
    return seal


def read_storage(section: strictyaml.Section) -> StorageConfig:
    """Read the section ``storage``. Raises FormatError."""
    storage = StorageConfig(
        quota_mb=section.integer("quota_mb", 1, 2**24, 4_096),
        when_full=section.text("when_full", "stop|drop_inputs|thin", "stop"),
        min_free_mb=section.integer("min_free_mb", 0, 2**24, 64),
        retain_inputs=section.boolean("retain_inputs", True),
        retention_days=section.integer("retention_days", 0, 36_500, 0),
        body_retention_days=section.integer("body_retention_days", 0, 36_500, 0),
        class_retention_days=_class_days(fields.optional(section, "class_retention_days")),
        on_failure=section.text("on_failure", "stop|degrade", "stop"),
        ring_records=section.integer("ring_records", 0, 2**31, 0),
    )
    section.done()
    for days in (storage.body_retention_days, *dict(storage.class_retention_days).values()):
        if 0 < days < MIN_BODY_RETENTION_DAYS:
            raise FormatError(
                "yaml_range", f"{section.path('body_retention_days')}: 0 or at least {MIN_BODY_RETENTION_DAYS} days"
            )
    return storage


def _class_days(section: strictyaml.Section) -> tuple[tuple[str, int], ...]:
    found = [(name, section.integer(name, 0, 36_500)) for name in RETENTION_CLASSES if name in section]
    section.done()
    return tuple(found)


def read_incidents(section: strictyaml.Section) -> IncidentConfig:
    """Read the section ``incidents``. Raises FormatError."""
    causes = section.sequence("on", len(INCIDENT_CAUSES), [])
    holder = strictyaml.Section({str(number): cause for number, cause in enumerate(causes)}, section.path("on"))
    incidents = IncidentConfig(
        on=tuple(holder.text(str(number), "|".join(INCIDENT_CAUSES)) for number in range(len(causes))),
        before=section.integer("before", 0, 1_000_000, 1_000),
        after=section.integer("after", 0, 1_000_000, 1_000),
    )
    section.done()
    return incidents
