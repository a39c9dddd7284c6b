"""What the strict YAML subset accepts, and the code of everything it refuses."""

from __future__ import annotations

import pytest

from edgeseal.errors import FormatError
from edgeseal.strictyaml import MAX_DEPTH, MAX_INT_DIGITS, MAX_NODES, Section, YamlValue, load

LIMIT = 200_000


def test_scalars_resolve_as_in_json() -> None:
    text = b"i: -12\nf: 1.5\ne: 1e-05\nt: true\nn: null\ntilde: ~\nempty:\nq: '7'\nl: [a, 1]\nm: {k: v}\n"
    assert load(text, LIMIT) == {
        "i": -12,
        "f": 1.5,
        "e": 1e-05,
        "t": True,
        "n": None,
        "tilde": None,
        "empty": None,
        "q": "7",
        "l": ["a", 1],
        "m": {"k": "v"},
    }


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "True", "NULL", "0x10", "010", "1_000", "2026-01-01", "1:30", ".inf"]
)
def test_yaml_1_1_words_stay_text(word: str) -> None:
    assert load(f"k: {word}".encode(), LIMIT) == {"k": word}


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("yaml_too_large", b"a: " + b"x" * LIMIT),
        ("yaml_not_utf8", b"a: \xff"),
        ("yaml_not_utf8", b"\xef\xbb\xbfa: 1"),
        ("yaml_not_utf8", b'a: "\\ud800"'),
        ("yaml_syntax", b"a: [1"),
        ("yaml_syntax", b"a: \x00"),
        ("yaml_syntax", b"a: b: c"),
        ("yaml_syntax", b"a:\n\t- 1"),
        ("yaml_directive", b"%YAML 1.2\n---\na: 1"),
        ("yaml_directive", b"%TAG ! tag:x,2026:\n---\na: 1"),
        ("yaml_documents", b"a: 1\n---\nb: 2"),
        ("yaml_not_a_map", b""),
        ("yaml_not_a_map", b"- 1"),
        ("yaml_not_a_map", b"text"),
        ("yaml_depth", b"a: " + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH),
        ("yaml_depth", b"[" * 100_000),
        ("yaml_nodes", b"a: [" + b"1," * MAX_NODES + b"]"),
        ("yaml_alias", b"a: &x 1"),
        ("yaml_alias", b"a: &x 1\nb: *x"),
        ("yaml_alias", b"a: 1\n*x : 2"),
        ("yaml_alias", b"&top {a: 1}"),
        ("yaml_tag", b"a: !!str 1"),
        ("yaml_tag", b"a: !!python/object/apply:os.system [id]"),
        ("yaml_tag", b"a: ! 1"),
        ("yaml_key_type", b"1: a"),
        ("yaml_key_type", b"null: a"),
        ("yaml_key_type", b"? {a: 1}\n: b"),
        ("yaml_merge_key", b"<<: {a: 1}"),
        ("yaml_duplicate_key", b"a: 1\na: 1"),
        ("yaml_duplicate_key", b"b: {a: 1, 'a': 2}"),
        ("yaml_number", b"a: " + b"9" * (MAX_INT_DIGITS + 1)),
        ("yaml_number", b"a: 1e999"),
    ],
)
def test_refusals_name_their_code(code: str, text: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        load(text, LIMIT)
    assert caught.value.code == code


def test_the_deepest_accepted_nesting_is_max_depth() -> None:
    inner = MAX_DEPTH - 1
    value: YamlValue = load(b"a: " + b"[" * inner + b"]" * inner, LIMIT)
    for _ in range(MAX_DEPTH - 1):
        value = value["a"] if isinstance(value, dict) else value
        value = value[0] if isinstance(value, list) and value else value
    assert value == []


def test_refusals_say_where() -> None:
    with pytest.raises(FormatError, match="line 2, column 1"):
        load(b"a: 1\na: 2\n", LIMIT)


def _section(text: bytes) -> Section:
    return Section(load(text, LIMIT), "conf")


def test_section_reads_typed_fields_and_is_done() -> None:
    section = _section(b"n: 3\ns: abc\nb: false\nx: 0.5\nl: [1, 2]\nm: {k: v}\nms: [{a: 1}]\n")
    assert (section.integer("n", 1, 3), section.text("s", "[a-c]+"), section.boolean("b")) == (3, "abc", False)
    assert (section.number("x", 0, 1), section.sequence("l", 2)) == (0.5, [1, 2])
    assert section.section("m").text("k", ".*") == "v"
    assert [item.integer("a", 0, 9) for item in section.sections("ms", 1)] == [1]
    assert section.integer("absent", 0, 9, default=7) == 7
    section.done()


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("yaml_missing_key", lambda s: s.integer("absent", 0, 1)),
        ("yaml_type", lambda s: s.integer("flag", 0, 1)),
        ("yaml_type", lambda s: s.integer("text", 0, 1)),
        ("yaml_type", lambda s: s.text("number", ".*")),
        ("yaml_type", lambda s: s.boolean("number")),
        ("yaml_type", lambda s: s.number("flag", 0, 1)),
        ("yaml_type", lambda s: s.sequence("text", 3)),
        ("yaml_type", lambda s: s.section("text")),
        ("yaml_type", lambda s: s.sections("list", 9)),
        ("yaml_range", lambda s: s.integer("number", 0, 4)),
        ("yaml_range", lambda s: s.number("number", 0, 4.5)),
        ("yaml_range", lambda s: s.text("text", "[0-9]+")),
        ("yaml_range", lambda s: s.sequence("list", 1)),
        ("yaml_unknown_key", lambda s: s.done()),
    ],
)
def test_section_refusals_name_their_code(code: str, read: object) -> None:
    section = _section(b"flag: true\ntext: abc\nnumber: 5\nlist: [1, 2]\n")
    with pytest.raises(FormatError) as caught:
        read(section)  # type: ignore[operator]
    assert caught.value.code == code
    assert "conf." in caught.value.message


def test_a_pattern_must_match_the_whole_text() -> None:
    with pytest.raises(FormatError):
        _section(b'k: "abc\\n"').text("k", "[a-c]+")
