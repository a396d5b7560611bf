"""What a model wrote, read piece by piece: transcript, times, tags, reply.

1. The raw text is cut into pieces: texts, times (`<0.20>`) and tags (`<happy>`), closed or not.
2. Texts and times become the transcript and its words; tags become labels.
3. Whatever does not fit is said in `problems`. Nothing here raises, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from osum.tasks.label_set import LabelSet
from osum.text import closest, edit_distance, is_broken, join_units
from osum.utterance import Word

REPLY_SEPARATOR = "<开始回答>"
"""Stands between what was said and the reply to it (OSUM spec 3.2)."""

_PIECE = re.compile(r"<([^<>]*)(>?)|([^<]+)")
_TIME = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*")
_WORD_AT_END = re.compile(r"[A-Za-z0-9_.'-]+$")
_SHOWN = 5  # unread tags that one problem lists


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A model's text, read: everything a task asked for, and what could not be read."""

    task: str
    raw: str
    text: str = ""
    words: tuple[Word, ...] = ()
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """Label set name to label; None where no tag could be read."""
    reply: str | None = None
    problems: tuple[str, ...] = ()


class AnswerPiece(NamedTuple):
    """A stretch of raw text: a text, a time or a tag."""

    kind: Literal["text", "time", "tag"]
    value: str
    start: int
    end: int
    closed: bool = True

    @property
    def shown(self) -> str:
        """The tag as it was written, cut when it is long."""
        value = self.value if len(self.value) <= 20 else self.value[:20] + "…"
        return f"<{value}{'>' if self.closed else ''}"


def scan(raw: str, label_sets: Sequence[LabelSet]) -> Iterator[AnswerPiece]:
    """Cut raw text into pieces; a number in brackets is a time unless it is a label."""
    for match in _PIECE.finditer(raw):
        inside, bracket, text = match.groups()
        if text is not None:
            yield AnswerPiece("text", text, *match.span())
        elif _TIME.fullmatch(inside) and not any(labels.canonical(inside) for labels in label_sets):
            yield AnswerPiece("time", inside, *match.span(), closed=bool(bracket))
        else:
            yield AnswerPiece("tag", inside, *match.span(), closed=bool(bracket))


def is_separator(piece: AnswerPiece) -> bool:
    """Whether a tag is the reply separator, one wrong character allowed."""
    if piece.kind != "tag" or not piece.closed:
        return False
    name, wanted = piece.value.strip(), REPLY_SEPARATOR[1:-1]
    return abs(len(name) - len(wanted)) <= 1 and edit_distance(name, wanted) <= 1


def read_plain(pieces: Sequence[AnswerPiece], problems: list[str], label_sets: Sequence[LabelSet] = ()) -> str:
    """The transcript: the first run of texts that no tag interrupts."""
    runs: list[list[str]] = [[]]
    for piece in pieces:
        if piece.kind == "tag":
            runs.append([])
        elif piece.kind == "text" and (text := _clean(piece.value, problems, label_sets)):
            runs[-1].append(text)
    if any(piece.kind == "time" for piece in pieces):
        problems.append("times in an answer that has none")
    filled = [index for index, run in enumerate(runs) if run]
    if any(index > 0 for index in filled):
        problems.append("text after a tag")
    return join_units(runs[filled[0]]) if filled else ""


def read_timed(pieces: Sequence[AnswerPiece], problems: list[str]) -> tuple[str, tuple[Word, ...]]:
    """Transcript and words of `<start>unit<end>` (OSUM spec 3.4); ends may overlap the next start."""
    units: list[str] = []
    words: list[Word] = []
    start: float | None = None
    last: float | None = None
    unit = ""
    for piece in pieces:
        if piece.kind == "text" and (text := _clean(piece.value, problems, ())):
            if start is None:
                problems.append(f"no start time for {text[:20]!r}")
                start = last
            unit = join_units([unit, text]) if unit else text
            units.append(text)
        elif piece.kind == "time":
            last = float(piece.value)
            if not unit:
                start = last
                continue
            words.extend(_word(unit, start, last, problems))
            unit, start = "", None
    if unit:
        problems.append(f"no end time for {unit[:20]!r}")
    return join_units(units), tuple(words)


def _word(text: str, start: float | None, end: float, problems: list[str]) -> Iterator[Word]:
    if start is None:
        return
    if end < start:
        problems.append(f"{text[:20]!r} ends before it starts")
    yield Word(text, start, max(start, end))


def read_labels(
    label_sets: Sequence[LabelSet], tags: Sequence[AnswerPiece], problems: list[str]
) -> dict[str, str | None]:
    """Label set name to label: exact tags first, then misspelt and unterminated ones, nearest label."""
    found: dict[str, str | None] = {labels.name: None for labels in label_sets}
    unread: list[AnswerPiece] = []
    last = -1
    for piece in tags:
        index = _place(label_sets, found, piece.value, last)
        if index is None:
            unread.append(piece)
            continue
        labels = label_sets[index]
        found[labels.name], last = labels.canonical(piece.value), index
        if not piece.closed:
            problems.append(f"unterminated tag {piece.shown}")
    unread = [piece for piece in unread if not _guess(label_sets, found, piece, problems)]
    _report_unread(unread, problems)
    problems.extend(f"no {name} tag" for name, label in found.items() if label is None)
    return found


def _place(label_sets: Sequence[LabelSet], found: Mapping[str, str | None], name: str, last: int) -> int | None:
    """Index of the open label set that a tag answers; two sets may share a label, so later ones come first."""
    order = [*range(last + 1, len(label_sets)), *range(last + 1)]
    fits = (i for i in order if found[label_sets[i].name] is None and label_sets[i].canonical(name))
    return next(fits, None)


def _guess(
    label_sets: Sequence[LabelSet], found: dict[str, str | None], piece: AnswerPiece, problems: list[str]
) -> bool:
    """Give a tag that is no label to the open label set with the nearest one."""
    name = piece.value.strip().lower()
    for labels in label_sets:
        if found[labels.name] is not None:
            continue
        begun = [label for label in labels.labels if name and label.startswith(name)]
        label = begun[0] if len(begun) == 1 and not piece.closed else closest(name, labels.labels)
        if label is not None:
            problems.append(f"read {piece.shown} as <{label}>")
            found[labels.name] = label
            return True
    return False


def _report_unread(pieces: Sequence[AnswerPiece], problems: list[str]) -> None:
    if pieces:
        more = f" and {len(pieces) - _SHOWN} more" if len(pieces) > _SHOWN else ""
        problems.append(f"unread tags: {' '.join(piece.shown for piece in pieces[:_SHOWN])}{more}")


def _clean(text: str, problems: list[str], label_sets: Sequence[LabelSet]) -> str:
    """Text without what nobody says: half a tag, and its sign, goes; a broken character stays and is reported."""
    *before, last = text.split(">")
    for part in before:
        half = _half_tag(part, label_sets)
        problems.append(f"half a tag: {half[:20]}>" if half else "a stray >")
    text = " ".join([*(part.removesuffix(_half_tag(part, label_sets)) for part in before), last])
    if wrong := next(filter(is_broken, text), None):
        problems.append(f"U+{ord(wrong):04X}, which nobody says")
    return text.strip()


def _half_tag(text: str, label_sets: Sequence[LabelSet]) -> str:
    """What of a text before a `>` was within the tag or the time: its last word or number.

    Chinese has no spaces, so there it is what ends a label, of two characters or more.
    """
    if found := _WORD_AT_END.search(text):
        return found[0]
    endings = {label[at:] for labels in label_sets for label in labels.labels for at in range(len(label) - 1)}
    return max((ending for ending in endings if text.endswith(ending)), key=len, default="")
