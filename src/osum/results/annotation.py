"""For tools of annotation: an `Utterance` as Praat's TextGrid, NIST's CTM or Audacity's labels."""

from __future__ import annotations

from collections.abc import Iterable

from osum.results.view import columns_of, label_text, labels_of, one_line, segments_of
from osum.utterance import Utterance, VocalEvent


def render_textgrid(utterance: Utterance) -> str:
    """Praat's long format: the tiers text, words, one per label that was asked for, and events where there are any.

    Each goes from 0 to the end without gaps.
    """
    segments = segments_of(utterance)
    times = [(s.start, s.end) for s in segments] + [(word.start, word.end) for s in segments for word in s.words]
    ends = [_microseconds(end) for _, end in times] + [_microseconds(start) + 1 for start, _ in times]
    end = max(1000, _microseconds(utterance.duration or 0.0), *ends)  # Praat refuses a grid of no length
    tiers = {"text": [(s.start, s.end, s.text) for s in segments]}
    tiers["words"] = [(word.start, word.end, word.text) for s in segments for word in s.words]
    asked = {column for segment in segments for column in labels_of(segment)}
    for column in (column for column in columns_of([utterance]) if column in asked):
        tiers[column] = [(s.start, s.end, label_text(labels_of(s).get(column))) for s in segments]
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
                f";; {name}: no word times from {segment.start:.2f} to {segment.end:.2f} s; ask for word times"
            )
        for word in segment.words:
            sure = "" if word.confidence is None else f" {word.confidence:.4f}"
            text = "_".join(one_line(word.text).split())
            length = max(word.end - word.start, 0.0)
            lines += [f"{name} {channel} {word.start:.3f} {length:.3f} {text}{sure}"] if text else []
    return "".join(f"{line}\n" for line in lines)


def render_audacity(utterance: Utterance) -> str:
    """Audacity's label track: words where they have times, else text, and next to it the labels of each segment."""
    lines = []
    for segment in segments_of(utterance):
        marks = [(word.start, word.end, word.text) for word in segment.words]
        marks = marks or ([(segment.start, segment.end, segment.text)] if segment.text else [])
        labels = ((column, label_text(answer)) for column, answer in labels_of(segment).items())
        marks += [(segment.start, segment.end, f"{column}: {label}") for column, label in labels if label]
        lines += [f"{start:.6f}\t{end:.6f}\t{one_line(text)}\n" for start, end, text in marks]
    return "".join(lines)
