"""Subtitles: an `Utterance` as SubRip or WebVTT, its segments and timed words cut into cues and lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from osum.errors import InputError
from osum.results.view import HAN, glue, milliseconds, one_line, segments_of
from osum.utterance import Segment, Utterance, Word

_CUE_PAUSE = 3.0
"""Seconds without a word that end a cue, as Whisper has it."""


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
class _Piece:
    """What a line is not broken inside: a word, or a Chinese character."""

    glue: str
    """What stands between the piece and the one before it on a line."""
    text: str
    start: float
    end: float


_Line = tuple[_Piece, ...]


def timestamp(seconds: float, mark: str = ".") -> str:
    """``HH:MM:SS.mmm``, with `mark` before the milliseconds."""
    whole, rest = divmod(milliseconds(seconds), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{rest:03d}"


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
        pieces.append(_Piece(glue(pieces[-1].text if pieces else "", text), text, word.start, word.end))
    return tuple(pieces)


def _text_pieces(segment: Segment) -> _Line:
    """The text, breakable at spaces and, since Chinese has none, behind Chinese characters."""
    found = re.findall(rf"(\s?)({HAN.pattern}|(?:(?!{HAN.pattern})\S)+)", one_line(segment.text))
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
