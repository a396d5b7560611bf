"""Votes: one text of many by ROVER, how alike two texts are, kappa of voters, precision at each threshold.

ROVER (Fiscus 1997), with equal weights:
1. The first text is a row of slots, one for each unit (English word or Chinese character).
2. Each further text is aligned to the slots at the least cost (a unit that is in a slot costs nothing). It adds its
   unit to a slot, nothing (`""`) to a slot that it skips, or a new slot in which all texts before say nothing.
3. In each slot the commonest unit wins, of equals the one said first. The agreement is the mean share of winners.

Example: `a b c`, `a x c`, `a b c d` give slots {a a a} {b x b} {c c c} {"" "" d}, so
`a b c` with an agreement of (1 + 2/3 + 1 + 2/3) / 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osum.corpus.transcript import transcript
from osum.scoring import mixed_units
from osum.text import edit_distance, join_units

Slots = list[list[str]]
"""Of each slot the unit of every text so far."""


def rover(texts: Sequence[str]) -> tuple[str, float]:
    """The text that the texts agree on, in lower case without punctuation, and their agreement from 0 to 1."""
    first, *others = [mixed_units(transcript(text)) for text in texts]
    slots: Slots = [[unit] for unit in first]
    for number, units in enumerate(others, 1):
        slots = _with_text(slots, units, number)
    won = [Counter(slot).most_common(1)[0] for slot in slots]
    agreed = sum(count for _, count in won) / (len(texts) * len(slots)) if slots else 1.0
    return join_units(unit for unit, _ in won if unit), agreed


def _with_text(slots: Slots, units: Sequence[str], number: int) -> Slots:
    """The slots of `number` texts with one more text."""
    steps = _cheapest(slots, units)
    merged: Slots = []
    at, unit = len(slots), len(units)
    while at or unit:
        step = steps[at][unit]
        if step == "both":
            at, unit = at - 1, unit - 1
            merged.append([*slots[at], units[unit]])
        elif step == "skip":
            at -= 1
            merged.append([*slots[at], ""])
        else:
            unit -= 1
            merged.append([""] * number + [units[unit]])
    return merged[::-1]


def _cheapest(slots: Slots, units: Sequence[str]) -> list[list[str]]:
    """For each number of slots and of units the last step of the cheapest alignment: both, skip (a slot), new."""
    costs = [float(unit) for unit in range(len(units) + 1)]
    steps = [["new"] * (len(units) + 1)]
    for slot in slots:
        # To skip a slot in which somebody said nothing costs nothing.
        skipped = 0.0 if "" in slot else 1.0
        row, moves = [costs[0] + skipped], ["skip"]
        for unit, word in enumerate(units, 1):
            ways = {
                "both": costs[unit - 1] + (word not in slot),
                "skip": costs[unit] + skipped,
                "new": row[unit - 1] + 1,
            }
            best = min(ways, key=ways.__getitem__)
            row.append(ways[best])
            moves.append(best)
        costs = row
        steps.append(moves)
    return steps


def alike(one: str, other: str) -> float:
    """1 less the error rate of two texts, of the longer one's units; case and punctuation do not count."""
    a, b = mixed_units(transcript(one)), mixed_units(transcript(other))
    return 1 - edit_distance(a, b) / max(len(a), len(b), 1)


@dataclass(frozen=True)
class Threshold:
    """What is kept, and how much of it is right, where votes must agree so much."""

    agreement: float
    kept: float
    """Share of the rows."""
    precision: float
    """Share of what is kept that is as the truth says."""
    rows: int


def thresholds(judged: Iterable[tuple[float, bool]]) -> list[Threshold]:
    """For each agreement that occurs, from the highest, what a vote at that threshold keeps.

    Args:
        judged: of each row its agreement, and whether what the votes agree on is right.
    """
    rows = sorted(judged, key=lambda row: -row[0])
    found, right = [], 0
    for count, (agreement, is_right) in enumerate(rows, 1):
        right += is_right
        if count == len(rows) or rows[count][0] < agreement:
            found.append(Threshold(agreement, count / len(rows), right / count, count))
    return found


def kappa(one: Sequence[str], other: Sequence[str]) -> float:
    """Cohen's kappa of two voters on the same rows: 1 is full agreement, 0 that of chance.

    Where both always give one and the same label, chance alone agrees too, and nothing is known: nan.
    """
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    ours, theirs = Counter(one), Counter(other)
    chance = sum(ours[label] * theirs[label] for label in ours) / len(one) ** 2
    return float("nan") if chance == 1 else (observed - chance) / (1 - chance)
