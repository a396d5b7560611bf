"""Noise depends on seed and place alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from osum.speech.noise import BLOCK, Noise


@given(start=st.integers(0, 3 * BLOCK), length=st.integers(0, 2 * BLOCK), cut=st.integers(0, 2 * BLOCK))
def test_a_cut_changes_no_number(start: int, length: int, cut: int) -> None:
    noise, cut = Noise(7, 0, 3), min(cut, length)
    pieces = noise(start, start + cut), noise(start + cut, start + length)
    assert torch.equal(torch.cat(pieces, dim=-1), noise(start, start + length))


def test_seeds_streams_and_places_differ() -> None:
    draws = [Noise(1, 0, 1)(0, 99), Noise(2, 0, 1)(0, 99), Noise(1, 1, 1)(0, 99), Noise(1, 0, 1)(BLOCK, BLOCK + 99)]
    assert all(not torch.equal(a, b) for place, a in enumerate(draws) for b in draws[:place])


def test_it_is_standard_normal() -> None:
    numbers = Noise(0, 0, 10)(0, 10_000)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02
