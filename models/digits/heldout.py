"""The data: scikit-learn's handwritten digits, split once, and the held-out part as ``held-out.zip``.

``python -m models.digits.heldout`` writes the zip: 450 PNG images of 8x8 grey pixels, named ``<number>-<digit>.png``.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 20260901
HELD_OUT = 450


def split() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (train pixels, held-out pixels, train labels, held-out labels); pixels are of shape (n, 8, 8).

    The source's values 0 to 16 become the pixels 0, 15, 30, ... 240.
    """
    digits: Any = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    train_x, held_x, train_y, held_y = train_test_split(
        pixels, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    return train_x, held_x, train_y, held_y


def write_images(path: Path) -> None:
    """Write the held-out images as a zip of PNGs, the same bytes each time with one version of Pillow."""
    _, pixels, _, labels = split()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "PNG", optimize=True)
            archive.writestr(zipfile.ZipInfo(f"{number:03}-{label}.png"), stream.getvalue())


if __name__ == "__main__":
    write_images(Path(__file__).parent / "held-out.zip")
