"""What the gateway stores and what a collected bundle shows, read by tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from edgeseal import cbor, limits, statements
from edgeseal.head import DeviceHead, SignedDeviceHead
from edgeseal_console.demo.fleet import Device, Fleet
from edgeseal_console.investigate.opening import opened


@dataclass(frozen=True)
class Stored:
    """One record at the gateway: its position, leaf hash and kind, computed from the header's bytes."""

    seq: int
    leaf: str
    kind: str


def stored(fleet: Fleet, device: Device) -> Iterator[Stored]:
    """Yield the gateway's records of a device, by its export."""
    start = 0
    with fleet.api() as api:
        while True:
            data = api.get_bytes(f"/v1/export/records/{device.log}", {"from": start, "limit": 2048})
            page = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS)
            if not page["items"]:
                return
            assert page["from"] == start
            for number, (form, header, _) in enumerate(page["items"], start):
                assert form == 0, f"record {number} is not whole"
                fields = cbor.decode(header, max_size=limits.MAX_HEADER)
                assert fields["seq"] == number
                yield Stored(number, sha256(b"\0" + header).hexdigest(), fields["kind"])
            start += len(page["items"])


def collect(
    fleet: Fleet, devices: Sequence[Device], folder: Path, trusted: Sequence[str | Path] = ()
) -> tuple[Path, Path]:
    """Export, collect, and write a trust file, by the command lines; return (bundle, trust file).

    ``trusted`` are more words for ``edgeseal trust``.
    """
    bundle, trust, exports = folder / "bundle.zip", folder / "trust.yaml", []
    for device in devices:
        export = folder / f"{device.name}.zip"
        fleet.run("edgeseal-agent", "export", "--config", device.config, "--out", export)
        exports += ["--device", str(export)]
    fleet.run("edgeseal", "collect", "--home", fleet.home, *exports, "--anchored", "--out", bundle)
    blocks = [word for block in fleet.anchor_blocks() for word in ("--block", block)]
    fleet.run("edgeseal", "trust", "--home", fleet.home, *blocks, *trusted, "--out", trust)
    return bundle, trust


def verdict(fleet: Fleet, bundle: Path, trust: Path, ask: str | None = None) -> dict[str, Any]:
    """Return what ``edgeseal verify`` answers offline, to some questions or to all."""
    asked = ["--ask", ask] if ask else []
    answer: dict[str, Any] = fleet.run_json("edgeseal", "verify", bundle, "--trust", trust, *asked, ok=(0, 2, 3))
    return answer


def head_sizes(fleet: Fleet, device: Device) -> set[int]:
    """Return the sizes of the device's heads that the gateway holds."""
    sizes: set[int] = set()
    with fleet.api() as api:
        while True:
            query = {"from": max(sizes, default=0) + 1, "limit": 1024}
            heads = cbor.decode(
                api.get_bytes(f"/v1/export/heads/{device.log}", query),
                max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS,
            )  # fmt: skip
            if not heads:
                return sizes
            sizes |= {SignedDeviceHead.decode(head).head.size for head in heads}


def receipted_sizes(export: Path) -> set[int]:
    """Return the sizes of the device's heads for which its export shows a receipt that it checked."""
    with opened(export) as found:
        contents = [statements.decode(data).content for _, data in found.statements()]
    return {content.size for content in contents if isinstance(content, DeviceHead)}


def input_files(bundle: Path, device: Device) -> list[str]:
    """Return the digests of the input files of a device's inferences, in the order of its log."""
    with opened(bundle) as evidence:
        openings = [item for item in evidence.openings(bytes.fromhex(device.log)) if item.field == "input"]
    return [file_digest(opening) for opening in sorted(openings, key=lambda item: item.seq)]


def file_digest(opening: Any) -> str:
    """Return the digest of the file that an opening names or holds."""
    digest: bytes = opening.file if opening.file is not None else sha256(opening.data).digest()
    return digest.hex()
