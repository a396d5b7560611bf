"""One row under review: what it says, what a model guesses of it, and how a correction changes it.

Works on the JSON object of a line, so that fields osum does not know stay as they are. Knows no files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from statistics import fmean
from typing import Any

from osum.corpus.manifest import json_row
from osum.errors import InputError, ManifestError, TaskError
from osum.listening.answers import join_text
from osum.listening.transcripts import GIVEN
from osum.results.view import by_column, one_line
from osum.scoring.normalize import mixed_units, normalize
from osum.tasks import LabelSet, Task
from osum.text import to_json
from osum.utterance import Utterance

TEXT, LANGUAGE = "text", "language"
CORRECTIONS, REVIEWED, REFERENCE = "corrections", "reviewed", "reference"
"""Fields of a row: a list of {field, old, new, by, at}; field to {by, at}; what stood there before a model answered."""
MAX_TEXT = 20_000  # characters
_BOM = b"\xef\xbb\xbf"
_VERSION_DIGITS = 16


class StaleRowError(ManifestError):
    """A row that is no longer what the reviewer saw."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a model says of a row."""

    model: str = ""
    text: str | None = None
    text_doubt: float | None = None
    """1 less the mean probability of the words of `text`."""
    labels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Label set to label to probability."""

    def label(self, name: str) -> str | None:
        """The likeliest label of a set."""
        shares = self.labels.get(name)
        return max(shares, key=lambda label: shares[label]) if shares else None

    def doubt(self, name: str, said: str | None) -> float | None:
        """How far the model doubts what is said in a field, 0 to 1; None where it has no opinion."""
        if name == TEXT:
            if said is None or self.text is None or said == self.text:
                return self.text_doubt
            return unlikeness(said, self.text)
        shares = self.labels.get(name)
        return None if not shares else 1 - (max(shares.values()) if said is None else shares.get(said, 0.0))


@dataclass(frozen=True, slots=True)
class ReviewEntry:
    """What is kept of a row in memory."""

    number: int
    """Of its line, from 1."""
    version: str
    """Hash of its line."""
    id: str
    sound: tuple[Any, ...]
    """What finds its sound: rows of one sound have the same answers."""
    shown: Mapping[str, str]
    """Field to what the row says: labels by label set, and the text."""
    by_person: Mapping[str, str]
    """The same of what people say: all of a row that no model has labelled, else what was given or reviewed."""
    reviewed: frozenset[str]
    """Fields that a person has looked at."""
    corrected: frozenset[str]
    """Fields that a person has changed."""
    guess: Guess | None
    """What the row itself holds of a model's answers."""

    def said(self, name: str) -> str | None:
        """What is to be doubted of a field: a person's word, or else the model's own."""
        return self.by_person.get(name, self.shown.get(name))


@lru_cache(maxsize=1 << 18)
def unlikeness(said: str, guessed: str) -> float:
    """How far two transcripts differ: 0 for the same words, 1 for none in common."""
    ours, theirs = (mixed_units(normalize(text)) for text in (said, guessed))
    return 1 - SequenceMatcher(None, ours, theirs, autojunk=False).ratio()


def parsed(line: bytes) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        ManifestError: it is none.
    """
    try:
        return json_row(line.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        raise ManifestError(f"byte {line[fault.start]:#04x} is not UTF-8: save the file as UTF-8") from fault


def version_of(line: bytes) -> str:
    """Hash of a line."""
    return hashlib.sha256(line).hexdigest()[:_VERSION_DIGITS]


def like(line: bytes, row: Mapping[str, Any]) -> bytes:
    """A row as a line that begins and ends as `line` does."""
    end = line[len(line.rstrip(b"\r\n")) :]
    return (_BOM if line.startswith(_BOM) else b"") + to_json(row).encode() + end


# What a row says


def entry_of(
    number: int, line: bytes, sets: Mapping[str, LabelSet], sound_of: Callable[[Utterance], tuple[Any, ...]]
) -> ReviewEntry:
    """The entry of a line.

    Raises:
        ManifestError: the line is no row of osum.
    """
    row = parsed(line)
    utterance = Utterance.from_dict(row)
    guess, looked = guess_of(utterance), frozenset(_mapping(row.get(REVIEWED)))
    shown = said_of(utterance, sets)
    people = {name: value for name, value in shown.items() if guess is None or name in looked}
    if guess is not None and (given := _mapping(row.get(REFERENCE))):
        known = {name: given[name] for name in ("labels", TEXT, LANGUAGE) if name in given}
        people = said_of(Utterance.from_dict({"id": "-", "path": "-", **known}), sets) | people
    changed = frozenset(str(each.get("field")) for each in corrections_of(row))
    sound = sound_of(utterance)
    return ReviewEntry(number, version_of(line), utterance.id, sound, shown, people, looked, changed, guess)


def said_of(row: Utterance, sets: Mapping[str, LabelSet]) -> dict[str, str]:
    """Field to what a row says; a label that is none of its set stays as it is written, so that it can be corrected."""
    found: dict[str, str] = {} if row.text is None else {TEXT: row.text}
    for name, labels in sets.items():
        try:
            label = Task.true_label(row, labels)
        except TaskError:
            label = row.labels.get(name) or row.language
        if label is not None:
            found[name] = label
    return found


def guess_of(row: Utterance) -> Guess | None:
    """What a model has said of a row that it labelled; None for any other."""
    if not row.summary and not row.segments:
        return None
    answers = by_column(row.summary).items()
    labels = {name: dict(answer.distribution) for name, answer in answers if answer.distribution}
    text = join_text([segment.text for segment in row.segments]) if row.segments else None
    sure = [share for segment in row.segments for share in segment.confidences if share is not None]
    return Guess(row.model or "", text, 1 - fmean(sure) if sure else None, labels)


def corrections_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The corrections that a row lists."""
    found = row.get(CORRECTIONS)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


# Correcting it


def checked(name: str, value: str | None, sets: Mapping[str, LabelSet]) -> str | None:
    """A new value as the row holds it.

    Raises:
        InputError: the field cannot be reviewed, or the value is none of its labels, or no text that can be taught.
    """
    check_field(name, sets)
    if value is None:
        return None
    if name == TEXT:
        text = one_line(value)
        if len(text) > MAX_TEXT or set(text) & set("<>"):
            raise InputError(
                f"text {text[:20]!r}: write at most {MAX_TEXT} characters, without < and >, which mark tags"
            )
        return text
    label = sets[name].canonical(value)
    if label is None:
        raise InputError(f"{name} {value[:20]!r} is unknown: use one of {', '.join(sets[name].labels)}")
    return label


def check_field(name: str, sets: Mapping[str, LabelSet]) -> None:
    """Raise InputError for a field that cannot be reviewed."""
    if name != TEXT and name not in sets:
        raise InputError(f"field {name[:20]!r} cannot be reviewed: use one of {', '.join((*sets, TEXT))}")


def correct(row: dict[str, Any], changes: Mapping[str, str | None], confirmed: Iterable[str], by: str, at: str) -> None:
    """Change a row, and note in it who has changed and looked at what.

    Raises:
        InputError: the row has several segments, whose labels are not those of the whole.
    """
    segments = row.get("segments")
    if isinstance(segments, list) and len(segments) > 1:
        raise InputError(
            f"row {row['id']!r} has {len(segments)} segments with labels of their own: `osum data cut` makes each of "
            "them a row that can be reviewed"
        )
    for key, kind in ((CORRECTIONS, list), (REVIEWED, dict)):
        if not isinstance(row.get(key, kind()), kind):
            raise InputError(
                f"row {row['id']!r} has a field {key!r} of another kind: rename it, the review needs the name"
            )
    done = corrections_of(row)
    for name, new in changes.items():
        old = row.get(TEXT) if name == TEXT else _mapping(row.get("labels")).get(name)
        if old is None and name == LANGUAGE:
            old = row.get(LANGUAGE)
        if old != new:
            words = {"words": row["words"]} if name == TEXT and row.get("words") else {}
            done.append({"field": name, "old": old, "new": new, "by": by, "at": at, **words})
            _set(row, name, new)
    if done:
        row[CORRECTIONS] = done
    row[REVIEWED] = {**_mapping(row.get(REVIEWED)), **{name: {"by": by, "at": at} for name in (*changes, *confirmed)}}


def _set(row: dict[str, Any], name: str, value: str | None) -> None:
    if name == TEXT:
        row.pop("words", None)  # the times were those of other words
        row.update({TEXT: value, "text_from": GIVEN})
    else:
        row["labels"] = {**_mapping(row.get("labels")), name: value}
    if name == LANGUAGE:
        row[LANGUAGE] = value
    for key in [key for key, each in row["labels"].items() if each is None] if row.get("labels") else ():
        del row["labels"][key]
    for key in (TEXT, LANGUAGE):
        if key in row and row[key] is None:
            del row[key]
