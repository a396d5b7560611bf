"""What a manifest holds: clips, hours, speakers, labels and lengths of every source, as figures and as a plot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from osum.corpus.clips import ClipAudio
from osum.corpus.readers import Line
from osum.errors import ManifestError, MissingExtraError, OsumError
from osum.files import atomic_file
from osum.tasks import OSUM
from osum.utterance import Utterance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}
NO_SOURCE = "(no source)"
_BINS = 40
_SHOWN_LABELS = 30


@dataclass
class SourceStatistics:
    """Counts of one source."""

    lengths: list[float] = field(default_factory=list)
    """Seconds of every clip."""
    speakers: set[str] = field(default_factory=set)
    without_speaker: int = 0
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    """Label set to label to clips; `language` is among them."""

    @property
    def hours(self) -> float:
        """Of audio."""
        return sum(self.lengths) / 3600

    def quantiles(self) -> dict[str, float]:
        """Lengths (s) below which a share of the clips is."""
        return {name: round(float(np.quantile(self.lengths, q)), 3) for name, q in QUANTILES.items()}

    def add(self, row: Utterance, seconds: float) -> None:
        """Count a clip."""
        self.lengths.append(seconds)
        if row.speaker is None:
            self.without_speaker += 1
        else:
            self.speakers.add(row.speaker)
        for name, label in {"language": row.language, **row.labels}.items():
            if label is not None:
                self.labels.setdefault(name, Counter())[label] += 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "clips": len(self.lengths),
            "hours": round(self.hours, 4),
            "speakers": len(self.speakers),
            "clips_without_speaker": self.without_speaker,
            "seconds": self.quantiles(),
            "labels": {name: dict(counts.most_common()) for name, counts in sorted(self.labels.items())},
        }


@dataclass
class Statistics:
    """All sources of a manifest, and the lines that could not be counted."""

    sources: dict[str, SourceStatistics]
    failed: list[Line]

    @property
    def total(self) -> SourceStatistics:
        """All sources as one; a speaker name in two sources is two speakers."""
        whole = SourceStatistics()
        for name, source in self.sources.items():
            whole.lengths += source.lengths
            whole.speakers |= {f"{name}/{speaker}" for speaker in source.speakers}
            whole.without_speaker += source.without_speaker
            for labels, counts in source.labels.items():
                whole.labels.setdefault(labels, Counter()).update(counts)
        return whole

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        sources = {name: source.to_dict() for name, source in self.sources.items()}
        return {"total": self.total.to_dict() if sources else {}, "sources": sources, "failed": len(self.failed)}


def statistics(lines: Iterable[Line]) -> Statistics:
    """Count the clips of a manifest; a clip without `duration` is opened to know its length."""
    found = Statistics({}, [])
    for line in lines:
        if line.utterance is None:
            found.failed.append(line)
            continue
        try:
            seconds = _seconds(line.utterance)
        except OsumError as fault:
            found.failed.append(Line(line.place, fault=str(fault)))
            continue
        found.sources.setdefault(line.utterance.source or NO_SOURCE, SourceStatistics()).add(line.utterance, seconds)
    return found


def _seconds(row: Utterance) -> float:
    seconds = row.duration
    if seconds is None and row.end is not None:
        seconds = row.end - (row.start or 0.0)
    if seconds is None:
        return ClipAudio().duration(row)
    if not 0 < seconds < math.inf:
        raise ManifestError(f"{row.id!r} lasts {seconds:g} s: correct its duration, start or end")
    return seconds


def plot(found: Statistics, path: Path) -> None:
    """Draw hours by source, lengths, and labels, to a file of any type that matplotlib writes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    labels = _top_labels(found.total.labels)
    figure = Figure(figsize=(14, max(4.5, 0.22 * max(len(labels), len(found.sources)))), layout="constrained")
    hours, lengths, counts = figure.subplots(1, 3)
    _bars(hours, {name: source.hours for name, source in found.sources.items()}, "hours by source", "hours")
    drawn = [source.lengths for source in found.sources.values()]
    lengths.hist(drawn, bins=_BINS, stacked=True, label=list(found.sources))
    lengths.set(title="lengths", xlabel="seconds", ylabel="clips")
    lengths.legend(fontsize="small", loc="upper right")
    _bars(counts, labels, "labels", "clips")
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix(".") or "png", dpi=120)


def _bars(axes: Axes, values: Mapping[str, float], title: str, unit: str) -> None:
    axes.barh(list(values), list(values.values()))
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)


def _top_labels(labels: Mapping[str, Counter[str]]) -> dict[str, float]:
    """The most frequent labels with English names: matplotlib's own font has no Chinese characters."""
    titles = {name: known.title for name, known in OSUM.label_sets.items()}
    named = Counter(
        {
            f"{name}: {titles[name](label) if name in titles else label}": count
            for name, counts in labels.items()
            for label, count in counts.items()
        }
    )
    return dict(named.most_common(_SHOWN_LABELS))
