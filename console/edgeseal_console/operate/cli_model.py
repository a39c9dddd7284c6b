"""``edgeseal model``: pack, inspect, publish; on chain: line, register, approve, release, grant and so on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeseal_console.operate import home as homes
from edgeseal_console.operate.cli_modelregistry import add_model_registry
from edgeseal_console.operate.words import Parsers, branch_of, gateway_of, leaf, say, show


def add_model(subparsers: Parsers) -> None:
    """Add model: packages here, the registry on chain from elsewhere."""
    branch = branch_of(
        subparsers, "model", "model packages, and their versions and grants on chain", "edgeseal model inspect ./digits"
    )
    pack = leaf(
        branch, "pack", _run_pack, "make a package from any .tflite file, golden vectors included",
        "edgeseal model pack model.tflite --name digits --version 1.0.0 --labels labels.txt --out ./digits", home=False,
    )  # fmt: skip
    pack.add_argument("tflite", type=Path, help="the model, any .tflite file")
    pack.add_argument("--name", required=True, help="what records and people call it")
    pack.add_argument("--version", required=True, help="its version, for people: the digest is what counts")
    pack.add_argument("--preprocess", type=Path, metavar="FILE", help="how PNG and JPEG become the input tensor (YAML)")
    pack.add_argument("--labels", type=Path, metavar="FILE", help="one label a line")
    pack.add_argument("--sample", type=Path, nargs="+", action="append", default=[], metavar="FILE",
                      help="inputs for a golden vector, one file for each input; seeded noise without it")  # fmt: skip
    pack.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the package: a folder that is not there yet"
    )
    inspect = leaf(
        branch, "inspect", _run_inspect, "what is in a package or a .tflite file",
        "edgeseal model inspect ./digits --check",
        home=False,
    )  # fmt: skip
    inspect.add_argument("path", type=Path, help="a package folder, or a .tflite file")
    inspect.add_argument(
        "--check", action="store_true",
        help="run the golden vectors, exit code 2 where one fails; only for models you trust",
    )  # fmt: skip
    publish = leaf(
        branch, "publish", _run_publish, "hand a package to the gateway, for devices to fetch by digest",
        "edgeseal model publish --home ./ops ./digits",
    )  # fmt: skip
    publish.add_argument("folder", type=Path, help="the package that model pack made")
    add_model_registry(branch)


def _run_pack(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import models

    packed = models.pack(
        args.tflite, args.name, args.version, args.out, preprocess=args.preprocess, labels=args.labels,
        samples=args.sample, progress=say,
    )  # fmt: skip
    digest = packed.package.digest.hex()
    return show(args, {"package": str(args.out), "digest": digest}, [f"package {args.out}", f"digest  {digest}"])


def _run_inspect(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import modelview

    rows = modelview.describe(args.path, check=args.check)
    fields: dict[str, Any] = {name.replace(" ", "_"): text for name, text in rows}
    fields |= {name: [text.strip() for other, text in rows if other == name] for name in modelview.REPEATED}
    show(args, fields, [f"{name:<13} {text}" for name, text in rows])
    return 2 if any(name == modelview.GOLDEN_CHECK and text.startswith("failed") for name, text in rows) else 0


def _run_publish(args: argparse.Namespace) -> int:
    from edgeseal import cbor
    from edgeseal.adapters.packagedir import read_package
    from edgeseal.model import parse_package

    home = homes.load(args.home)
    files = read_package(args.folder)
    digest = parse_package(files).digest.hex()
    with gateway_of(home) as gateway:
        gateway.put(f"/v1/packages/{digest}", cbor.encode(files))
    return show(args, {"digest": digest}, [f"the gateway holds package {digest}"])
