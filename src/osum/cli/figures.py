"""Figures on the terminal: results with their intervals, models in pairs, and the list of benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from osum.evaluation.report.markup import DASH
from osum.evaluation.report.units import unit_of
from osum.scoring import Score, Spread, spread

if TYPE_CHECKING:
    from osum.evaluation.score.result import BenchmarkResult, Comparison
    from osum.evaluation.sets.benchmark import Benchmark

_PIPED_WIDTH = 160  # characters of a table that no terminal shows


def show_results(results: Sequence[BenchmarkResult]) -> None:
    """One block of lines for each benchmark and model: first its metric, then what else was counted."""
    caption = "Intervals are bootstrap ones, too narrow for few clips; arrows point to where better is."
    table = Table(caption=caption, caption_justify="left")
    table.add_column("benchmark", overflow="fold")
    table.add_column("model", overflow="fold")
    table.add_column("figure", overflow="fold")
    for head in ("value", "95 % interval", "clips", "real-time factor"):
        table.add_column(head, justify="right", no_wrap=True)
    for result in results:
        factor = DASH if result.real_time_factor is None else f"{result.real_time_factor:.3f}"
        unit = unit_of(result.metric)
        value, interval = _numbers(result.score, result.metric)
        table.add_section()
        table.add_row(
            result.benchmark, result.model, unit.head, Text(value, "bold"), interval, str(result.clips), factor
        )
        for name, number, around in _further(result):
            table.add_row("", "", Text(name, "dim"), number, around)
    _print(table)


def show_comparisons(comparisons: Iterable[Comparison]) -> None:
    """Every two models on the clips that both answered."""
    rows = list(comparisons)
    if not rows:
        return
    table = Table(title="Pairs of models on the same clips", title_justify="left", caption_justify="left")
    table.caption = "p: two-sided paired bootstrap; small where chance alone hardly makes such a difference."
    for head in ("benchmark", "first", "second"):
        table.add_column(head, overflow="fold")
    table.add_column("figure")
    for head in ("first - second", "95 % interval", "p", "clips"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        found, unit = row.difference, unit_of(row.difference.name)
        value, low, high = (unit.number(number) for number in (found.value, found.low, found.high))
        names = row.benchmark, row.first, row.second, unit.head
        table.add_row(*names, value, f"{low} to {high}", f"{found.p_value:.3f}", str(found.count))
    _print(table)


def show_benchmarks(benchmarks: Mapping[str, Benchmark], suites: Mapping[str, Sequence[str]]) -> None:
    """Every benchmark: what it asks, how it is counted, under what licence, and what must lie where."""
    table = Table()
    for head in ("benchmark", "task", "metric", "clips", "licence", "folder", "what must lie there"):
        table.add_column(head, overflow="fold", justify="right" if head == "clips" else "left")
    for one in benchmarks.values():
        count = DASH if one.count is None else str(one.count)
        table.add_row(
            one.name, one.task, unit_of(one.metric).title, count, one.licence, one.folder or one.name, one.layout
        )
    _print(table)
    for name, members in suites.items():
        sys.stdout.write(f"--suite {name}: {', '.join(members)}\n")


def _further(result: BenchmarkResult) -> Iterator[tuple[str, str, str]]:
    """Name, value and interval of what else was counted."""
    for name, score in result.others.items():
        yield unit_of(name).head, *_numbers(score, name)
    if result.prompts:
        yield _over_prompts(spread(result.prompts), result.metric)
    if result.unreadable is not None:
        yield "free answers without a label %", _percent(result.unreadable), ""
    if result.calibration is not None:
        error = result.calibration.error
        yield "calibration error % ↓", _percent(error.value), f"{_percent(error.low)} to {_percent(error.high)}"
    if result.times is not None:
        yield "words in both, %", _percent(result.score.detail["coverage"]), ""
        yield "median shift ms ↓", unit_of("aas").number(result.times.median), ""
        for limit, share in result.times.within.items():
            yield f"shifts up to {limit} ms % ↑", _percent(share), ""
    if result.failed:
        yield "clips without an answer", str(result.failed), ""


def _over_prompts(over: Spread, metric: str) -> tuple[str, str, str]:
    unit = unit_of(metric)
    low, high = unit.number(over.low), unit.number(over.high)
    return f"mean of {over.count} prompts (least to most)", unit.number(over.mean), f"({low} to {high})"


def _numbers(score: Score, metric: str) -> tuple[str, str]:
    unit = unit_of(metric)
    low, high = unit.number(score.low), unit.number(score.high)
    return unit.number(score.value), DASH if DASH in (low, high) else f"{low} to {high}"


def _percent(share: float) -> str:
    return unit_of("accuracy").number(share)


def _print(table: Table) -> None:
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(file=sys.stdout, width=width).print(table)
