import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from osum.errors import InputError
from osum.scoring import (
    Resampling,
    calibration,
    fit_temperature,
    log_scores_of,
    negative_log_likelihood,
    probabilities_at,
)

scored = st.integers(2, 5).flatmap(
    lambda labels: st.integers(1, 20).flatmap(
        lambda clips: st.tuples(
            arrays.arrays(np.float64, (clips, labels), elements=st.floats(-700, 0)),
            arrays.arrays(np.int64, clips, elements=st.integers(0, labels - 1)),
        )
    )
)


def drawn(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of labels that are drawn from them at a temperature."""
    draw = np.random.default_rng(0)
    scores = draw.normal(scale=3, size=(count, 4))
    return scores, (scores / temperature + draw.gumbel(size=scores.shape)).argmax(axis=1)


@given(scored)
def test_a_fitted_temperature_never_raises_the_loss_of_what_it_was_fitted_on(data):
    assert negative_log_likelihood(*data, fit_temperature(*data)) <= negative_log_likelihood(*data) + 1e-9


def test_no_other_temperature_has_less_loss_where_there_are_clips_enough():
    scores, truth = drawn(2.5)
    fitted = fit_temperature(scores, truth)
    losses = [negative_log_likelihood(scores, truth, fitted * factor) for factor in (0.9, 1, 1.1)]
    assert min(losses) == losses[1]


@given(scored, st.floats(0.05, 20))
def test_no_temperature_changes_the_likeliest_label(data, temperature):
    scores = np.round(data[0])
    found = probabilities_at(scores, temperature)
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_what_was_drawn_is_found(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.06)


def test_labels_distinguished_by_nothing_have_no_temperature():
    assert fit_temperature(np.zeros((3, 2)), [0, 1, 1]) == pytest.approx(1)


def test_a_few_clips_without_a_mistake_do_not_make_a_model_certain():
    right = np.tile([0.0, -5.0], (20, 1))
    assert 0.8 < fit_temperature(right, [0] * 20) < 1
    assert fit_temperature(right, [1] * 20) == pytest.approx(20)


def test_the_loss_is_that_of_the_probabilities():
    probabilities = [[0.7, 0.3], [0.2, 0.8]]
    expected = -(np.log(0.7) + np.log(0.2)) / 2
    assert negative_log_likelihood(log_scores_of(probabilities), [0, 0]) == pytest.approx(expected)
    assert np.isfinite(negative_log_likelihood(log_scores_of([[1.0, 0.0]]), [1]))


@pytest.mark.parametrize(
    ("scores", "truth", "reported"),
    [([[0.0, -np.inf]], [0], "finite"), ([[0.0, -1.0]], [2], "indices from 0 to 1"), ([[0.0]], [0, 0], "as many")],
)
def test_scores_that_fit_no_truth_are_refused(scores, truth, reported):
    with pytest.raises(InputError, match=reported):
        fit_temperature(scores, truth)


def test_the_calibration_error_is_the_mean_distance_of_probability_and_accuracy():
    sure = np.repeat([0.6, 0.9], 50)
    right = np.concatenate([np.arange(50) < 20, np.arange(50) < 50])
    found = calibration(sure, right)
    assert found.error.value == pytest.approx((0.2 + 0.1) / 2)
    assert found.bins == (pytest.approx((0.6, 0.4, 50)), pytest.approx((0.9, 1.0, 50)))
    assert found.error.count == 100


def test_fitting_brings_the_calibration_error_down():
    scores, truth = drawn(2.5)
    errors = []
    for temperature in (1, fit_temperature(scores, truth)):
        probabilities = probabilities_at(scores, temperature)
        found = calibration(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)
        assert found.error.low <= found.error.value <= found.error.high
        assert sum(size for _, _, size in found.bins) == len(truth)
        errors.append(found.error.value)
    assert errors[0] > 0.15
    assert errors[1] < 0.03


def test_few_clips_get_few_bins():
    assert len(calibration(np.linspace(0, 1, 29), [True] * 29).bins) == 2
    assert len(calibration([0.5], [True]).bins) == 1
    assert len(calibration(np.linspace(0, 1, 300), [True] * 300).bins) == 15


def test_the_surest_are_answered_first():
    found = calibration([0.9, 0.5, 0.8, 0.6], [True, False, True, False])
    assert found.risk_coverage == ((0.25, 0), (0.5, 0), (0.75, pytest.approx(1 / 3)), (1, 0.5))
    assert found.risk == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


@given(st.permutations(range(40)))
def test_the_order_of_clips_counts_nowhere(order):
    sure, right = np.round(np.linspace(0, 1, 40), 1), np.arange(40) % 3 > 0
    mixed = calibration(sure[list(order)], right[list(order)], Resampling(resamples=2))
    plain = calibration(sure, right, Resampling(resamples=2))
    assert mixed.risk_coverage == pytest.approx(np.array(plain.risk_coverage))
    assert mixed.error.value == pytest.approx(plain.error.value)


def test_whole_groups_are_drawn_for_the_error():
    sure, right = [0.7] * 200, [index < 140 for index in range(200)]
    alone = calibration(sure, right).error
    grouped = calibration(sure, right, Resampling(groups=[index // 20 for index in range(200)])).error
    assert grouped.high > 2 * alone.high


def test_probabilities_are_probabilities():
    with pytest.raises(InputError, match=r"probability 1\.5: give the named label's, between 0 and 1"):
        calibration([0.5, 1.5], [True, False])
