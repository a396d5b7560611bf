"""Benchmark: one public test set, declared once. What its folder looks like, what is right, how answers are counted.

Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from osum.errors import InputError
from osum.utterance import Utterance

Target = Literal["text", "label", "words", "reply"]
"""The field of an `Utterance` that holds the truth; `label` is one of `labels`, by the benchmark's label set."""


@dataclass(frozen=True, slots=True)
class Clips:
    """What a folder holds of a benchmark."""

    utterances: tuple[Utterance, ...]
    """Sorted by id, with the truth in our words."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labels of the set that have no place among ours, and how many clips each of them cost."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A test set and how it is scored."""

    name: str
    """As the command line names it: `librispeech-test-clean`."""
    title: str
    task: str
    """Of `osum.evaluation.catalogue.TASKS`, such as `ASR`."""
    target: Target
    metric: str
    """Of `osum.scoring.METRICS`, or `judge`."""
    licence: str
    home: str
    """Address where it is to be had."""
    read: Callable[[Path], Iterable[Utterance]]
    """All clips of the folder as a user unpacks it, in any order, labels in the set's own words; see `clips`.

    Raises InputError that names the file and where it should be.
    """
    layout: str
    """What must lie in the folder, in one line."""
    folder: str = ""
    """Under the data root, where several benchmarks share one; the benchmark's name without it."""
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
    prompt: str | None = None
    """What models that take free prompts are asked, where the task alone does not tell: a target language."""

    def place(self, root: Path) -> Path:
        """The benchmark's folder under the data root."""
        return root / (self.folder or self.name)

    def clips(self, root: Path) -> Clips:
        """Its clips under the data root, sorted by id.

        Raises:
            InputError: a file is missing, the list is not as long as published, an id occurs twice, or nothing is left.
        """
        place = self.place(root)
        if not place.is_dir():
            raise InputError(f"{self.name}: no folder {str(place)!r}: put {self.layout} there; see {self.home}")
        found = sorted(self.read(place), key=lambda clip: clip.id)
        self._check(found, place)
        left_out: Counter[str] = Counter()
        kept = [ours for clip in found if (ours := self._in_our_words(clip, left_out))]
        if not kept:
            raise InputError(f"{self.name}: {len(found)} clips in {str(place)!r}, none with a label of ours: check it")
        return Clips(tuple(kept), dict(sorted(left_out.items())))

    def _check(self, found: list[Utterance], place: Path) -> None:
        twice = [name for name, times in Counter(clip.id for clip in found).items() if times > 1]
        if twice:
            raise InputError(f"{self.name}: id {twice[0]!r} occurs twice in {str(place)!r}: ids must differ")
        if self.count is not None and len(found) != self.count:
            raise InputError(
                f"{self.name}: {len(found)} clips in {str(place)!r}, its publisher counts {self.count}: "
                "unpack the archive again, or name your own list as another benchmark"
            )

    def _in_our_words(self, clip: Utterance, left_out: Counter[str]) -> Utterance | None:
        """The clip with our label; None where it has none."""
        if self.target != "label" or self.label_set is None:
            return clip
        told = clip.labels.get(self.label_set, "")
        if told not in self.labels:
            left_out[told or "(none)"] += 1
            return None
        return clip.with_(labels={**clip.labels, self.label_set: self.labels[told]})


def list_hash(clips: Iterable[Utterance]) -> str:
    """SHA-256 (hexadecimal) over ids and truths in order: another list, or another truth, gives another hash."""
    digest = hashlib.sha256()
    for clip in clips:
        words = [(word.text, word.start, word.end) for word in clip.words]
        truth = [clip.id, clip.start, clip.end, clip.text, dict(sorted(clip.labels.items())), words, clip.reply]
        digest.update(json.dumps(truth, ensure_ascii=False).encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()
