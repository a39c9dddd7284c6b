"""The packages on a device: what was changed on the disk does not keep it from its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal.adapters.packagedir import read_package
from edgeseal.model import package_digest
from edgeseal_agent.packages import Packages

FILES = read_package(Path(__file__).parents[3] / "models" / "digits" / "package")
DIGEST = package_digest(FILES)


def test_a_package_that_was_changed_is_put_in_its_place_again(tmp_path: Path) -> None:
    packages = Packages(tmp_path)
    packages.install(FILES)
    for _ in range(2):  # however often
        name = next(iter(FILES))
        (tmp_path / DIGEST.hex() / name).write_bytes(b"changed")
        assert packages.find(DIGEST) is None
        packages.install(FILES)
        assert packages.find(DIGEST) == FILES == read_package(tmp_path / DIGEST.hex())
    (aside,) = (path for path in tmp_path.iterdir() if path.name != DIGEST.hex())
    assert (aside / name).read_bytes() == b"changed" and aside.name.startswith(".")


@pytest.mark.parametrize("kind", ["file", "link", "empty"])
def test_what_is_no_package_at_all_is_put_aside(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "packages" / DIGEST.hex()
    place.parent.mkdir()
    for _ in range(2):
        if kind == "file":
            place.write_bytes(b"")
        elif kind == "link":
            place.symlink_to(tmp_path / "nowhere")
        else:
            place.mkdir()
        Packages(place.parent).install(FILES)
        assert read_package(place) == FILES
        place.rename(tmp_path / f"kept-{len(list(tmp_path.iterdir()))}")
