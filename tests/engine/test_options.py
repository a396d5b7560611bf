"""Every option of decoding has a range: what is outside is refused in one line, what is inside can be decoded with."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.test_engine import free, replies, request
from engine.tiny_checkpoint import checkpoint_of
from osum.engine.branch import Sampler
from osum.engine.engine import Engine
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask
from osum.errors import InputError
from osum.records import shown

ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))
INSIDE = {
    "max_new_tokens": (None, 1, 400),
    "num_beams": (1, 4),
    "do_sample": (True, False),
    "top_k": (0, 1, 50),
    "top_p": (0.001, 1, 1.0),
    "temperature": (0.01, 1, 2.5),
    "repetition_penalty": (0.5, 1, 1.3),
    "seed": (None, 0, 777),
}
OUTSIDE: dict[str, tuple[Any, ...]] = {
    "max_new_tokens": (0, -1, 1.5, True, "3"),
    "num_beams": (0, -3, 2.0, None, 65),
    "do_sample": (None, 1, "yes"),
    "top_k": (-1, 5.0, None),
    "top_p": (0, -0.1, 1.1, math.nan, None),
    "temperature": (0, -1.0, math.inf, math.nan, "hot"),
    "repetition_penalty": (0, -1, math.inf, math.nan),
    "seed": (-1, 1.5, 2**70),
}
NAMES = [field.name for field in fields(GenerationOptions)]


def test_every_field_is_tried_here() -> None:
    assert set(INSIDE) == set(OUTSIDE) == set(NAMES)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INSIDE.items() for value in values])
def test_what_is_inside_is_taken(name: str, value: Any) -> None:
    assert getattr(GenerationOptions(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in OUTSIDE.items() for value in values])
def test_what_is_outside_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is "):
        GenerationOptions(**{name: value})


@given(name=st.sampled_from(NAMES), value=ANYTHING)
def test_anything_else_is_taken_or_refused_in_one_line(name: str, value: Any) -> None:
    try:
        options = GenerationOptions(**{name: value})
    except InputError as fault:
        (line,) = str(fault).splitlines()
        assert line.startswith(f"{name} is {shown(value)}: ") and line.endswith(" is needed")
    else:
        assert getattr(options, name) is value


@given(
    top_k=st.integers(0, 1_000_000),
    top_p=st.floats(1e-6, 1),
    temperature=st.floats(0.01, 100),
    repetition_penalty=st.floats(0.01, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_id_can_be_drawn_with_whatever_is_inside(seed: int, **options: Any) -> None:
    sampler = Sampler(GenerationOptions(do_sample=True, seed=seed, **options))
    logits = torch.linspace(-40, 40, 64)
    assert 0 <= sampler([1, 2, 3], logits) < 64


@settings(max_examples=6)
@given(num_beams=st.integers(1, 6), top_k=st.integers(0, 9), top_p=st.floats(1e-6, 1), temperature=st.floats(0.01, 100))
def test_an_answer_is_decoded_with_whatever_is_inside(**options: Any) -> None:
    engine = Engine(checkpoint_of("speech_first"))
    asked = free(engine, "what", 3, GenerationOptions(do_sample=True, seed=1, **options))
    ((reply,),) = replies(engine, request(engine, 0, [asked]))
    assert len(reply.ids) <= 3


@pytest.mark.parametrize("limit", [0, -1, None, 2.5])
def test_a_question_without_room_for_an_answer_is_refused(limit: Any) -> None:
    with pytest.raises(InputError, match="max_new_tokens is "):
        Ask("what", limit)
