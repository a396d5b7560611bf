"""The report of one or more folders of results: Markdown, LaTeX, figures, and a page that holds all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from osum.errors import InputError, OsumError
from osum.evaluation.report.figures import draw
from osum.evaluation.report.markup import latex_document
from osum.evaluation.report.page import page
from osum.evaluation.report.readme import report_page
from osum.evaluation.report.tables import FLOORS, Compared, all_tables
from osum.evaluation.report.worst import Mistake, clips, worst
from osum.evaluation.run.predictions import Predictions, folder_name
from osum.evaluation.score.result import REPORT, read_report
from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.published import Published
from osum.files import atomic_file

AUDIO_BYTES = 12_000_000
"""Of all clips in a page, before base64 makes a third more of it."""
WORST = 10
"""Errors of each model on each test set, where no other number is asked for."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a report holds."""

    page: Path
    num_tables: int
    num_figures: int
    num_errors: int
    num_clips: int

    def __str__(self) -> str:
        """A line for the terminal."""
        counts = f"{self.num_tables} tables, {self.num_figures} figures, {self.num_errors} errors"
        return f"{self.page}  ({counts}, {self.num_clips} clips to play)"


def read_results(outs: Iterable[Path], benchmarks: Mapping[str, Benchmark], published: Sequence[Published]) -> Compared:
    """The results in folders that `osum evaluate` wrote, or in files like their `report.json`.

    Raises:
        InputError: a report is missing or broken, or two of them are about the same model and test set.
    """
    reports = {out: read_report(out / REPORT if out.is_dir() else out) for out in outs}
    places: dict[tuple[str, str], Path] = {}
    for out, report in reports.items():
        for result in report.results:
            first = places.setdefault((result.benchmark, result.model), out)
            if first != out:
                raise InputError(
                    f"{result.model} on {result.benchmark} stands in {first} and in {out}: leave out one of the two"
                )
    results = [result for report in reports.values() for result in report.results]
    declared = {result.benchmark: one.benchmark() for result in results if (one := result.declared)}
    return Compared(
        results=results,
        benchmarks={**benchmarks, **declared},
        comparisons=[one for report in reports.values() for one in report.comparisons],
        published=published,
    )


def write_pages(
    found: Compared,
    outs: Sequence[Path],
    folder: Path,
    num_worst: int,
    notice: Callable[[OsumError], None],
) -> Written:
    """Write `index.html`, `report.md`, `tables.tex` and `figures/` to a folder.

    Args:
        found: of `read_results`.
        outs: where the predictions lie; a file instead of a folder has none, and so no errors to listen to.
        folder: made when missing.
        num_worst: errors of each model on each test set.
        notice: called with predictions that cannot be read; the page comes without them.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    tables = all_tables(found)
    drawn = list(draw(found))
    mistakes = dict(_mistakes(found, outs, num_worst, notice))
    sounds = clips(mistakes, AUDIO_BYTES)
    for drawing in drawn:
        _write(folder / "figures" / f"{drawing.name}.png", drawing.png)
    _write(folder / "report.md", report_page(found).encode())
    _write(folder / "tables.tex", latex_document(tables).encode())
    _write(folder / "index.html", page(found, tables, drawn, mistakes, sounds).encode())
    num_errors = sum(len(some) for some in mistakes.values())
    return Written(folder / "index.html", len(tables), len(drawn), num_errors, len(sounds))


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as out:
        out.write(content)


def _mistakes(
    found: Compared, outs: Sequence[Path], limit: int, notice: Callable[[OsumError], None]
) -> Iterator[tuple[tuple[str, str], list[Mistake]]]:
    """The worst errors by benchmark and model, in the order of the tables; those of floors say nothing."""
    models = [(name, model) for name in found.names for model in found.of(name) if model not in FLOORS]
    for (name, model), out in product(models, outs):
        store = Predictions(out / folder_name(model), name)
        if name not in found.benchmarks or not store.path.is_file():
            continue
        try:
            benchmark = found.benchmarks[name]
            counted = (replace(one, answer=benchmark.counted(one.answer)) for one in store.read())
            yield (name, model), worst(counted, benchmark.target, limit)
        except OsumError as fault:
            notice(fault)
