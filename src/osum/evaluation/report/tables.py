"""The tables of a report: every benchmark, the shapes of the paper's tables 4 and 5, and what stands behind a figure.

Measured figures carry their interval; published ones are quoted, and marked. The best is bold only among figures
that can be compared: one metric, one list of clips, one normaliser; or published ones among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from osum.evaluation.report.markup import DASH, Cell, Table, TableRow, row
from osum.evaluation.report.units import MetricUnit, unit_of
from osum.evaluation.score.result import BenchmarkResult, Comparison
from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.catalogue import TASKS
from osum.evaluation.sets.published import Published
from osum.peers.floors import Majority, Source
from osum.scoring import Score, spread
from osum.tasks.catalog import ASR

MEASURED = "measured"
COMMONEST = "commonest label"
FLOORS = (Majority.name, Source.name)
"""Models that use no sound."""
SIGNIFICANT = 0.05
DIGITS = 2
"""Of the paper's tables."""
_INTERVALS = "In brackets: 95 % bootstrap interval, over speakers where five or more are known, else over clips."
_BOLD = "Bold: the best of the measured figures on the same clips with the same normaliser."
_QUOTED = (
    "Published figures are quoted from the source in brackets; they were not measured here, and their clips, prompts "
    "and normalisers may differ. Bold: the best among the published, and the best among the measured on the same clips."
)


@dataclass(frozen=True, slots=True)
class Compared:
    """What tables are made from."""

    results: Sequence[BenchmarkResult]
    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict)
    """Those that are declared, by name; their order is that of the rows."""
    comparisons: Sequence[Comparison] = ()
    published: Sequence[Published] = ()

    @property
    def models(self) -> list[str]:
        """Floors first, the others in the order of the results."""
        found = dict.fromkeys(result.model for result in self.results)
        return sorted(found, key=lambda model: model not in FLOORS)

    @property
    def names(self) -> list[str]:
        """The benchmarks that have results."""
        found = dict.fromkeys(result.benchmark for result in self.results)
        return [*(name for name in self.benchmarks if name in found), *(n for n in found if n not in self.benchmarks)]

    def of(self, name: str) -> dict[str, BenchmarkResult]:
        """Results on one benchmark by model, in the order of the models."""
        results = {result.model: result for result in self.results if result.benchmark == name}
        return {model: results[model] for model in self.models if model in results}

    def title(self, name: str) -> str:
        """A benchmark's title, or its name where it is not declared."""
        return self.benchmarks[name].title if name in self.benchmarks else name

    def task(self, name: str) -> str:
        """Its task, `other` where it is not declared."""
        return self.benchmarks[name].task if name in self.benchmarks else "other"

    def unit(self, name: str) -> MetricUnit:
        """Of its metric."""
        return unit_of(next(result.metric for result in self.results if result.benchmark == name))

    def quoted(self, names: Iterable[str]) -> list[Published]:
        """The published figures of some benchmarks of the same metric."""
        metrics = {name: {result.metric for result in self.of(name).values()} for name in names}
        return [one for one in self.published if one.metric in metrics.get(one.benchmark, ())]


# All benchmarks


def overview(found: Compared) -> Table:
    """A row for each benchmark, a column for each model."""
    models = found.models
    commonest = any(result.confusion for result in found.results)
    rows = []
    for name in found.names:
        results, unit = found.of(name), found.unit(name)
        best = best_of({model: result.score.value for model, result in results.items()}, unit, comparable(results))
        cells = [_measured(results.get(model), unit, unit.digits, model in best) for model in models]
        shown_here = [share_of_commonest(results.values())] if commonest else []
        rows.append(row(found.task(name), found.title(name), unit.head, sizes(results), *shown_here, *cells))
    head = ("task", "test set", "metric", "n", *([COMMONEST] if commonest else []), *models)
    return Table("overview", "All test sets", head, tuple(rows), (_INTERVALS, _BOLD), num_text=3)


def comparable(results: Mapping[str, BenchmarkResult]) -> bool:
    """Whether results on one benchmark were counted alike, on the same clips, and word times on the same words."""
    counted = {
        (
            *(result.metric, result.score.count, result.score.detail.get("coverage")),
            *(str(result.run.get(name)) for name in ("list_hash", "limit", "normaliser")),
        )
        for result in results.values()
    }
    return len(counted) == 1


def best_of(values: Mapping[str, float], unit: MetricUnit, compare: bool = True) -> set[str]:
    """The models whose value is the best of two or more; those that are shown alike share it."""
    known = {model: value for model, value in values.items() if math.isfinite(value)}
    if len(known) < 2 or not compare:
        return set()
    top = (min if unit.lower else max)(known.values())
    return {model for model, value in known.items() if unit.number(value) == unit.number(top)}


def sizes(results: Mapping[str, BenchmarkResult]) -> str:
    """How many clips were scored; of each model where they differ."""
    counts = {model: result.score.count for model, result in results.items()}
    if len(set(counts.values())) == 1:
        return str(next(iter(counts.values())))
    return ", ".join(f"{model} {count}" for model, count in counts.items())


def share_of_commonest(results: Iterable[BenchmarkResult]) -> str:
    """Accuracy in percent of always naming the commonest true label."""
    for result in results:
        if result.confusion is not None:
            counts = [sum(line) for line in result.confusion.counts]
            return unit_of("accuracy").number(max(counts) / sum(counts)) if sum(counts) else DASH
    return DASH


def _measured(result: BenchmarkResult | None, unit: MetricUnit, digits: int, best: bool = False) -> Cell:
    if result is None:
        return Cell(DASH)
    covered = result.score.detail.get("coverage")
    share = "" if covered is None else f"\nof {_percent(covered)} % of the words"
    return Cell(unit.interval(result.score, digits) + share, best)


# As in the paper


def recognition(found: Compared) -> Table:
    """The shape of the paper's table 4: models below each other, transcribed test sets next to each other."""
    names = [name for name in found.names if found.task(name) == ASR.name]
    sources = _Sources()
    rows = _block(found, names, sources)
    head = ("model", "figures", *(_set_head(found, name) for name in names))
    notes = (_INTERVALS, _QUOTED if sources.notes else _BOLD, *sources.notes)
    return Table("recognition", "Transcripts, in the shape of table 4", head, tuple(rows), notes, num_text=2)


def understanding(found: Compared) -> Table:
    """The shape of the paper's table 5: a block for each task, its models below each other."""
    blocks: dict[str, list[str]] = {}
    for name in found.names:
        if found.task(name) != ASR.name:
            blocks.setdefault(found.task(name), []).append(name)
    width = max((len(names) for names in blocks.values()), default=0)
    sources = _Sources()
    rows: list[TableRow] = []
    for task, names in blocks.items():
        gap = [""] * (width - len(names))
        rows.append(row(_task_head(task), "", "", *(_set_head(found, name) for name in names), *gap, kind="group"))
        rows += [_indented(line, gap) for line in _block(found, names, sources)]
    head = ("task", "model", "figures", *(f"test set {number + 1}" for number in range(width)))
    notes = (_INTERVALS, _QUOTED if sources.notes else _BOLD, *sources.notes)
    return Table("understanding", "Other tasks, in the shape of table 5", head, tuple(rows), notes, num_text=3)


def _task_head(task: str) -> str:
    return f"{task}: {TASKS[task].title}" if task in TASKS else task


def _set_head(found: Compared, name: str) -> str:
    return f"{found.title(name)}\n{found.unit(name).head}, n = {sizes(found.of(name))}"


def _indented(line: TableRow, gap: Sequence[str]) -> TableRow:
    return TableRow((Cell(""), *line.cells, *(Cell(text) for text in gap)), line.kind)


class _Sources:
    """Numbers of the sources that published figures are quoted from, in the order of their use."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, source: str) -> int:
        """From 1."""
        return self._numbers.setdefault(source, len(self._numbers) + 1)

    @property
    def notes(self) -> list[str]:
        """A line for each source."""
        return [f"[{number}] {source}" for source, number in self._numbers.items()]


def _block(found: Compared, names: Sequence[str], sources: _Sources) -> list[TableRow]:
    """Published rows, then measured ones: model, whose figures they are, and a figure for each test set."""
    return [*_published_rows(found, names, sources), *_measured_rows(found, names)]


def _published_rows(found: Compared, names: Sequence[str], sources: _Sources) -> list[TableRow]:
    """A row for each model and source; a source that only repeats what another says is left out."""
    lines: dict[tuple[str, str], dict[str, Published]] = {}
    for one in found.quoted(names):
        source = f"{one.source}; {one.note}" if one.note else one.source
        lines.setdefault((one.model, source), {})[one.benchmark] = one
    best = {name: _best_published(found, name) for name in names}
    shown_here: set[tuple[str, str, float]] = set()
    rows = []
    for (model, source), figures in lines.items():
        said = {(model, name, one.value) for name, one in figures.items()}
        if said <= shown_here:
            continue
        shown_here |= said
        cells = [_quoted(figures.get(name), found.unit(name), best[name]) for name in names]
        rows.append(row(model, f"published [{sources.number(source)}]", *cells, kind="published"))
    return rows


def _best_published(found: Compared, name: str) -> float | None:
    values = [one.value for one in found.quoted([name])]
    return (min if found.unit(name).lower else max)(values) if len(values) > 1 else None


def _quoted(one: Published | None, unit: MetricUnit, best: float | None) -> Cell:
    """A figure with as many digits as its source prints, in our unit."""
    if one is None:
        return Cell(DASH)
    digits = len(one.printed.partition(".")[2])
    scale = unit.factor * one.value / float(one.printed) if float(one.printed) else 1.0
    return Cell(unit.number(one.value, max(0, digits - round(math.log10(scale)))), one.value == best)


def _measured_rows(found: Compared, names: Sequence[str]) -> list[TableRow]:
    best = {}
    for name in names:
        results = found.of(name)
        values = {model: result.score.value for model, result in results.items()}
        best[name] = best_of(values, found.unit(name), comparable(results))
    rows = []
    for model in found.models:
        results = {name: found.of(name)[model] for name in names if model in found.of(name)}
        cells = [_measured(results.get(name), found.unit(name), DIGITS, model in best[name]) for name in names]
        rows += [row(model, MEASURED, *cells)] if results else []
    return rows


def comparisons(found: Compared) -> Table:
    """Paired tests between models."""
    rows = []
    for name in found.names:
        pairs = [one for one in found.comparisons if one.benchmark == name]
        for one in (one for one in pairs if not {one.first, one.second} <= {*FLOORS}):
            unit, difference = found.unit(name), one.difference
            low, high = (unit.number(bound, DIGITS) for bound in (difference.low, difference.high))
            shown_here = f"{unit.number(difference.value, DIGITS)} [{low}, {high}]"
            cells = [verdict(one), shown_here, f"{difference.p_value:.3f}", str(difference.count)]
            rows.append(row(found.title(name), unit.head, one.first, one.second, *cells))
    head = ("test set", "metric", "first", "second", "better", "first less second", "p", "n")
    notes = (
        "Paired bootstrap over the clips that both answered, 95 % interval; p is two-sided, and not corrected for the "
        f"number of rows. Better: where p is below {SIGNIFICANT:g}.",
    )
    return Table("comparisons", "Models against each other", head, tuple(rows), notes, num_text=5)


def verdict(one: Comparison) -> str:
    """The better model, a dash where that is not shown."""
    difference = one.difference
    if not difference.p_value < SIGNIFICANT or not difference.value:
        return DASH
    lower = unit_of(difference.name).lower
    return one.first if (difference.value < 0) == lower else one.second


# Behind the figures


def labels(found: Compared) -> Table:
    """Labels of the likeliest answer next to the free one, what cannot be read, and how far probabilities hold."""
    figures = ("accuracy", "free answer", "unreadable", "unweighted recall", "macro F1", "ECE", "risk")
    rows = []
    for name, result in _ordered(found, lambda result: result.confusion is not None):
        others = [_other(result, metric) for metric in ("unweighted_recall", "macro_f1")]
        sure = result.calibration
        rows.append(
            row(
                found.title(name),
                result.model,
                _percent(result.score.value),
                _other(result, "free"),
                _percent(result.unreadable),
                *others,
                unit_of("accuracy").interval(sure.error) if sure else DASH,
                _percent(sure.risk if sure else None),
            )
        )
    notes = (
        "Percent. Accuracy: of the likeliest label, where a model gives probabilities; free answer: of the label that "
        "it wrote, an unreadable one counts as wrong.",
        "ECE: expected calibration error; risk: share of wrong answers, averaged over all shares answered.",
    )
    return Table(
        "labels",
        "Labels, their probabilities, and answers without one",
        ("test set", "model", *figures),
        tuple(rows),
        notes,
        num_text=2,
    )


def word_times(found: Compared) -> Table:
    """How far word times are off, and of how many words that is known."""
    near: dict[int, None] = {}
    for _, result in _ordered(found, lambda result: result.times is not None):
        near.update(dict.fromkeys(result.times.within if result.times else ()))
    rows = []
    for name, result in _ordered(found, lambda result: result.times is not None):
        times = result.times
        assert times is not None
        score = result.score if result.metric == "aas" else result.others.get("aas")
        shown_here = [unit_of("aas").interval(score), _percent(score.detail.get("coverage"))] if score else [DASH, DASH]
        shares = (_percent(times.within.get(limit)) for limit in near)
        rows.append(row(found.title(name), result.model, *shown_here, unit_of("aas").number(times.median), *shares))
    head = ("test set", "model", "AAS ms ↓", "words matched %", "median ms ↓", *(f"≤ {limit} ms, %" for limit in near))
    notes = (
        "AAS: mean distance of starts and of ends over the words that truth and answer share (accumulated averaging "
        "shift, arXiv 2301.12343). Median and shares: of starts and ends alike.",
    )
    return Table("word-times", "How far word times are off", head, tuple(rows), notes, num_text=2)


def prompts(found: Compared) -> Table:
    """What the choice of the prompt does."""
    rows = []
    for name, result in _ordered(found, lambda result: bool(result.prompts)):
        unit, over = unit_of(result.metric), spread(result.prompts)
        fixed = unit.interval(result.score)
        wide = f"{unit.number(over.low)} to {unit.number(over.high)}"
        numbers = [unit.number(over.mean), unit.number(over.deviation), wide, str(over.count)]
        rows.append(row(found.title(name), result.model, unit.head, fixed, *numbers))
    head = ("test set", "model", "metric", "fixed prompt", "mean", "standard deviation", "range", "prompts")
    return Table("prompts", "What the prompt changes", head, tuple(rows), (_INTERVALS,), num_text=3)


def details(found: Compared) -> Table:
    """A row for each result: figure, counts, cost."""
    rows = []
    for name, result in _ordered(found, lambda _: True):
        unit = unit_of(result.metric)
        factor = "" if result.real_time_factor is None else f"{result.real_time_factor:.3f}"
        figures = [unit.interval(result.score, DIGITS), str(result.clips), str(result.failed), factor or DASH]
        rows.append(row(found.title(name), result.model, unit.head, *figures, result.resampled_by))
    head = ("test set", "model", "metric", "value", "clips", "failed", "real-time factor", "interval over")
    notes = ("Failed clips count as wrong. Real-time factor: seconds of the machine per second of audio.",)
    return Table("details", "Every figure, with counts and cost", head, tuple(rows), notes, num_text=3)


def _ordered(found: Compared, holds: Callable[[BenchmarkResult], bool]) -> list[tuple[str, BenchmarkResult]]:
    """Results in the order of the benchmarks."""
    return [(name, result) for name in found.names for result in found.of(name).values() if holds(result)]


def _other(result: BenchmarkResult, metric: str) -> str:
    score: Score | None = result.others.get(metric)
    return unit_of(metric).number(score.value) if score else DASH


def _percent(share: float | None) -> str:
    return unit_of("accuracy").number(share)


TABLES = (overview, recognition, understanding, comparisons, labels, word_times, prompts, details)


def all_tables(found: Compared) -> list[Table]:
    """Every table that has rows."""
    return [table for make in TABLES if (table := make(found)).rows]
