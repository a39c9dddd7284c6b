"""Format 8: every kind of statement, its payload's defects, and signers who may not sign it."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import Key, Raw, cbor, hashed, leaf_hash, protected, sign1, token
from tests.vectors.world import (
    ARGS,
    ARGS_SALT,
    DEVICE,
    FLEET,
    GATEWAY,
    LOG,
    OPERATOR,
    OTHER_DEVICE,
    PUBLISHER,
    ROOT,
    STRANGER,
)

DIGEST = token("digest")
HELPER = Key("an operator that may only ping")
KEYSETS = {
    "first": world.keyset(),
    "scoped": world.keyset(
        version=2,
        prev=hashed(world.STATEMENTS[0]),
        keys=[*world.keyset()["keys"], {"key": HELPER.point, "role": "operator", "scope": ["command/ping"]}],
    ),
}


def given(data: Any, keyset: str = "first", device: Key | None = DEVICE) -> dict[str, Any]:
    return {"bytes": data, "keyset": cbor(KEYSETS[keyset]), "device": None if device is None else device.point}


def accepted(
    name: str, description: str, kind: str, data: bytes, payload: Any, keyset: str = "first"
) -> tuple[str, Any]:
    outcome = {"name": kind, "payload": payload, "leaf": leaf_hash(data), "digest": hashed(data)}
    return good(name, description, "statement", given(data, keyset), **outcome)


def cases() -> Cases:
    """Every case of this part."""
    yield from keysets()
    yield from enrolments()
    yield from commands()
    yield from revocations()
    yield from snapshots()
    yield from signers()
    yield from frames()


def keysets() -> Cases:
    base = world.keyset()
    sub = FLEET.hex()
    moved = KEYSETS["scoped"] | {"next": [token("successor"), 900, token("last root")]}
    for name, description, payload in (
        ("keyset", "the first keyset", base),
        ("keyset-second", "the second one", KEYSETS["scoped"]),
        ("keyset-next", "one that names a successor log", moved),
        ("keyset-two-roles", "one key in two roles", base | {"keys": [*base["keys"], role(GATEWAY, "auditor")]}),
    ):
        yield accepted(name, description, "keyset", world.statement(ROOT, "keyset", sub, payload), payload)
    first = base["keys"][0]
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("range", "version", "zero", 0),
        ("keyset_version", "prev", "of something before version 1", DIGEST),
        ("keyset_version", "version", "two without a predecessor", 2),
        ("range", "root", "x alone", [ROOT.x]),
        ("key_invalid", "root", "off the curve", [ROOT.x, ROOT.x]),
        ("range", "keys", "none", []),
        ("range", "keys", "257 of them", [first] * 257),
        ("key_invalid", "keys", "one off the curve", [first | {"key": [GATEWAY.x, GATEWAY.x]}]),
        ("enum", "keys", "an unknown role", [first | {"role": "owner"}]),
        ("missing_key", "keys", "one without scope", [{"key": GATEWAY.point, "role": "gateway"}]),
        ("range", "keys", "33 scopes", [first | {"scope": ["enrol"] * 33}]),
        ("type", "keys", "a scope of number", [first | {"scope": [1]}]),
        ("keyset_duplicate", "keys", "one twice in a role", [*base["keys"], first]),
        ("range", "anchor", "size zero", {"size": 0, "secs": 60}),
        ("extra_key", "anchor", "an unknown promise", {"size": 1, "secs": 60, "usd": 5}),
        ("range", "cadence", "zero", 0),
        ("range", "next", "without its root", [DIGEST, 4]),
        ("range", "log", "of 31 bytes", FLEET[:31]),
    ]
    for name, code, description, payload in spoiled(base, *changes):
        yield bad(
            f"keyset-{name}", code, description, "statement", given(world.statement(ROOT, "keyset", sub, payload))
        )
    large = world.statement(
        ROOT, "keyset", sub, base | {"keys": [role(Key(f"k{n}"), "auditor", 32) for n in range(17)]}
    )
    yield bad("keyset-too-large", "too_large", "above MAX_STATEMENT", "statement", given(large))


def role(key: Key, name: str, scopes: int = 0) -> dict[str, Any]:
    return {"key": key.point, "role": name, "scope": [f"command/{n:072}" for n in range(scopes)]}


def enrolments() -> Cases:
    base = world.enrolment()
    for name, description, payload in (
        ("enrolment", "a device with a software token", base),
        (
            "enrolment-tpm",
            "a device whose TPM was checked",
            base | {"assurance": "tpm-ek-verified", "evidence": DIGEST},
        ),
        ("enrolment-no-group", "a device in no group", base | {"groups": []}),
    ):
        data = world.statement(OPERATOR, "enrolment", LOG.hex(), payload)
        yield accepted(name, description, "enrolment", data, payload)
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("log_id", "key", "of another device", OTHER_DEVICE.point),
        ("log_id", "log", "of another device", world.OTHER_LOG),
        ("key_invalid", "key", "off the curve", [DEVICE.x, DEVICE.x]),
        ("range", "genesis", "of 31 bytes", DIGEST[:31]),
        ("name_invalid", "name", "with a space", "camera 7"),
        ("enum", "assurance", "an unknown level", "hsm"),
        ("type", "evidence", "text", "none"),
        ("range", "groups", "33 of them", [f"g{n}" for n in range(33)]),
        ("name_invalid", "groups", "an upper-case name", ["North"]),
        ("range", "cadence", "zero", 0),
    ]
    for name, code, description, payload in spoiled(base, *changes):
        data = world.statement(OPERATOR, "enrolment", LOG.hex(), payload)
        yield bad(f"enrolment-{name}", code, description, "statement", given(data))


def commands() -> Cases:
    base = world.command()
    data = world.statement(OPERATOR, "command", LOG.hex(), base)
    yield accepted("command", "a ping to one device", "command", data, base)
    group = base | {"aud": ["group", "north"], "until": None, "prev": DIGEST}
    data = world.statement(OPERATOR, "command", "group:north", group)
    yield accepted("command-group", "a ping to a group, without a wall time", "command", data, group)
    unknown = base | {"action": "door.open"}
    data = world.statement(OPERATOR, "command", LOG.hex(), unknown)
    yield accepted("command-unknown-action", "an action of a later version", "command", data, unknown)
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("range", "id", "of 15 bytes", base["id"][:15]),
        ("range", "aud", "one column", ["log"]),
        ("enum", "aud", "everybody", ["all", LOG]),
        ("type", "aud", "a log id as text", ["log", LOG.hex()]),
        ("name_invalid", "aud", "an upper-case group", ["group", "North"]),
        ("range", "exp", "negative", -1),
        ("type", "until", "text", "soon"),
        ("range", "keyset", "zero", 0),
        ("name_invalid", "action", "empty", ""),
        ("name_invalid", "action", "upper case", "Ping"),
        ("name_invalid", "action", "65 characters", "a" * 65),
        ("enum", "args", "mode 2", [2, DIGEST]),
    ]
    for name, code, description, payload in spoiled(base, *changes):
        data = world.statement(OPERATOR, "command", LOG.hex(), payload)
        yield bad(f"command-{name}", code, description, "statement", given(data))
    yield from arguments()


def arguments() -> Cases:
    """The opening of a command's arguments."""

    def opened(action: str, args: Any, salt: bytes = ARGS_SALT, sent: bytes | None = None) -> dict[str, Any]:
        data = args if isinstance(args, bytes) else cbor(args)
        payload = world.command(action=action, args=world.commitment("args", data, ARGS_SALT))
        return {"payload": cbor(payload), "salt": salt, "args": data if sent is None else sent}

    yield good("args-ping", "ping", "command-args", opened("ping", {"text": "hello"}), args={"text": "hello"})
    model = {"model": DIGEST}
    yield good("args-activate", "model.activate", "command-args", opened("model.activate", model), args=model)
    defects: dict[str, tuple[str, str, Any]] = {
        "other": ("commitment_mismatch", "other arguments", opened("ping", ARGS, sent=cbor({"text": "bye"}))),
        "salt": ("commitment_mismatch", "another salt", opened("ping", ARGS, salt=DIGEST)),
        "action": ("unknown_action", "an action nobody knows", opened("door.open", {})),
        "missing": ("args_malformed", "no text", opened("ping", {})),
        "extra": ("args_malformed", "an unknown argument", opened("ping", {"text": "a", "loud": True})),
        "long": ("args_malformed", "257 bytes of text", opened("ping", {"text": "a" * 257})),
        "short": ("args_malformed", "a digest of 31 bytes", opened("model.activate", {"model": DIGEST[:31]})),
        "cbor": ("args_malformed", "keys in falling order", opened("ping", Raw(b"\xa2\x61b\x00\x61a\x00").data)),
        "too-large": ("too_large", "above MAX_ARGS", opened("ping", ARGS, sent=bytes(4_097))),
    }
    for name, (code, description, value) in defects.items():
        yield bad(f"args-{name}", code, description, "command-args", value)


def revocations() -> Cases:
    base = world.revocation()
    sub = OTHER_DEVICE.kid.hex()
    yield accepted("revocation", "a lost device", "revocation", world.STATEMENTS[6], base)
    operator = base | {"kid": OPERATOR.kid, "role": "operator", "until": 0, "reason": "compromised"}
    data = world.statement(OPERATOR, "revocation", OPERATOR.kid.hex(), operator)
    yield accepted("revocation-operator", "an operator, from the beginning", "revocation", data, operator)
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("enum", "role", "root", "root"),
        ("enum", "reason", "another word", "stolen"),
        ("range", "until", "negative", -1),
        ("range", "kid", "of 31 bytes", DIGEST[:31]),
    ]
    for name, code, description, payload in spoiled(base, *changes):
        data = world.statement(OPERATOR, "revocation", sub, payload)
        yield bad(f"revocation-{name}", code, description, "statement", given(data))


def snapshots() -> Cases:
    base = world.snapshot(8, world.ENTRIES_8)
    yield accepted("snapshot", "of three subjects", "snapshot", world.STATEMENTS[7], base)
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("range", "size", "zero", 0),
        ("range", "root", "of 33 bytes", bytes(33)),
        ("range", "count", "negative", -1),
    ]
    for name, code, description, payload in spoiled(base, *changes):
        data = world.statement(GATEWAY, "snapshot", FLEET.hex(), payload)
        yield bad(f"snapshot-{name}", code, description, "statement", given(data))


def signers() -> Cases:
    """Well formed, by a key that may not say this."""
    enrolment, revocation, command = world.enrolment(), world.revocation(), world.command()
    snapshot, keyset = world.snapshot(8, world.ENTRIES_8), world.keyset()
    other = OTHER_DEVICE.kid.hex()
    defects: dict[str, tuple[str, str, bytes, str]] = {
        "enrolment-by-stranger": (
            "role_missing",
            "an unknown key enrols",
            signed(STRANGER, "enrolment", LOG.hex(), enrolment),
            "first",
        ),
        "enrolment-by-gateway": (
            "role_missing",
            "the gateway enrols",
            signed(GATEWAY, "enrolment", LOG.hex(), enrolment),
            "first",
        ),
        "enrolment-by-helper": (
            "out_of_scope",
            "a ping operator enrols",
            signed(HELPER, "enrolment", LOG.hex(), enrolment),
            "scoped",
        ),
        "revocation-by-helper": (
            "out_of_scope",
            "a ping operator revokes",
            signed(HELPER, "revocation", other, revocation),
            "scoped",
        ),
        "revocation-by-device": (
            "role_missing",
            "a device revokes",
            signed(DEVICE, "revocation", other, revocation),
            "first",
        ),
        "command-by-publisher": (
            "role_missing",
            "a publisher commands",
            signed(PUBLISHER, "command", LOG.hex(), command),
            "first",
        ),
        "command-before-keyset": (
            "role_missing",
            "an operator of the next keyset",
            signed(HELPER, "command", LOG.hex(), command),
            "first",
        ),
        "command-out-of-scope": (
            "out_of_scope",
            "a ping operator activates a model",
            signed(HELPER, "command", LOG.hex(), command | {"action": "model.activate"}),
            "scoped",
        ),
        "snapshot-by-operator": (
            "role_missing",
            "an operator makes a snapshot",
            signed(OPERATOR, "snapshot", FLEET.hex(), snapshot),
            "first",
        ),
        "keyset-by-operator": (
            "wrong_key",
            "an operator makes a keyset",
            signed(OPERATOR, "keyset", FLEET.hex(), keyset),
            "first",
        ),
        "device-head-by-other": (
            "wrong_key",
            "another device's head for this log",
            world.signed_device_head(world.HEAD_6, OTHER_DEVICE),
            "first",
        ),
    }
    for name, (code, description, data, keys) in defects.items():
        yield bad(f"signer-{name}", code, description, "statement", given(data, keys))
    yield accepted(
        "signer-in-scope",
        "a ping operator pings",
        "command",
        signed(HELPER, "command", LOG.hex(), command),
        command,
        "scoped",
    )
    yield accepted("device-head", "a device head as statement", "device-head", world.DEVICE_HEAD_6, world.HEAD_6)
    yield bad(
        "signer-unenrolled",
        "unknown_key",
        "a head of no enrolled device",
        "statement",
        given(world.DEVICE_HEAD_6, "first", None),
    )


def signed(key: Key, name: str, sub: str, payload: Any) -> bytes:
    return world.statement(key, name, sub, payload)


def frames() -> Cases:
    """What holds for every kind: subject, claims, typ, signature, size."""
    command = world.command()
    claims = protected(OPERATOR.kid, "command", LOG.hex())
    high = sign1(OPERATOR, claims, cbor(command), high=True)
    with_size = sign1(OPERATOR, protected(OPERATOR.kid, "command", LOG.hex(), size=4), cbor(command))
    defects: dict[str, tuple[str, str, Any]] = {
        "sub": (
            "claims_mismatch",
            "the subject of another device",
            signed(OPERATOR, "command", world.OTHER_LOG.hex(), command),
        ),
        "sub-group": ("claims_mismatch", "a group's subject", signed(OPERATOR, "command", "group:north", command)),
        "size-claim": ("claims_mismatch", "a size claim", with_size),
        "typ-of-another": (
            "extra_key",
            "a command called revocation",
            signed(OPERATOR, "revocation", LOG.hex(), command),
        ),
        "typ-fleet-head": ("wrong_typ", "a fleet head is no statement", world.FLEET_HEAD_8),
        "typ-unknown": ("wrong_typ", "a kind nobody knows", signed(OPERATOR, "wish", LOG.hex(), command)),
        "high-s": ("high_s", "a high-S signature", high),
        "bit": ("bad_signature", "a bit of the payload changed", world.COMMAND.replace(b"dping", b"dpinh")),
        "command-too-large": (
            "too_large",
            "a command above MAX_COMMAND",
            signed(OPERATOR, "command", LOG.hex(), bytes(4_096)),
        ),
        "head-too-large": (
            "too_large",
            "a device head above MAX_HEAD",
            signed(DEVICE, "device-head", LOG.hex(), bytes(2_048)),
        ),
        "too-large": ("too_large", "above MAX_STATEMENT", Zeros(32_769)),
        "payload-text": ("type", "a payload that is no map", signed(OPERATOR, "command", LOG.hex(), "ping")),
        "payload-trailing": (
            "cbor_trailing",
            "a byte after the payload",
            sign1(OPERATOR, claims, cbor(command) + b"\x00"),
        ),
        "payload-empty": ("cbor_truncated", "an empty payload", sign1(OPERATOR, claims, b"")),
    }
    for name, (code, description, data) in defects.items():
        yield bad(f"frame-{name}", code, description, "statement", given(data))
