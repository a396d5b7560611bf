"""A value becomes its record, or one line says where it does not, why, and what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from osum.errors import ManifestError
from osum.records import LARGEST, from_row, read, to_row

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    shares: Mapping[str, Share] = field(default_factory=dict)
    pair: tuple[int, float] = (1, 1.0)
    form: Literal["linear", "noam"] = "linear"


@dataclass(frozen=True, slots=True)
class Outer:
    parts: Mapping[str, Inner] = field(default_factory=dict)
    rows: tuple[Inner, ...] = ()
    count: Annotated[int, Meta(ge=1)] = 1
    rate: Annotated[float, Meta(gt=0, le=LARGEST)] = 1.0
    maybe: Inner | None = None
    numbers: Mapping[int, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("row", "reported"),
    [
        (3, "the row is 3: an object is needed"),
        ({"count": 0}, "count is 0: a whole number from 1 is needed"),
        ({"count": "0"}, "count is '0': a whole number is needed"),
        ({"count": True}, "count is True: a whole number is needed"),
        ({"rate": -1}, "rate is -1: a number above 0 is needed"),
        ({"rate": math.inf}, "rate is inf: a finite number above 0 is needed"),
        ({"rate": "1"}, "rate is '1': a number is needed"),
        ({"rows": [{"name": "a"}, {"nme": "a"}]}, "rows[1].name is missing: add it"),
        ({"rows": [{"name": "a", "pairs": 1}]}, "rows[0].pairs is unknown: did you mean 'pair'?"),
        ({"xyzzy": 1}, "xyzzy is unknown: the fields are parts, rows, count, rate, maybe, numbers, names"),
        ({"parts": {"a": {"name": "x"}, "b": {"name": "y", "shares": {"p": 0.5, "q": 2}}}},
         "parts.b.shares.q is 2: a number from 0 to 1 is needed"),
        ({"parts": {"a": {"name": "x"}, "b": {"name": "y", "form": "linaer"}}},
         "parts.b.form is 'linaer': give linear or noam; did you mean 'linear'?"),
        ({"parts": {"a": {"name": "x", "typo": 1}}},
         "parts.a.typo is unknown: the fields are name, shares, pair, form"),
        ({"maybe": {"name": "x", "pair": [1]}}, "maybe.pair is [1]: a list of 2 values is needed"),
        ({"maybe": {"name": "x", "pair": [1, "a"]}}, "maybe.pair[1] is 'a': a number is needed"),
        ({"maybe": {"name": "x", "shares": {1: 1}}}, "maybe.shares.name is 1: a text is needed"),
        ({"numbers": {"1": 1, "b": 1}}, "numbers.name is 'b': a whole number is needed"),
        ({"names": "abc"}, "names is 'abc': a list is needed"),
        ({"names": ["a" * 99, 5]}, "names[1] is 5: a text is needed"),
        ({"\udc80": 1}, "\\udc80 is unknown"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_reported_by_place_value_and_rule(row: Any, reported: str) -> None:
    with pytest.raises(ManifestError) as caught:
        from_row(Outer, row)
    assert str(caught.value).startswith(reported) and "\n" not in str(caught.value)


inner = st.builds(Inner, st.text(), st.dictionaries(st.text(), st.floats(0, 1)), st.tuples(st.integers(), st.floats()),
                  st.sampled_from(["linear", "noam"]))  # fmt: skip
outer = st.builds(Outer, st.dictionaries(st.text(), inner, max_size=2), st.lists(inner, max_size=2).map(tuple),
                  st.integers(1, 2**40), st.floats(1e-9, 1e9), st.none() | inner)  # fmt: skip


@given(outer)
def test_a_record_comes_back_from_its_row(record: Outer) -> None:
    row = json.loads(json.dumps(to_row(record), allow_nan=False))
    again = from_row(Outer, row)
    assert to_row(again) == row  # what is not finite is nan afterwards


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["parts", "rows", "name", "pair"]), inner,
    max_size=3)))  # fmt: skip
def test_anything_is_a_record_or_one_line(row: Any) -> None:
    try:
        assert isinstance(from_row(Outer, row), Outer)
    except ManifestError as fault:
        assert len(str(fault).splitlines()) == 1


def test_a_single_value_is_called_by_its_name() -> None:
    assert read(Share, 1, "augment") == 1.0
    with pytest.raises(ManifestError, match=r"^augment is nan: a finite number from 0 to 1 is needed$"):
        read(Share, math.nan, "augment")
