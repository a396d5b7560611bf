"""Results out: an `Utterance` as json, srt, TextGrid and the like, or many as rows of one document.

A `Format` renders one recording to one document; where `write_many` makes sense it also puts several into one.
Texts and times are written as they are: this module corrects nothing and drops no words.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from osum.errors import InputError
from osum.tasks import OSUM
from osum.text import to_json
from osum.utterance import Answer, Segment, Utterance, VocalEvent, Word

LABEL_COLUMNS = ("event", "emotion", "style", "gender", "age", "language")
"""The label columns that every table and TextGrid has; labels of other names follow them."""
_COLUMN_OF_TASK = {task.name: task.label_sets[0].name for task in OSUM.tasks if len(task.label_sets) == 1}
_DIGITS = {
    **dict.fromkeys(("start", "end", "duration"), 3),  # milliseconds
    **dict.fromkeys(("probability", "distribution", "confidence", "confidences", "no_speech_probability"), 4),
}
_CUE_PAUSE = 3.0
"""Seconds without a word that end a cue, as Whisper has it."""
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class SubtitleOptions:
    """How cues are broken into lines, with Whisper's names."""

    max_line_width: int | None = None
    """Characters of a line; None keeps a segment's text on one line."""
    max_line_count: int | None = None
    """Lines of a cue, where words have times; None keeps a segment in one cue."""
    max_words_per_line: int | None = None
    """Words of a line, and where words have times a cue for each line; means nothing beside a line width."""
    highlight_words: bool = False
    """Repeat each cue once per word with that word underlined."""

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; a whole number from 1 is needed, or none for no limit")

    @property
    def words(self) -> int | None:
        """Words of a line, where they count."""
        return self.max_words_per_line if self.max_line_width is None else None

    @property
    def lines(self) -> int | None:
        """Lines of a cue whose words have times."""
        return 1 if self.words is not None else self.max_line_count

    @property
    def needs_words(self) -> bool:
        """Whether times of words change anything."""
        return self.highlight_words or self.lines is not None


PLAIN_SUBTITLES = SubtitleOptions()


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write results."""

    name: str
    suffix: str
    render: Callable[[Utterance], str]
    """One recording to a whole document."""
    pieces: Callable[[Iterable[Utterance]], Iterator[str]] | None = None
    """Several recordings to the pieces of one document; None where a document holds one recording."""

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


# What all formats see


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
        text += _glue(text, word.text) + word.text
    return text


def _glue(before: str, after: str) -> str:
    return "" if not before or (_HAN.fullmatch(before[-1:]) and _HAN.fullmatch(after[:1])) else " "


def _column(task: str) -> str:
    """The name of what a task labels: ``SER`` and ``SER+SAP/emotion`` fill ``emotion``; a user's own task its own."""
    return task.rpartition("/")[2] if "/" in task else _COLUMN_OF_TASK.get(task, task.lower())


def labels_of(segment: Segment) -> dict[str, Answer]:
    """Column name to answer; of a task in full and its tag-only form the first counts.

    Tasks that give words or a reply have no label, and so no column.
    """
    found: dict[str, Answer] = {}
    for task, answer in segment.labels.items():
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
    """`render_txt` with the path and a tab before every line, so that rows can be told apart."""
    for utterance in utterances:
        lines = render_txt(utterance).splitlines() or [""]
        yield from (f"{one_line(name_of(utterance))}\t{line}\n" for line in lines)


def name_of(utterance: Utterance) -> str:
    """The path, with the channel where one was picked."""
    return utterance.path if utterance.channel in (None, "mix") else f"{utterance.path}#{utterance.channel}"


def _tsv_rows(utterances: Iterable[Utterance]) -> Iterator[str]:
    """Whisper's columns start, end (milliseconds) and text, then where from, the labels, reply and error."""
    rows = list(utterances)
    columns = columns_of(rows)
    yield "\t".join(("start", "end", "text", "path", "channel", *columns, "reply", "error")) + "\n"
    for utterance in rows:
        tail = ["" if utterance.channel is None else str(utterance.channel)]
        for segment in segments_of(utterance) or (Segment(0.0, 0.0),):
            labels = labels_of(segment)
            values = [str(_milliseconds(segment.start)), str(_milliseconds(segment.end)), segment.text, utterance.path]
            values += [*tail, *(_label(labels.get(column)) for column in columns)]
            yield "\t".join(one_line(value) for value in (*values, segment.reply or "", utterance.error or "")) + "\n"


def _label(answer: Answer | None) -> str:
    return answer.label or "" if answer is not None else ""


# srt, vtt


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a line is not broken inside: a word, or a Chinese character."""

    glue: str
    """What stands between the piece and the one before it on a line."""
    text: str
    start: float
    end: float


_Line = tuple[_Piece, ...]


def _milliseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1000)


def timestamp(seconds: float, mark: str = ".") -> str:
    """``HH:MM:SS.mmm``, with `mark` before the milliseconds."""
    whole, milliseconds = divmod(_milliseconds(seconds), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{milliseconds:03d}"


def _cues(
    utterance: Utterance, options: SubtitleOptions, escape: Callable[[str], str]
) -> Iterator[tuple[float, float, str]]:
    """Yield (start, end, text) of each cue; a segment is one cue unless the options cut or repeat it."""
    for segment in segments_of(utterance):
        timed = bool(segment.words) and options.needs_words
        cues = _timed_cues(segment, options) if timed else [_lines(_text_pieces(segment), options)]
        for cue in filter(None, cues):
            start, end = segment.start, segment.end
            if len(cues) > 1:
                start, end = cue[0][0].start, cue[-1][-1].end
            if timed and options.highlight_words:
                yield from _highlighted(cue, escape)
            else:
                yield start, max(start, end), _cue_text(cue, escape)


def _timed_cues(segment: Segment, options: SubtitleOptions) -> list[list[_Line]]:
    """The lines of each cue; where cues are cut, a long pause ends one."""
    cues: list[list[_Line]] = []
    for phrase in _phrases(_timed_pieces(segment.words), math.inf if options.lines is None else _CUE_PAUSE):
        lines = _lines(phrase, options)
        count = options.lines or len(lines)
        cues += [lines[at : at + count] for at in range(0, len(lines), count)]
    return cues


def _phrases(pieces: _Line, pause: float) -> list[_Line]:
    found: list[_Line] = []
    for piece in pieces:
        if found and piece.start - found[-1][-1].end <= pause:
            found[-1] += (piece,)
        else:
            found.append((piece,))
    return found


def _highlighted(cue: list[_Line], escape: Callable[[str], str]) -> Iterator[tuple[float, float, str]]:
    """The cue once per word and once per gap between words, so that it does not go away in between."""
    at = cue[0][0].start
    for piece in (piece for line in cue for piece in line):
        if piece.start > at:
            yield at, piece.start, _cue_text(cue, escape)
        at = max(piece.start, piece.end)
        yield piece.start, at, _cue_text(cue, escape, piece)


def _timed_pieces(words: Iterable[Word]) -> _Line:
    pieces: list[_Piece] = []
    for word in words:
        text = one_line(word.text)
        pieces.append(_Piece(_glue(pieces[-1].text if pieces else "", text), text, word.start, word.end))
    return tuple(pieces)


def _text_pieces(segment: Segment) -> _Line:
    """The text, breakable at spaces and, since Chinese has none, behind Chinese characters."""
    found = re.findall(rf"(\s?)({_HAN.pattern}|(?:(?!{_HAN.pattern})\S)+)", one_line(segment.text))
    return tuple(_Piece(glue, text, segment.start, segment.end) for glue, text in found)


def _lines(pieces: _Line, options: SubtitleOptions) -> list[_Line]:
    lines: list[_Line] = []
    room = 0.0
    for piece in pieces:
        needed = len(piece.glue) + len(piece.text)
        if lines and needed <= room and len(lines[-1]) != options.words:
            lines[-1] += (piece,)
            room -= needed
        else:
            lines.append((piece,))
            room = math.inf if options.max_line_width is None else options.max_line_width - len(piece.text)
    return lines


def _cue_text(lines: Iterable[_Line], escape: Callable[[str], str], marked: _Piece | None = None) -> str:
    def shown(at: int, piece: _Piece) -> str:
        text = f"<u>{escape(piece.text)}</u>" if piece is marked else escape(piece.text)
        return piece.glue + text if at else text

    return "\n".join("".join(shown(at, piece) for at, piece in enumerate(line)) for line in lines)


def _escape_srt(text: str) -> str:
    return text.replace("-->", "->")


def _escape_vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render_srt(utterance: Utterance, options: SubtitleOptions = PLAIN_SUBTITLES) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    cues = enumerate(_cues(utterance, options, _escape_srt), start=1)
    return "".join(f"{n}\n{timestamp(a, ',')} --> {timestamp(b, ',')}\n{text}\n\n" for n, (a, b, text) in cues)


def render_vtt(utterance: Utterance, options: SubtitleOptions = PLAIN_SUBTITLES) -> str:
    """WebVTT: a dot before the milliseconds, markup escaped."""
    cues = _cues(utterance, options, _escape_vtt)
    return "WEBVTT\n\n" + "".join(f"{timestamp(a)} --> {timestamp(b)}\n{text}\n\n" for a, b, text in cues)


# TextGrid, ctm, Audacity


def render_textgrid(utterance: Utterance) -> str:
    """Praat's long text format: the tiers text, words, one per label and, where there are some, events.

    Each goes from 0 to the end without gaps.
    """
    segments = segments_of(utterance)
    times = [(s.start, s.end) for s in segments] + [(word.start, word.end) for s in segments for word in s.words]
    ends = [_microseconds(end) for _, end in times] + [_microseconds(start) + 1 for start, _ in times]
    end = max(1000, _microseconds(utterance.duration or 0.0), *ends)  # Praat refuses a grid of no length
    tiers = {"text": [(s.start, s.end, s.text) for s in segments]}
    tiers["words"] = [(word.start, word.end, word.text) for s in segments for word in s.words]
    for column in columns_of([utterance]):
        tiers[column] = [(s.start, s.end, _label(labels_of(s).get(column))) for s in segments]
    if utterance.events:
        tiers["events"] = [(event.start, event.end, _how_sure(event)) for event in utterance.events]
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    head += f"xmin = 0\nxmax = {_praat(end)}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    return head + "".join(_tier(n, name, _tiling(marks, end)) for n, (name, marks) in enumerate(tiers.items(), start=1))


def _how_sure(event: VocalEvent) -> str:
    return event.event if event.probability is None else f"{event.event} {event.probability:.2f}"


_Tile = tuple[int, int, str]
"""Start and end in microseconds, whole so that one tile's end is exactly the next one's start; label."""


def _microseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1e6)


def _praat(microseconds: int) -> str:
    return f"{microseconds // 10**6}.{microseconds % 10**6:06d}"


def _tiling(marks: Iterable[tuple[float, float, str]], end: int) -> list[_Tile]:
    """Tiles that cover 0 to `end` without gap or overlap.

    An overlap goes to the earlier mark; a mark that has no time left joins the one before it, so no text is lost.
    """
    tiles: list[_Tile] = []
    at = 0
    for seconds, until, label in sorted((mark for mark in marks if mark[2]), key=lambda mark: mark[0]):
        start, stop = max(_microseconds(seconds), at), min(_microseconds(until), end)
        if stop <= start and tiles:
            tiles[-1] = (*tiles[-1][:2], f"{tiles[-1][2]} {label}")
            continue
        tiles += [(at, start, "")] if start > at else []
        at = max(stop, start + 1)
        tiles.append((start, at, label))
    return tiles + ([(at, end, "")] if at < end else [])


def _tier(number: int, name: str, tiles: list[_Tile]) -> str:
    lines = [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{_quoted(name)}"']
    lines += ["        xmin = 0", f"        xmax = {_praat(tiles[-1][1])}", f"        intervals: size = {len(tiles)}"]
    for n, (start, end, label) in enumerate(tiles, start=1):
        lines += [f"        intervals [{n}]:", f"            xmin = {_praat(start)}"]
        lines += [f"            xmax = {_praat(end)}", f'            text = "{_quoted(label)}"']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return one_line(text).replace('"', '""')


def render_ctm(utterance: Utterance) -> str:
    """NIST CTM: file, channel (from 1), start, duration, word and, where known, confidence."""
    name = "_".join(utterance.id.split())
    channel = utterance.channel + 1 if isinstance(utterance.channel, int) else 1
    lines = []
    for segment in segments_of(utterance):
        if segment.text and not segment.words:
            lines.append(
                f";; {name}: no word times from {segment.start:.2f} to {segment.end:.2f} s; ask for the task SRWT"
            )
        for word in segment.words:
            sure = "" if word.confidence is None else f" {word.confidence:.4f}"
            text = "_".join(one_line(word.text).split())
            length = max(word.end - word.start, 0.0)
            lines += [f"{name} {channel} {word.start:.3f} {length:.3f} {text}{sure}"] if text else []
    return "".join(f"{line}\n" for line in lines)


def render_audacity(utterance: Utterance) -> str:
    """Audacity's label track: words where they have times, else text, and beside it the labels of each segment."""
    lines = []
    for segment in segments_of(utterance):
        marks = [(word.start, word.end, word.text) for word in segment.words]
        marks = marks or ([(segment.start, segment.end, segment.text)] if segment.text else [])
        labels = ((column, _label(answer)) for column, answer in labels_of(segment).items())
        marks += [(segment.start, segment.end, f"{column}: {label}") for column, label in labels if label]
        lines += [f"{start:.6f}\t{end:.6f}\t{one_line(text)}\n" for start, end, text in marks]
    return "".join(lines)


def _one(pieces: Callable[[Iterable[Utterance]], Iterator[str]], utterance: Utterance) -> str:
    return "".join(pieces([utterance]))


def _each(render: Callable[[Utterance], str], utterances: Iterable[Utterance]) -> Iterator[str]:
    return map(render, utterances)


def formats_with(subtitles: SubtitleOptions) -> dict[str, Format]:
    """Every format by its name, with cues broken as `subtitles` says."""
    formats = (
        Format("json", ".json", render_json, _json_array),
        Format("jsonl", ".jsonl", render_jsonl, partial(_each, render_jsonl)),
        Format("txt", ".txt", render_txt, _txt_rows),
        Format("srt", ".srt", partial(render_srt, options=subtitles)),
        Format("vtt", ".vtt", partial(render_vtt, options=subtitles)),
        Format("tsv", ".tsv", partial(_one, _tsv_rows), _tsv_rows),
        Format("textgrid", ".TextGrid", render_textgrid),
        Format("ctm", ".ctm", render_ctm, partial(_each, render_ctm)),
        Format("audacity", ".labels.txt", render_audacity),
    )
    return {known.name: known for known in formats}


FORMATS = formats_with(PLAIN_SUBTITLES)
"""Every format by its name."""
