"""Results out: an `Utterance` as json, srt, TextGrid and the like, or many as rows of one document.

A `Format` renders one recording to one document; where `pieces` makes sense it also puts several into one.
Texts and times are written as they are; only the times of subtitles are corrected where they overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from osum.errors import InputError
from osum.results.annotation import render_audacity, render_ctm, render_textgrid
from osum.results.subtitle_options import PLAIN_SUBTITLES, SubtitleOptions
from osum.results.subtitles import render_srt, render_vtt, subtitles_of
from osum.results.view import columns_of, label_text, labels_of, milliseconds, name_of, one_line, segments_of
from osum.text import to_json
from osum.utterance import Segment, Utterance

_DIGITS = {
    **dict.fromkeys(("start", "end", "duration"), 3),  # milliseconds
    **dict.fromkeys(("probability", "distribution", "confidence", "confidences", "no_speech_probability"), 4),
}


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write results."""

    name: str
    suffix: str
    render: Callable[[Utterance], str]
    """One recording to a whole document."""
    pieces: Callable[[Iterable[Utterance]], Iterator[str]] | None = None
    """Several recordings to the pieces of one document; None where a document holds one recording."""
    notes: Callable[[Utterance], tuple[str, ...]] = lambda _: ()
    """What was wished for the document of a recording and could not be had."""

    @property
    def many(self) -> bool:
        """Whether one document may hold several recordings."""
        return self.pieces is not None

    def write(self, utterances: Iterable[Utterance], stream: TextIO) -> None:
        """Write all `utterances` as one document.

        Raises:
            InputError: the format holds one recording and several are given.
        """
        if self.pieces is not None:
            for piece in self.pieces(utterances):
                stream.write(piece)
            return
        rows = list(utterances)
        if len(rows) != 1:
            fits = ", ".join(name for name, known in FORMATS.items() if known.many)
            raise InputError(
                f"{self.name} holds one recording, not {len(rows)}; write to a folder, or use one of {fits}"
            )
        stream.write(self.render(rows[0]))


def format_named(name: str, subtitles: SubtitleOptions | None = None) -> Format:
    """The format called `name`, with cues broken as `subtitles` says.

    Raises:
        InputError: there is no such format.
    """
    known = FORMATS if subtitles is None else formats_with(subtitles)
    if name not in known:
        raise InputError(f"format {name!r} is unknown; use one of {', '.join(known)}")
    return known[name]


def format_of(path: Path) -> Format | None:
    """The format that a file name's suffix asks for, None for a name without a known suffix."""
    name = path.name.lower()
    fits = [known for known in FORMATS.values() if name.endswith(known.suffix.lower())]
    return max(fits, key=lambda known: len(known.suffix), default=None)


# json, jsonl


def to_row(utterance: Utterance) -> dict[str, Any]:
    """The JSON row with times to the millisecond and probabilities to four digits; foreign fields untouched."""
    row = utterance.to_dict()
    return {key: value if key in utterance.extra else _rounded(value, _DIGITS.get(key)) for key, value in row.items()}


def _rounded(value: Any, digits: int | None) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for it
    if isinstance(value, float) and digits is not None:
        return round(value, digits)
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, Mapping):
        return {key: _rounded(item, _DIGITS.get(key, digits)) for key, item in value.items()}
    return value


def render_json(utterance: Utterance) -> str:
    """One JSON object."""
    return to_json(to_row(utterance), indent=2) + "\n"


def _json_array(utterances: Iterable[Utterance]) -> Iterator[str]:
    yield to_json([to_row(utterance) for utterance in utterances], indent=2) + "\n"


def render_jsonl(utterance: Utterance) -> str:
    """One JSON object on one line: a manifest row."""
    return to_json(to_row(utterance)) + "\n"


# txt, tsv


def render_txt(utterance: Utterance) -> str:
    """One line per segment; a reply follows its segment after ``> ``."""
    lines = []
    for segment in segments_of(utterance):
        lines += [one_line(segment.text)] if segment.text else []
        lines += [f"> {one_line(segment.reply)}"] if segment.reply else []
    return "".join(f"{line}\n" for line in lines)


def _txt_rows(utterances: Iterable[Utterance]) -> Iterator[str]:
    """`render_txt` with the path and a tab before every line, so that rows can be distinguished."""
    for utterance in utterances:
        lines = render_txt(utterance).splitlines() or [""]
        yield from (f"{one_line(name_of(utterance))}\t{line}\n" for line in lines)


def _tsv_rows(utterances: Iterable[Utterance]) -> Iterator[str]:
    """Whisper's columns start, end (milliseconds) and text, then where from, the labels, reply and error."""
    rows = list(utterances)
    columns = columns_of(rows)
    yield "\t".join(("start", "end", "text", "path", "channel", *columns, "reply", "error")) + "\n"
    for utterance in rows:
        tail = ["" if utterance.channel is None else str(utterance.channel)]
        for segment in segments_of(utterance) or (Segment(0.0, 0.0),):
            labels = labels_of(segment)
            values = [str(milliseconds(segment.start)), str(milliseconds(segment.end)), segment.text, utterance.path]
            values += [*tail, *(label_text(labels.get(column)) for column in columns)]
            yield "\t".join(one_line(value) for value in (*values, segment.reply or "", utterance.error or "")) + "\n"


def _one(pieces: Callable[[Iterable[Utterance]], Iterator[str]], utterance: Utterance) -> str:
    return "".join(pieces([utterance]))


def _each(render: Callable[[Utterance], str], utterances: Iterable[Utterance]) -> Iterator[str]:
    return map(render, utterances)


def formats_with(subtitles: SubtitleOptions) -> dict[str, Format]:
    """Every format by its name, with cues broken as `subtitles` says."""

    def notes(utterance: Utterance) -> tuple[str, ...]:
        return subtitles_of(utterance, subtitles).notes if subtitles.wishes else ()

    formats = (
        Format("json", ".json", render_json, _json_array),
        Format("jsonl", ".jsonl", render_jsonl, partial(_each, render_jsonl)),
        Format("txt", ".txt", render_txt, _txt_rows),
        Format("srt", ".srt", partial(render_srt, options=subtitles), notes=notes),
        Format("vtt", ".vtt", partial(render_vtt, options=subtitles), notes=notes),
        Format("tsv", ".tsv", partial(_one, _tsv_rows), _tsv_rows),
        Format("textgrid", ".TextGrid", render_textgrid),
        Format("ctm", ".ctm", render_ctm, partial(_each, render_ctm)),
        Format("audacity", ".labels.txt", render_audacity),
    )
    return {known.name: known for known in formats}


FORMATS = formats_with(PLAIN_SUBTITLES)
"""Every format by its name."""
