"""One unit of work: a step over the rows of one shard. What a loop and a Ray worker both call.

1. Rows are read from the unit before; each goes through the step, which gives rows or says why it is left out.
2. A step that raises at a row leaves it out as `error: ...`, counted and named; the rest go through.
3. Faults that every row would meet (a full disk, an endpoint that is down, a missing package) end the run.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from osum.errors import CheckpointError, EndpointUnusableError, MissingExtraError, OsumError, RecipeError
from osum.pipeline.answers import Answers
from osum.pipeline.folder import FAULT, RunFolder, Tally, Unit
from osum.pipeline.row import PROVENANCE, DropError, Row
from osum.pipeline.step import ModelStep, Placed, Step, digest

Became = tuple[Row | None, Iterable[Row] | DropError]
"""A row that came in, and what became of it."""
_ENDING = (EndpointUnusableError, MissingExtraError, CheckpointError, RecipeError, MemoryError)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO}


@dataclass(frozen=True)
class Done:
    """A unit that is whole."""

    unit: Unit
    tally: Tally
    seconds: float | None = None
    """That it took; None where it was there before."""


class Worker:
    """Runs the units of one step; a model is loaded when a first answer is not known, and kept.

    Args:
        root: the run's folder.
        placed: the step.
        answers: folder of the answers of models.
    """

    def __init__(self, root: Path, placed: Placed, answers: Path) -> None:
        self._folder, self._placed, self._answers = RunFolder(root), placed, answers
        self._model: ModelStep | None = placed.step.run(placed.options) if placed.step.asks else None
        self._identity = digest(self._model.identity()) if self._model else ""

    def __call__(self, before: Unit, unit: Unit) -> Done:
        """Do a unit, unless it is there."""
        tally, began = self._folder.tally(unit), time.monotonic()
        if tally is not None:
            return Done(unit, tally)
        tally = self._folder.write(unit, self._outcomes(before, unit.number))
        return Done(unit, tally, time.monotonic() - began)

    def _outcomes(self, before: Unit, number: int) -> Iterator[Became]:
        rows = self._folder.rows(before)
        if self._model is not None:
            answers = Answers(self._answers, f"{self._placed.step.name}-{self._identity}", number)
            yield from _asked(rows, self._model, answers, self._placed.step)
            return
        for row in rows:
            yield row, attempt(lambda row=row: self._placed(row), self._placed.step)  # type: ignore[misc]


def _asked(rows: Iterator[Row], model: ModelStep, answers: Answers, step: Step) -> Iterator[Became]:
    """Rows of a model step: what is known from before is not asked again."""
    while batch := list(islice(rows, model.batch)):
        given = [_given(row, model) for row in batch]
        known = {key: answers.get(key) for key in given if isinstance(key, str)}
        left = {key: row for key, row in zip(given, batch, strict=True) if isinstance(key, str) and known[key] is None}
        found = _answered(list(left.values()), model)
        fresh = dict(zip(left, found, strict=True))
        answers.keep({key: answer for key, answer in fresh.items() if not isinstance(answer, DropError)})
        for row, key in zip(batch, given, strict=True):
            if isinstance(key, DropError):
                yield row, key
            elif isinstance(dropped := fresh.get(key), DropError):
                yield row, dropped
            else:
                answer = answers.get(key)
                yield row, attempt(lambda row=row, answer=answer: model.apply(row, answer), step)  # type: ignore[misc]


def _given(row: Row, model: ModelStep) -> str | DropError:
    try:
        return model.given(row)
    except Exception as fault:
        return as_drop(fault)


def _answered(rows: Sequence[Row], model: ModelStep) -> list[Any]:
    """An answer or a fault for each row; after a fault of all of them each is asked alone."""
    if not rows:
        return []
    try:
        found = list(model.answer(rows))
    except Exception as fault:
        if len(rows) == 1 or _ends(fault):
            return [as_drop(fault)]
        return [answer for row in rows for answer in _answered([row], model)]
    return [as_drop(answer) if isinstance(answer, Exception) else answer for answer in found]


def attempt(act: Callable[[], Row | Iterable[Row]], step: Step) -> Iterable[Row] | DropError:
    """The rows that a step gives, signed by it, or why there are none."""
    try:
        made = act()
        return [signed(row, step) for row in ([made] if isinstance(made, Row) else made)]
    except Exception as fault:
        return as_drop(fault)


def as_drop(fault: Exception) -> DropError:
    """What is said of a row at which a step raised.

    Raises:
        Exception: `fault` itself, where every row would meet it.
    """
    if isinstance(fault, DropError):
        return fault
    if _ends(fault):
        raise fault
    kind = type(fault).__name__
    why = " ".join(str(fault).split())
    return DropError(
        f"{FAULT}: {kind}", why if isinstance(fault, OsumError) else f"{why or kind} (a fault of the step)"
    )


def _ends(fault: BaseException) -> bool:
    return isinstance(fault, _ENDING) or (isinstance(fault, OSError) and fault.errno in _FULL)


def signed(row: Row, step: Step) -> Row:
    """With the step's name and version on the labels that it gave."""
    made = row.extra.get(PROVENANCE)
    if not made or all(given.get("step") for given in made.values()):
        return row
    sign = {"step": step.name, "version": step.version}
    own = {field: given if given.get("step") else {**sign, **given} for field, given in made.items()}
    utterance = row.utterance.with_(extra={**row.extra, PROVENANCE: own})
    return replace(row, utterance=utterance)


def across(folder: RunFolder, placed: Placed, before: Sequence[Unit], units: Sequence[Unit]) -> Iterator[Done]:
    """A step that sees the whole corpus: one outcome for each row, in order; units that are there stay."""

    def rows() -> Iterator[Row]:
        return (row for unit in before for row in folder.rows(unit))

    found = [folder.tally(unit) for unit in units]
    outcomes = iter(()) if all(found) else placed(rows)
    for came, unit, tally in zip(before, units, found, strict=True):
        began = time.monotonic()
        pairs = () if all(found) else _paired(folder.rows(came), outcomes, placed.step)
        if tally is None:
            yield Done(unit, folder.write(unit, pairs), time.monotonic() - began)
        else:
            deque(pairs, maxlen=0)  # the outcomes of its rows go by
            yield Done(unit, tally)


def _paired(rows: Iterator[Row], outcomes: Iterator[Row | DropError], step: Step) -> Iterator[Became]:
    for row in rows:
        became = next(outcomes, None)
        if became is None:
            raise RuntimeError(f"step {step.name} gave fewer outcomes than rows: it must yield one for each")
        yield row, became if isinstance(became, DropError) else [signed(became, step)]
