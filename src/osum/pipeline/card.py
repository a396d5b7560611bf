"""The card of a corpus: what is in it, where each label comes from, what was left out, and how to make it again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from osum.corpus.readers import Manifest
from osum.files import atomic_file
from osum.pipeline.folder import Tally
from osum.pipeline.page import step_options, template
from osum.pipeline.row import PROVENANCE
from osum.pipeline.run import CORPUS, Summary, read_summary
from osum.utterance import Utterance

CARD = "README.md"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Rows below which a corpus is of a size class of the Hugging Face hub."""
UNKNOWN = "not known"


@dataclass
class Content:
    """What the rows of a corpus hold, counted one by one."""

    rows: int = 0
    seconds: float = 0.0
    speakers: set[str] = field(default_factory=set)
    without_speaker: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    makers: dict[str, Counter[str]] = field(default_factory=dict)
    """Field to step, version and model, to rows."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """Field to sum and count of scores."""

    def add(self, row: Utterance) -> None:
        """Count a row."""
        self.rows += 1
        self.seconds += row.duration or 0.0
        if row.speaker is None:
            self.without_speaker += 1
        else:
            self.speakers.add(f"{row.source}/{row.speaker}")
        self.sources[row.source or UNKNOWN] += 1
        self.licences[row.licence or UNKNOWN] += 1
        self.languages[row.language or UNKNOWN] += 1
        if split := row.extra.get("split"):
            self.splits[str(split)] += 1
        for name, label in row.labels.items():
            self.labels.setdefault(name, Counter())[label] += 1
        for name, made in row.extra.get(PROVENANCE, {}).items():
            maker = f"{made['step']} {made['version']}" + (f", {made['model']}" if made.get("model") else "")
            self.makers.setdefault(name, Counter())[maker] += 1
            if made.get("score") is not None:
                total = self.scores.setdefault(name, [0.0, 0.0])
                total[0], total[1] = total[0] + made["score"], total[1] + 1

    def given(self, name: str) -> int:
        """Rows whose label of a set came with the data."""
        return self.labels.get(name, Counter()).total() - self.makers.get(name, Counter()).total()


def write_card(out: Path) -> Path:
    """Write the card of a finished run as `README.md` in its folder; returns its path.

    Raises:
        InputError: no run has ended there.
    """
    summary = read_summary(out)
    content = Content()
    for line in Manifest(out / CORPUS) if summary.kept.rows_out else ():
        if line.utterance is not None:
            content.add(line.utterance)
    with atomic_file(out / CARD) as file:
        file.write(card(summary, content).encode())
    return out / CARD


def card(summary: Summary, content: Content) -> str:
    """The card as Markdown, with the front matter that the Hugging Face hub reads."""
    front = {
        "pretty_name": summary.name,
        "language": [name for name in content.languages if name != UNKNOWN],
        "size_categories": [next((name for limit, name in SIZES if content.rows < limit), "n>1M")],
        "tags": ["audio", "speech"],
    }
    rows = [(name, *_named(summary, at), tally) for at, (name, tally) in enumerate(summary.steps)]
    return template("card.md.j2", escape=False).render(
        summary=summary,
        content=content,
        front=yaml.safe_dump(front, allow_unicode=True, sort_keys=False),
        steps=rows,
        plan=yaml.safe_dump(summary.plan, allow_unicode=True, sort_keys=False),
        cell=_cell,
    )


def _named(summary: Summary, at: int) -> tuple[str, str]:
    """Options of a step, and why it left rows out."""
    tally: Tally = summary.steps[at][1]
    _, given = step_options(summary.plan["steps"][at - 1]) if at else ("", {})
    options = "; ".join(f"{option} {value}" for option, value in given.items())
    reasons = "; ".join(f"{why} {count}" for why, count in sorted(tally.dropped.items(), key=lambda pair: -pair[1]))
    return options, reasons


def _cell(text: object) -> str:
    """A text in a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
