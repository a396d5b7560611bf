"""Recogniser: what every model looks like to an evaluation. Clips and one question in, typed answers out.

Knows nothing of what is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from osum.tasks import OSUM, TaskSet
from osum.utterance import Utterance, Word


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every clip of a benchmark."""

    task: str
    """A task of the catalogue, such as `SER`."""
    prompt: str | None = None
    """The words it is asked in; None takes the recogniser's own fixed ones."""
    language: str | None = None
    """Of the speech, where the benchmark gives it to every model: `zh`, `en`; None lets the model detect it."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """One model's answer to one clip."""

    raw: str = ""
    """What the model wrote, untouched."""
    prompt: str | None = None
    """The words it was asked in; None for a model that takes none."""
    text: str | None = None
    words: tuple[Word, ...] = ()
    said: str | None = None
    """The label read from the free answer, in the words of the task's label set; None where none can be read."""
    label: str | None = None
    """The likeliest label, where the model gives every label of the set a probability; None where it does not."""
    distribution: Mapping[str, float] | None = None
    reply: str | None = None
    """The answer to what was said (`STTC`), or a translation."""
    reply_audio: str | None = None
    """File of the reply aloud, where the model speaks."""
    reply_emotion: str | None = None
    """The emotion that a recogniser found in the sound of the reply."""
    problems: tuple[str, ...] = ()
    """What could not be read in `raw`."""
    error: str | None = None
    """Why there is no answer; all else is empty then."""


class Recogniser(Protocol):
    """A model that answers questions about clips."""

    name: str
    """As a table shows it: `nano`, `whisper`."""
    tasks: frozenset[str]
    """Tasks of the catalogue that it can answer."""

    def recognise(self, clips: Iterable[Utterance], question: Question) -> Iterator[Recognition]:
        """One answer for each clip, in order; a clip that fails gives an answer with `error` and costs no other.

        Raises:
            TaskError: the question is not one of its tasks, or it takes no prompt of ours.
        """
        ...

    def prompts(self, task: str) -> tuple[str, ...]:
        """The published prompts of one of its tasks, the fixed one first; empty for a model that takes none of ours."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Revision, device, dtype, versions of what it stands on: what a report needs to be run again, whatever was
        asked before; a run continues a file only where it is the same.
        """
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How a recogniser is opened."""

    device: str | None = None
    dtype: str | None = None
    batch_size: int = 8
    extra: Mapping[str, str] = field(default_factory=dict)
    """Settings of one back end, such as the manifest that the classical baseline learns from."""
    tasks: TaskSet = OSUM
    """What those that learn from a manifest can be asked."""
    offline: bool = False
    """Never ask a hub."""
    base: str | None = None
    """Folder of the language model that a checkpoint of ours leaves out."""
