"""Agreement of raters on a scale, corrected for chance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def krippendorff_alpha(grades: ArrayLike) -> float:
    """Krippendorff's alpha for grades on an interval scale (Krippendorff, Content Analysis, 2004, chapter 11).

    1. Each pair of grades of one item, by two raters, differs by some square; each item counts by its number of raters.
    2. Each pair of all grades, whoever gave them, differs by some square: what chance would give.
    3. Alpha is 1 less the first mean over the second: 1 is full agreement, 0 is chance, less is systematic dispute.

    Worked example: two raters give (1, 2, 3) and (1, 2, 4). Pairs of one item differ by 0, 0 and 1, in the mean 1/3.
    Pairs of all six grades differ by 41/15 in the mean. Alpha is 1 - (1/3) / (41/15) = 0.878.

    Args:
        grades: (R, N) of R raters and N items; nan where a rater gave none.

    Returns:
        nan where no item has two grades, or all grades are one.
    """
    table = np.asarray(grades, dtype=np.float64)
    counts = np.sum(~np.isnan(table), axis=0)
    pairable = table[:, counts > 1]  # (R, N')
    numbers = counts[counts > 1]
    values = pairable[~np.isnan(pairable)]
    if not values.size:
        return math.nan
    # The sum of squared differences of all pairs of n numbers is n times the sum of squares about their mean.
    within = np.nansum((pairable - np.nanmean(pairable, axis=0)) ** 2, axis=0)
    observed = float(np.sum(2 * numbers * within / (numbers - 1)) / values.size)
    expected = float(2 * values.size * np.sum((values - values.mean()) ** 2) / (values.size * (values.size - 1)))
    return 1 - observed / expected if expected else math.nan
