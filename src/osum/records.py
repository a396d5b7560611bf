"""Records: JSON and YAML values to typed dataclasses and back. msgspec reads; this says in one line what is wrong.

A fault names the place, the bad value, the rule and, for a misspelt name, the nearest one. Knows nothing of files.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from osum.errors import InputError, ManifestError
from osum.text import did_you_mean

R = TypeVar("R")
LARGE, LARGEST = 10**12, sys.float_info.max
"""As upper bounds, which errors do not name: of counts, and of numbers that must be finite."""
_PATH = re.compile(r" - at `(key` in `)?\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"^Object missing required field `(.*?)`")
_LONGEST = 40  # characters of a bad value in an error


class RecordError(ManifestError):
    """A value that is not what its record says: `place`, such as `answer.words[0].end`, and `why`."""

    def __init__(self, place: str, why: str, value: Any = None) -> None:
        super().__init__(f"{place or 'the row'} {why}")
        self.place, self.why, self.value = place, why, value


# Out


def to_row(record: Any) -> dict[str, Any]:
    """The JSON object of a dataclass; what holds its default is left out, and nan, which JSON lacks, is null."""
    defaults = _defaults(cast(Hashable, type(record)))
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: _plain(value) for name, value in values.items() if value != defaults.get(name, MISSING)}


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    made = {item.name: item.default_factory() for item in fields(kind) if item.default_factory is not MISSING}
    return made | {item.name: item.default for item in fields(kind) if item.default is not MISSING}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_row(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


# In


def from_row(kind: type[R], row: Any) -> R:
    """The dataclass that a JSON object holds; null where a number must be is nan.

    Raises:
        RecordError: a field is missing, unknown or not what it must be; the message names it.
    """
    while True:
        try:
            record: R = _convert(row, kind)
            break
        except msgspec.ValidationError as fault:
            place = _place_of(kind, row, fault)
            if place.value is not None or not isinstance(place.type, inspect.FloatType):
                raise place.explained(fault) from fault
            row = _with(row, place.keys, math.nan)
    _check_names(record, row, "")
    return record


def read(kind: Any, value: Any, place: str = "", strict: bool = True) -> Any:
    """A value of any type that msgspec knows, such as one field of a recipe; records in it have no unknown names.

    Args:
        kind: the type.
        value: of YAML or JSON.
        place: what an error calls it.
        strict: numbers and truth values may not be written as texts.

    Raises:
        RecordError: it is none.
    """
    try:
        found = _convert(value, kind, strict)
    except msgspec.ValidationError as fault:
        raise _place_of(kind, value, fault, strict).explained(fault, place) from fault
    _check_names(found, value, place)
    return found


def check_fields(options: Any) -> None:
    """Hold the numbers, texts and choices of a dataclass against the types and ranges of its fields.

    Raises:
        InputError: a field is not what it must be.
    """
    for name, kind in _plain_kinds(cast(Hashable, type(options))).items():
        value = getattr(options, name)
        if not isinstance(value, bool) and isinstance(value, Real):  # such as NumPy's
            value = int(value) if isinstance(value, Integral) else float(value)
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as fault:
            raise InputError(str(_place_of(kind, value, fault).explained(fault, name))) from fault


@cache
def _plain_kinds(kind: Any) -> dict[str, Any]:
    """Type by field, of those that hold neither a collection nor a record."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if _is_plain(hint)}


def _is_plain(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_plain(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return all(map(_is_plain, get_args(hint)))
    return get_origin(hint) is Literal or hint in (int, float, str, bool, NoneType)


def _convert(value: Any, kind: Any, strict: bool = True) -> Any:
    try:
        return msgspec.convert(value, kind, strict=strict, str_keys=True)
    except UnicodeEncodeError:  # half a character in a name, which so is none of a record
        return msgspec.convert(_printable(value), kind, strict=strict, str_keys=True)


def _printable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_name(key) if isinstance(key, str) else key: _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _name(key: str) -> str:
    """A name as an error shows it: on one line."""
    return key if key.isprintable() else repr(key)[1:-1]


def unknown(name: str, known: Sequence[str], what: str = "fields") -> str:
    """What to do about a name that is none: the nearest, or all."""
    return did_you_mean(name, known).rstrip() or f"the {what} are {', '.join(known)}"


def _check_names(record: Any, row: Any, place: str) -> None:
    """msgspec passes over names that a dataclass has not; a misspelt one must not be silent."""
    if is_dataclass(record) and isinstance(row, Mapping):  # what is a record already has been checked
        known = _names(cast(Hashable, type(record)))
        for name, item in row.items():
            if name not in known:
                raise RecordError(f"{place}.{_name(name)}".removeprefix("."), f"is unknown: {unknown(name, known)}")
            if isinstance(item, (dict, list)):
                _check_names(getattr(record, name), item, f"{place}.{_name(name)}")
    elif isinstance(record, tuple):
        for at, (inner, item) in enumerate(zip(record, row, strict=True)):
            _check_names(inner, item, f"{place}[{at}]")
    elif isinstance(record, dict) and any(map(is_dataclass, record.values())):
        for inner, (name, item) in zip(record.values(), row.items(), strict=True):
            _check_names(inner, item, f"{place}.{_name(str(name))}")


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


# What is wrong


class _Place:
    """Where msgspec has found a fault: keys from the outside in, the bad value and the type that it should have."""

    def __init__(self, value: Any, kind: Any) -> None:
        self.value, self.type = value, inspect.type_info(kind)
        self.keys: tuple[Any, ...] = ()

    def enter(self, key: Any) -> None:
        self.type = _inner(self.type, key)
        self.value, self.keys = self.value[key], (*self.keys, key)

    def explained(self, fault: Exception, outer: str = "") -> RecordError:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{_name(str(key))}" for key in self.keys)
        if missing := _FIELD.match(str(fault)):
            return RecordError(f"{outer}{place}.{missing[1]}".removeprefix("."), "is missing: add it")
        why = f"is {shown(self.value)}: {_rule(self.type, self.value)}"
        return RecordError(f"{outer}{place}".removeprefix("."), why, self.value)


def _place_of(kind: Any, value: Any, fault: Exception, strict: bool = True) -> _Place:
    """Follow the path at the end of msgspec's message, which has `[...]` for a name in a mapping."""
    place = _Place(value, kind)
    found = _PATH.search(str(fault))
    for field, index in _STEP.findall(found[2] if found else ""):
        if field or index != "...":
            place.enter(field or int(index))
        else:
            place.enter(next(key for key in place.value if _fails(kind, value, place, key, strict)))
    if found and found[1]:
        bad = next(key for key in place.value if _fails(kind, value, place, key, strict))
        place.value, place.keys = bad, (*place.keys, "name")
        place.type = getattr(_plain_type(place.type, dict), "key_type", inspect.StrType())
    return place


def _fails(kind: Any, value: Any, place: _Place, key: Any, strict: bool) -> bool:
    """Whether an item alone is enough for a fault: msgspec does not say which of a mapping's it is."""
    try:
        _convert(_with(value, place.keys, {key: place.value[key]}), kind, strict)
    except msgspec.ValidationError:
        return True
    return False


def _with(value: Any, keys: Sequence[Any], new: Any) -> Any:
    """A copy of nested lists and mappings with one value changed."""
    if not keys:
        return new
    key, *rest = keys
    changed = _with(value[key], rest, new)
    if isinstance(value, Mapping):
        return {**value, key: changed}
    return [*value[:key], changed, *value[key + 1 :]]


def _inner(kind: Any, key: Any) -> Any:
    """The type of a field, of an item or of a mapping's value."""
    kind = _plain_type(kind, int if isinstance(key, int) else dict)
    if isinstance(kind, (inspect.DataclassType, inspect.StructType)):
        return next(field.type for field in kind.fields if field.encode_name == key)
    if isinstance(kind, inspect.DictType):
        return kind.value_type
    return kind.item_types[key] if isinstance(kind, inspect.TupleType) else kind.item_type


def _plain_type(kind: Any, form: type) -> Any:
    """Of a union, the type that holds items: such as the record in `Record | None`."""
    if isinstance(kind, inspect.Metadata):
        return _plain_type(kind.type, form)
    if not isinstance(kind, inspect.UnionType):
        return kind
    lists = (inspect.CollectionType, inspect.TupleType)
    return next(part for part in kind.types if hasattr(part, "fields") or isinstance(part, (inspect.DictType, *lists)))


_WORDS: Mapping[type[Any], str] = {
    inspect.StrType: "a text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.DictType: "a mapping of name: value",
    inspect.DataclassType: "an object",
    inspect.StructType: "an object",
}


def _rule(kind: Any, value: Any) -> str:
    """What a type needs, in words."""
    if isinstance(kind, inspect.LiteralType):
        names = [*sorted(str(name) for name in kind.values if name), *(["''"] if "" in kind.values else [])]
        near = did_you_mean(value, names).rstrip() if isinstance(value, str) else ""
        return f"give {' or '.join((', '.join(names[:-1]), names[-1]))}{near and f'; {near}'}"
    return f"{_words(kind, value)} is needed"


def _words(kind: Any, value: Any) -> str:
    """A type in words; its range only where the value is of the right type."""
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_words(part, value) for part in kind.types if not isinstance(part, inspect.NoneType))
    if isinstance(kind, inspect.Metadata):
        return _words(kind.type, value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, inspect.FloatType) and number:
        return f"a {'' if math.isfinite(value) else 'finite '}number{_range(kind)}"
    if isinstance(kind, inspect.IntType) and number and not isinstance(value, float):
        return f"a whole number{_range(kind)}"
    if isinstance(kind, inspect.StrType) and isinstance(value, str):
        return "a text that is not empty" if kind.min_length else "a text"
    many = f" of {len(kind.item_types)} values" if isinstance(kind, inspect.TupleType) else ""
    many = " that is not empty" if getattr(kind, "min_length", None) and value in ([], ()) else many
    return _WORDS.get(type(kind), f"a list{many}")


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f" above {kind.gt:.10g}" if kind.gt is not None else "" if kind.ge is None else f" from {kind.ge:.10g}"
    if kind.lt is not None:
        return f"{low}{' and' if low else ''} below {kind.lt:.10g}"
    return low if kind.le is None or kind.le >= LARGE else f"{low} to {kind.le:.10g}"


def shown(value: Any) -> str:
    """A bad value in an error."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
