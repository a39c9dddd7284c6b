"""Ask the OpenSSF's own program for the digests of known folders and write ``known-digests.json``.

Runs in an environment that holds ``model-signing==1.1.1`` and ``pyopenssl`` and nothing of edgeseal::

    python tests/models/peer.py tests/models/known-digests.json

For each case the folder is written, signed with a fresh P-256 key by ``model_signing.signing``, and the digest recorded
is the one in the signed in-toto statement: ``subject[0].digest.sha256``, read back from the signature file.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import tempfile
from pathlib import Path

PROGRAM = "model-signing 1.1.1"


def cases() -> dict[str, dict[str, bytes]]:
    """Return the folders: name of the case to path to content."""
    noise = random.Random(2026)
    names = ["manifest.yaml", "model.tflite", "labels.txt", "README.md", "golden/0-input0.bin", "golden/0-output0.bin"]
    names += [
        "golden/10-input0.bin",
        "golden/2-input0.bin",
        "A0",
        "Z/z",
        "a/b/c/d",
        "a/b/c/e",
        "a/b/d",
        "a/c",
        "_",
        "-x",
    ]
    return {
        "one-file": {"model.tflite": b"\x00\x01\x02"},
        "empty-file": {"manifest.yaml": b"", "model.tflite": b"x"},
        "same-content": {"a.bin": b"same", "b.bin": b"same"},
        "swapped-content": {"a.bin": b"1", "b.bin": b"2"},
        "swapped-names": {"a.bin": b"2", "b.bin": b"1"},
        "folders": {"golden/0.bin": b"0", "golden/1.bin": b"1", "golden/10.bin": b"10", "manifest.yaml": b"m"},
        "over-one-read": {"model.tflite": bytes(1_100_000), "manifest.yaml": b"m"},
        "many": {name: noise.randbytes(noise.randrange(200)) for name in names},
    }


def signed_digest(files: dict[str, bytes], scratch: Path) -> str:
    """Return the subject digest of the statement that the program signs for a folder of ``files``."""
    import model_signing  # type: ignore[import-not-found]
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, folder, signature = scratch / "key.pem", scratch / "package", scratch / "model.sig"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=key)
    config.sign(folder, signature)
    bundle = json.loads(signature.read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    digest: str = statement["subject"][0]["digest"]["sha256"]
    return digest


def main(target: Path) -> None:
    """Write ``target``."""
    known = {}
    for name, files in cases().items():
        with tempfile.TemporaryDirectory() as scratch:
            known[name] = signed_digest(files, Path(scratch))
    target.write_text(json.dumps({"program": PROGRAM, "digests": known}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
