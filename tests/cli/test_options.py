"""Options out of fields: name, type, range, default and help are the dataclass's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from osum import cli
from osum.cli.arguments import Parser
from osum.cli.options import add_field, add_fields, made


@dataclass(frozen=True)
class Options:
    size: Annotated[int, Meta(ge=1)] = 8
    """Clips at a time; any number does. A second sentence is for readers of the code."""
    share: Annotated[float, Meta(ge=0, lt=1)] | None = None
    """Share of 100 % that is kept."""
    way: Literal["one", "other"] = "one"
    quick: bool = False
    names: tuple[str, ...] = ()


def parser() -> Parser:
    parser = Parser("osum try")
    add_fields(parser, Options, "size", "share", "way", "quick")
    add_field(parser, Options, "names", "--name")
    return parser


def test_without_options_the_dataclass_has_its_defaults() -> None:
    assert made(Options, parser().parse_args([])) == Options()


def test_words_are_read_by_the_types_of_the_fields() -> None:
    words = ["--size", "3", "--share", "0.5", "--way", "OTHER", "--quick", "--name", "a", "--name", "b"]
    assert made(Options, parser().parse_args(words)) == Options(3, 0.5, "other", True, ("a", "b"))
    assert made(Options, parser().parse_args(words), size=4).size == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "0"], "'0' is no whole number from 1"),
        (["--size", "1.5"], "'1.5' is no whole number from 1"),
        (["--share", "1"], "'1' is no number from 0 to below 1"),
        (["--share", "nan"], "'nan' is no number from 0 to below 1"),
        (["--way", "othr"], "unknown way 'othr': did you mean 'other'? use one of one, other"),
    ],
)
def test_a_word_outside_the_range_is_named(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(words)
    assert (stop.value.code, message in capsys.readouterr().err) == (2, True)


def test_the_first_sentence_below_a_field_is_its_help() -> None:
    shown = " ".join(parser().format_help().split())
    assert "--size N clips at a time; any number does (8)" in shown
    assert "--share X share of 100 % that is kept" in shown
    assert "second sentence" not in shown


def test_a_field_without_a_default_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class Needed:
        name: str

    needed = Parser("osum try")
    add_fields(needed, Needed, "name")
    with pytest.raises(SystemExit):
        needed.parse_args([])
    assert "--name" in capsys.readouterr().err


def test_each_module_adds_the_commands_that_are_listed_for_it() -> None:
    for module, names in cli._COMMANDS.items():
        commands = Parser("osum").add_subparsers(parser_class=Parser)
        import_module(f"osum.cli.{module}").register(commands)
        assert tuple(commands.choices) == names
