"""Utterance, Segment, Word: what labelling writes and training reads, one JSON object per line.

Knows nothing of tasks or models: labels are plain strings keyed by the name of their label set
(in an utterance: the known truth) or by task name (in a segment: what a model answered).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from osum.errors import ManifestError
from osum.records import RecordError, read, shown

SCHEMA_VERSION = 1
"""Version of the JSON row; raised when a field changes its meaning or goes away."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word (English) or character (Chinese) with its time in seconds of the file."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    estimated: bool = False
    """The time was not measured: it is a share of the room between the words around it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One task's answer about one segment: the label, how sure, and the raw text it came from."""

    label: str | None = None
    probability: float | None = None
    distribution: Mapping[str, float] | None = None
    raw: str = ""
    problems: tuple[str, ...] = ()
    evidence: str | None = None
    """What the label was learned from: real, synthetic or none."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file with all its answers, at most the model's limit long unless it is silence."""

    start: float
    end: float
    text: str = ""
    words: tuple[Word, ...] = ()
    labels: Mapping[str, Answer] = field(default_factory=dict)
    """Task name to answer."""
    reply: str | None = None
    no_speech: bool = False
    no_speech_probability: float | None = None
    confidences: tuple[float | None, ...] = ()
    """Probability of each word (English) or character (Chinese) of `text`, in order; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class VocalEvent:
    """A vocal event, such as a laugh, and the stretch that it was detected in, in seconds of the file."""

    start: float
    end: float
    event: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """One audio file (or a stretch or a channel of it) and all that is known of it.

    `labels` maps a label set's name (``gender``, ``emotion`` ...) to a label; a missing entry means
    not known. A row that `osum label` writes is an utterance with `segments` and `summary` filled,
    so it can be trained on as it is.
    """

    id: str
    path: str
    channel: int | str | None = None
    start: float | None = None
    end: float | None = None
    duration: float | None = None
    text: str | None = None
    text_from: str | None = None
    """Who wrote `text`: the name of a model, or `given` where it came with the row; None where nobody says."""
    language: str | None = None
    words: tuple[Word, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    reply: str | None = None
    speaker: str | None = None
    source: str | None = None
    licence: str | None = None
    tasks: tuple[str, ...] = ()
    """Names of the tasks this row was made for; empty means every task its fields can answer."""
    segments: tuple[Segment, ...] = ()
    summary: Mapping[str, Answer] = field(default_factory=dict)
    events: tuple[VocalEvent, ...] = ()
    """Every vocal event of the segments; the summary has only the one that prevails."""
    warnings: tuple[str, ...] = ()
    error: str | None = None
    model: str | None = None
    revision: str | None = None
    dtype: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the row it came from that osum does not know; written back as they were."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON row: fields that are empty are left out, unknown fields are written next to the known ones."""
        row: dict[str, Any] = {"version": SCHEMA_VERSION}
        row.update({name: _plain(getattr(self, name)) for name in _FIELDS if not _empty(getattr(self, name))})
        row.update({name: value for name, value in self.extra.items() if name not in row})
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Utterance:
        """Read a JSON row.

        Raises:
            ManifestError: a required field is missing or a field has the wrong type.
        """
        missing = [name for name in ("id", "path") if not isinstance(row.get(name), str) or not row[name]]
        if missing:
            raise ManifestError(
                f"field {missing[0]!r} is {row.get(missing[0])!r}: a row needs the texts 'id' and 'path'"
            )
        version = row.get("version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ManifestError(
                f"version is {version!r}: this osum reads version {SCHEMA_VERSION}; update one of the two"
            )
        known: dict[str, Any] = {name: row[name] for name in _FIELDS if row.get(name) is not None}
        labels = known.get("labels")
        if isinstance(labels, dict) and None in labels.values():  # not known
            known["labels"] = {name: label for name, label in labels.items() if label is not None}
        if len(known) < len(row):
            known["extra"] = {key: value for key, value in row.items() if key not in _KNOWN}
        try:
            return msgspec.convert(known, cls)
        except (msgspec.ValidationError, UnicodeEncodeError):
            return _tolerant(known)

    def with_(self, **changes: Any) -> Utterance:
        """A copy with some fields changed."""
        return replace(self, **changes)


_FIELDS = tuple(f.name for f in fields(Utterance) if f.name != "extra")
_KNOWN = frozenset((*_FIELDS, "version"))


def _empty(value: Any) -> bool:
    # An empty text is knowledge (nothing is said in this clip), so only None leaves a text out.
    return value is None or (isinstance(value, (tuple, Mapping)) and len(value) == 0)


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings to JSON values; empty fields inside records are kept."""
    if isinstance(value, Word):
        row = {"text": value.text, "start": value.start, "end": value.end, "confidence": value.confidence}
        return {**row, "estimated": True} if value.estimated else row
    if isinstance(value, (Answer, Segment, VocalEvent)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _tolerant(known: Mapping[str, Any]) -> Utterance:
    """A row of another tool: numbers may be written as texts, and what a word or a segment leaves open as null.

    Raises:
        ManifestError: a field has the wrong type all the same, or a word or a segment lacks one.
    """
    nested = {name: _without_null(known[name]) for name in ("words", "events", "segments", "summary") if name in known}
    row = {**known, **nested, "channel": None}
    try:
        channel: int | str | None = read(int | str | None, known.get("channel"), "channel")  # "0" is a name
        found: Utterance = read(Utterance, row, strict=False)
    except RecordError as fault:
        field, *inside = re.split(r"(?=[.\[])", fault.place, maxsplit=1)
        if fault.why.startswith("is missing"):
            lacking = repr(fault.place.rpartition(".")[2])
            raise ManifestError(
                f"row {known['id']!r} has a word, event or segment without {lacking}: add it"
            ) from fault
        rule = fault.why.partition(": ")[2]
        raise ManifestError(
            f"row {known['id']!r} has a field of the wrong type: {field!r} holds {shown(fault.value)}"
            f"{''.join(f' in {field}{rest}' for rest in inside)}: {rule}"
        ) from fault
    return found.with_(channel=channel)


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_null(item) for name, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value
