"""Benchmark: one public test set, declared once. What its folder looks like, what is right, how answers are counted.

Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from osum.utterance import Utterance

Target = Literal["text", "label", "words", "reply"]
"""The field of an `Utterance` that holds the truth; `label` is one of `labels`, by the benchmark's label set."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A test set and how it is scored."""

    name: str
    """As the command line names it: `librispeech-test-clean`."""
    title: str
    task: str
    """A task of the catalogue, such as `ASR`."""
    target: Target
    metric: str
    """Of `osum.scoring.METRICS`, or `judge`."""
    licence: str
    home: str
    """Address where it is to be had."""
    read: Callable[[Path], Iterable[Utterance]]
    """Clips of the folder as a user unpacks it, with the truth in our words, sorted by id.

    Raises InputError that names the file and where it should be.
    """
    layout: str
    """What must lie in the folder, in one line."""
    layout_source: str = ""
    """Address of a public source for the layout; empty: the benchmark takes a JSONL of ours."""
    language: str | None = None
    label_set: str | None = None
    """Of the task, where the target is a label."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The set's labels to ours; a clip whose label is not among them is left out, and counted."""
    normaliser: str = "osum"
    """Of `osum.scoring.NORMALISERS`."""
    count: int | None = None
    """Clips that its publisher counts."""
    note: str = ""
    """What a reader of the figure has to know."""
