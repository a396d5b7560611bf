"""Windows hold every sample once, depend on the audio alone, and are cut where it is quiet."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from model.tiny import noise

from osum.audio import SAMPLE_RATE
from osum.inference.longform import FRAME, SMOOTHING, Samples, quietest, windows

LIMITS = st.integers(1, 40_000)
CUTS = st.lists(st.integers(0, 100_000), max_size=8)
SIZES = st.integers(1, 100_000)


def in_blocks(samples: Samples, cuts: list[int]) -> list[Samples]:
    return np.split(samples, sorted(min(cut, len(samples)) for cut in cuts))


@given(SIZES, LIMITS, CUTS)
def test_windows_one_behind_the_other_are_the_input(size: int, limit: int, cuts: list[int]) -> None:
    samples = noise(size)
    found = [window.samples for window in windows(in_blocks(samples, cuts), limit)]
    np.testing.assert_array_equal(np.concatenate(found), samples)


@given(SIZES, LIMITS)
def test_every_window_starts_where_the_last_ended_and_keeps_the_limit(size: int, limit: int) -> None:
    found = list(windows([noise(size)], limit))
    lengths = [len(window.samples) for window in found]
    assert [window.start for window in found] == [0, *np.cumsum(lengths)[:-1]]
    assert all(0 < length <= limit for length in lengths)


@given(SIZES, LIMITS, CUTS, CUTS)
def test_the_cuts_do_not_depend_on_the_blocks(size: int, limit: int, one: list[int], other: list[int]) -> None:
    samples = noise(size)
    starts = [[window.start for window in windows(in_blocks(samples, cuts), limit)] for cuts in (one, other)]
    assert starts[0] == starts[1]


@given(st.integers(8_000, 11_000), st.integers(0, 99))
def test_a_cut_falls_into_a_pause(start: int, seed: int) -> None:
    samples = noise(24_000, seed)
    samples[start : start + (SMOOTHING + 1) * FRAME] = 0
    cut = next(windows([samples], SAMPLE_RATE)).samples
    assert start <= len(cut) <= start + (SMOOTHING + 1) * FRAME


def test_a_short_stop_is_no_pause() -> None:
    samples = noise(16_000)
    samples[9_000:9_600] = 0  # 40 ms
    samples[12_000:16_000] *= 0.1
    assert quietest(samples) > 12_000


def test_audio_within_the_limit_is_one_window() -> None:
    (window,) = windows([noise(16_000)], 16_000)
    assert (window.start, len(window.samples)) == (0, 16_000)


def test_a_window_below_the_smallest_pause_is_cut_at_its_limit() -> None:
    assert [len(window.samples) for window in windows([noise(250)], 100)] == [100, 100, 50]
