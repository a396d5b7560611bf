"""Rows of long recordings as rows of their segments: what turns the labels of an hour into clips to train on.

1. A row that is short enough stays as it is.
2. Each segment of a long one becomes a row: its stretch of the same file, its text, words, labels and reply.
   Segments in which nothing is said and nothing was labelled are left out.
3. A segment that is still too long is cut where its words pause.

Worked example of step 3, limit 4 s, words a 0-1, b 1.1-2, c 3-3.5, d 3.6-5: all four are too long; of the pauses in
the last half of what fits (a b c) the longest is that behind b, so the rows are `a b` and `c d`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from osum.corpus.clips import ClipAudio
from osum.errors import OsumError, TaskError
from osum.tasks import OSUM, TaskSet
from osum.text import join_units
from osum.utterance import Answer, Segment, Utterance, Word

ROUNDING = 1e-9  # seconds that a word may pass the limit by, since sums of times round
MARGIN = 0.3
"""Seconds before the first and behind the last word of a stretch, as far as they are free."""
MOMENTARY = frozenset(("event",))
"""Label sets about something that happens at one moment: of a segment that is cut, nobody knows in which part."""
NAMED = 5
"""Rows that a reason names."""
SILENCE = "silences"
NO_WORDS = "too long and without segments or word times: label them first"


@dataclass
class Cutter:
    """Cuts rows, and counts what it leaves out."""

    tasks: TaskSet = OSUM
    """Whose answers become labels."""
    max_seconds: float = 30.0
    """Longest row."""
    num_cut: int = 0
    """Rows that became several."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason to rows, segments or words."""
    named: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    """Reason to the ids of the first rows."""

    def cut(self, rows: Iterable[Utterance]) -> Iterator[Utterance]:
        """The rows of `rows`, each at most `max_seconds` long."""
        for row in rows:
            try:
                seconds = _seconds(row)
            except OsumError:
                self._leave_out("with audio that cannot be read", row)
                continue
            if row.error is not None:
                self._leave_out("that failed to be labelled", row)
            elif seconds <= self.max_seconds:
                yield row
            elif row.segments or row.words:
                self.num_cut += 1
                yield from self._of_segments(row, seconds)
            else:
                self._leave_out(NO_WORDS, row)

    def _leave_out(self, reason: str, row: Utterance) -> None:
        self.left_out[reason] += 1
        if len(self.named[reason]) < NAMED:
            self.named[reason][row.id] = None

    def _of_segments(self, row: Utterance, seconds: float) -> Iterator[Utterance]:
        begin = row.start or 0.0
        whole = Segment(begin, begin + seconds, row.text or "", row.words, reply=row.reply)
        for number, segment in enumerate(row.segments or (whole,)):
            own = _labels(segment.labels, self.tasks) if row.segments else dict(row.labels)
            if row.segments and segment.no_speech and not own:
                self._leave_out(SILENCE, row)
            elif segment.end - segment.start <= self.max_seconds:
                yield _row_of(row, segment, own, f"{number:04d}")
            elif segment.words:
                lasting = {name: label for name, label in own.items() if name not in MOMENTARY}
                for part, stretch in enumerate(self._stretches(segment, row)):
                    yield _row_of(row, stretch, lasting, f"{number:04d}-{part:03d}")
            else:
                self._leave_out(NO_WORDS, row)

    def _stretches(self, segment: Segment, row: Utterance) -> Iterator[Segment]:
        """A segment that is too long in parts that are not, cut at pauses."""
        words, first, low = segment.words, 0, segment.start
        while first < len(words):
            start, end = words[first].start, words[first].end
            begin = min(start, max(low, start - MARGIN, end - self.max_seconds))
            fitting = [at for at in range(first, len(words)) if words[at].end - begin <= self.max_seconds + ROUNDING]
            if not fitting:
                self._leave_out("words that are too long", row)
                first += 1
                continue
            last = _last_of_part(words, first, fitting[-1])
            follows = words[last + 1].start if last + 1 < len(words) else segment.end
            free = max(words[last].end, (words[last].end + follows) / 2)
            low = min(free, words[last].end + MARGIN, begin + self.max_seconds)
            said = words[first : last + 1]
            yield Segment(begin, low, join_units(word.text for word in said), said)
            first = last + 1


def _last_of_part(words: Sequence[Word], first: int, fitting: int) -> int:
    """The word before the longest pause in the last half of those that fit; all, where no word follows."""
    if fitting == len(words) - 1:
        return fitting
    half = range(first + (fitting - first) // 2, fitting + 1)
    return max(half, key=lambda at: (words[at + 1].start - words[at].end, at))


def _seconds(row: Utterance) -> float:
    if row.duration is not None:
        return row.duration
    return ClipAudio().duration(row)


def _row_of(row: Utterance, segment: Segment, labels: Mapping[str, str], number: str) -> Utterance:
    """A segment as a row that has been labelled by itself; it names the row that it is from."""
    return replace(
        row,
        id=f"{row.id}-{number}",
        start=segment.start,
        end=segment.end,
        duration=round(segment.end - segment.start, 4),
        text=None if row.text is None else segment.text,
        language=labels.get("language", row.language if segment.text else None),
        words=segment.words,
        labels=labels,
        reply=segment.reply,
        segments=(segment,) if segment.labels else (),
        summary=segment.labels,
        warnings=(),
        extra={**{name: value for name, value in row.extra.items() if name != "reference"}, "cut_from": row.id},
    )


def _labels(answers: Mapping[str, Answer], tasks: TaskSet) -> dict[str, str]:
    """Label set to label of a segment's answers; one that is no label of its set (`unknown`) is not known."""
    found: dict[str, str] = {}
    for key, answer in answers.items():
        name, _, of_set = key.partition("/")
        try:
            sets = {labels.name: labels for labels in tasks.find(name).label_sets}
        except TaskError:
            continue
        labels = sets.get(of_set) if of_set else next(iter(sets.values()), None)
        if labels is not None and answer.label is not None and labels.canonical(answer.label) is not None:
            found.setdefault(labels.name, answer.label)
    return found
