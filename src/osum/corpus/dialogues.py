"""Dialogue: turns of a user and an assistant with sound, labels, thought, reply and codes; one JSON object per line.

What dialogue training reads, next to the `Utterance` of everything else. A thought in fields is not stored: it follows
from the text and the labels of the user's turn and from the reply's emotion. Knows nothing of models and layouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from osum.corpus.clips import PLACE_FIELDS
from osum.errors import ManifestError
from osum.files import atomic_file, seen_from
from osum.records import from_row, to_row
from osum.tasks import AGES, EMOTIONS, EVENTS, GENDERS, REPLY_EMOTIONS, LabelSet
from osum.text import did_you_mean, to_json
from osum.utterance import Utterance

Stream = Literal["s2t", "s2s", "t2s", "t2t"]
"""What is given and what is answered: s speech, t text; t2s says a given text aloud (echat 3.2)."""
USER_LABELS: Mapping[str, LabelSet] = {"age": AGES, "gender": GENDERS, "emotion": EMOTIONS, "event": EVENTS}
"""Labels of a user's turn."""
_OF_THE_USER, _OF_THE_ASSISTANT = ("labels",), ("thought", "emotion", "codes")
VERSION = 1
"""Version of the JSON row."""


@dataclass(frozen=True, slots=True)
class DialogueTurn:
    """What one side says at once, in text, aloud, or both."""

    role: Literal["user", "assistant"]
    text: str | None = None
    """Of a user the words of the sound, of an assistant the reply, without thought and tags; None: not known."""
    audio: str | None = None
    """Sound file; of an assistant the recording that `codes` were made from."""
    start: float | None = None
    end: float | None = None
    """A stretch of the file, in seconds."""
    channel: int | None = None
    duration: float | None = None
    """Seconds of the sound; found out when missing."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of a user: age, gender, emotion, event. What is not known is left out."""
    thought: str | None = None
    """Of an assistant: what it thinks before it replies, in sentences."""
    emotion: str | None = None
    """Of an assistant: the feeling of the reply, one of `REPLY_EMOTIONS`."""
    codes: tuple[int, ...] = ()
    """Of an assistant: the reply aloud, as speech codes from 0, begin and end left out."""
    place: Mapping[str, Any] = field(default_factory=dict)
    """Where the sound is stored in a tar or a packed file `audio`, see `osum.corpus.clips`."""

    def clip(self, name: str) -> Utterance:
        """The sound as a row that `ClipAudio` reads; `name` stands in messages."""
        assert self.audio is not None, "a turn without sound"
        return Utterance(name, self.audio, self.channel, self.start, self.end, self.duration, extra=self.place)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation; its last turn, the assistant's, is what is learned."""

    id: str
    turns: tuple[DialogueTurn, ...]
    language: str | None = None
    speaker: str | None = None
    """Of the user's turns."""
    source: str | None = None
    licence: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the row that osum does not know; written back as they were."""

    @property
    def question(self) -> DialogueTurn:
        """The last turn of the user."""
        return self.turns[-2]

    @property
    def reply(self) -> DialogueTurn:
        """The turn that is learned."""
        return self.turns[-1]

    @property
    def stream(self) -> Stream:
        """From speech or text, to text or speech; a text that is answered in text and aloud counts as s2s."""
        if self.reply.codes:
            return "t2s" if self.reply.text is None else "s2s"
        return "s2t" if self.question.audio is not None else "t2t"

    @property
    def clips(self) -> tuple[Utterance, ...]:
        """The sounds of all turns of the user, in their order."""
        return tuple(
            turn.clip(f"{self.id}, turn {number}")
            for number, turn in enumerate(self.turns, 1)
            if turn.role == "user" and turn.audio is not None
        )

    def prefixes(self) -> tuple[Dialogue, ...]:
        """A dialogue for each turn of the assistant, so that all are learned (echat 3.2); itself where there is one."""
        ends = range(2, len(self.turns) + 1, 2)
        named = {end: self.id if end == len(self.turns) else f"{self.id}#{end // 2}" for end in ends}
        return tuple(replace(self, id=named[end], turns=self.turns[:end]) for end in ends)

    def to_dict(self) -> dict[str, Any]:
        """The JSON row: fields that are empty are left out, unknown fields stand next to the known."""
        known = {"version": VERSION, **to_row(replace(self, extra={}))}
        return known | {name: value for name, value in self.extra.items() if name not in known}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Dialogue:
        """Read a JSON row; labels come in osum's spelling.

        Raises:
            ManifestError: a field is missing, misspelt or of the wrong type, or the turns are no dialogue.
        """
        version = row.get("version", VERSION)
        if version != VERSION:
            raise ManifestError(
                f"version is {version!r}: this osum reads dialogues of version {VERSION}; update one of the two"
            )
        known = {name: value for name, value in row.items() if name in _FIELDS}
        read = from_row(cls, known)
        if not read.id:
            raise ManifestError("id is '': give the dialogue a name")
        turns = tuple(_checked(turn, number) for number, turn in enumerate(read.turns, 1))
        _check_order(turns)
        extra = {name: value for name, value in row.items() if name not in _FIELDS and name != "version"}
        return replace(read, turns=turns, extra=extra)


_FIELDS = frozenset(item.name for item in fields(Dialogue)) - {"extra"}


def _checked(turn: DialogueTurn, number: int) -> DialogueTurn:
    """A turn that holds what its role may hold, its labels in osum's spelling.

    Raises:
        ManifestError: it holds something else, or nothing.
    """
    other = _OF_THE_ASSISTANT if turn.role == "user" else _OF_THE_USER
    if wrong := next((name for name in other if getattr(turn, name)), None):
        raise ManifestError(f"turn {number} of the {turn.role} has {wrong!r}, which the other side has: move it there")
    said = turn.audio if turn.role == "user" else turn.codes
    if not said and not (turn.text or "").strip():
        wanted = "text or audio" if turn.role == "user" else "text or codes"
        raise ManifestError(f"turn {number} of the {turn.role} says nothing: give it {wanted}")
    if wrong_code := next((code for code in turn.codes if code < 0), None):
        raise ManifestError(f"turn {number} has speech code {wrong_code}: codes count from 0")
    if unknown := next((name for name in turn.place if name not in PLACE_FIELDS), None):
        raise ManifestError(f"turn {number} has {unknown!r} in place: give {', '.join(PLACE_FIELDS)}")
    labels = {name: _label(USER_LABELS.get(name), name, label, number) for name, label in turn.labels.items()}
    emotion = None if turn.emotion is None else _label(REPLY_EMOTIONS, "emotion", turn.emotion, number)
    return replace(turn, labels=labels, emotion=emotion)


def _label(labels: LabelSet | None, name: str, label: str, number: int) -> str:
    if labels is None:
        raise ManifestError(f"turn {number} has label {name!r}: a user's turn has {', '.join(USER_LABELS)}")
    found = labels.canonical(label.strip().removeprefix("<").removesuffix(">"))
    if found is None:
        hint = did_you_mean(label.lower(), labels.labels)
        raise ManifestError(f"turn {number}: {name} is {label!r}: {hint}use one of {', '.join(labels.labels)}")
    return found


def _check_order(turns: tuple[DialogueTurn, ...]) -> None:
    """Users and assistants take turns, the assistant is last, and only a text that is read aloud has no reply in text.

    Raises:
        ManifestError: they do not.
    """
    for number, turn in enumerate(turns, 1):
        wanted = ("assistant", "user")[number % 2]
        if turn.role != wanted:
            raise ManifestError(f"turn {number} is of the {turn.role}, where the {wanted} speaks: let them take turns")
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise ManifestError(f"{len(turns)} turns that do not end with the assistant's: there is nothing to learn")
    silent = next((number for number, turn in enumerate(turns, 1) if turn.role == "assistant" and not turn.text), None)
    if silent is not None and (len(turns) > 2 or turns[0].text is None):
        raise ManifestError(
            f"turn {silent} of the assistant has codes and no text: give it its text; only one that reads the text of "
            "the one turn before it aloud has none"
        )


def write_dialogues(path: str | Path, dialogues: Iterable[Dialogue]) -> int:
    """Write one row per line, paths below the file's folder relative, others absolute; returns their number.

    The file appears whole or not at all.
    """
    path, count = Path(path), 0
    with atomic_file(path) as out:
        for count, dialogue in enumerate(dialogues, 1):  # noqa: B007 - the count is asked for behind the loop
            turns = tuple(_seen_from(path.parent, turn) for turn in dialogue.turns)
            out.write((to_json(replace(dialogue, turns=turns).to_dict()) + "\n").encode())
    return count


def _seen_from(folder: Path, turn: DialogueTurn) -> DialogueTurn:
    return turn if turn.audio is None else replace(turn, audio=seen_from(folder, Path(turn.audio)))
