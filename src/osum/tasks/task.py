"""Task: one question about a clip, with the text that answers it and the reader of that text.

Knows nothing of models, audio or chat templates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from osum.errors import TaskError
from osum.tasks.answer import (
    REPLY_SEPARATOR,
    AnswerPiece,
    TaskResult,
    is_separator,
    read_labels,
    read_plain,
    read_timed,
    scan,
)
from osum.tasks.free_answer import read_label, read_transcript
from osum.tasks.label_set import LabelSet
from osum.text import did_you_mean, has_punctuation, normalise_target, repetition
from osum.utterance import Utterance, Word

Transcript = Literal["plain", "timed", "none"]
Needs = Literal["speech", "voice", "sound"]
Evidence = Literal["real", "synthetic", "none"]


@dataclass(frozen=True)
class Task:
    """One thing the model is asked: from it come its target text, its reader, its labels and its metrics.

    An answer is `transcript`, then one tag per label set, then the reply after a separator.
    """

    name: str
    tag: str
    """The release's name of the task, `<TRANSCRIBE> <EMOTION>`; prompts are filed under it."""
    title: str
    transcript: Transcript = "plain"
    """`plain` words, `timed` words (`<0.00>hi<0.2>`), or `none`."""
    label_sets: tuple[LabelSet, ...] = ()
    """In the order of the answer."""
    reply: bool = False
    needs: Needs = "speech"
    """What a clip must hold for the answer to mean something: words, a human voice, or any sound."""
    metrics: tuple[str, ...] = ()
    """Names of `osum.scoring.METRICS`."""
    evidence: Evidence | None = None
    """What a checkpoint learned it from; None in a catalogue."""
    temperature: float | tuple[float, ...] | None = None
    """Divides the label scores of a calibrated checkpoint: one number, or one for each label set, in their order.

    None means not calibrated; 1 leaves scores as they are.
    """
    punctuated: bool = False
    """Whether the transcript has punctuation: an utterance whose text has none does not answer the task."""
    free: bool = False
    """Whether it is answered in sentences and words of no fixed form, as by a model that was not taught our tags."""

    def __post_init__(self) -> None:
        if not self.name.strip() or set(self.name) & set("<>,"):
            raise TaskError(f"task name {self.name!r}: use letters and digits without <, > or commas, such as 'PITCH'")
        if not self.tag.startswith("<") or not self.tag.endswith(">"):
            raise TaskError(f"tag {self.tag!r} of task {self.name}: write names in < >, such as '<TRANSCRIBE> <PITCH>'")
        self._one_of("transcript", self.transcript, get_args(Transcript))
        self._one_of("needs", self.needs, get_args(Needs))
        self._one_of("evidence", self.evidence, (None, *get_args(Evidence)))
        self._check_temperature()
        if self.transcript == "none" and not self.label_sets and not self.reply:
            raise TaskError(f"task {self.name} asks for nothing: give it a transcript, a label set or a reply")
        if self.punctuated and self.transcript != "plain":
            raise TaskError(f"task {self.name} is punctuated with transcript {self.transcript!r}: use 'plain'")
        if self.free and (self.transcript != "none") + len(self.label_sets) + self.reply != 1:
            raise TaskError(f"task {self.name} is free and asks for several things: ask for one of them")
        self._check_label_sets()

    def _one_of(self, field: str, value: object, allowed: tuple[object, ...]) -> None:
        if value not in allowed:
            raise TaskError(f"{field} of task {self.name} is {value!r}: use one of {', '.join(map(str, allowed))}")

    def _check_temperature(self) -> None:
        given = self.temperature
        each = given if isinstance(given, tuple) else () if given is None else (given,)
        fits = not isinstance(given, tuple) or len(given) == len(self.label_sets)
        if not fits or not all(0 < value < math.inf for value in each):
            raise TaskError(
                f"temperature of task {self.name} is {given!r}: use a number above 0, a list of one for each of its "
                f"{len(self.label_sets)} label sets, or null"
            )

    def _check_label_sets(self) -> None:
        names = [labels.name for labels in self.label_sets]
        if len(set(names)) < len(names):
            raise TaskError(f"task {self.name} asks twice for one label set: {', '.join(names)}")
        for labels in self.label_sets:
            for tag in labels.tags:
                piece = next(scan(tag, ()))
                if is_separator(piece) or (piece.kind == "time" and self.transcript == "timed"):
                    raise TaskError(f"label {tag} of task {self.name} reads as a separator or a time: rename it")

    # Writing an answer

    def render(self, utterance: Utterance) -> str:
        """The target text for an utterance (OSUM spec 3.1, 3.2, 3.4).

        Raises:
            TaskError: a field is missing, a label is unknown, or a text holds `<` or `>`.
        """
        parts = [self._transcript_text(utterance)]
        parts += [self._written(labels, self._label(utterance, labels)) for labels in self.label_sets]
        if self.reply:
            separator = REPLY_SEPARATOR if self._reply_follows else ""
            parts.append(separator + self._free_text(utterance, "reply", utterance.reply))
        return "".join(parts)

    def can_render(self, utterance: Utterance) -> bool:
        """Whether an utterance holds everything this task asks for."""
        try:
            self.render(utterance)
        except TaskError:
            return False
        return True

    @property
    def _reply_follows(self) -> bool:
        """Whether anything stands before the reply; a reply alone has no separator (OSUM spec 3.3)."""
        return self.transcript != "none" or bool(self.label_sets)

    def _transcript_text(self, utterance: Utterance) -> str:
        if self.transcript == "none":
            return ""
        if self.transcript == "plain":
            return self._plain_text(utterance)
        if not utterance.words:
            raise TaskError(f"task {self.name} needs the field 'words', which {utterance.id!r} lacks: add word times")
        return "".join(self._timed(utterance, word) for word in utterance.words)

    def _plain_text(self, utterance: Utterance) -> str:
        text = self._free_text(utterance, "text", utterance.text)
        if self.punctuated and not has_punctuation(text):
            raise TaskError(
                f"task {self.name} needs punctuation in the field 'text', and {text[:20]!r} of {utterance.id!r} has "
                "none: add it"
            )
        return text

    def _timed(self, utterance: Utterance, word: Word) -> str:
        text = self._free_text(utterance, "words", word.text)
        if not text:
            raise TaskError(f"a word of {utterance.id!r} has no text: leave it out")
        if not 0 <= word.start <= word.end < 1e6:
            raise TaskError(
                f"{word.text!r} in {utterance.id!r} runs {word.start} to {word.end} s: use 0 <= start <= end"
            )
        return f"<{word.start:.2f}>{text}<{_end_time(word.end)}>"

    def _free_text(self, utterance: Utterance, field: str, text: str | None) -> str:
        if text is None:
            raise TaskError(f"task {self.name} needs the field {field!r}, which {utterance.id!r} lacks: add it")
        if "<" in text or ">" in text:
            raise TaskError(f"{field} of {utterance.id!r} holds < or >, which mark tags: remove them from {text!r}")
        return normalise_target(text)

    def _label(self, utterance: Utterance, labels: LabelSet) -> str:
        label = self.true_label(utterance, labels)
        if label is None:
            raise TaskError(f"task {self.name} needs the label {labels.name!r}, which {utterance.id!r} lacks: add it")
        return label

    @staticmethod
    def true_label(utterance: Utterance, labels: LabelSet) -> str | None:
        """The label of a set that an utterance is known to have; None where it is not known.

        Raises:
            TaskError: it is none of the set's labels.
        """
        name = utterance.labels.get(labels.name)
        if name is None and labels.name == "language":
            name = utterance.language
        if name is None:
            return None
        label = labels.canonical(name)
        if label is None:
            hint = did_you_mean(name, labels.labels)
            raise TaskError(
                f"{labels.name} of {utterance.id!r} is {name!r}: {hint}use one of {', '.join(labels.labels)}"
            )
        return label

    # Reading an answer

    def parse(self, raw: str) -> TaskResult:
        """Read what a model wrote; never raises, and says in `problems` what it could not read."""
        problems: list[str] = []
        if loop := repetition(raw):
            problems.append(f"repetition loop: {loop[0][:20]!r} {loop[1]} times")
        if self.free:
            return self._read_free(raw, problems)
        pieces, reply = self._split_reply(raw, problems)
        text, words = self._read_transcript(pieces, problems)
        tags = [piece for piece in pieces if piece.kind == "tag"]
        labels = read_labels(self.label_sets, tags, problems)
        return TaskResult(self.name, raw, text, words, labels, reply, tuple(dict.fromkeys(problems)))

    def _read_free(self, raw: str, problems: list[str]) -> TaskResult:
        """The one thing that a free answer was asked for."""
        if self.reply:
            return TaskResult(self.name, raw, reply=raw.strip(), problems=tuple(problems))
        if not self.label_sets:
            return TaskResult(self.name, raw, read_transcript(raw), problems=tuple(problems))
        label, found = read_label(raw, self.label_sets[0])
        return TaskResult(self.name, raw, labels={self.label_sets[0].name: label}, problems=(*problems, *found))

    def transcript_of(self, raw: str) -> str:
        """The raw text before the first tag or separator, exactly as it was generated."""
        if self.transcript == "none":
            return ""
        for piece in scan(raw, self.label_sets):
            unfinished = piece.kind == "time" and not piece.closed
            if piece.kind == "tag" or unfinished:
                return raw[: piece.start]
        return raw

    def temperature_of(self, labels: LabelSet) -> float:
        """What divides the scores of one of its label sets; 1 where it is not calibrated."""
        if isinstance(self.temperature, tuple):
            return self.temperature[self.label_sets.index(labels)]
        return self.temperature or 1.0

    def label_texts(self, labels: LabelSet | str) -> tuple[str, ...]:
        """What may follow the transcript for one label set, tags or words: what an engine scores."""
        name = labels if isinstance(labels, str) else labels.name
        for own in self.label_sets:
            if own.name == name:
                return tuple(self._written(own, label) for label in own.labels)
        known = ", ".join(own.name for own in self.label_sets) or "none"
        raise TaskError(f"task {self.name} has no label set {name!r}: its label sets are {known}")

    def _written(self, labels: LabelSet, label: str) -> str:
        """A label as an answer names it."""
        return labels.title(label) if self.free else f"<{label}>"

    def _split_reply(self, raw: str, problems: list[str]) -> tuple[list[AnswerPiece], str | None]:
        pieces = list(scan(raw, self.label_sets))
        if not self.reply:
            return pieces, None
        at = next((index for index, piece in enumerate(pieces) if is_separator(piece)), None)
        if at is None and self._reply_follows:
            problems.append(f"no {REPLY_SEPARATOR}, so no reply")
            return pieces, None
        if at is None:
            return [], raw.strip()
        reply = raw[pieces[at].end :].strip()
        if pieces[at].value != REPLY_SEPARATOR[1:-1]:
            problems.append(f"read {pieces[at].shown} as {REPLY_SEPARATOR}")
        if any(is_separator(piece) for piece in pieces[at + 1 :]):
            problems.append(f"more than one {REPLY_SEPARATOR}")
        return pieces[:at], reply

    def _read_transcript(self, pieces: list[AnswerPiece], problems: list[str]) -> tuple[str, tuple[Word, ...]]:
        if self.transcript == "timed":
            return read_timed(pieces, problems)
        if self.transcript == "plain":
            return read_plain(pieces, problems, self.label_sets), ()
        # Where only a tag is asked for, half a one is a label without signs.
        stray = read_plain([piece._replace(value=piece.value.replace(">", " ")) for piece in pieces], problems)
        if stray and not any(piece.kind == "tag" for piece in pieces) and self.label_sets:
            pieces.append(AnswerPiece("tag", stray, 0, len(stray)))
            problems.append("a label without < >")
        elif stray:
            problems.append(f"text where only tags were asked for: {stray[:20]!r}")
        return "", ()


def _end_time(seconds: float) -> str:
    """An end time as the release prints it: 0.2, 2.54, 2.0 (OSUM spec 3.4; a whole second is our inference)."""
    text = f"{seconds:.2f}"
    return text[:-1] if text.endswith("0") else text
