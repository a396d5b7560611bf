"""The clock that runs where there is sound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from osum.listening.sound_time import SoundTime
from osum.listening.word_times import placed

LOUD, QUIET = torch.ones(80, 100), torch.zeros(80, 100)


def test_the_worked_example() -> None:
    sound = SoundTime([(torch.cat([LOUD, QUIET, LOUD], 1), 3.0)])
    first, second = placed(["one", "two"], [None, None], 3.0, sound)
    assert first.start == 0 and second.end == 3 and first.estimated
    assert first.end == second.start == pytest.approx(1.5, abs=0.01)
    assert sound.moments(0, 3, [0.25, 0.75]) == [pytest.approx(0.51, abs=0.02), pytest.approx(2.49, abs=0.02)]


def test_clips_follow_one_another() -> None:
    loud = (torch.cat([LOUD, QUIET], 1), 2.0)
    assert SoundTime([loud, loud]).moments(0, 4, [0.5])[0] == pytest.approx(2.0, abs=0.01)
    assert SoundTime([loud, loud]).moments(2, 4, [0.5])[0] == pytest.approx(2.525, abs=0.02)


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.integers(1, 40), st.sampled_from([0.05, 0.5, 5.0]))
def test_words_over_any_sound_are_in_order_and_of_some_length(loud: list[bool], count: int, seconds: float) -> None:
    features = torch.from_numpy(np.tile(np.array(loud, np.float32), (80, 1)))
    words = placed(["ab"] * count, [None] * count, seconds, SoundTime([(features, seconds)]))
    assert all(0 <= word.start < word.end <= seconds for word in words)
    assert all(one.end <= other.start for one, other in pairwise(words))
    if seconds / count > 0.02:
        assert all(word.end - word.start > 0.001 for word in words)
