"""Subtitles: an `Utterance` as SubRip or WebVTT, its segments cut into cues and lines.

A cue is 1 ms long at least and ends before the next one starts, whatever the times of segments and words are. No word
of the text is lost. Limits of lines are always kept; a wish that time does not allow is a note.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from osum.results.subtitle_options import PLAIN_SUBTITLES, SubtitleOptions
from osum.results.view import join_words, milliseconds, one_line, segments_of
from osum.text import HAN
from osum.utterance import Segment, Utterance, Word

_CUE_PAUSE = 3000
"""Milliseconds without a word that end a cue, as Whisper has it."""
_CLOSING = "，。？！；：、…”’）》」』】"
"""Marks that stay with the Chinese character before them."""
_PIECE = re.compile(rf"(\s?)([{HAN}][{_CLOSING}]*|[^\s{HAN}]+)")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, a Chinese character or a part of a word that is wider than a line; no line breaks inside it."""

    glue: str
    """What stands between the piece and the one before it on a line."""
    text: str
    start: int
    end: int


_Line = tuple[_Piece, ...]


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines that are shown from `start` to `end` (milliseconds); `marked` is the piece that is underlined."""

    start: int
    end: int
    lines: tuple[_Line, ...]
    marked: _Piece | None = None

    def text(self, escape: Callable[[str], str] = str) -> str:
        """The lines; `escape` is applied to the text of each piece."""

        def shown(at: int, piece: _Piece) -> str:
            text = f"<u>{escape(piece.text)}</u>" if piece is self.marked else escape(piece.text)
            return piece.glue + text if at else text

        return "\n".join("".join(shown(at, piece) for at, piece in enumerate(line)) for line in self.lines)

    @property
    def num_characters(self) -> int:
        """Characters without spaces."""
        return sum(len(piece.text) for line in self.lines for piece in line)


@dataclass(frozen=True, slots=True)
class Subtitles:
    """The cues of a recording as documents, and a note for each wish that time did not allow."""

    cues: tuple[Cue, ...]
    notes: tuple[str, ...] = ()

    def srt(self) -> str:
        """SubRip: numbered cues, a comma before the milliseconds."""
        return "".join(f"{n}\n{_shown(cue, ',', _escape_srt)}" for n, cue in enumerate(self.cues, start=1))

    def vtt(self) -> str:
        """WebVTT: a dot before the milliseconds, markup escaped."""
        return "WEBVTT\n\n" + "".join(_shown(cue, ".", _escape_vtt) for cue in self.cues)


def subtitles_of(utterance: Utterance, options: SubtitleOptions = PLAIN_SUBTITLES) -> Subtitles:
    """Cut a recording into cues, one for each segment unless `options` cut or repeat it; segments by their start."""
    segments = sorted(segments_of(utterance), key=lambda segment: _ms(segment.start))
    shows = [show for segment in segments for show in _shows(segment, options)]
    cues = iter(_apart([cue for show in shows for cue in show]))
    shows = [[next(cues) for _ in show] for show in shows]
    limits = [(show[0].start, "the next cue starts") for show in shows[1:]] + [
        (_end_of(utterance), "the recording ends")
    ]
    notes = [_lengthen(show, options, *limit) for show, limit in zip(shows, limits, strict=False)]
    return Subtitles(tuple(cue for show in shows for cue in show), tuple(filter(None, notes)))


def _lengthen(show: list[Cue], options: SubtitleOptions, limit: float, why: str) -> str | None:
    """Move the end to where it is wished, at most to `limit`; a note where that is too early."""
    start, last = show[0].start, show[-1]
    wanted = options.wanted(show[0].num_characters)
    show[-1] = replace(last, end=int(max(last.end, min(start + wanted, limit))))
    length = show[-1].end - start
    if length >= wanted:
        return None
    return f"the cue at {timestamp(start / 1000)} is shown for {length / 1000:.3f} s, not {wanted / 1000:.3f} s: {why}"


def render_srt(utterance: Utterance, options: SubtitleOptions = PLAIN_SUBTITLES) -> str:
    """SubRip."""
    return subtitles_of(utterance, options).srt()


def render_vtt(utterance: Utterance, options: SubtitleOptions = PLAIN_SUBTITLES) -> str:
    """WebVTT."""
    return subtitles_of(utterance, options).vtt()


def timestamp(seconds: float, mark: str = ".") -> str:
    """``HH:MM:SS.mmm``, with `mark` before the milliseconds."""
    whole, rest = divmod(milliseconds(seconds), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{rest:03d}"


def _shown(cue: Cue, mark: str, escape: Callable[[str], str]) -> str:
    start, end = timestamp(cue.start / 1000, mark), timestamp(cue.end / 1000, mark)
    return f"{start} --> {end}\n{cue.text(escape)}\n\n"


def _escape_srt(text: str) -> str:
    return re.sub("-{2,}>", "->", text)


def _escape_vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ms(seconds: float) -> int:
    return milliseconds(seconds) if math.isfinite(seconds) else 0


def _end_of(utterance: Utterance) -> float:
    """Milliseconds at which the recording ends; infinite where that is not known."""
    if utterance.end is not None:
        return _ms(utterance.end)
    return math.inf if utterance.duration is None else _ms((utterance.start or 0.0) + utterance.duration)


def _apart(cues: Iterable[Cue]) -> list[Cue]:
    """The same cues, each at least 1 ms long and none longer than until the next starts.

    1. Every start is moved to 1 ms after the start before it, where it is earlier.
    2. So there is 1 ms at least from each start to the next.
    3. Every end is moved into that room.

    (0, 900), (500, 500), (400, 800) become (0, 500), (500, 501), (501, 800).
    """
    found: list[Cue] = []
    for cue in cues:
        start = max(cue.start, found[-1].start + 1) if found else cue.start
        if found:
            found[-1] = replace(found[-1], end=min(found[-1].end, start))
        found.append(replace(cue, start=start, end=max(cue.end, start + 1)))
    return found


def _shows(segment: Segment, options: SubtitleOptions) -> Iterator[list[Cue]]:
    """The cues of a segment, each a list of one, or where words are underlined of one for each word and gap."""
    text = one_line(segment.text) or one_line(join_words(segment.words))
    timed = any(map(_count, (word.text for word in segment.words)))
    count = options.lines if timed else options.max_line_count
    pieces = tuple(_pieces(text, _Clock(segment, _count(text)), options.max_line_width))
    parts: list[tuple[_Line, ...]] = []
    for phrase in _phrases(pieces, _CUE_PAUSE if timed and count is not None else math.inf):
        lines = _lines(phrase, options)
        size = count or len(lines)
        parts += [tuple(lines[at : at + size]) for at in range(0, len(lines), size)]
    for part in parts:
        start, end = (part[0][0].start, part[-1][-1].end) if len(parts) > 1 else (_ms(segment.start), _ms(segment.end))
        yield list(_underlined(part)) if timed and options.highlight_words else [Cue(start, end, part)]


def _underlined(lines: tuple[_Line, ...]) -> Iterator[Cue]:
    """The lines once per piece and once per gap between pieces, so that they do not go away in between."""
    at = lines[0][0].start
    for piece in (piece for line in lines for piece in line):
        if piece.start > at:
            yield Cue(at, piece.start, lines)
        at = max(piece.start, piece.end)
        yield Cue(piece.start, at, lines, piece)


def _pieces(text: str, clock: _Clock, width: int | None) -> Iterator[_Piece]:
    """The text, cut at spaces, behind Chinese characters, since Chinese has no spaces, and every `width` characters."""
    at = 0
    for glue, whole in _PIECE.findall(text):
        size = width or len(whole)
        for begin in range(0, len(whole), size):  # a part after the first starts a line, which drops its glue
            part = whole[begin : begin + size]
            yield _Piece(glue, part, clock.start(at), clock.end(at + len(part)))
            at += len(part)


def _phrases(pieces: _Line, pause: float) -> list[_Line]:
    found: list[_Line] = []
    for piece in pieces:
        if found and piece.start - found[-1][-1].end <= pause:
            found[-1] += (piece,)
        else:
            found.append((piece,))
    return found


def _lines(pieces: _Line, options: SubtitleOptions) -> list[_Line]:
    lines: list[_Line] = []
    room = 0.0
    for piece in pieces:
        needed = len(piece.glue) + len(piece.text)
        if lines and needed <= room and len(lines[-1]) != options.max_words_per_line:
            lines[-1] += (piece,)
            room -= needed
        else:
            lines.append((piece,))
            room = math.inf if options.max_line_width is None else options.max_line_width - len(piece.text)
    return lines


def _count(text: str) -> int:
    """Characters without spaces."""
    return len("".join(one_line(text).split()))


class _Clock:
    """When the characters of a segment are said, spaces not counted.

    1. The words whose times run forward, as many as possible, give a time to their first and last characters.
    2. The ends of the segment give one to the first and the last character, where no word does.
    3. Between two known times characters share the room equally. So words without a good time, or none at all, need no
       rule of their own. Words that are spelled otherwise than the text are stretched to its length.

    "ab cd ef" from 0 to 6 s, where "ab" has no time, "cd" is at 2 to 3 s and "ef" ends before it starts: a and b share
    0 to 2 s, c and d have 2 to 3 s, e and f share 3 to 6 s.
    """

    def __init__(self, segment: Segment, num_characters: int) -> None:
        lengths = [_count(word.text) for word in segment.words]
        scale = (num_characters, sum(lengths) or 1)
        begins = [sum(lengths[:at]) for at in range(len(lengths))]
        kept = _forward(segment.words)
        marks: list[tuple[float, float]] = []
        for at, after in zip(kept, [*kept[1:], None], strict=False):
            word = segment.words[at]
            end = max(word.start, word.end if after is None else min(word.end, segment.words[after].start))
            marks.append((begins[at] * scale[0] / scale[1], word.start))
            marks.append(((begins[at] + lengths[at]) * scale[0] / scale[1], end))
        first = min([_finite(segment.start), *(time for _, time in marks)])
        last = max([_finite(segment.end), *(time for _, time in marks), first])
        self._marks = [(0.0, first), *marks, (float(num_characters), last)]
        self._places = [place for place, _ in self._marks]

    def start(self, place: int) -> int:
        """Milliseconds at which the character at `place` starts."""
        return self._at(bisect_right(self._places, place) - 1, place)

    def end(self, place: int) -> int:
        """Milliseconds at which the character before `place` ends."""
        return self._at(bisect_left(self._places, place), place)

    def _at(self, known: int, place: int) -> int:
        begin, start = self._marks[known]
        if begin == place:
            return _ms(start)
        known = bisect_left(self._places, place)
        (begin, start), (end, stop) = self._marks[known - 1 : known + 1]
        return _ms(start + (stop - start) * (place - begin) / (end - begin))


def _finite(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else 0.0


def _forward(words: Sequence[Word]) -> list[int]:
    """Which words to trust: the longest run of words, others left out, whose starts do not decrease."""
    tails: list[int] = []  # of the runs of length 1, 2 ... the last word, as early as possible
    before: dict[int, int | None] = {}
    for at, word in enumerate(words):
        if math.isfinite(word.start) and word.start <= word.end < math.inf and _count(word.text):
            place = bisect_right(tails, word.start, key=lambda tail: words[tail].start)
            before[at] = tails[place - 1] if place else None
            tails[place : place + 1] = [at]
    found, last = [], tails[-1] if tails else None
    while last is not None:
        found.append(last)
        last = before[last]
    return found[::-1]
