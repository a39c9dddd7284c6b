"""What people can do to a device with a TPM, and to what its TPM showed."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from tests.enrolments import AUTHORITY, attest, evidence_of
from tests.softtpm import SoftTpm
from tests.tamper.evidence import DEVICE, Evidence, row
from tests.world import Device, World

OPERATOR = "operator"
THIEF = "who holds the device's disk"
ATTESTS = "attest records, the enrolment's transcript"


def site(tpm: SoftTpm, shown: SoftTpm | None = None) -> tuple[World, Device, list[bytes]]:
    """Return a world with a device whose TPM attested once; ``shown`` is the TPM of the transcript, if another."""
    world = World()
    world.anchor(tell=False)
    device = world.device("cam-1", enrol=False)
    transcript = evidence_of(device, shown or tpm)
    world.enrol(device, assurance="tpm-ek-verified", evidence=sha256(transcript).digest())
    device.seal()
    attest(device, tpm)
    return world, device, [transcript]


def given(world: World, transcripts: list[bytes]) -> Evidence:
    """Deliver, anchor and collect."""
    for device in world.devices:
        if device.last[0] < device.size:
            device.seal()
        world.deliver(device)
    world.anchor()
    files = world.files() | {f"enrolments/{sha256(data).hexdigest()}.cbor": data for data in transcripts}
    return Evidence(Bundle(MemorySource(files)), replace(world.trust(), ek_authorities=frozenset({AUTHORITY})))


def pass_time(tpm: SoftTpm, device: Device, powered_s: int, wall_s: int) -> None:
    """Let time go by for the TPM and for the wall clock."""
    tpm.clock += 1_000 * powered_s
    device.t += 1_000 * wall_s


def later(
    tpm: SoftTpm, world: World, device: Device, transcripts: list[bytes], powered_s: int = 20, wall_s: int = 20
) -> Evidence:
    """Let time go by, have the TPM attest again, and collect."""
    pass_time(tpm, device, powered_s, wall_s)
    attest(device, tpm)
    return given(world, transcripts)


@row("none: a TPM attests in order", DEVICE, ATTESTS, "append_only", "ok", "PROVED")
def honest_tpm() -> Evidence:
    tpm = SoftTpm("one")
    world, device, transcripts = site(tpm)
    return later(tpm, world, device, transcripts)


@row("put an older image of the disk back", THIEF, ATTESTS, "completeness", "not_answered", "attests_missing")
def older_image() -> Evidence:
    tpm = SoftTpm("one")
    world, device, transcripts = site(tpm)
    tpm.counter, tpm.resets = tpm.counter + 3, tpm.resets + 1  # what was attested after the image was taken
    return later(tpm, world, device, transcripts)


@row("start the machine without a record", THIEF, ATTESTS, "cadence", "not_answered", "boots_missing")
def unrecorded_start() -> Evidence:
    tpm = SoftTpm("one")
    world, device, transcripts = site(tpm)
    tpm.resets += 2
    return later(tpm, world, device, transcripts)


@row("set the wall clock back", DEVICE, ATTESTS, "cadence", "not_answered", "clock_contradicts_tpm")
def wall_clock_back() -> Evidence:
    tpm = SoftTpm("one")
    world, device, transcripts = site(tpm)
    return later(tpm, world, device, transcripts, powered_s=86_400, wall_s=10)


@row("record an old attestation again", DEVICE, ATTESTS, "append_only", "failed", "tpm_clock_fell", 4)
def old_attestation() -> Evidence:
    tpm = SoftTpm("one")
    world, device, transcripts = site(tpm)
    tpm.counter -= 1
    attest(device, tpm)
    return given(world, transcripts)


@row("carry the log on with another TPM", DEVICE, ATTESTS, "append_only", "failed", "bad_signature", 3)
def another_tpm_attests() -> Evidence:
    world, _, transcripts = site(SoftTpm("other"), SoftTpm("one"))
    return given(world, transcripts)


@row(
    "sign an enrolment with another device's transcript",
    OPERATOR,
    ATTESTS,
    "attribution",
    "failed",
    "evidence_mismatch",
)
def borrowed_transcript() -> Evidence:
    world = World()
    world.anchor(tell=False)
    lender, device = world.device("cam-1", enrol=False), world.device("cam-2", enrol=False)
    transcript = evidence_of(lender, SoftTpm("one"))
    for one in (lender, device):
        world.enrol(one, assurance="tpm-ek-verified", evidence=sha256(transcript).digest())
    return given(world, [transcript])


@row("give a device's name to another TPM", OPERATOR, ATTESTS, "attribution", "failed", "tpm_differs")
def name_moved() -> Evidence:
    world, _, transcripts = site(SoftTpm("one"))
    second = world.device("cam-1", enrol=False, epoch=2)
    transcripts.append(evidence_of(second, SoftTpm("other")))
    world.enrol(second, assurance="tpm-ek-verified", evidence=sha256(transcripts[1]).digest())
    return given(world, transcripts)
