"""Labels by models: any recogniser behind `peers` gives a vote, votes that agree become labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from osum.checkpoints.locate import locate
from osum.checkpoints.revision import revision_of
from osum.errors import CheckpointError, InputError, OsumError
from osum.listening.recognizer import Recognizer, load
from osum.peers import is_ours, open_recogniser
from osum.peers.facts import versions
from osum.peers.pocketsphinx import Sphinx
from osum.peers.recogniser import Options, Question, Recogniser
from osum.pipeline.row import PROVENANCE, DropError, Row, Vote, words_of
from osum.pipeline.step import ModelStep, digest, step
from osum.pipeline.voting import alike, rover
from osum.tasks import OSUM, Task

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class AskOptions:
    """Of `ask`."""

    model: str
    """As `osum evaluate --model`: `nano`, a folder, `whisper:FOLDER`, `pocketsphinx` ..."""
    task: str = "ASR"
    name: str = ""
    """Of the voter; the model's without it."""
    device: str = ""
    dtype: str = ""
    batch_size: Annotated[int, Meta(ge=1)] = 8


@step("ask", version=1)
class AskStep(ModelStep):
    """Ask a recogniser about each row; its answer is one vote on the text, the words or a label."""

    options: AskOptions
    batch = 32

    def __init__(self, options: AskOptions) -> None:
        super().__init__(options)
        self._task = OSUM.find(options.task)
        self._model: Recogniser | None = None

    def identity(self) -> str:
        """See `ModelStep`."""
        asked = {name: value for name, value in asdict(self.options).items() if name not in ("name", "batch_size")}
        return f"{asked} {model_revision(self.options.model)}"

    def given(self, row: Row) -> str:
        """See `ModelStep`."""
        return f"{row.sound_hash} {row.utterance.language or ''}"

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `ModelStep`."""
        if self._model is None:
            set_up = Options(self.options.device or None, self.options.dtype or None, self.options.batch_size)
            self._model = open_recogniser(self.options.model, set_up)
        found: dict[str, Any] = {}
        for language in dict.fromkeys(_language_given(row, self._task) for row in rows):
            asked = [row for row in rows if _language_given(row, self._task) == language]
            question = Question(self._task.name, language=language)
            clips = [row.utterance for row in asked]
            for row, given in zip(asked, self._model.recognise(clips, question), strict=True):
                found[row.id] = OsumError(given.error) if given.error else _answer(self._task, given)
        return [found[row.id] for row in rows]

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        name = self.options.name or self.options.model
        return row.voted(field_of(self._task), Vote(name, answer["value"], digest(self.identity()), answer["score"]))


def _language_given(row: Row, task: Task) -> str | None:
    return None if task.label_sets and task.label_sets[0].name == "language" else row.utterance.language


def field_of(task: Task) -> str:
    """The field of a row that a task answers."""
    if task.reply:
        return "reply"
    if task.label_sets:
        return task.label_sets[0].name
    return "words" if task.transcript == "timed" else "text"


def _answer(task: Task, given: Any) -> dict[str, Any]:
    field = field_of(task)
    if field == "text":
        return {"value": given.text or "", "score": None}
    if field == "words":
        return {"value": [asdict(word) for word in given.words], "score": None}
    if field == "reply":
        return {"value": given.reply or "", "score": None}
    label = given.label or given.said
    return {"value": label, "score": (given.distribution or {}).get(label)}


def model_revision(name: str) -> str:
    """What distinguishes versions of a model, without loading it: a hash of its folder, or versions of its package."""
    kind, colon, rest = name.partition(":")
    folder = Path(rest if colon else name)
    if is_ours(name):
        try:
            folder = locate(name, offline=True, notice=None)
        except CheckpointError:
            return name
    if folder.is_dir():
        return revision_of(folder)
    return f"{name} {versions('osum', kind)}"


@dataclass(frozen=True)
class VoteOptions:
    """Of `vote`."""

    of: str = "text"
    """`text`, `language`, or the name of a label set."""
    agree: Share = 0.9
    """Share of the votes, or for texts the mean share of units, that must agree."""
    min_votes: Annotated[int, Meta(ge=1)] = 2
    min_score: Share = 0.0
    """Of each vote that has a score; others do not count."""
    keep: bool = False
    """Keep rows without agreement, without the label."""
    replace: bool = False
    """Vote on labels too that came with the data; they stay otherwise."""


@step("vote", version=1)
def vote(row: Row, options: VoteOptions) -> Row:
    """Take what the votes agree on, and leave out rows on which they do not (texts by ROVER, labels by majority)."""
    if not options.replace and row.value(options.of) is not None and options.of not in row.extra.get(PROVENANCE, {}):
        return row
    votes = [one for one in row.votes(options.of) if one.value is not None and _is_sure(one, options.min_score)]
    if len(votes) < options.min_votes:
        return _without(row, options, "too few votes", f"{len(votes)} on {options.of}")
    if options.of == "text":
        value, agreed = rover([str(one.value) for one in votes])
    else:
        (value, count), *_ = Counter(one.value for one in votes).most_common()
        agreed = count / len(votes)
    if agreed < options.agree or (options.of == "text" and not value):
        shown = " / ".join(str(one.value)[:60] for one in votes)
        return _without(row, options, "voters disagree", f"{100 * agreed:.0f} %: {shown}")
    models = " ".join(dict.fromkeys(f"{one.by}@{one.model}" if one.model else one.by for one in votes))
    sure = votes[0].score if len(votes) == 1 else None
    return row.labelled(options.of, value, models, agreed if sure is None else sure)


def _is_sure(one: Vote, least: float) -> bool:
    return one.score is None or one.score >= least


def _without(row: Row, options: VoteOptions, reason: str, detail: str) -> Row:
    if options.keep:
        return row
    raise DropError(reason, detail)


@dataclass(frozen=True)
class ReadBackOptions:
    """Of `read_back`."""

    of: str = "text"
    alike: Share = 0.7
    """Share of units that a recogniser must find of the text that the row has."""


@step("read_back", version=1)
def read_back(row: Row, options: ReadBackOptions) -> Row:
    """Leave out rows whose text no recogniser finds in their sound: a wrong transcript, or a failed synthesis."""
    votes, said = row.votes("text"), row.utterance.text
    if said is None or not votes:
        raise DropError("nothing to compare", "no text" if said is None else "no vote: put the step ask before")
    best = max(alike(said, str(one.value)) for one in votes)
    if best < options.alike:
        raise DropError("not read back", f"{100 * best:.0f} % of {said[:40]!r}: {votes[0].value!s:.60}")
    return row.noting(read_back=round(best, 4))


@dataclass(frozen=True)
class AlignOptions:
    """Of `align`."""

    model: str = "nano"
    """A checkpoint with a letters head or a task of word times, or `pocketsphinx` for English."""
    second: str = ""
    """A second model, whose times must be near."""
    near: Annotated[float, Meta(gt=0, le=10)] = 0.15  # s
    """Mean difference of starts and ends that the two may have (AAS)."""


@step("align", version=1)
class Align(ModelStep):
    """Find when each word of the text is said, by forced alignment; where there is a second model, keep what agrees."""

    options: AlignOptions
    batch = 8

    def __init__(self, options: AlignOptions) -> None:
        super().__init__(options)
        self._models: dict[str, Recognizer | Sphinx] = {}

    def identity(self) -> str:
        """See `ModelStep`."""
        named = [name for name in (self.options.model, self.options.second) if name]
        return " ".join(f"{name} {model_revision(name)}" for name in named)

    def given(self, row: Row) -> str:
        """See `ModelStep`."""
        if not row.utterance.text:
            raise DropError("no text", "to align")
        return f"{row.sound_hash} {row.utterance.text}"

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `ModelStep`."""
        return [self._times(row) for row in rows]

    def _times(self, row: Row) -> Any:
        named = [name for name in (self.options.model, self.options.second) if name]
        try:
            return [[asdict(word) for word in self._words(name, row)] for name in named]
        except InputError as fault:
            return DropError("cannot be aligned", str(fault))
        except OsumError as fault:
            if isinstance(fault, CheckpointError):
                raise
            return fault

    def _words(self, name: str, row: Row) -> Any:
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = Sphinx() if name == "pocketsphinx" else load(name)
        if isinstance(model, Sphinx):
            return model.align(row.samples, row.utterance.text or "")
        found = model.align((row.samples, 16_000), row.utterance.text or "")
        if any(word.estimated for word in found):
            raise InputError(f"{sum(word.estimated for word in found)} words could not be timed")
        return found

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        first, *others = map(words_of, answer)
        score = None
        for second in others:
            if len(first) != len(second):
                raise DropError("aligners disagree", f"{len(first)} and {len(second)} words")
            far = [abs(a.start - b.start) + abs(a.end - b.end) for a, b in zip(first, second, strict=True)]
            score = sum(far) / max(2 * len(far), 1)
            if score > self.options.near:
                raise DropError("aligners disagree", f"{1000 * score:.0f} ms")
        begin = row.utterance.start or 0.0
        placed = tuple(replace(word, start=word.start + begin, end=word.end + begin) for word in first)
        noted = row if score is None else row.noting(aligners_apart=round(score, 4))
        return noted.labelled("words", placed, self.options.model)
