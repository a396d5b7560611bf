"""Benchmark: one test set, declared once. What its folder looks like, what is right, how answers are counted.

Knows nothing of models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

from osum.errors import InputError
from osum.peers.recogniser import Recognition
from osum.tasks import OSUM, LabelSet
from osum.utterance import Utterance

Target = Literal["text", "label", "words", "reply"]
"""The field of an `Utterance` that holds the truth; `label` is one of `labels`, by the benchmark's label set."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a file can hold of a test set that is in no catalogue. It is kept with the answers, which are then counted
    and reported without the manifest and without the model.

    Raises:
        InputError: the target is none.
    """

    name: str
    """Of the manifest and the task: `test.PITCH`."""
    title: str
    task: str
    target: str
    """One of `Target`."""
    metric: str
    home: str
    """Name of the manifest."""
    language: str | None = None
    label_set: LabelSet | None = None

    def __post_init__(self) -> None:
        if self.target not in get_args(Target):
            known = ", ".join(get_args(Target))
            raise InputError(f"target of {self.name!r} is {self.target!r}: it must be one of {known}")

    def benchmark(self, rows: Iterable[Utterance] = ()) -> Benchmark:
        """The test set with its clips, labels in the words of the label set."""
        return Benchmark(
            name=self.name,
            title=self.title,
            task=self.task,
            target=cast(Target, self.target),
            metric=self.metric,
            licence="of each row",
            home=self.home,
            reader=lambda _: rows,
            layout=self.home,
            language=self.language,
            label_set=self.label_set.name if self.label_set else None,
            declared=self,
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A test set and how it is scored."""

    name: str
    """As the command line names it: `librispeech-test-clean`."""
    title: str
    task: str
    """Of `osum.evaluation.sets.catalogue.TASKS`, such as `ASR`."""
    target: Target
    metric: str
    """Of `osum.scoring.METRICS`, or `judge`."""
    licence: str
    home: str
    """Address where it is to be had."""
    reader: Callable[[Path], Iterable[Utterance]]
    """All clips of a folder in any order, labels in the set's own words; `read` is what others call.

    Raises InputError that names a missing file.
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
    """The set's labels to ours; a clip whose label is not among them has no truth."""
    merged: Mapping[str, str] = field(default_factory=dict)
    """Our labels that count as another when they are answered: `none` of a sound that the set calls `other`."""
    normaliser: str = "osum"
    """Of `osum.scoring.NORMALISERS`."""
    count: int | None = None
    """Clips that its publisher counts."""
    note: str = ""
    """What a reader of the figure has to know."""
    prompt: str | None = None
    """What models that take free prompts are asked, where the task alone is not enough: a target language."""
    declared: Declaration | None = None
    """Of a set that is in no catalogue."""

    @property
    def answers(self) -> LabelSet | None:
        """The label set that is answered from, where it is known here."""
        return self.declared.label_set if self.declared else OSUM.label_sets.get(self.label_set or "")

    def place(self, root: Path) -> Path:
        """The benchmark's folder under the data root."""
        return root / (self.folder or self.name)

    def read(self, folder: Path) -> list[Utterance]:
        """All clips of the folder as a user unpacks it, sorted by id, the truth in our words.

        A clip whose label has no place among ours comes without it; `extra["told"]` holds what the set says.

        Raises:
            InputError: a file is missing, or there are not as many clips as published.
        """
        try:
            found = sorted(self.reader(folder), key=lambda clip: clip.id)
        except InputError as fault:
            raise InputError(f"{self.name}: {fault}: the folder must hold {self.layout}; see {self.home}") from fault
        except (KeyError, IndexError, ValueError, TypeError) as fault:
            why = f"{type(fault).__name__}: {fault}"
            raise InputError(
                f"{self.name}: a list in {str(folder)!r} is not as published ({why}): fetch it again"
            ) from fault
        if self.count is not None and len(found) != self.count:
            raise InputError(
                f"{self.name}: {len(found)} clips in {str(folder)!r}, but its publisher counts {self.count}: "
                f"unpack the whole archive again; see {self.home}"
            )
        return [self._in_our_words(clip) for clip in found] if self.label_set and self.labels else found

    def counted(self, answer: Recognition) -> Recognition:
        """An answer as it is counted: with labels that are merged here."""
        if not self.merged:
            return answer
        shares: dict[str, float] = defaultdict(float)
        for name, share in (answer.distribution or {}).items():
            shares[self.merged.get(name, name)] += share
        said, label = (None if one is None else self.merged.get(one, one) for one in (answer.said, answer.label))
        return replace(answer, said=said, label=label, distribution=dict(shares) or None)

    def _in_our_words(self, clip: Utterance) -> Utterance:
        others = {name: label for name, label in clip.labels.items() if name != self.label_set}
        theirs = clip.labels.get(self.label_set or "", "")
        ours = {self.label_set: self.labels[theirs]} if self.label_set and theirs in self.labels else {}
        return clip.with_(labels={**others, **ours}, extra=clip.extra if ours else {**clip.extra, "told": theirs})
