"""Judgement: what a judge said of a model's replies, the score that it comes to, and the file of both.

Knows nothing of who is asked, and how.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from osum.errors import InputError, ManifestError
from osum.evaluation.judge.settings import JudgeSettings
from osum.evaluation.run.prediction import Prediction
from osum.files import atomic_file
from osum.peers.budget import Prices
from osum.records import from_row, to_row
from osum.scoring import Counts, Resampling, Score

JUDGED, UNANSWERED, UNJUDGED, MISSING = "judged", "unanswered", "unjudged", "missing"


@dataclass(frozen=True, slots=True)
class Opinion:
    """One answer of the judge."""

    own: float
    """Points of the reply that is judged."""
    other: float | None = None
    own_first: bool = True
    reason: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Grades that the points are the mean of, where the judge gives several."""
    served_by: str | None = None
    """The judge as the server names it."""
    dropped: tuple[str, ...] = ()
    """What the server did not take of the request, such as `seed`."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one case."""

    id: str
    reply_sha256: str
    """Of the reply that was judged: a verdict counts for no other."""
    state: str
    """judged, unanswered (there was no reply), unjudged or missing."""
    opinions: tuple[Opinion, ...] = ()
    problem: str | None = None
    """Why there is none."""

    @property
    def counts(self) -> bool:
        """Whether it is part of the score."""
        return self.state in (JUDGED, UNANSWERED)

    @property
    def own(self) -> float:
        """Mean points of the reply."""
        return fmean(opinion.own for opinion in self.opinions)

    @property
    def other(self) -> float | None:
        """Mean points of what it was held against."""
        points = [opinion.other for opinion in self.opinions if opinion.other is not None]
        return fmean(points) if points else None


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the answers that a judgement stands on, whenever they were paid for."""

    answers: int
    prompt_tokens: int
    completion_tokens: int
    uncounted: int = 0
    """Answers whose tokens the server did not count."""
    amount: float | None = None
    """In the currency of the prices; None without prices."""


@dataclass(frozen=True, slots=True)
class ModelJudgement:
    """All verdicts on one model's replies: what `osum judge` writes."""

    benchmark: str
    model: str
    mode: str
    judge: JudgeSettings
    prompt_version: int
    prompt_sha256: str
    asked: str
    """Hash of `Trial.asked`."""
    score: Score
    cost: Cost
    against: str | None = None
    """The other model of a preference."""
    served_by: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    prices: tuple[float, float] | None = None
    """Of a million tokens of prompts and of answers."""

    @property
    def left(self) -> tuple[Verdict, ...]:
        """Verdicts that are not there."""
        return tuple(verdict for verdict in self.verdicts if not verdict.counts)


def judged_result(
    predictions: Sequence[Prediction],
    verdicts: Sequence[Verdict],
    resampling: Resampling = Resampling(),  # noqa: B008
) -> Score:
    """Mean points over the replies that have a verdict: `Result.score` where the metric is `judge`.

    `detail` holds the counts of each state, and where two replies were compared: `other`, the mean points of the
    reference or of the other model; `better`, `ties` and `worse`, shares of cases; `order_changed`, the share where
    the two orders disagree on which one is better; `first_gain`, the points that a reply gains by coming first. Where
    the judge grades several things, `detail` holds the mean of each grade.

    Args:
        predictions: (N,) of one model, in the fixed prompt.
        verdicts: (N,) in any order.
        resampling: how the interval is drawn; with groups, one for each prediction.

    Raises:
        InputError: the verdicts are on other replies.
    """
    by_id = {verdict.id: verdict for verdict in verdicts}
    for each in predictions:
        verdict = by_id.get(each.id)
        if verdict is None or verdict.reply_sha256 != hash_of(reply_of(each)):
            raise InputError(f"there is no verdict on this reply to {each.id!r}: run osum judge on these predictions")
    ordered = [by_id[each.id] for each in predictions]
    counted = [index for index, verdict in enumerate(ordered) if verdict.counts]
    if resampling.groups is not None:
        resampling = replace(resampling, groups=[resampling.groups[index] for index in counted])
    detail = _detail(ordered)
    if not counted:
        return Score("judge", math.nan, 0, math.nan, math.nan, detail)
    rows = np.array([(ordered[index].own, 1.0) for index in counted])
    return Counts("judge", rows, lambda sums: sums[:, 0] / sums[:, 1], detail).score(resampling)


def _detail(verdicts: Sequence[Verdict]) -> dict[str, float]:
    states = [verdict.state for verdict in verdicts]
    detail = {state: float(states.count(state)) for state in (JUDGED, UNANSWERED, UNJUDGED, MISSING)}
    graded = [opinion.parts for verdict in verdicts for opinion in verdict.opinions if opinion.parts]
    for name in graded[0] if graded else ():
        detail[name] = fmean(parts[name] for parts in graded)
    gaps = [verdict.own - verdict.other for verdict in verdicts if verdict.counts and verdict.other is not None]
    if gaps:
        detail["other"] = fmean(verdict.other for verdict in verdicts if verdict.counts and verdict.other is not None)
        shares = {
            "better": [gap > 0 for gap in gaps],
            "ties": [gap == 0 for gap in gaps],
            "worse": [gap < 0 for gap in gaps],
        }
        detail |= {name: fmean(share) for name, share in shares.items()}
    both = [[_gap(opinion) for opinion in verdict.opinions] for verdict in verdicts if len(verdict.opinions) == 2]
    if both:
        detail["order_changed"] = fmean(np.sign(first) != np.sign(second) for first, second in both)
        detail["first_gain"] = fmean((first - second) / 2 for first, second in both)
    return detail


def _gap(opinion: Opinion) -> float:
    """Points ahead of the other reply; opinions come with the own reply first, then second."""
    return opinion.own - (opinion.other or 0.0)


def cost_of(opinions: Sequence[Opinion], prices: Prices | None) -> Cost:
    """What answers have cost, whenever they were paid for."""
    prompt = sum(opinion.prompt_tokens or 0 for opinion in opinions)
    completion = sum(opinion.completion_tokens or 0 for opinion in opinions)
    uncounted = sum(opinion.prompt_tokens is None for opinion in opinions)
    return Cost(len(opinions), prompt, completion, uncounted, prices.of(prompt, completion) if prices else None)


def judgement_path(predictions: Path) -> Path:
    """Where the judgement on a file of predictions belongs, such as `chat.judge.json` for `chat.jsonl`."""
    return predictions.with_suffix(".judge.json")


def write_judgement(path: Path, judgement: ModelJudgement) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path) as file:
        text = json.dumps(to_row(judgement), ensure_ascii=False, indent=1, allow_nan=False)
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")


def read_judgement(path: Path) -> ModelJudgement:
    """What `osum judge` has written.

    Raises:
        InputError: the file cannot be read, or is something else.
    """
    try:
        return from_row(ModelJudgement, json.loads(path.read_bytes()))
    except (OSError, ValueError, ManifestError) as fault:
        raise InputError(f"{path} is no file of osum judge ({fault}): name another, or write it again") from fault


def reply_of(prediction: Prediction) -> str | None:
    """What a model replied; None where it has failed, or said nothing."""
    reply = prediction.answer.reply
    return reply if reply and reply.strip() and prediction.answer.error is None else None


def hash_of(reply: str | None) -> str:
    """SHA-256 of a reply, by which a verdict knows it."""
    return hashlib.sha256((reply or "").encode("utf-8", "surrogatepass")).hexdigest()
