"""Votes: ROVER, kappa, precision at thresholds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from osum.pipeline.voting import Threshold, alike, kappa, rover, thresholds

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dog", "你", "好"]), max_size=6).map(" ".join)


def test_the_example_of_the_docstring() -> None:
    assert rover(["a b c", "a x c", "a b c d"]) == ("a b c", pytest.approx((1 + 2 / 3 + 1 + 2 / 3) / 4))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["One, two!", "one two"], ("one two", 1.0)),
        (["", ""], ("", 1.0)),
        (["the the cat", "the cat", "the cat"], ("the cat", pytest.approx(8 / 9))),  # a repeated word
        (["a b", "b"], ("a b", 0.75)),  # a tie: the first text wins
        (["新年快乐", "新年快了", "新年快乐"], ("新年快乐", pytest.approx(11 / 12))),
        (["b c", "a b c", "a b c"], ("a b c", pytest.approx(8 / 9))),
    ],
)
def test_the_commonest_unit_of_each_slot_wins(texts: list[str], expected: tuple[str, float]) -> None:
    assert rover(texts) == expected


@given(WORDS, st.integers(1, 4))
def test_voters_that_agree_give_their_text(text: str, count: int) -> None:
    said, agreed = rover([text] * count)
    assert alike(said, text) == agreed == 1


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_agreement_is_a_share_and_a_majority_of_texts_wins(texts: list[str]) -> None:
    said, agreed = rover(texts)
    assert 0 < agreed <= 1
    assert alike(rover([*texts, *[texts[0]] * 5])[0], texts[0]) == 1 and isinstance(said, str)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    one, other = map(list, zip(*pairs, strict=True))
    if len({*one, *other}) == 1:
        assert math.isnan(kappa(one, other))
    else:
        assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))


def test_thresholds_keep_ties_together() -> None:
    judged = [(0.5, False), (1.0, True), (0.5, True), (1.0, True)]
    assert thresholds(judged) == [Threshold(1.0, 0.5, 1.0, 2), Threshold(0.5, 1.0, 0.75, 4)]
