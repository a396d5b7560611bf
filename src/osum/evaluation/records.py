"""Records: typed dataclasses to JSON objects and back, checked field by field.

Fields that hold their default are left out. JSON has no word for nan: it is written as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from osum.errors import ManifestError
from osum.tasks.text import closest

R = TypeVar("R")


def to_row(record: Any) -> dict[str, Any]:
    """The JSON object of a dataclass."""
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {
        name: _plain(value) for name, value in values.items() if value != _defaults(type(record)).get(name, MISSING)
    }


def from_row(kind: type[R], row: Any) -> R:
    """The dataclass that a JSON object holds.

    Raises:
        ManifestError: a field is missing, unknown or not what it must be; the message names it.
    """
    return _record(kind, row, "")


@cache
def _defaults(kind: type) -> dict[str, Any]:
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


_hints = cache(get_type_hints)


def _record(kind: type[R], row: Any, at: str) -> R:
    if not isinstance(row, Mapping):
        raise ManifestError(f"{at or 'the row'} is {_shown(row)}: an object is needed")
    hints = _hints(kind)
    for name in row:
        if name not in hints:
            near = closest(str(name), hints)
            hint = f"did you mean {near!r}?" if near else f"the fields are {', '.join(hints)}"
            raise ManifestError(f"{_below(at, name)} is unknown: {hint}")
    for name in hints:
        if name not in row and name not in _defaults(kind):
            raise ManifestError(f"{_below(at, name)} is missing: add it")
    return kind(**{name: _value(hints[name], value, _below(at, name)) for name, value in row.items()})


def _value(hint: Any, value: Any, at: str) -> Any:
    """A JSON value as a field's type wants it."""
    if hint is Any:
        return value
    if isinstance(hint, UnionType):  # such as `str | None`
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        return None if value is None else _value(inner, value, at)
    if is_dataclass(hint):
        return _record(hint, value, at)  # type: ignore[arg-type]
    read = _READERS.get(get_origin(hint) or hint)
    if read is None:
        raise TypeError(f"{at} has the type {hint}, which no JSON value is read as")
    return read(hint, value, at)


def _sequence(hint: Any, value: Any, at: str) -> tuple[Any, ...]:
    kinds = get_args(hint)
    if not isinstance(value, list):
        raise ManifestError(f"{at} is {_shown(value)}: a list is needed")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ManifestError(f"{at} holds {len(value)} values: {len(kinds)} are needed")
    return tuple(
        _value(kind, item, f"{at}[{index}]") for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _mapping(hint: Any, value: Any, at: str) -> dict[Any, Any]:
    of_key, of_value = get_args(hint)
    if not isinstance(value, Mapping):
        raise ManifestError(f"{at} is {_shown(value)}: an object is needed")
    try:
        return {of_key(key): _value(of_value, item, _below(at, key)) for key, item in value.items()}
    except ValueError as fault:
        raise ManifestError(f"{at} has names that are no {of_key.__name__}: {fault}") from fault


def _number(hint: Any, value: Any, at: str) -> float:  # noqa: ARG001 - a reader like the others
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ManifestError(f"{at} is {_shown(value)}: a number is needed")
    return float(value)


def _exactly(name: str) -> Callable[[Any, Any, str], Any]:
    def read(hint: Any, value: Any, at: str) -> Any:
        if type(value) is not hint:
            raise ManifestError(f"{at} is {_shown(value)}: {name} is needed")
        return value

    return read


_READERS: Mapping[Any, Callable[[Any, Any, str], Any]] = {
    tuple: _sequence,
    Mapping: _mapping,
    float: _number,
    str: _exactly("a text"),
    int: _exactly("a whole number"),
    bool: _exactly("true or false"),
}


def _below(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
