"""schema: the short ways through its checks accept and refuse what the definitions say, and name the place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseal import limits, schema
from edgeseal.errors import FormatError

anything = st.one_of(
    st.integers(min_value=-(2**65), max_value=2**65), st.booleans(), st.none(), st.text(max_size=80),
    st.binary(max_size=40), st.lists(st.integers(), max_size=3), st.text("aé", min_size=60, max_size=300),
)  # fmt: skip


def refusal(check: schema.Check, value: Any) -> str | None:
    """Return the code with which a check refuses a value, None when it accepts it."""
    try:
        check(value, "x")
    except FormatError as error:
        return error.code
    return None


def of_pub(value: dict[Any, Any]) -> bool:
    """What docs/format.md 4 says of public fields."""
    if len(value) > limits.MAX_PUB_ENTRIES:
        return False
    for key, item in value.items():
        if type(key) is not str or not 1 <= len(key.encode()) <= limits.MAX_PUB_KEY:
            return False
        if type(item) is int:
            if not -(2**63) <= item < 2**63:
                return False
        elif type(item) in (str, bytes):
            if len(item.encode() if isinstance(item, str) else item) > limits.MAX_PUB_VALUE:
                return False
        elif type(item) is not bool:
            return False
    return True


@given(st.dictionaries(st.one_of(st.text(max_size=70), st.integers()), anything, max_size=20))
def test_public_fields_are_what_the_format_says(value: dict[Any, Any]) -> None:
    assert (refusal(schema.pub, value) is None) == of_pub(value)


@given(st.one_of(st.text(max_size=20), st.text("aé€", max_size=20), st.binary(max_size=5)), st.integers(0, 9))
def test_text_is_measured_in_bytes(value: Any, least: int) -> None:
    fits = type(value) is str and least <= len(value.encode()) <= 20
    assert (refusal(schema.text(20, least), value) is None) == fits


@given(anything, st.lists(anything.filter(lambda one: not isinstance(one, list)), min_size=1, max_size=4))
def test_one_of_tells_types_apart(value: Any, words: list[Any]) -> None:
    allowed = any(type(value) is type(word) and value == word for word in words)
    assert (refusal(schema.one_of(*words), value) is None) == allowed


@given(st.dictionaries(st.sampled_from("abc"), anything, max_size=3))
def test_a_closed_map_has_its_keys_and_no_other(value: dict[str, Any]) -> None:
    check = schema.closed({"a": schema.uint, "b": schema.row(schema.uint, schema.uint)})
    good = value.keys() == {"a", "b"} and refusal(schema.uint, value["a"]) is None
    pair = value.get("b")
    good = good and isinstance(pair, list) and len(pair) == 2 and all(refusal(schema.uint, one) is None for one in pair)
    assert (refusal(check, value) is None) == good


def test_a_defect_is_named_with_its_place() -> None:
    check = schema.closed({"a": schema.closed({"b": schema.row(schema.uint, schema.digest)})})
    with pytest.raises(FormatError, match=r"top\.a\.b\[1\]: must be 32 to 32 bytes, is 3"):
        check({"a": {"b": [1, b"abc"]}}, "top")
