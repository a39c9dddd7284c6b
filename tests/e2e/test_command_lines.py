"""What documents and help texts tell people to type is accepted by the programs."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import subprocess
from collections.abc import Iterator

import pytest

from edgeseal_console.demo.fleet import BIN
from edgeseal_console.demo.parts import CHECKOUT
from tests.e2e.documents import PROGRAMS, Shown, command_lines, split

DOCUMENTS = (
    "README.md", "docs/operating.md", "docs/field-guide.md", "docs/investigating.md", "agent/README.md",
    "gateway/README.md",
)  # fmt: skip
_MODULES = {
    "edgeseal": "edgeseal_console.cli", "edgeseal-agent": "edgeseal_agent.cli",
    "edgeseal-gateway": "edgeseal_gateway.cli",
}  # fmt: skip
_INLINE = re.compile(r"`(edgeseal(?:-agent|-gateway)? [^`|…{]+)`")


def parser_of(program: str) -> argparse.ArgumentParser:
    parser = importlib.import_module(_MODULES[program]).parser()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def choices_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the subcommands of a parser, by name; empty for one that has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def descend(program: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield the words and the parser of a program and of all its subcommands."""
    waiting: list[tuple[tuple[str, ...], argparse.ArgumentParser]] = [((program,), parser_of(program))]
    while waiting:
        words, parser = waiting.pop()
        yield words, parser
        waiting += [((*words, name), sub) for name, sub in choices_of(parser).items()]


def refusal(words: tuple[str, ...]) -> str | None:
    """Return why a program's parser refuses a command line, None when it takes it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser_of(words[0]).parse_args(words[1:])
    except SystemExit as error:
        assert error.code == 1, "2 is for what failed, and for a broken invariant"
        return said.getvalue() or "exit 1"
    return None


SHOWN = [shown for document in DOCUMENTS for shown in command_lines(document)]


def test_documents_show_command_lines_of_every_program() -> None:
    assert {shown.words[0] for shown in SHOWN} == set(PROGRAMS)


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_a_documented_command_line_parses(shown: Shown) -> None:
    assert refusal(shown.words) is None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_named_in_the_text_exist(document: str) -> None:
    for line in _INLINE.findall((CHECKOUT / document).read_text()):
        words = line.split()
        parser = parser_of(words[0])
        for word in words[1:]:
            parser = choices_of(parser).get(word, parser)
            if word.startswith("--"):
                assert word in parser._option_string_actions, f"{document}: {line}: no {word}"
        known = any(word in choices_of(parser_of(words[0])) for word in words[1:])
        assert known or words[1].startswith("--"), f"{document}: {line}: no such command"


EVERY = [(words, parser) for program in PROGRAMS for words, parser in descend(program)]


@pytest.mark.parametrize(("words", "parser"), EVERY, ids=[" ".join(words) for words, _ in EVERY])
def test_help_shows_an_example_that_parses(words: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as left:
        parser_of(words[0]).parse_args([*words[1:], "--help"])
    assert left.value.code == 0
    help_text = printed.getvalue()
    assert f"usage: {words[0]}" in help_text
    _, _, below = help_text.rpartition("\nexample")
    examples = list(split(below))
    assert examples, "the help shows no example"
    for example in examples:
        assert refusal(example) is None, " ".join(example)


@pytest.mark.parametrize(("words", "parser"), EVERY, ids=[" ".join(words) for words, _ in EVERY])
def test_help_says_what_each_word_means_and_what_it_is_without(
    words: tuple[str, ...], parser: argparse.ArgumentParser
) -> None:
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help, f"{' '.join(words)}: {action.option_strings or action.dest}"
            plain = action.default in (None, False, "", [], argparse.SUPPRESS)
            assert plain or "%(default)s" in action.help, f"{' '.join(words)}: {action.option_strings}: no default told"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_installed_program_prints_its_help(program: str) -> None:
    done = subprocess.run([str(BIN / program), "--help"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {program}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_command_line_that_makes_no_sense_is_refused(program: str) -> None:
    for words in ((), ("no-such-command",), (next(iter(choices_of(parser_of(program)))), "--no-such-option")):
        assert "usage:" in str(refusal((program, *words)))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_readme_names_every_command(program: str) -> None:
    lines = (CHECKOUT / "README.md").read_text().splitlines()
    (row,) = (line for line in lines if line.startswith(f"| `{program}` |"))
    named = {word for words in re.findall(r"`([a-z ]+)`", row) for word in words.split()}
    assert set(choices_of(parser_of(program))) - {"index"} <= named, "index is run by the gateway itself"
