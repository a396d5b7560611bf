"""Results on the terminal: one rich table of files, times, texts, labels and replies.

For reading only; what a program reads is written by `osum.results.formats`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from osum.results.view import columns_of, labels_of, name_of, one_line, segments_of
from osum.tasks import STYLES
from osum.tasks.catalog import STTC
from osum.utterance import Answer, Segment, Utterance

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

NOT_REAL = "~"
"""Stands before a label that was not learned from real speech."""
_FOOTNOTE = f"{NOT_REAL} not learned from real speech: a guess"


def table(utterances: Iterable[Utterance]) -> Table:
    """A rich table, one row per segment; label columns that nothing fills are left out."""
    from rich.table import Table

    rows = list(utterances)
    filled = {column for row in rows for segment in row.segments for column in labels_of(segment)}
    filled |= {"language"} if any(row.language for row in rows) else set()
    columns = [column for column in columns_of(rows) if column in filled]
    replies = any(segment.reply for row in rows for segment in segments_of(row))
    shown = Table(caption=_FOOTNOTE if _has_guesses(rows) else None, caption_justify="left")
    shown.add_column("file", overflow="fold")
    shown.add_column("time", justify="right", no_wrap=True)
    for column in ("text", *columns, *(["reply"] if replies else [])):
        shown.add_column(column, overflow="fold")
    for row in rows:
        for cells in _table_rows(row, columns, replies):
            shown.add_row(*cells)
    return shown


def _has_guesses(utterances: Iterable[Utterance]) -> bool:
    answers = (answer for row in utterances for segment in row.segments for answer in segment.labels.values())
    return any(_is_guess(answer) for answer in answers)


def _is_guess(answer: Answer) -> bool:
    return answer.label is not None and _learned_elsewhere(answer)


def _learned_elsewhere(answer: Answer) -> bool:
    return answer.evidence not in (None, "real")


def _table_rows(utterance: Utterance, columns: Sequence[str], replies: bool) -> Iterator[list[Text]]:
    from rich.text import Text

    name = Text(one_line(name_of(utterance)))
    if utterance.error is not None:
        yield [name, Text(""), Text(f"error: {one_line(utterance.error)}", style="red")]
        return
    for segment in segments_of(utterance):
        labels = labels_of(segment)
        if utterance.language is not None:
            labels.setdefault("language", Answer(utterance.language))
        time = Text(f"{segment.start:.2f}-{segment.end:.2f}")
        reply = [_reply(segment)] if replies else []
        yield [name, time, _transcript(segment), *(_cell(column, labels.get(column)) for column in columns), *reply]
        name = Text("")  # the file is named once


def _reply(segment: Segment) -> Text:
    from rich.text import Text

    reply, answer = one_line(segment.reply or ""), segment.labels.get(STTC.name)
    guess = bool(reply) and answer is not None and _learned_elsewhere(answer)
    return Text(f"{NOT_REAL if guess else ''}{reply}", "dim" if guess else "")


def _transcript(segment: Segment) -> Text:
    from rich.text import Text

    if segment.no_speech:
        return Text(f"no speech{_percent(segment.no_speech_probability)}", style="dim italic")
    return Text(one_line(segment.text))


def _cell(column: str, answer: Answer | None) -> Text:
    from rich.text import Text

    if answer is None or answer.label is None:
        return Text("" if answer is None else "-", style="dim")
    label = STYLES.title(answer.label) if column == STYLES.name else answer.label
    guess = _is_guess(answer)
    return Text(f"{NOT_REAL if guess else ''}{one_line(label)}{_percent(answer.probability)}", "dim" if guess else "")


def _percent(probability: float | None) -> str:
    return "" if probability is None else f" {probability:.0%}"
