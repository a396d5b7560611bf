"""Options of a command out of the fields of a dataclass, where name, type, range, default and meaning are spelled once.

1. The field `max_line_width: Annotated[int, Meta(ge=1)] | None = None` is the option `--max-line-width N`.
2. A word is read by the field's type: Literal, bool, int, float or text, in the range that msgspec's `Meta` gives.
3. The first sentence of the string below the field is the help; `made` builds the dataclass of what was given.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import textwrap
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from msgspec import Meta

from osum.cli.arguments import number, one_of
from osum.engine.options import GenerationOptions

T = TypeVar("T")
_METAVARS = {int: "N", float: "X"}


def add_fields(group: argparse._ActionsContainer, options: type, *names: str, unset: bool = False) -> None:
    """An option for each of the fields; `unset` leaves those that are not given None, whatever the default."""
    for name in names:
        add_field(group, options, name, **({"default": None} if unset else {}))


def add_field(group: argparse._ActionsContainer, options: type, name: str, *flags: str, **changes: Any) -> None:
    """One option, under other flags than `--name` or with other keywords of `add_argument` where these are given."""
    field = next(field for field in fields(options) if field.name == name)
    wanted = {**_keywords(field, get_type_hints(options, include_extras=True)[name]), **changes}
    if "help" not in wanted:
        wanted["help"] = _help(docs_of(options).get(name, ""), wanted.get("default"))
    group.add_argument(*(flags or (f"--{name.replace('_', '-')}",)), dest=name, **wanted)


def made(options: type[T], arguments: Namespace, **more: Any) -> T:
    """The dataclass of the arguments that have a field's name; `more` wins."""
    names = [field.name for field in fields(cast(Any, options)) if field.name in arguments]
    given = {name: getattr(arguments, name) for name in names} | more
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def add_generation_options(parser: argparse.ArgumentParser) -> None:
    """How answers are decoded."""
    group = parser.add_argument_group("decoding (greedy without these, so equal input gives equal answers)")
    group.add_argument("--release-decoding", action="store_true", help="the original's seeded beam sampling")
    add_field(group, GenerationOptions, "num_beams", "--num-beams", "--beam-size", default=None)
    add_field(group, GenerationOptions, "max_new_tokens")
    add_field(group, GenerationOptions, "seed", help="of --release-decoding; 777 without it")


def generation(arguments: Namespace) -> GenerationOptions:
    """The options that the decoding arguments ask for."""
    seed = 777 if arguments.seed is None else arguments.seed
    options = GenerationOptions.release(seed) if arguments.release_decoding else GenerationOptions()
    asked = {name: getattr(arguments, name) for name in ("num_beams", "max_new_tokens")}
    return replace(options, **{name: value for name, value in asked.items() if value is not None})


@cache
def docs_of(options: type) -> Mapping[str, str]:
    """The string below each field of a dataclass, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(options))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(doc.value.value.split())
        for field, doc in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str)
    }


def _keywords(field: Field[Any], hint: Any) -> dict[str, Any]:
    """What `add_argument` needs to know of a field."""
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    found: dict[str, Any] = {"required": True} if default is MISSING else {"default": default}
    kind, meta = _plain(hint)
    if kind is bool:
        return {"action": "store_true", "default": False}
    if get_origin(kind) is Literal:
        known = get_args(kind)
        return {**found, "type": one_of(field.name, known), "metavar": f"{{{','.join(known)}}}"}
    if get_origin(kind) is tuple:
        return {"action": "append", "default": [], "metavar": "NAME"}
    if kind in _METAVARS:
        return {**found, "type": number(kind, meta or Meta()), "metavar": _METAVARS[kind]}
    return {**found, "metavar": "NAME"}


def _plain(hint: Any) -> tuple[Any, Meta | None]:
    """The type without None and ranges, and the range: `Annotated[int, Meta(ge=1)] | None` to int and the range."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Annotated:
        return get_args(hint)
    return hint, None


def _help(doc: str, default: Any) -> str:
    """`Clips answered together; any number ...` and 8 to `clips answered together (8)`."""
    sentence = doc.partition(". ")[0].rstrip(".").replace("%", "%%")
    if sentence[1:2].islower():
        sentence = sentence[0].lower() + sentence[1:]
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    return sentence if default is None or default is False or not shown.strip("[]()") else f"{sentence} ({shown})"
