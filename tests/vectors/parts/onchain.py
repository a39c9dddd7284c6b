"""Format 8.7 and 8.8: what stands on chain for audiences, actions and model lines, and what is signed there."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import Cases, bad, good
from tests.vectors.encoding import ZEROS, be64, domain, hashed, token

CHAIN_ID, CONTRACT = 31337, token("a contract", 20)
LOG, TENANT, AUDIENCE = token("a fleet log"), token("a tenant"), token("a device log")
DEADLINE = 1_800_000_000


def cases() -> Cases:
    """Every case of this part."""
    yield good("audience-log", "a device log stands for itself", "audience", {"log": AUDIENCE}, id=AUDIENCE)
    for name in ("line-1", "a", "g" * 64):
        made = hashed(domain("audience"), b"group:", name.encode())
        yield good(f"audience-group-{len(name)}", "a group", "audience", {"text": name}, id=made)
    for number, action in ((0, "ping"), (1, "model.activate")):
        yield good(f"class-{number}", f"the class of {action}", "action-class", {"text": action}, number=number)
    yield bad("class-unknown", "unknown_action", "an action nobody knows", "action-class", {"text": "reboot"})
    for line in ("digits", "ü"):
        given = {"text": line}
        made = hashed(domain("model-line"), line.encode())
        yield good(f"line-{len(line.encode())}", "a model line", "model-line", given, id=made)
    yield from chains()
    yield from models()


def step(chain: bytes, digest: bytes, position: int, number: int) -> bytes:
    return hashed(domain("command-chain"), chain, digest, be64(position), bytes([number]))


def chains() -> Cases:
    entries: list[list[Any]] = [[token(f"command {at}"), 7 * at + 3, at % 2] for at in range(3)]
    after = ZEROS
    for count, (digest, position, number) in enumerate(entries, 1):
        after = step(after, digest, position, number)
        made: dict[str, Any] = {
            "chain_id": CHAIN_ID, "contract": CONTRACT, "log": LOG, "audience": AUDIENCE, "chain": ZEROS,
            "entries": entries[:count], "deadline": DEADLINE,
        }  # fmt: skip
        signed = signed_by("command-log", LOG + AUDIENCE + after)
        yield good(f"log-{count}", f"{count} commands in a call", "command-log", made, chain=after, message=signed)
    digest = token("a notice")
    halted = step(after, digest, 2**64 - 1, 5)
    made = {
        "chain_id": CHAIN_ID, "contract": CONTRACT, "log": LOG, "audience": AUDIENCE, "chain": after, "digest": digest,
        "deadline": DEADLINE,
    }  # fmt: skip
    signed = signed_by("command-halt", LOG + AUDIENCE + halted)
    yield good("halt", "an emergency halt after commands", "command-halt", made, chain=halted, message=signed)


def models() -> Cases:
    line, artifact = hashed(domain("model-line"), b"digits"), token("a package")
    dataset, training, evaluation = token("dataset"), token("training"), token("evaluation")
    for name, parent, shown in (("first", 0, ZEROS), ("next", 1, evaluation)):
        made = {
            "chain_id": CHAIN_ID, "contract": CONTRACT, "tenant": TENANT, "line": line, "version": parent + 1,
            "parent": parent, "artifact": artifact, "dataset": dataset, "training": training, "evaluation": shown,
            "deadline": DEADLINE,
        }  # fmt: skip
        rest = TENANT + line + be64(parent + 1) + be64(parent) + artifact + dataset + training + shown
        signed = signed_by("model-propose", rest)
        yield good(f"propose-{name}", "what a publisher signs", "model-propose", made, message=signed)
        approval = {key: made[key] for key in made if key not in ("parent", "dataset", "training")}
        signed = signed_by("model-approve", TENANT + line + be64(parent + 1) + artifact + shown)
        yield good(f"approve-{name}", "what an approver signs", "model-approve", approval, message=signed)


def signed_by(what: str, rest: bytes) -> bytes:
    return domain(what) + CHAIN_ID.to_bytes(32, "big") + CONTRACT + rest + be64(DEADLINE)
