"""Ratings by people: a blind page with replies to grade, and what the grades come to.

1. The replies of one or several models are shuffled; the page numbers them and names no model.
2. A rater opens the page in a browser, listens and reads, grades from 1 to 5, and saves a file.
3. The files of all raters and the key, which stays here, give points from 0 to 100 and the raters' agreement.

The grades are those that a judge gives (`judge.yaml`, mode `empathy`), so that people and judges can be compared.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from osum.errors import InputError, ManifestError
from osum.evaluation.judge.judge import EMPATHY, EMPATHY_ALOUD, GRADES
from osum.evaluation.judge.judgement import reply_of
from osum.evaluation.report.markup import HTML
from osum.evaluation.report.worst import short_copy
from osum.evaluation.run.prediction import Prediction
from osum.files import atomic_file
from osum.records import from_row, to_row
from osum.scoring import Counts, Resampling, Score
from osum.scoring.agreement import krippendorff_alpha
from osum.utterance import Utterance

PAGE, KEY = "ratings.html", "key.json"
_FILES = Path(__file__).parent
Record = TypeVar("Record")
QUESTIONS = {
    "cue": "Does the reply take into account how the person sounds, and what else can be heard?",
    "content": "Is the reply helpful, right and to the point?",
    "tone": "Does the sound of the reply suit the person and the words?",
}
"""What each grade is about."""


@dataclass(frozen=True, slots=True)
class RatedItem:
    """One reply on the page; its number there is its place in the key, from 1."""

    id: str
    model: str
    benchmark: str
    spoken: bool = False
    """Whether the reply is played, and its tone is asked for."""

    @property
    def grades(self) -> tuple[str, ...]:
        """What is asked about it."""
        return (EMPATHY_ALOUD if self.spoken else EMPATHY).grades


@dataclass(frozen=True, slots=True)
class Key:
    """Which reply stands under which number."""

    sheet: str
    """Hash of what is on the page."""
    items: tuple[RatedItem, ...]


@dataclass(frozen=True, slots=True)
class Ratings:
    """What one rater saved."""

    sheet: str
    rater: str
    grades: Mapping[str, Mapping[str, int]]
    """Number of an item to its grades by name."""


@dataclass(frozen=True, slots=True)
class Rated:
    """What people's grades come to."""

    scores: Mapping[tuple[str, str], Score]
    """Model and benchmark to points from 0 to 100, the mean over items; raters of an item are averaged first."""
    agreement: Mapping[str, float]
    """Grade to Krippendorff's alpha of the raters; nan where no reply has two raters."""
    raters: tuple[str, ...]
    missing: int
    """Replies that nobody has graded whole."""


def write_sheet(predictions: Sequence[Prediction], out: Path, seed: int = 0) -> Key:
    """Write the page and its key to a folder; replies that a model did not give are left out.

    Raises:
        InputError: nothing to grade, or the folder holds a page already.
    """
    given = [each for each in predictions if reply_of(each) is not None]
    if not given:
        raise InputError("there is no reply to grade in these predictions: evaluate a model that replies")
    if (out / KEY).exists():
        raise InputError(f"{out / KEY} is the key of another page: give another -o, or delete it")
    random.Random(seed).shuffle(given)
    shown = [_shown(number, each) for number, each in enumerate(given, 1)]
    items = tuple(RatedItem(each.id, each.model, each.benchmark, bool(each.answer.reply_audio)) for each in given)
    replies = json.dumps([[each.id, each.model, reply_of(each)] for each in given])
    key = Key(hashlib.sha256(replies.encode()).hexdigest()[:16], items)
    page = HTML.get_template("ratings.html.j2").render(
        sheet=key.sheet,
        items=[one | {"grades": item.grades} for one, item in zip(shown, key.items, strict=True)],
        questions=QUESTIONS,
        scale=GRADES,
        style=(_FILES / "page.css").read_text(encoding="utf-8"),
        script=(_FILES / "ratings.js").read_text(encoding="utf-8"),
    )
    with atomic_file(out / PAGE) as file:
        file.write(page.encode())
    with atomic_file(out / KEY) as file:
        file.write(json.dumps(to_row(key), ensure_ascii=False, indent=1).encode())
    return key


def _shown(number: int, prediction: Prediction) -> dict[str, Any]:
    """What the page holds of one reply: nothing that shows the model."""
    reply, audio = reply_of(prediction), prediction.answer.reply_audio
    return {
        "number": number,
        "question": prediction.truth.text or "",
        "question_sound": short_copy(prediction.as_utterance()),
        "reply": reply,
        "reply_sound": short_copy(Utterance("reply", audio)) if audio else None,
    }


def read_key(folder: Path) -> Key:
    """The key of a page.

    Raises:
        InputError: it cannot be read.
    """
    return _read(Key, folder / KEY, "osum rate sheet")


def read_ratings(path: Path, key: Key) -> Ratings:
    """What a rater saved.

    Raises:
        InputError: it cannot be read, is of another page, or holds an item or a grade that the page does not have.
    """
    found = _read(Ratings, path, "the page of ratings")
    if found.sheet != key.sheet:
        raise InputError(f"{path} is of page {found.sheet}, the key of page {key.sheet}: give the ratings of this page")
    for number, grades in found.grades.items():
        if not number.isdecimal() or not 0 < int(number) <= len(key.items):
            raise InputError(f"{path} grades item {number!r}, and the page has 1 to {len(key.items)}")
        asked = key.items[int(number) - 1].grades
        for name, grade in grades.items():
            if name not in asked or grade not in GRADES:
                raise InputError(
                    f"{path} grades {name!r} of item {number} with {grade!r}: "
                    f"{', '.join(asked)} take {GRADES[0]} to {GRADES[-1]}"
                )
    return found


def _read(kind: type[Record], path: Path, origin: str) -> Record:
    try:
        return from_row(kind, json.loads(path.read_bytes()))
    except (OSError, ValueError, ManifestError) as fault:
        raise InputError(f"{path} is no file of {origin} ({fault}): name another") from fault


def rated(key: Key, ratings: Sequence[Ratings]) -> Rated:
    """Points of each model and benchmark, and how far the raters agree.

    Raises:
        InputError: one rater twice.
    """
    names = [each.rater for each in ratings]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"rater {twice!r} saved two files: keep the later one")
    points = [_points(str(number), item, ratings) for number, item in enumerate(key.items, 1)]
    scores = {}
    for group in dict.fromkeys((item.model, item.benchmark) for item in key.items):
        members = zip(key.items, points, strict=True)
        rows = [
            (item, value) for item, value in members if (item.model, item.benchmark) == group and not math.isnan(value)
        ]
        scores[group] = _score(rows)
    agreement = {
        name: krippendorff_alpha(
            [
                [each.grades.get(str(number), {}).get(name, math.nan) for number in range(1, len(key.items) + 1)]
                for each in ratings
            ]
        )
        for name in QUESTIONS
        if any(name in item.grades for item in key.items)
    }
    return Rated(scores, agreement, tuple(names), sum(map(math.isnan, points)))


def _points(number: str, item: RatedItem, ratings: Sequence[Ratings]) -> float:
    """0 to 100, the mean over those who graded it whole; nan where nobody did."""
    found = [each.grades.get(number, {}) for each in ratings]
    whole = [np.mean([grades[name] for name in item.grades]) for grades in found if set(item.grades) <= grades.keys()]
    return float(100 * (np.mean(whole) - GRADES[0]) / (GRADES[-1] - GRADES[0])) if whole else math.nan


def _score(rows: Sequence[tuple[RatedItem, float]]) -> Score:
    if not rows:
        return Score("human", math.nan, 0, math.nan, math.nan)
    counts = Counts("human", np.array([(value, 1.0) for _, value in rows]), lambda sums: sums[:, 0] / sums[:, 1])
    return counts.score(Resampling())
