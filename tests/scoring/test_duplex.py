"""The formulas of Full-Duplex-Bench and HumDial against figures that were published, and by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.errors import InputError
from osum.scoring.duplex import (
    HumDial,
    backchannels,
    humdial,
    humdial_score,
    latency_score,
    merged,
    response_latencies,
    shares,
    stop_latencies,
    takes_turn,
    turn_latency,
)

# Rows of HumDial's table: RESPOND, four rejections, stop, response and first response; totals (echat 6.3).
PUBLISHED = {
    "Freeze-Omni": (0.591, (0.640, 0.291, 0.425, 0.160), (1.762, 2.039, 1.721), (59.1, 37.9, 1.841)),
    "Moshi": (0.635, (0.500, 0.190, 0.208, 0.140), (1.359, 3.672, 3.184), (63.5, 25.95, 2.738)),
    "Easy Turn + OSUM-EChat": (0.802, (0.810, 0.110, 0.853, 0.050), (1.871, 2.685, 2.753), (80.2, 45.58, 2.436)),
}


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED)
def test_the_totals_are_the_published_ones(row):
    responds, rejects, times, totals = row
    found = humdial(responds, rejects, *times)
    assert (found.interruption, found.rejection) == pytest.approx(totals[:2], abs=0.006)
    assert found.delay == pytest.approx(totals[2], abs=0.0006)


def test_the_best_delay_scores_100_the_baseline_50_and_nothing_less_than_0():
    assert latency_score(1.0, 1.0, 2.0) == 100 and latency_score(2.0, 1.0, 2.0) == pytest.approx(50)
    assert latency_score(4.0, 1.0, 2.0) == pytest.approx(0) and latency_score(9.0, 1.0, 2.0) == 0


def test_the_score_is_weighed_40_40_20():
    assert humdial_score(HumDial(80, 40, 2.0), best=1.0, baseline=2.0) == pytest.approx(32 + 16 + 10)


@pytest.mark.parametrize("times", [(0.0, 1.0, 2.0), (1.0, 2.0, 2.0), (1.0, 0.0, 2.0)])
def test_times_that_have_no_logarithm_are_refused(times):
    with pytest.raises(InputError, match="above 0"):
        latency_score(*times)


def test_short_gaps_belong_to_a_stretch_of_speech():
    assert merged([(1.0, 2.0), (2.5, 3.0), (4.0, 5.0)], 0.5) == [(1.0, 3.0), (4.0, 5.0)]


def test_the_stop_latency_is_the_length_of_each_overlap():
    model, user = [(0.0, 4.0), (8.0, 9.0)], [(3.2, 5.0), (8.9, 9.4)]
    assert stop_latencies(user, model) == pytest.approx([0.8, 0.1])


def test_the_response_latency_is_that_to_the_next_start():
    assert response_latencies([(0.0, 1.0), (5.0, 6.0)], [(1.7, 4.0)]) == pytest.approx([0.7])


@pytest.mark.parametrize(("spans", "words", "takes"), [
    ([(0.0, 0.9)], 3, False), ([(0.0, 1.0)], 1, True), ([(0.0, 0.5)], 4, True), ([], 0, False),
])  # fmt: skip
def test_a_turn_is_taken_by_length_or_words(spans, words, takes):
    assert takes_turn(spans, words) is takes


def test_an_early_reply_has_no_negative_latency():
    assert turn_latency(2.0, 1.5) == 0 and turn_latency(2.0, 2.5) == 0.5


def test_backchannels_like_those_of_people_have_no_distance():
    spans = [(1.0, 1.4), (3.0, 3.4)]
    found = backchannels([(spans, [1, 1], 10.0)], [spans])
    assert (
        found.take_over == 0 and found.frequency == pytest.approx(0.2) and found.distance == pytest.approx(0, abs=1e-6)
    )


def test_no_backchannels_are_as_far_as_can_be():
    assert backchannels([([], [], 10.0)], [[(1.0, 1.4)]]).distance == 1.0


def test_a_long_stretch_takes_the_turn_and_is_no_backchannel():
    found = backchannels([([(1.0, 5.0)], [2], 10.0), ([(1.0, 1.4)], [1], 10.0)], [[(1.0, 1.4)], [(1.0, 1.4)]])
    assert found.take_over == 0.5 and found.frequency == pytest.approx(1 / 20)


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0.01, 1)), max_size=8), st.floats(0, 2))
def test_merged_stretches_are_in_order_and_apart(pairs, gap):
    found = merged([(start, start + length) for start, length in pairs], gap)
    assert all(other[0] - one[1] > gap for one, other in pairwise(found))


def test_shares_of_behaviours_add_up():
    assert shares(["respond", "respond", "resume", "unknown"]) == {
        "respond": 0.5, "resume": 0.25, "uncertain": 0.0, "unknown": 0.25,
    }  # fmt: skip
    with pytest.raises(InputError, match="behaviour 'ignores'"):
        shares(["ignores"])


@pytest.mark.parametrize(
    "call", [lambda: humdial(1, (1, 1), 1, 1, 1), lambda: backchannels([], []), lambda: shares([])]
)
def test_what_is_missing_is_named(call):
    with pytest.raises(InputError):
        call()
