"""Argument types and groups that several subcommands share; imports nothing heavy."""

from __future__ import annotations

import argparse
import gc
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

from msgspec import Meta, ValidationError, convert

from osum.records import LARGE, LARGEST
from osum.text import did_you_mean

if TYPE_CHECKING:
    from osum import Recognizer

DTYPES = ("float32", "bfloat16", "float16")
DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class HelpFormatter(argparse.HelpFormatter):
    """Help with room for long options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Abbreviations would turn every new option into a change of the old ones.
        super().__init__(*args, **{"formatter_class": HelpFormatter, "allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """One line and exit code 2."""
        self.exit(2, f"osum: error: {' '.join(message.split())} (see {self.prog} --help)\n")


Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where a subcommand adds its parser."""


def one_of(what: str, known: Sequence[str], others: dict[str, str] | None = None) -> Callable[[str], str]:
    """An argument type: one of the names in any case, or another spelling of one."""

    def check(word: str) -> str:
        name = (others or {}).get(word.lower(), word.lower())
        if name not in known:
            hint = did_you_mean(word, known)
            raise ArgumentTypeError(f"unknown {what} {word!r}: {hint}use one of {', '.join(known)}")
        return name

    return check


def number(kind: Any, meta: Meta, what: str = "") -> Callable[[str], Any]:
    """An argument type: a number in a range, such as `a whole number from 1`."""
    bounds = (("from", meta.ge), ("over", meta.gt), ("to", meta.le), ("to below", meta.lt))
    named = [f"{word} {bound:.10g}" for word, bound in bounds if bound is not None and bound < LARGEST]
    name = what or " ".join(["whole number" if kind is int else "number", *named])
    ranged: dict[str, Any] = {
        sign: bound for sign in ("ge", "gt", "le", "lt") if (bound := getattr(meta, sign)) is not None
    }
    if not {"le", "lt"} & {*ranged}:
        ranged["le"] = LARGE if kind is int else LARGEST

    def check(word: str) -> int | float:
        try:
            return convert(word, Annotated[kind, Meta(**ranged)], strict=False)
        except ValidationError:
            raise ArgumentTypeError(f"{word!r} is no {name}") from None

    return check


def positive(word: str) -> Any:
    """An argument type: a whole number from 1."""
    return number(int, Meta(ge=1))(word)


def over_zero(word: str) -> Any:
    """An argument type: a finite number over 0."""
    return number(float, Meta(gt=0))(word)


def probability(word: str) -> Any:
    """An argument type: a number from 0 to 1."""
    return number(float, Meta(ge=0, le=1), "probability: use a number from 0 to 1")(word)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model, and where it runs."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", default="nano", help="nano (comes with osum), a checkpoint folder, or owner/name")
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps, npu; the best one without it")
    group.add_argument("--dtype", type=one_of("dtype", DTYPES, DTYPE_NAMES), help=f"{', '.join(DTYPES)}")
    group.add_argument("--offline", action="store_true", help="never fetch anything")
    add_base(group)


def add_base(group: argparse._ActionsContainer) -> None:
    """Where the language model is that a checkpoint leaves out."""
    about = "folder of the language model, where the checkpoint leaves it out; the hub's without it"
    group.add_argument("--base", metavar="DIR", help=about)


def load_model(arguments: argparse.Namespace) -> Recognizer:
    """The model that the arguments name; a download is announced before it starts."""
    with objects_that_stay():
        from osum.listening.recognizer import load

        device, dtype, offline = arguments.device, arguments.dtype, arguments.offline
        return load(arguments.model, device=device, dtype=dtype, offline=offline, notice=log, base=arguments.base)


@contextmanager
def objects_that_stay() -> Iterator[None]:
    """No collection of garbage while torch is imported, and none of what was made then.

    The imports make a million objects that live as long as the process. To look through them again and again is a
    third of the time that they take. Where torch is there already, nothing changes.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def log(message: str) -> None:
    """One line on standard error, next to a progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"osum: {' '.join(message.split())}", file=sys.stderr)


class ShowVersion(argparse.Action):
    """`--version`: read from the package's metadata when it is asked for, not at every start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from osum import __version__

        print(f"osum {__version__}")
        parser.exit()
