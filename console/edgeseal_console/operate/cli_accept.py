"""``edgeseal identity applicants`` and ``accept``: devices that ask to be enrolled, and the answer."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeseal_console.operate import home as homes
from edgeseal_console.operate.words import Parsers, gateway_of, leaf, say, show


def add_accept(branch: Parsers) -> None:
    """Add applicants and accept."""
    leaf(
        branch, "applicants", _run_applicants, "devices that applied with a claim token, by fingerprint",
        "edgeseal identity applicants --home ./ops",
    )  # fmt: skip
    accept = leaf(
        branch, "accept", _run_accept, "enrol a device that applied: ask its TPM, then sign what it showed",
        "edgeseal identity accept --home ./ops 9f31…c0 --ek-ca tpm-maker-root.pem",
    )  # fmt: skip
    accept.add_argument("fingerprint", help="as the device shows it, 32 hexadecimal digits of it at least")
    accept.add_argument(
        "--ek-ca", type=Path, action="append", default=[], metavar="FILE",
        help="certificates of TPM makers whom you believe, PEM or DER; without a way to one: tpm-unverified",
    )  # fmt: skip
    accept.add_argument("--groups", metavar="G,…", help="groups it belongs to; default: those it asks for")
    accept.add_argument("--cadence", type=int, help="seconds between heartbeats; default: what it declares")
    accept.add_argument("--wait", type=float, default=120.0, metavar="S", help="for the device's answer (%(default)s)")


def _run_applicants(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import accepting

    with gateway_of(homes.load(args.home)) as gateway:
        found = accepting.applicants(gateway)
    lines = [f"{'FINGERPRINT':<64} {'DEVICE':<16} {'KEY IN':<8} {'CERTIFIED':<9} STATE"]
    for one in found:
        certified = "yes" if one["certified"] else "no"
        lines.append(f"{one['offer']:<64} {one['name']:<16} {one['kind']:<8} {certified:<9} {one['state']}")
    return show(args, {"enrolments": found}, [line.encode("unicode_escape").decode() for line in lines])


def _run_accept(args: argparse.Namespace) -> int:
    from edgeseal.attestation import evidence_digest
    from edgeseal_console.operate import accepting, signing
    from edgeseal_console.operate.registry import Registry

    home = homes.load(args.home)
    network, issuers = home.network(), accepting.certificates(args.ek_ca)
    registry = Registry(home, network, say)
    with gateway_of(home) as gateway:
        offer = accepting.offer_of(gateway, args.fingerprint)
        made = accepting.kept(home.folder, offer)
        if made is None:
            known = registry.entry(offer.key.kid) is not None
            possession = None if known else registry.challenge(offer.key.kid, "device", evidence=offer.digest)
            made = accepting.exchange(gateway, offer, possession, issuers, args.wait, say)
        accepting.check_name(gateway, made.shown)
        level = accepting.level_of(made.shown, accepting.authority_digests(issuers))
        groups = list(offer.groups) if args.groups is None else [word for word in args.groups.split(",") if word]
        content = accepting.enrolment(made.shown, made.evidence, level, groups, args.cadence or offer.cadence_s)
        registry.register(offer.key, "device", offer.digest, proof=made.proof)
        accepting.keep(home.folder, offer, made)
        # Durable: the key's registration and the transcript. A second try goes on with them and asks nothing again.
        accepting.publish_evidence(gateway, offer, made.evidence)
        answer = signing.publish(gateway, signing.sign(content, home.operator()))
    fields = {
        "name": content.name, "log": content.log.hex(), "kid": content.key.kid.hex(), "pos": answer["pos"],
        "assurance": level, "evidence": evidence_digest(made.evidence).hex(),
    }  # fmt: skip
    return show(args, fields, [
        f"enrolled {content.name} at fleet position {answer['pos']} as {level}",
        f"  log {content.log.hex()}",
        f"  kid {content.key.kid.hex()}   the device shows the same: edgeseal-agent status",
    ])  # fmt: skip
