"""What every format sees of an `Utterance`: its segments, labels by column, text on one line.

Knows no format.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from osum.tasks import OSUM
from osum.text import HAN
from osum.utterance import Answer, Segment, Utterance, Word

LABEL_COLUMNS = ("event", "emotion", "style", "gender", "age", "language")
"""The label columns that every table and TextGrid has; labels of other names follow them."""
_COLUMN_OF_TASK = {task.name: task.label_sets[0].name for task in OSUM.tasks if len(task.label_sets) == 1}
_HAN = re.compile(f"[{HAN}]")


def segments_of(utterance: Utterance) -> tuple[Segment, ...]:
    """The segments; a manifest row without any is one segment that holds the row's text and words."""
    if utterance.segments or (utterance.text is None and not utterance.words):
        return utterance.segments
    start = utterance.start or 0.0
    end = max([start, *(word.end for word in utterance.words)])
    if utterance.end is not None:
        end = utterance.end
    elif utterance.duration is not None:
        end = start + utterance.duration
    text = join_words(utterance.words) if utterance.text is None else utterance.text
    return (Segment(start, end, text, words=utterance.words, reply=utterance.reply),)


def join_words(words: Iterable[Word]) -> str:
    """Words to text: a space between them, none between two Chinese characters."""
    text = ""
    for word in words:
        text += glue(text, word.text) + word.text
    return text


def glue(before: str, after: str) -> str:
    """What stands between two words on a line."""
    return "" if not before or (_HAN.fullmatch(before[-1:]) and _HAN.fullmatch(after[:1])) else " "


def _column(task: str) -> str:
    """The name of what a task labels: ``SER`` and ``SER+SAP/emotion`` fill ``emotion``; a user's own task its own."""
    return task.rpartition("/")[2] if "/" in task else _COLUMN_OF_TASK.get(task, task.lower())


def labels_of(segment: Segment) -> dict[str, Answer]:
    """Column name to answer of a segment; see `by_column`."""
    return by_column(segment.labels)


def by_column(answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """Answers by task name as answers by column name; of a task in full and its tag-only form the first counts.

    Tasks that give words or a reply have no label, and so no column.
    """
    found: dict[str, Answer] = {}
    for task, answer in answers.items():
        column = _column(task)
        if column in LABEL_COLUMNS or answer.label is not None:
            found.setdefault(column, answer)
    return found


def columns_of(utterances: Iterable[Utterance]) -> tuple[str, ...]:
    """LABEL_COLUMNS and every other label that occurs."""
    used = dict.fromkeys(LABEL_COLUMNS)
    for utterance in utterances:
        for segment in utterance.segments:
            used.update(dict.fromkeys(labels_of(segment)))
    return tuple(used)


def one_line(text: str) -> str:
    """Tabs and line ends to spaces, control characters out: a text must not end its own row or cue."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs"))


def name_of(utterance: Utterance) -> str:
    """The path, with the channel where one was picked."""
    return utterance.path if utterance.channel in (None, "mix") else f"{utterance.path}#{utterance.channel}"


def label_text(answer: Answer | None) -> str:
    """The label, empty where there is none."""
    return answer.label or "" if answer is not None else ""


def milliseconds(seconds: float) -> int:
    """Seconds to whole milliseconds, from 0 on."""
    return round(max(seconds, 0.0) * 1000)
