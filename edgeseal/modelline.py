"""Model lines and versions as the ModelRegistry contract takes them: ids, and what publishers and approvers sign
(``docs/format.md`` 8.8).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import Final

from edgeseal.commitment import domain

NO_DIGEST: Final = bytes(32)
"""Stands for "none" where a digest may be missing: evaluation of a proposal, evaluation of an approval."""


def line_id(name: str) -> bytes:
    """Return the 32 bytes that stand for the model line ``name`` on chain."""
    return sha256(domain("model-line") + name.encode()).digest()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a publisher signs for a new version, in the order of the contract's struct.

    ``tenant`` is the thumbprint of the root key, ``line`` :func:`line_id`, ``version`` from 1, ``parent`` the version
    it was made from (0: none), ``artifact`` the package digest, the rest digests of statements; ``evaluation`` may be
    :data:`NO_DIGEST`.
    """

    tenant: bytes
    line: bytes
    version: int
    parent: int
    artifact: bytes
    dataset: bytes
    training: bytes
    evaluation: bytes

    def as_tuple(self) -> tuple[bytes | int, ...]:
        """Return the struct as the ABI takes it."""
        return astuple(self)

    def message(self, chain_id: int, contract: bytes, deadline: int) -> bytes:
        """Return what the publisher signs (ES256); ``contract`` is the registry's address (20 bytes), ``deadline`` Unix
        seconds after which the contract does not take it.
        """
        return (
            domain("model-propose") + chain_id.to_bytes(32, "big") + contract + self.tenant + self.line
            + self.version.to_bytes(8, "big") + self.parent.to_bytes(8, "big") + self.artifact + self.dataset
            + self.training + self.evaluation + deadline.to_bytes(8, "big")
        )  # fmt: skip


def approval_message(
    chain_id: int, contract: bytes, tenant: bytes, line: bytes, version: int, artifact: bytes, evaluation: bytes,
    deadline: int,
) -> bytes:  # fmt: skip
    """Return what an approver signs (ES256): with an ``evaluation`` it is the independent evaluation and counts as
    that, with :data:`NO_DIGEST` it is one of the approvals.
    """
    return (
        domain("model-approve") + chain_id.to_bytes(32, "big") + contract + tenant + line + version.to_bytes(8, "big")
        + artifact + evaluation + deadline.to_bytes(8, "big")
    )  # fmt: skip
