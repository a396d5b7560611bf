"""The likeliest way through CTC scores, against every way there is."""

from __future__ import annotations

from itertools import groupby, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.listening.viterbi import best_paths

BLANK = 2


def collapsed(way: tuple[int, ...]) -> list[int]:
    return [unit for unit, _ in groupby(way) if unit != BLANK]


def best_of_all(log_probs: torch.Tensor, units: list[int]) -> float:
    ways = (way for way in product(range(BLANK + 1), repeat=len(log_probs)) if collapsed(way) == units)
    return max((sum(log_probs[at, unit].item() for at, unit in enumerate(way)) for way in ways), default=-torch.inf)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.lists(st.integers(0, 1), max_size=4)), min_size=1, max_size=4),
    st.integers(0, 999),
)
def test_scores_and_spans_are_those_of_the_best_of_all_ways(clips: list[tuple[int, list[int]]], seed: int) -> None:
    lengths, targets = [length for length, _ in clips], [units for _, units in clips]
    shape = (len(clips), max(1, *lengths) if len(lengths) > 1 else max(1, lengths[0]), BLANK + 1)
    log_probs = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    for row, found in enumerate(best_paths(log_probs, lengths, targets)):
        scores = log_probs[row, : lengths[row]]
        best = best_of_all(scores, targets[row])
        assert (found is None) == (best == -torch.inf)
        if found is None:
            continue
        assert found[0] == pytest.approx(best, abs=1e-5)
        way = [BLANK] * lengths[row]
        for unit, (first, last) in zip(targets[row], found[1], strict=True):
            way[first:last] = [unit] * (last - first)
        assert collapsed(tuple(way)) == targets[row]
        assert sum(scores[at, unit].item() for at, unit in enumerate(way)) == pytest.approx(best, abs=1e-5)


def test_the_worked_example() -> None:
    says = torch.full((1, 4, 3), -9.0)
    for frame, unit in enumerate([0, BLANK, 0, BLANK]):
        says[0, frame, unit] = 0
    assert best_paths(says, [4], [[0, 0]]) == [(0.0, [(0, 1), (2, 3)])]


def test_equal_units_need_a_frame_between_them() -> None:
    even = torch.zeros(1, 2, 3)
    assert best_paths(even, [2], [[0, 0]]) == [None]
    assert best_paths(even, [2], [[0, 1]]) == [(0.0, [(0, 1), (1, 2)])]
