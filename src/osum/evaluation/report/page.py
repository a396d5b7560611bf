"""The report as one HTML page: what stands in which section of `page.html.j2`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osum.evaluation.report.figures import Drawing
from osum.evaluation.report.markup import HTML, Table
from osum.evaluation.report.tables import Compared
from osum.evaluation.report.worst import Mistake, key
from osum.evaluation.score.result import BenchmarkResult

_FILES = Path(__file__).parent
Mistakes = Mapping[tuple[str, str], Sequence[Mistake]]
"""By benchmark and model."""
_SECTIONS = (
    ("all-sets", "Results", ("overview", "results")),
    ("in-the-paper", "As in the paper", ("recognition", "understanding", "paper")),
    ("against", "Comparisons", ("comparisons",)),
    ("of-labels", "Labels", ("labels", "label-figures")),
    ("of-times", "Word times", ("word-times", "times")),
    ("of-prompts", "Prompts", ("prompts",)),
    ("errors", "Worst errors", ()),
    ("every-figure", "Every figure", ("details",)),
    ("runs", "How it was run", ()),
)
"""Name, title, and the tables and groups of figures that it holds."""


@dataclass(frozen=True, slots=True)
class Error:
    """A row of the table of the worst errors."""

    title: str
    """Of the test set."""
    model: str
    mistake: Mistake
    sound: bytes | None
    """MP3."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    tables: Sequence[Table]
    drawings: Sequence[Drawing]
    answers: Sequence[Error] = ()
    runs: Sequence[tuple[str, str]] = ()
    """Title and text of what opens on a click."""

    @property
    def filled(self) -> bool:
        """Whether anything is in it."""
        return any((self.tables, self.drawings, self.answers, self.runs))


def page(
    found: Compared,
    tables: Iterable[Table],
    drawn: Iterable[Drawing],
    mistakes: Mistakes,
    sounds: Mapping[str, bytes],
) -> str:
    """The whole page; sections without anything are left out.

    Args:
        found: what was measured.
        tables: of it.
        drawn: its figures.
        mistakes: the worst ones.
        sounds: MP3 of the clips by `key`.
    """
    tables, drawn = list(tables), list(drawn)
    answers = [
        Error(found.title(name), model, mistake, sounds.get(key(mistake.prediction)))
        for (name, model), some in mistakes.items()
        for mistake in some
    ]
    runs = [_run(found, result) for result in found.results]
    sections = [
        Section(
            name,
            title,
            [table for table in tables if table.name in parts],
            [drawing for drawing in drawn if drawing.group in parts],
            answers if name == "errors" else (),
            runs if name == "runs" else (),
        )
        for name, title, parts in _SECTIONS
    ]
    return HTML.get_template("page.html.j2").render(
        title="Evaluation of speech understanding",
        summary=f"{len(found.names)} test sets, {len(found.models)} models: {', '.join(found.models)}.",
        style=(_FILES / "page.css").read_text(encoding="utf-8"),
        script=(_FILES / "page.js").read_text(encoding="utf-8"),
        sections=[section for section in sections if section.filled],
    )


def _run(found: Compared, result: BenchmarkResult) -> tuple[str, str]:
    """What is needed to run it again."""
    declared = found.benchmarks.get(result.benchmark)
    origin = {"test set": declared.home, "licence": declared.licence, "note": declared.note} if declared else {}
    text = json.dumps({**origin, **result.run}, ensure_ascii=False, indent=2)
    return f"{found.title(result.benchmark)}: {result.model}", text
