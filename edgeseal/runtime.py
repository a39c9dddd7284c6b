"""What executed a model, and when two executions owe each other the same bytes (docs/format.md, 4 and 13).

Measured, and the reason for the rule below: an all-integer model gives bit-identical outputs wherever family, delegate
and resolver are equal: in another process, with other thread counts, on x86-64 and aarch64, between LiteRT 1.4 and 2.3
with XNNPACK. Without a delegate LiteRT's own integer kernels differ between architectures, with and without a delegate
int8 differs by up to 12 steps, and floating point differs between CPU models even with one version of one runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from edgeseal.errors import FormatError
from edgeseal.limits import MAX_RUNTIME_TEXT

Arithmetic: TypeAlias = Literal["integer", "float"]
"""``integer`` when no tensor of the model, constants included, is floating point."""

NO_DELEGATE: Final = "none"


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """Names an execution environment, in the order of a record's ``runtime`` array.

    ``family`` is the package (``ai-edge-litert``, ``tflite-runtime``), ``delegate`` what took nodes over (``xnnpack``,
    ``none``, ``external:`` and a library's file name), ``resolver`` the kernel set (``auto``, ``builtin``,
    ``reference``), ``arch`` the machine as ``uname -m`` says it. Texts are 1 to 64 bytes.
    """

    family: str
    version: str
    delegate: str
    resolver: str
    threads: int
    arch: str

    def to_list(self) -> list[str | int]:
        """Return the array that stands under ``rt`` in an inference body."""
        return [self.family, self.version, self.delegate, self.resolver, self.threads, self.arch]


@dataclass(frozen=True, slots=True)
class Exactness:
    """Whether equal outputs are owed; ``differences`` says in words why not, and is empty if and only if ``owed``."""

    owed: bool
    differences: tuple[str, ...]


def parse_runtime(value: object) -> RuntimeInfo:
    """Return the runtime that a decoded ``rt`` array (untrusted) names.

    Raises FormatError and nothing else: ``runtime_shape`` (not six items), ``runtime_type``, ``runtime_range``.
    """
    if type(value) is not list or len(value) != len(fields(RuntimeInfo)):
        raise FormatError(
            "runtime_shape", "a runtime is an array of family, version, delegate, resolver, threads, arch"
        )
    family, version, delegate, resolver, threads, arch = value
    for text in (family, version, delegate, resolver, arch):
        if type(text) is not str:
            raise FormatError("runtime_type", "a runtime's names are text")
        if not 1 <= len(text.encode()) <= MAX_RUNTIME_TEXT:
            raise FormatError("runtime_range", f"a runtime's names are 1 to {MAX_RUNTIME_TEXT} bytes")
    if type(threads) is not int:
        raise FormatError("runtime_type", "a runtime's thread count is an integer")
    if not 1 <= threads <= 1024:
        raise FormatError("runtime_range", "a runtime's thread count is 1 to 1024")
    return RuntimeInfo(family, version, delegate, resolver, threads, arch)


def exactness(recorded: RuntimeInfo, current: RuntimeInfo, arithmetic: Arithmetic) -> Exactness:
    """Say whether ``current`` must reproduce, bit for bit, what the same model and input gave under ``recorded``.

    Equal outputs prove a re-execution whatever this says. Unequal outputs are a failure only where equality is owed;
    elsewhere the answer is ``not_answered`` and ``differences`` is the reason to print.
    """
    found = [
        f"{what}: recorded {was}, here {now}"
        for what, was, now in (
            ("runtime family", recorded.family, current.family),
            ("delegate", recorded.delegate, current.delegate),
            ("resolver", recorded.resolver, current.resolver),
        )
        if was != now
    ]
    if recorded.delegate == NO_DELEGATE and recorded.arch != current.arch:
        found.append(f"architecture, with no delegate: recorded {recorded.arch}, here {current.arch}")
    if arithmetic == "float":
        found.append("the model computes in floating point, which is bit-exact only on the same CPU model and version")
    return Exactness(not found, tuple(found))
