"""Krippendorff's alpha against its definition, pair by pair, and where it is not defined."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from osum.scoring.agreement import krippendorff_alpha


def by_pairs(table):
    """The definition, with two loops."""
    columns = [[grade for grade in column if not math.isnan(grade)] for column in zip(*table, strict=True)]
    columns = [column for column in columns if len(column) > 1]
    values = [grade for column in columns for grade in column]
    observed = sum(
        (a - b) ** 2 / (len(column) - 1) for column in columns for a, b in itertools.permutations(column, 2)
    ) / len(values)
    expected = sum((a - b) ** 2 for a, b in itertools.permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


def test_the_worked_example():
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 4]]) == pytest.approx(1 - (1 / 3) / (41 / 15))


@given(st.lists(st.lists(st.sampled_from([1, 2, 3, 4, 5, math.nan]), min_size=4, max_size=4), min_size=2, max_size=5))
def test_any_table_is_as_by_the_definition(table):
    columns = [[grade for grade in column if not math.isnan(grade)] for column in zip(*table, strict=True)]
    assume(len({grade for column in columns if len(column) > 1 for grade in column}) > 1)
    assert krippendorff_alpha(table) == pytest.approx(by_pairs(table))


def test_full_agreement_is_one_and_full_dispute_is_below_chance():
    assert krippendorff_alpha([[1, 3, 5], [1, 3, 5]]) == 1
    assert krippendorff_alpha([[1, 5, 1, 5], [5, 1, 5, 1]]) < -0.5


@pytest.mark.parametrize("table", [[[1, math.nan], [math.nan, 2]], [[3, 3], [3, 3]], np.empty((2, 0))])
def test_without_pairs_or_without_a_difference_there_is_no_figure(table):
    assert math.isnan(krippendorff_alpha(table))
