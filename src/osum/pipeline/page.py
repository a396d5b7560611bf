"""What each step kept, and what it left out and why: one HTML page with examples that play. No scripts, no network."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import soundfile

from osum.audio import SAMPLE_RATE
from osum.errors import OsumError
from osum.files import atomic_file
from osum.pipeline.folder import FAULT, RunFolder, Tally
from osum.pipeline.row import NO_SOUND, PROVENANCE, Row
from osum.pipeline.run import Summary, units_of
from osum.pipeline.step import STEPS

PAGE = "report.html"
EXAMPLES = 3
"""Of each reason, and of rows that were kept."""
LONGEST = 10.0  # s of an example


@dataclass(frozen=True)
class Example:
    """A row on the page."""

    id: str
    said: str
    labels: str
    detail: str = ""
    sound: str = ""
    """A data URI; empty for a row without sound."""


@dataclass
class Reason:
    """Why rows were left out at one step."""

    name: str
    count: int
    examples: list[Example] = field(default_factory=list)

    @property
    def is_fault(self) -> bool:
        """Whether the step raised."""
        return self.name.startswith(FAULT)


@dataclass(frozen=True)
class StepPart:
    """A step on the page."""

    name: str
    about: str
    options: str
    tally: Tally
    reasons: tuple[Reason, ...]


def write_page(root: Path, summary: Summary) -> Path:
    """Write `report.html` of a finished run; returns its path."""
    folder = RunFolder(root)
    parts = [_part(folder, summary, at) for at in range(len(summary.steps))]
    kept = [_example(row) for row in _first(folder, summary.steps[-1][0])]
    with atomic_file(root / PAGE) as file:
        file.write(template("page.html.j2", escape=True).render(summary=summary, parts=parts, kept=kept).encode())
    return root / PAGE


def template(name: str, escape: bool) -> jinja2.Template:
    """A template of this folder; `escape` for HTML."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    found = jinja2.Environment(loader=loader, autoescape=escape, undefined=jinja2.StrictUndefined, trim_blocks=True)
    found.filters["hours"] = hours
    return found.get_template(name)


def hours(seconds: float) -> str:
    """A length as people read it: `12.3 h`, `4.5 min` or `8 s`."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _part(folder: RunFolder, summary: Summary, at: int) -> StepPart:
    name, tally = summary.steps[at]
    reasons = {why: Reason(why, count) for why, count in sorted(tally.dropped.items(), key=lambda pair: -pair[1])}
    for why, found in _dropped(folder, name).items():
        if why in reasons:
            reasons[why].examples = found
    about, options = "The rows of the manifest, as they came.", ""
    if at:
        named, given = step_options(summary.plan["steps"][at - 1])
        about = STEPS[named].about if named in STEPS else ""
        options = ", ".join(f"{option}: {value}" for option, value in given.items())
    return StepPart(name, about, options, tally, tuple(reasons.values()))


def step_options(named: Any) -> tuple[str, dict[str, Any]]:
    """Name and options of a step as a plan writes it."""
    name, options = (named, {}) if isinstance(named, str) else next(iter(named.items()))
    return name, options or {}


def _dropped(folder: RunFolder, step: str) -> dict[str, list[Example]]:
    """The first examples of each reason."""
    found: dict[str, list[Example]] = defaultdict(list)
    for unit in units_of(folder, step):
        tally = folder.tally(unit)
        if tally is None or all(len(found[why]) >= EXAMPLES for why in tally.dropped):
            continue
        for why, detail, row in folder.dropped(unit):
            if len(found[why]) < EXAMPLES:
                found[why].append(_example(row, detail) if row else Example("", "", "", detail))
    return found


def _first(folder: RunFolder, step: str) -> Iterator[Row]:
    left = EXAMPLES
    for unit in units_of(folder, step):
        for row in folder.rows(unit):
            if not left:
                return
            left -= 1
            yield row


def _example(row: Row, detail: str = "") -> Example:
    made = row.extra.get(PROVENANCE, {})
    labels = {**({"language": row.utterance.language} if row.utterance.language else {}), **row.utterance.labels}
    names = [
        f"{name}: {label}" + (f" ({made[name]['step']})" if name in made else "") for name, label in labels.items()
    ]
    return Example(row.id, row.utterance.text or "", ", ".join(names), detail, _data_uri(row))


def _data_uri(row: Row) -> str:
    """The first seconds as Ogg; nothing where there is no sound, or it cannot be read."""
    if row.utterance.path == NO_SOUND:
        return ""
    start = row.utterance.start or 0.0
    end = min(start + LONGEST, row.utterance.end or start + LONGEST)
    file = io.BytesIO()
    try:
        samples = Row(row.utterance.with_(start=start, end=end)).samples if _longer(row) else row.samples
        soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    except (OsumError, OSError, ValueError):
        return ""
    return f"data:audio/ogg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _longer(row: Row) -> bool:
    return (row.utterance.duration or 0.0) > LONGEST
