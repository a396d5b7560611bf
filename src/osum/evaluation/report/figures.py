"""Which figures a report has, and what each of them shows in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from osum.evaluation.report import plots
from osum.evaluation.report.tables import FLOORS, Compared
from osum.evaluation.report.units import unit_of
from osum.evaluation.score.result import BenchmarkResult
from osum.evaluation.sets.catalogue import TASKS
from osum.evaluation.sets.published import Published
from osum.scoring import Score
from osum.tasks import OSUM

Group = Literal["results", "paper", "label-figures", "times"]
"""The part of the report that a figure belongs to."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure."""

    name: str
    """Of its file."""
    group: Group
    caption: str
    """What it shows, for those too who cannot see it."""
    png: bytes


def draw(found: Compared) -> Iterator[Drawing]:
    """Every figure that the results give.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    quoted = [_quoted_name(one) for one in found.quoted(found.names)]
    listeners = [model for model in found.models if model not in FLOORS]
    looks = plots.styles([*listeners, *FLOORS])
    for metric in dict.fromkeys(result.metric for name in found.names for result in found.of(name).values()):
        if scores := _scores(found, metric):
            unit = unit_of(metric)
            caption = f"{unit.title} with 95 % intervals; the table above holds the numbers"
            yield Drawing(f"intervals-{metric}", "results", caption, plots.intervals(scores, unit, looks))
    if len(axes := axes_of(found)) > 2:
        caption = "Tasks of all models; further out is better. Dashed: published figures, which were not measured here"
        drawn = (model for axis in axes for model in axis.values)
        png = plots.radar(axes, frozenset(quoted), plots.styles(dict.fromkeys([*listeners, *drawn])))
        yield Drawing("radar", "paper", caption, png)
    for name in found.names:
        yield from _of_benchmark(found, name, looks)


def _of_benchmark(found: Compared, name: str, looks: plots.Styles) -> Iterator[Drawing]:
    """Floors are left out: what they take for what is known without a figure."""
    results = {model: result for model, result in found.of(name).items() if model not in FLOORS}
    title = found.title(name)
    if taken := {model: result.confusion for model, result in results.items() if result.confusion}:
        caption = f"{title}: which label is taken for which; shade: share of the true label"
        declared = found.benchmarks.get(name)
        answers = declared.answers if declared else None
        png = plots.confusion_matrices(taken, title, answers.title if answers else _label_title)
        yield Drawing(_file_name(f"{name}-confusion"), "label-figures", caption, png)
    known = {model: result.calibration for model, result in results.items() if result.calibration}
    if sure := {model: one for model, one in known.items() if one.bins and one.risk_coverage}:
        caption = f"{title}. Left: accuracy against probability; right: share of wrong answers among the surest"
        yield Drawing(
            _file_name(f"{name}-reliability"), "label-figures", caption, plots.reliability(sure, title, looks)
        )
    timed = {model: result.times for model, result in results.items() if result.times}
    if times := {model: one for model, one in timed.items() if any(one.histogram)}:
        caption = f"{title}: how far starts and ends of words are off"
        yield Drawing(
            _file_name(f"{name}-word-times"), "times", caption, plots.word_time_histogram(times, title, looks)
        )


def _scores(found: Compared, metric: str) -> list[tuple[str, dict[str, Score]]]:
    """Title and finite scores by model of each benchmark that has any."""
    scores = [
        (found.title(name), {model: result.score for model, result in found.of(name).items() if _known(result, metric)})
        for name in found.names
    ]
    return [(title, some) for title, some in scores if some]


def _known(result: BenchmarkResult, metric: str) -> bool:
    return result.metric == metric and math.isfinite(result.score.value)


def axes_of(found: Compared) -> list[plots.Axis]:
    """One for each task, as in the paper's figure 1: the mean over the test sets that all models with the task have.

    Models with less than half of the tasks would only take test sets away from the others.
    """
    tasks: dict[str, dict[str, dict[str, float]]] = {task: {} for task in TASKS}
    for model, name, value in _values(found):
        tasks.setdefault(found.task(name), {}).setdefault(model, {}).setdefault(name, value)
    tasks = {task: models for task, models in tasks.items() if models}
    often = Counter(model for models in tasks.values() for model in models)
    drawn = {model for model, times in often.items() if 2 * times >= len(tasks)} - _repeating(found)
    known = {
        task: {model: values for model, values in models.items() if model in drawn} for task, models in tasks.items()
    }
    return [axis for task, models in known.items() if (axis := _axis(found, task, models))]


def _repeating(found: Compared) -> set[str]:
    """Published models that only repeat what one above them says, under another name."""
    said: dict[str, set[tuple[str, float]]] = {}
    for one in found.quoted(found.names):
        said.setdefault(_quoted_name(one), set()).add((one.benchmark, one.value))
    pairs = combinations(said, 2)
    return {later for earlier, later in pairs if said[later] <= said[earlier]}


def _values(found: Compared) -> Iterator[tuple[str, str, float]]:
    """Model, benchmark and value of everything that was measured or published; floors are no models to choose from."""
    for result in found.results:
        if math.isfinite(result.score.value) and result.model not in FLOORS:
            yield result.model, result.benchmark, result.score.value
    for one in found.quoted(found.names):
        yield _quoted_name(one), one.benchmark, one.value


def _axis(found: Compared, task: str, models: Mapping[str, Mapping[str, float]]) -> plots.Axis | None:
    """None where no test set is shared. Percents and milliseconds are not averaged: the commonest unit counts."""
    shared = [name for name in found.names if models and all(name in values for values in models.values())]
    if not shared:
        return None
    kinds = [(found.unit(name).lower, found.unit(name).sign) for name in shared]
    kind = Counter(kinds).most_common(1)[0][0]
    chosen = [name for name, one in zip(shared, kinds, strict=True) if one == kind]
    means = {model: sum(values[name] for name in chosen) / len(chosen) for model, values in models.items()}
    return plots.Axis(task, found.unit(chosen[0]), means)


def _quoted_name(one: Published) -> str:
    return f"{one.model} (published)"


def _label_title(label: str) -> str:
    """Its English name: figures have no Chinese characters."""
    return next((known.title(label) for known in OSUM.label_sets.values() if label in known.labels), label)


def _file_name(text: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in text)
