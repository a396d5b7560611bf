"""Records: typed dataclasses to JSON objects and back, checked field by field.

Fields that hold their default are left out. JSON has no word for nan: it is written as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from osum.errors import ManifestError
from osum.text import closest

R = TypeVar("R")


def to_row(record: Any) -> dict[str, Any]:
    """The JSON object of a dataclass."""
    defaults = _defaults(cast(Hashable, type(record)))
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: _plain(value) for name, value in values.items() if value != defaults.get(name, MISSING)}


def from_row(kind: type[R], row: Any) -> R:
    """The dataclass that a JSON object holds.

    Raises:
        ManifestError: a field is missing, unknown or not what it must be; the message names it.
    """
    try:
        found: R = _reader(cast(Hashable, kind))(row)
        return found
    except _WrongError as fault:
        place = "".join(reversed(fault.path)).removeprefix(".") or "the row"
        raise ManifestError(f"{place} {fault.why}") from fault


class _WrongError(ValueError):
    """What is wrong with a value; its place is added on the way up, from the inside out."""

    def __init__(self, why: str, place: str = "") -> None:
        self.why, self.path = why, [place]


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for item in fields(kind):
        if item.default_factory is not MISSING:
            known[item.name] = item.default_factory()
        elif item.default is not MISSING:
            known[item.name] = item.default
    return known


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_row(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """What reads a JSON value as a type, made once for each type."""
    if hint is Any:
        return lambda value: value
    if isinstance(hint, UnionType):  # such as `str | None`
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    if is_dataclass(hint):
        return _record(hint)
    return _MAKERS[get_origin(hint) or hint](hint)


def _record(kind: Any) -> Callable[[Any], Any]:
    readers = {name: _reader(hint) for name, hint in get_type_hints(kind).items()}
    needed = [name for name in readers if name not in _defaults(kind)]

    def read(row: Any) -> Any:
        if not isinstance(row, dict):
            raise _WrongError(f"is {_shown(row)}: an object is needed")
        values = {}
        for name, value in row.items():
            if name not in readers:
                near = closest(str(name), readers)
                hint = f"did you mean {near!r}?" if near else f"the fields are {', '.join(readers)}"
                raise _WrongError(f"is unknown: {hint}", f".{name}")
            values[name] = _inside(f".{name}", readers[name], value)
        for name in needed:
            if name not in values:
                raise _WrongError("is missing: add it", f".{name}")
        return kind(**values)

    return read


def _sequence(hint: Any) -> Callable[[Any], Any]:
    kinds = get_args(hint)
    readers = [_reader(kind) for kind in kinds if kind is not Ellipsis]

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _WrongError(f"is {_shown(value)}: a list is needed")
        each = readers * len(value) if kinds[-1] is Ellipsis else readers
        if len(each) != len(value):
            raise _WrongError(f"holds {len(value)} values: {len(each)} are needed")
        return tuple(_inside(f"[{at}]", read, item) for at, (read, item) in enumerate(zip(each, value, strict=True)))

    return read


def _mapping(hint: Any) -> Callable[[Any], Any]:
    of_key, of_value = get_args(hint)
    read_value = _reader(of_value)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _WrongError(f"is {_shown(value)}: an object is needed")
        try:
            keys = list(map(of_key, value))
        except ValueError as fault:
            raise _WrongError(f"has names that are no {of_key.__name__} ({fault})") from fault
        return {key: _inside(f".{key}", read_value, item) for key, item in zip(keys, value.values(), strict=True)}

    return read


def _number(hint: Any) -> Callable[[Any], Any]:
    del hint

    def read(value: Any) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _WrongError(f"is {_shown(value)}: a number is needed")
        return float(value)

    return read


def _exactly(name: str) -> Callable[[Any], Callable[[Any], Any]]:
    def make(hint: Any) -> Callable[[Any], Any]:
        def read(value: Any) -> Any:
            if type(value) is not hint:
                raise _WrongError(f"is {_shown(value)}: {name} is needed")
            return value

        return read

    return make


_MAKERS: Mapping[Any, Callable[[Any], Callable[[Any], Any]]] = {
    tuple: _sequence,
    Mapping: _mapping,
    float: _number,
    str: _exactly("a text"),
    int: _exactly("a whole number"),
    bool: _exactly("true or false"),
}
"""Type to what makes its reader."""


def _inside(place: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except _WrongError as fault:
        fault.path.append(place)
        raise


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
