"""SpecAugment and SpecSub: how much they hide, where they copy from, and that all hangs on the generator."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from osum.training.spec_augment import OURS, RELEASED, mask, spec_augment, substitute

OFF = replace(OURS, mask_probability=0.0)


def counted(frames: int) -> Tensor:
    """Features (80, F) whose every frame is another."""
    return torch.arange(80 * frames, dtype=torch.float32).reshape(frames, 80).T + 1


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_masks_hide_little_with_silence_and_keep_the_shape(frames: int, seed: int) -> None:
    features = torch.rand(80, frames) + 1
    masked = mask(features, random.Random(seed))
    hidden = masked != features
    assert masked.shape == features.shape and (masked[hidden] == features.min()).all()
    assert int(hidden.all(1).sum()) <= 20 or frames < 20
    assert int(hidden.all(0).sum()) <= 2 * max(1, frames // 20)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_masks_are_drawn_as_they_were_before_there_were_options(frames: int, seed: int) -> None:
    features, rng = counted(10 * frames), random.Random(seed)
    expected = features.clone()
    for _ in range(2):
        start = rng.randrange(80)
        expected[start : start + rng.randrange(11)] = features.min()
        start = rng.randrange(10 * frames)
        span = rng.randrange(min(150, max(1, 10 * frames // 20)) + 1)
        expected[:, start : start + span] = features.min()
    assert torch.equal(spec_augment(features, random.Random(seed)), expected)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_released_masks_are_at_most_two_of_fifty_frames_and_two_of_ten_bins(frames: int, seed: int) -> None:
    hidden = mask(torch.rand(80, 3 * frames) + 1, random.Random(seed), RELEASED) == 0
    hidden |= mask(counted(3 * frames), random.Random(seed), RELEASED) == 1
    full_bins, full_frames = hidden.all(1), hidden.all(0)
    assert int(full_frames.sum()) <= 100 and (int(full_bins.sum()) <= 20 or 3 * frames <= 100)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(0, 99))
def test_a_substituted_frame_is_an_earlier_one_and_few_are(frames: int, seed: int) -> None:
    features = counted(frames)
    changed = substitute(features, random.Random(seed), RELEASED)
    source = [int(torch.nonzero((features == column[:, None]).all(0))) for column in changed.T]
    moved = [(now, then) for now, then in enumerate(source) if now != then]
    assert all(then < now for now, then in moved) and len(moved) <= 90


@pytest.mark.parametrize("frames", [1, 19, 40, 200])
def test_a_short_clip_loses_no_more_than_the_share(frames: int) -> None:
    features, options = counted(frames), replace(OURS, substitutions=1)
    for seed in range(50):
        changed = substitute(features, random.Random(seed), options) != features
        assert int(changed.any(0).sum()) <= max(1, frames // 20)


def test_substitutions_happen_after_the_masks() -> None:
    features, rng = counted(300), random.Random(3)
    expected = substitute(mask(features, rng, RELEASED), rng, RELEASED)
    assert torch.equal(spec_augment(features, random.Random(3), RELEASED), expected)


def test_the_generator_decides_and_the_features_stay_as_they_were() -> None:
    features = counted(200)
    first, second, other = (spec_augment(features, random.Random(seed), RELEASED) for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(features, counted(200))


def test_what_is_off_draws_nothing() -> None:
    rng = random.Random(1)
    assert torch.equal(spec_augment(counted(50), rng, OFF), counted(50))
    assert rng.random() == random.Random(1).random()


def test_a_probability_is_how_often_it_happens() -> None:
    features, options = counted(100), replace(OFF, substitute_probability=0.3, max_share=1.0)
    changed = [not torch.equal(spec_augment(features, random.Random(seed), options), features) for seed in range(1000)]
    assert sum(changed) / 1000 == pytest.approx(0.3, abs=0.05)


def test_a_clip_without_frames_is_left_alone() -> None:
    assert spec_augment(torch.zeros(80, 0), random.Random(1), RELEASED).shape == (80, 0)
