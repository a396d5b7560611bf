"""Whatever a model writes token by token, the answer fits its schema."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from osum.peers.completion import Schema
from osum.peers.shaped_answer import ShapedAnswer

PIECES = [*map(chr, range(32, 127)), '."', '"}', '", ', "\\", '\\"', " there", "你好", "\n", "10"]
IDS = {piece: number for number, piece in enumerate(PIECES)}
QUOTES = {number for piece, number in IDS.items() if '"' in piece}
SCHEMA = Schema("turn", {"said": None, "score": (1, 10), "mood": ("sad", "said so", "happy")})


def decode(ids: list[int]) -> str:
    return "".join(PIECES[number] for number in ids)


def shaped(schema: Schema = SCHEMA) -> ShapedAnswer:
    return ShapedAnswer(schema, lambda text: [IDS[letter] for letter in text], decode, QUOTES)  # type: ignore[arg-type]


def written(answer: ShapedAnswer, *free: str) -> list[str]:
    """Every token, where a free one is the next of those given."""
    told, left = [], [IDS[piece] for piece in free]
    while (allowed := answer.allowed()) != []:
        token = left.pop(0) if allowed is None or len(allowed) > 1 else allowed[0]
        assert allowed is None or token in allowed
        answer.add(token)
        told.append(PIECES[token])
    return told


def test_the_example_of_the_docstring() -> None:
    answer = shaped(Schema("turn", {"said": None, "mood": ("sad", "happy")}))
    told = "".join(written(answer, "H", "i", " there", '."', "h"))
    assert told == '{"said": "Hi there.", "mood": "happy"}'
    assert json.loads(answer.text) == {"said": "Hi there.", "mood": "happy"}


def test_an_escaped_mark_does_not_end_a_text_and_what_stands_behind_a_mark_is_left_out() -> None:
    answer = shaped(Schema("turn", {"said": None}))
    written(answer, "a", "\\", '"', "b", '\\"', "\\", "n", '", ')
    assert answer.done and json.loads(answer.text) == {"said": 'a"b"\n'}


def test_an_answer_that_is_cut_off_is_not_done() -> None:
    answer = shaped()
    for letter in '{"said": "no end':
        answer.add(IDS[letter])
    assert not answer.done and answer.text == "{}"


@given(st.integers(0, 2**32), st.lists(st.sampled_from(PIECES), max_size=30))
def test_whatever_is_drawn_fits_the_schema(seed: int, said: list[str]) -> None:
    draw, answer = random.Random(seed), shaped()
    texts = [IDS[piece] for piece in said if '"' not in piece] + [IDS["."], IDS['"']]
    for _ in range(500):
        allowed = answer.allowed()
        if allowed == []:
            break
        answer.add(draw.choice(allowed) if allowed else texts.pop(0) if texts else IDS['"'])
    values = SCHEMA.read(answer.text)
    assert answer.done and list(values) == ["said", "score", "mood"] and values["score"] in (1, 10)
