"""Write ``models/digits/package`` anew from ``digits.tflite``, with the first ten held-out images as golden inputs."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from edgeseal_console.operate.models import pack

HERE = Path(__file__).parent


def main() -> None:
    """Pack, and replace the old package only when the new one stands."""
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(HERE / "held-out.zip") as images:
        samples = [[Path(images.extract(name, scratch))] for name in sorted(images.namelist())[:10]]
        packed = pack(
            HERE / "digits.tflite",
            "digits",
            "1.0.0",
            Path(scratch) / "package",
            preprocess=HERE / "preprocess.yaml",
            labels=HERE / "labels.txt",
            samples=samples,
            progress=print,
        )
        shutil.rmtree(HERE / "package", ignore_errors=True)
        shutil.copytree(packed.folder, HERE / "package")
        print(packed.package.digest.hex())


if __name__ == "__main__":
    main()
