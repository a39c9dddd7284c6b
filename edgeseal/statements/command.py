"""Commands: what an operator orders an audience to do (``docs/format.md`` 8.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from edgeseal import cbor, limits, schema
from edgeseal.commitment import verify as verify_commitment
from edgeseal.errors import FormatError

PING: Final = "ping"
MODEL_ACTIVATE: Final = "model.activate"
ACTIONS: Final[Mapping[str, schema.Check]] = {
    PING: schema.closed({"text": schema.text(256)}),
    MODEL_ACTIVATE: schema.closed({"model": schema.digest}),
}
"""Action → shape of its argument map."""

_ACTION = re.compile(r"[a-z.]{1,64}", re.ASCII)


def _audience(value: Any, at: str) -> None:
    schema.row(schema.one_of("log", "group"), lambda item, place: None)(value, at)
    (schema.digest if value[0] == "log" else schema.name)(value[1], at)


_COMMAND = schema.closed(
    {
        "v": schema.one_of(1),
        "id": schema.binary(16, 16),
        "tenant": schema.digest,
        "aud": _audience,
        "prev": schema.digest,
        "exp": schema.uint,
        "until": schema.maybe(schema.uint),
        "keyset": schema.positive,
        "action": schema.matching(_ACTION, "name_invalid", "an action is 1-64 characters of a-z and '.'"),
        "args": schema.commit,
    }
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command's payload.

    ``audience`` is a device log id (bytes) or a group name (str); ``expires_size`` the fleet size at and above which
    it is refused; ``until_ms`` a wall time that can only refuse; ``args`` the commitment to the argument map's bytes.
    """

    NAME: ClassVar[str] = "command"

    id: bytes
    tenant: bytes
    audience: bytes | str
    prev: bytes
    expires_size: int
    until_ms: int | None
    keyset: int
    action: str
    args: tuple[int, bytes]

    @property
    def sub(self) -> str:
        """The subject: the audience."""
        return audience_subject(self.audience)

    def payload(self) -> bytes:
        """Return the payload bytes."""
        return cbor.encode(
            {
                "v": 1,
                "id": self.id,
                "tenant": self.tenant,
                "aud": ["log" if type(self.audience) is bytes else "group", self.audience],
                "prev": self.prev,
                "exp": self.expires_size,
                "until": self.until_ms,
                "keyset": self.keyset,
                "action": self.action,
                "args": list(self.args),
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Command:
        """Return the command in untrusted payload bytes. Raises FormatError: CBOR and shape codes."""
        fields = cbor.decode(payload, max_size=limits.MAX_COMMAND)
        _COMMAND(fields, "command")
        return cls(
            fields["id"],
            fields["tenant"],
            fields["aud"][1],
            fields["prev"],
            fields["exp"],
            fields["until"],
            fields["keyset"],
            fields["action"],
            (fields["args"][0], fields["args"][1]),
        )

    def open_args(self, salt: bytes, data: bytes) -> dict[str, Any]:
        """Return the argument map, once untrusted ``salt`` and ``data`` are shown to open the commitment.

        Raises:
            VerificationError: ``commitment_mismatch``.
            FormatError: ``unknown_action``, or ``args_malformed``.
        """
        if len(data) > limits.MAX_ARGS:
            raise FormatError("too_large", f"arguments of {len(data)} bytes, the limit is {limits.MAX_ARGS}")
        verify_commitment("args", self.args, salt, data)
        shape = ACTIONS.get(self.action)
        if shape is None:
            raise FormatError("unknown_action", f"no action {self.action!r}")
        try:
            fields: dict[str, Any] = cbor.decode(data, max_size=limits.MAX_ARGS)
            shape(fields, "args")
        except FormatError as error:
            raise FormatError("args_malformed", str(error)) from None
        return fields


def audience_subject(audience: bytes | str) -> str:
    """Return the CWT subject of an audience: hex of a device log id, or ``group:`` and the group's name."""
    return audience.hex() if isinstance(audience, bytes) else f"group:{audience}"
