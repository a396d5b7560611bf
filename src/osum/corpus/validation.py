"""What is wrong with a manifest, line by line: the checks of `osum data validate`.

Knows which labels and tasks there are, and what the header of an audio file says.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from osum.audio import AUDIO_SUFFIXES, END_SLACK, SAMPLE_RATE, Note, Notice
from osum.corpus.clips import ClipAudio
from osum.corpus.readers import Line
from osum.errors import AudioError, OsumError, TaskError
from osum.scoring.normalize import mixed_units
from osum.tasks import ECHAT, OSUM, TaskSet
from osum.text import did_you_mean
from osum.utterance import Utterance

AudioCheck = Literal["none", "header", "decode"]

_TEXT_NAMES = ("txt", "transcript", "transcription", "sentence", "target", "answer", "normalized_text")
"""Fields in which other projects keep the text."""
_MOST_UNITS = 12
"""Words, or Chinese characters, of a second of the fastest speech; as many in any shorter clip."""
_NO_TEXT = ("Cc", "Cs")
"""Unicode categories of what nobody writes: control characters, halves of characters."""
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a line."""

    rule: str
    """One of a few names, to be counted: `broken line`, `length`, `label`, `text`, `id`, or the kind of an
    `AudioError`: `audio`, `cut off`, `scale`, `channel`."""
    message: str


@dataclass
class Validator:
    """Checks lines in their order; ids must differ over all lines that it was given."""

    tasks: TaskSet = OSUM
    audio: AudioCheck = "header"
    """`header`: every clip is opened. `decode`: every sample is read. `none`: no file is touched."""
    _ids: dict[str, str] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)

    def check(self, lines: Iterable[Line]) -> Iterator[tuple[Line, list[Problem]]]:
        """Every line with what is wrong with it, which is nothing for a good one."""
        for line in lines:
            if line.utterance is None:
                yield line, [Problem("broken line", line.fault or "")]
            else:
                yield line, list(self._problems(line.place, line.utterance))

    def _problems(self, place: str, row: Utterance) -> Iterator[Problem]:
        first = self._ids.setdefault(row.id, place)
        if first != place:
            yield Problem("id", f"id {row.id!r} is that of {first} too: give each row its own")
        yield from (Problem("text", message) for message in _text_faults(row))
        yield from (Problem("label", message) for message in _label_faults(row, self.tasks))
        if faults := list(_length_faults(row)):
            yield from (Problem("length", message) for message in faults)
        elif self.audio != "none":
            yield from self._audio_problems(place, row)

    def _audio_problems(self, place: str, row: Utterance) -> Iterator[Problem]:
        notes: list[Note] = []
        try:
            seconds = self._seconds(row, notes.append)
        except OsumError as fault:
            kind = fault.kind if isinstance(fault, AudioError) else "audio"
            yield Problem(kind, self._once(str(fault), place))
            return
        yield from (Problem(note.kind, f"{row.path}: {note.message}") for note in notes)
        if row.duration is None:
            yield from (Problem("length", message) for message in _crowded(row, seconds))
        if row.duration is not None and abs(row.duration - seconds) > END_SLACK:
            yield Problem("length", f"duration is {row.duration:g}, the clip lasts {seconds:.2f} s: correct it")

    def _seconds(self, row: Utterance, notice: Notice) -> float:
        clips = ClipAudio()
        if self.audio == "header":
            return clips.duration(row, notice)
        return sum(map(len, clips.blocks(row, notice))) / SAMPLE_RATE

    def _once(self, fault: str, place: str) -> str:
        """What is wrong with a whole shard is reported in full at its first clip."""
        first = self._faults.setdefault(fault, place)
        return fault if first == place else f"the same as {first}"


def _text_faults(row: Utterance) -> Iterator[str]:
    for name in ("text", "reply"):
        text = getattr(row, name)
        if wrong := next(filter(_is_no_text, text or ""), None):
            yield f"{name} {_short(text)} holds U+{ord(wrong):04X}, which nobody says: write it again from its source"
        if text is not None and ("<" in text or ">" in text):
            yield f"{name} {_short(text)} holds a tag: put its label into labels, as in {{'emotion': 'happy'}}"
    if row.text is not None and row.text.lower().endswith(tuple(AUDIO_SUFFIXES)):
        yield f"text {_short(row.text)} is the name of a file: put it into path"
    if row.text is None:
        other = next((name for name in _TEXT_NAMES if isinstance(row.extra.get(name), str)), None)
        if other is not None:
            yield f"the text stands in field {other!r}: name the field text"


def _is_no_text(character: str) -> bool:
    """U+FFFD stands for bytes that some reader could not decode."""
    return character == "\ufffd" or unicodedata.category(character) in _NO_TEXT


def _crowded(row: Utterance, seconds: float) -> Iterator[str]:
    """More text than a mouth can say in the time: the text, or the stretch, is of another clip."""
    units, most = len(mixed_units(row.text or "")), _MOST_UNITS * max(seconds, 1.0)
    if units > most:
        yield f"{units} words or characters in {seconds:.2f} s: nobody says more than {_MOST_UNITS} a second"


def _label_faults(row: Utterance, tasks: TaskSet) -> Iterator[str]:
    for name, label in row.labels.items():
        labels = tasks.label_sets.get(name)
        if labels is None:
            yield f"no label set is called {name!r}: {_hint(name, tasks.label_sets)}"
        elif labels.canonical(label) is None:
            yield f"{name} is {_short(label)}: {_hint(label, labels.labels)}"
    if row.language is not None and not _LANGUAGE_CODE.fullmatch(row.language.lower()):
        yield f"language is {_short(row.language)}: write a code, such as zh or en"
    yield from _task_faults(row, tasks)


def _task_faults(row: Utterance, tasks: TaskSet) -> Iterator[str]:
    for name in row.tasks:
        if name in ECHAT and name not in OSUM and name not in tasks:
            yield f"task {name} is one of OSUM-EChat's, not of {tasks.name}: give its tasks.json as --tasks-file"
            continue
        try:
            tasks.find(name).render(row)
        except TaskError as fault:
            # A wrong label and a tag in the text are reported by rules of their own.
            if not _reported(row, tasks):
                yield str(fault)


def _reported(row: Utterance, tasks: TaskSet) -> bool:
    return any(True for _ in _text_faults(row)) or any(True for _ in _label_faults(row.with_(tasks=()), tasks))


def _length_faults(row: Utterance) -> Iterator[str]:
    times = {name: getattr(row, name) for name in ("start", "end", "duration")}
    if bad := [name for name, time in times.items() if time is not None and not 0 <= time < math.inf]:
        yield f"{bad[0]} is {times[bad[0]]}: write seconds from 0"
        return
    start, end = row.start or 0.0, math.inf if row.end is None else row.end
    if start >= end or row.duration == 0:
        yield f"zero-length clip, start={start:g} end={end:g} duration={row.duration}: leave it out"
    limit = min(end, math.inf if row.duration is None else start + row.duration) + END_SLACK
    for word in row.words:
        if not start <= word.start <= word.end <= limit:
            yield f"word {word.text!r} runs {word.start:g} to {word.end:g} s, outside the clip: correct its times"
            return
    if row.duration is not None:
        yield from _crowded(row, row.duration)


def _hint(name: str, known: Collection[str]) -> str:
    return f"{did_you_mean(name, known)}use one of {', '.join(known)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
