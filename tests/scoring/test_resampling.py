import math

import pytest

from osum.errors import InputError
from osum.scoring import METRICS, Resampling, accuracy, bleu, paired_difference, spread, wer

SENTENCES = ["the cat sat on the mat today", "a dog ran", "we went home early again", "one two three four five"]
RIGHT = ["a"] * 60 + ["b"] * 40


def answers(wrong: range) -> list[str]:
    return ["c" if index in wrong else label for index, label in enumerate(RIGHT)]


@pytest.mark.parametrize("name", ["wer", "bleu"])
def test_the_score_is_that_of_the_counts(name):
    metric = METRICS[name]
    said = [*SENTENCES[:-1], "one two three"]
    assert metric(SENTENCES, said, Resampling(seed=3)) == metric.counts(SENTENCES, said).score(Resampling(seed=3))


def test_spread_is_the_mean_and_deviation_over_prompts():
    found = spread([wer(["a b c d"], [said]) for said in ("a b c d", "a b c x", "a b x x")])
    assert (found.mean, found.deviation, found.low, found.high, found.count) == (0.25, 0.25, 0, 0.5, 3)
    assert math.isnan(spread([wer(["a"], ["a"])]).deviation)
    with pytest.raises(InputError, match="give the score of each prompt"):
        spread([])


def test_a_model_does_not_differ_from_itself():
    counts = accuracy.counts(RIGHT, answers(range(50, 70)))
    found = paired_difference(counts, counts)
    assert (found.value, found.low, found.high, found.p_value, found.count) == (0, 0, 0, 1, 100)


def test_a_paired_test_sees_what_two_intervals_hide():
    worse, better = answers(range(30, 70)), answers(range(38, 70))
    first, second = accuracy(RIGHT, better), accuracy(RIGHT, worse)
    assert first.low < second.high
    found = paired_difference(accuracy.counts(RIGHT, better), accuracy.counts(RIGHT, worse))
    assert found.value == pytest.approx(0.08)
    assert 0 < found.low < found.value < found.high
    assert found.p_value < 0.01
    swapped = paired_difference(accuracy.counts(RIGHT, worse), accuracy.counts(RIGHT, better))
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_a_difference_of_one_speaker_is_no_difference_of_models():
    counts = [accuracy.counts(RIGHT, answers(wrong)) for wrong in (range(0), range(8))]
    assert paired_difference(*counts).p_value < 0.01
    speakers = [index // 10 for index in range(100)]
    assert paired_difference(*counts, Resampling(groups=speakers)).p_value > 0.05


def test_only_one_metric_on_the_same_clips_is_compared():
    with pytest.raises(InputError, match="compare one metric on the same clips"):
        paired_difference(wer.counts(["a"], ["a"]), accuracy.counts(["a"], ["a"]))
    with pytest.raises(InputError, match="accuracy of 1 clips against accuracy of 2"):
        paired_difference(accuracy.counts(["a"], ["a"]), accuracy.counts(["a", "b"], ["a", "b"]))


def test_every_metric_can_be_compared():
    assert paired_difference(bleu.counts(SENTENCES, SENTENCES), bleu.counts(SENTENCES, ["a"] * 4)).value > 0.9
