"""``edgeseal chain challenge``: ask, on chain, that a head somebody was given be shown to be part of what is anchored.

Every receipt carries a signed head. Whoever holds one need not believe that the gateway anchored the same history: he
brings it to the FleetLog contract, and if nobody answers with a consistency proof by the deadline the log is in
default, for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeseal import cose, limits
from edgeseal.adapters.namedfile import read_named
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError, Unavailable, UsageError
from edgeseal.head import FleetHead, SignedFleetHead
from edgeseal.merkle import leaf_hash
from edgeseal.receipt import Receipt
from edgeseal_console.operate.eventscan import every_event
from edgeseal_console.operate.registry import Registry

STATES: Final = ("none", "open", "answered", "defaulted", "answered late")
"""``ChallengeState`` of the FleetLog, in the order of its enum."""


@dataclass(frozen=True, slots=True)
class HeldHead:
    """A fleet head that its gateway key is shown to have signed."""

    head: FleetHead
    key: PublicKey
    signature: bytes


def read_head(path: Path, statement: Path | None, key: PublicKey) -> HeldHead:
    """Return the head in an untrusted file: a signed fleet head, or an inclusion receipt with the statement it is for.

    Raises:
        UsageError: ``head_file``, ``statement_needed``. FormatError, VerificationError: not signed by ``key``, or the
        statement is not the one the receipt is for.
    """
    data = read_named(path, limits.MAX_RECEIPT, "head_file")
    try:
        signed = SignedFleetHead.decode(data)
    except FormatError as error:
        if error.code != "receipt_payload":
            raise
    else:
        return HeldHead(signed.verify(key), key, signed.signed.signature)
    receipt = Receipt.decode(data)
    if statement is None:
        raise UsageError(
            "statement_needed", "a receipt leaves its root out: it follows from the statement",
            "give --statement FILE, the leaf this receipt was given for",
        )  # fmt: skip
    head = receipt.verify_inclusion(key, leaf_hash(read_named(statement, limits.MAX_STATEMENT, "head_file")))
    return HeldHead(head, key, receipt.signed.signature)


def gateway_key(registry: Registry) -> PublicKey:
    """Return the gateway key in force, whose coordinates the log's own events carry. Raises Unavailable, Reverted."""
    contract, log = registry.log.contract, registry.network.fleet_log
    kid = bytes(registry.log.call("gatewayOf", log)[0])
    names = {contract.event_topic(name): name for name in ("Opened", "GatewayKeyChanged")}
    for one in every_event(registry, registry.log.address, [None, log]):
        name = names.get(one.log.topics[0])
        if name is not None:
            event = contract.decode_event(name, one.log)
            if cose.thumbprint(bytes(event["x"]), bytes(event["y"])) == kid:
                return PublicKey.of(bytes(event["x"]), bytes(event["y"]))
    raise Unavailable("rpc_answer", "the node shows no event with the gateway key", "give --gateway-key FILE")


def state_of(registry: Registry, head: FleetHead) -> tuple[str, int]:
    """Return where the challenge of a head stands, and the Unix second until which it may be answered."""
    state, deadline = registry.log.call("challengeOf", head.log, head.size, head.root)
    return STATES[state], int(deadline)


def challenge(registry: Registry, held: HeldHead) -> None:
    """Open the challenge; anybody may. Raises Reverted, Unavailable; UsageError ``wrong_log``."""
    head = held.head
    if head.log != registry.network.fleet_log:
        raise UsageError("wrong_log", f"the head is of fleet log {head.log.hex()}, not of this network's")
    signed = (head.size, head.root, head.prev[0], head.prev[1], held.signature[:32], held.signature[32:])
    data = registry.log.contract.encode("challenge", head.log, held.key.x, held.key.y, signed)
    registry.transactor.attempt(f"challenge the head of size {head.size}", registry.log.contract,
                                registry.log.address, data)  # fmt: skip


def mark_default(registry: Registry, head: FleetHead) -> None:
    """Mark the log in default for a challenge nobody answered in time; anybody may. Raises as :func:`challenge`."""
    data = registry.log.contract.encode("markDefault", head.log, head.size, head.root)
    registry.transactor.attempt(f"mark the default of the head of size {head.size}", registry.log.contract,
                                registry.log.address, data)  # fmt: skip
