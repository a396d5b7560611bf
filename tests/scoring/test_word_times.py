import math

import pytest

from osum.scoring import HISTOGRAM_REACH, HISTOGRAM_STEP, aas, word_times
from osum.utterance import Word

TRUE = [(Word("Good", 1.0, 1.5), Word("morning", 2.0, 2.5))]


def shifted(start: float, end: float) -> list[tuple[Word, ...]]:
    return [tuple(Word(word.text.lower(), word.start + start, word.end + end) for word in TRUE[0])]


def test_distances_are_counted_for_starts_and_ends():
    found = word_times(TRUE, shifted(-0.03, 0.1))
    assert found.median == pytest.approx(65)
    assert found.within == {50: 0.5, 100: 1, 200: 1}
    assert found.within[50] <= found.within[100] <= found.within[200]


def test_early_is_left_and_late_right_and_far_at_the_ends():
    early = HISTOGRAM_REACH // HISTOGRAM_STEP - 2
    histogram = word_times(TRUE, shifted(-0.03, 9)).histogram
    assert (len(histogram), sum(histogram)) == (2 * HISTOGRAM_REACH // HISTOGRAM_STEP, 4)
    assert (histogram[early], histogram[-1]) == (2, 2)


def test_the_words_are_those_of_the_shift():
    said = [(Word("good", 1.2, 1.5), Word("evening", 2.0, 2.5))]
    assert sum(word_times(TRUE, said).histogram) == 2 * aas(TRUE, said).detail["matched"]


def test_without_a_shared_word_nothing_is_measured():
    found = word_times(TRUE, [()])
    assert math.isnan(found.median)
    assert math.isnan(found.within[50])
    assert sum(found.histogram) == 0
