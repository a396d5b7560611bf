"""Judge: replies (STTC, dialogue) scored by a language model that reads what was said and gets no sound.

1. A prediction becomes a case: the question's transcript, the reply, and what it is held against, if anything.
2. Where two replies are compared, each case is asked twice, with the order changed; points are the mean of both.
3. An answer out of schema or a refusal leaves a case unjudged, an endpoint that is down leaves it missing: both are
   named and left out of the score. A clip without a reply is not asked about and gets the lowest points.

The words of the judge are in `judge.yaml`. AIR-Bench's own script (`score_chat.py` of OFA-Sys/AIR-Bench) is the model
of the mode `reference`; its words and its draw of a temperature are not taken over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from osum.errors import EndpointError, EndpointUnusableError, InputError
from osum.evaluation.judge.judgement import (
    JUDGED,
    MISSING,
    UNANSWERED,
    UNJUDGED,
    ModelJudgement,
    Opinion,
    Verdict,
    cost_of,
    hash_of,
    judged_result,
    reply_of,
)
from osum.evaluation.judge.settings import JudgeSettings
from osum.evaluation.run.prediction import Prediction
from osum.evaluation.run.predictions import Predictions
from osum.peers.budget import Prices
from osum.peers.completion import CompletionRequest, Schema
from osum.peers.language_model import LanguageModel
from osum.scoring import resampling_of

POINTS = tuple(range(1, 11))
GIVEN = ("question", "description", "labels")
"""Fields of a prediction's `extra` that the judge is given with the transcript."""
CUE = "column"
"""Field of a prediction's `extra` that names what an item of EChat-eval is about, such as `emotion`."""
_PROMPTS = Path(__file__).with_name("judge.yaml")


@dataclass(frozen=True, slots=True)
class JudgeMode:
    """What the judge is asked for."""

    name: str
    """As in `judge.yaml`."""
    sections: tuple[str, ...]
    """Of `judge.yaml`, that the judge is given."""
    schema: Schema
    points: Callable[[Mapping[str, Any]], tuple[float, ...]]
    """Of the reply that comes first, and of the second if there is one."""
    lowest: float
    sides: int = 2
    """Replies in one question, and orders that it is asked in."""
    grades: tuple[str, ...] = ()
    """Fields of the answer that the points are the mean of."""
    reasons: tuple[str, ...] = ("reason",)
    """Fields of the answer that say why."""


_PREFERRED: Mapping[str, tuple[float, ...]] = {"first": (1.0, 0.0), "second": (0.0, 1.0), "tie": (0.5, 0.5)}
ALONE = JudgeMode(
    "alone",
    ("common", "scale", "alone"),
    Schema("score", {"reason": None, "score": POINTS}),
    lambda values: (float(values["score"]),),
    POINTS[0],
    sides=1,
)
"""Points from 1 to 10, nothing to hold the reply against."""
REFERENCE = JudgeMode(
    "reference",
    ("common", "scale", "reference"),
    Schema("scores", {"reason": None, "first": POINTS, "second": POINTS}),
    lambda values: (float(values["first"]), float(values["second"])),
    POINTS[0],
)
"""Points from 1 to 10 next to a reference's, as in AIR-Bench chat."""
PREFERENCE = JudgeMode(
    "preference",
    ("common", "preference"),
    Schema("preference", {"reason": None, "better": tuple(_PREFERRED)}),
    lambda values: _PREFERRED[values["better"]],
    0.0,
)
"""1 for the better of two models, 0 for the worse, half for a tie."""
GRADES = (1, 2, 3, 4, 5)
_CUE, _TONE = ("cue", "content"), ("cue", "content", "tone")


def _graded(name: str, of: Sequence[str]) -> JudgeMode:
    """A mode whose points, from 0 to 100, are the mean of several grades."""
    reasons = tuple(f"{each}_reason" for each in of)
    fields: dict[str, Any] = {}
    for reason, each in zip(reasons, of, strict=True):
        fields |= {reason: None, each: GRADES}

    def points(values: Mapping[str, Any]) -> tuple[float, ...]:
        return (sum(100 * (values[each] - GRADES[0]) / (GRADES[-1] - GRADES[0]) for each in of) / len(of),)

    return JudgeMode(
        name, ("common", name), Schema(name, fields), points, 0.0, sides=1, grades=tuple(of), reasons=reasons
    )


EMPATHY = _graded("empathy", _CUE)
"""0 to 100 for a reply to somebody whose voice carries a cue, as in EChat-eval (echat 5.2); the rubric is ours."""
EMPATHY_ALOUD = _graded("empathy_aloud", _TONE)
"""The same of a reply that was spoken: the emotion of its sound counts too."""


@dataclass(frozen=True, slots=True)
class Case:
    """One reply, and all that the judge is given."""

    id: str
    given: Mapping[str, Any]
    reply: str | None
    other: str | None = None
    """The reference or the other model's reply."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One model's replies, and how and by whom they are judged."""

    predictions: Sequence[Prediction]
    mode: JudgeMode
    cases: Sequence[Case]
    """One for each prediction."""
    judge: JudgeSettings
    against: str | None = None
    """The other model of a preference."""

    @property
    def asked(self) -> str:
        """SHA-256 of all that is asked; a run continues a file only where it is the same."""
        digests = [(case.id, request_of(case, self.mode, self.judge).digest) for case in self.cases]
        return hashlib.sha256(json.dumps([self.against, digests]).encode()).hexdigest()


# Cases


def read_replies(path: Path) -> list[Prediction]:
    """The predictions of a file that were asked in the fixed prompt.

    Raises:
        InputError: no file of predictions, or an empty one.
        ManifestError: a line is no prediction.
    """
    if path.suffix != ".jsonl":
        raise InputError(f"{path} is no file of predictions: give BENCHMARK.jsonl, as osum evaluate writes it")
    found = [each for each in Predictions(path.parent, path.stem).read() if each.prompt_index in (None, 0)]
    if not found:
        raise InputError(f"{path} holds no prediction in the fixed prompt: run osum evaluate first")
    return found


def trial_of(
    predictions: Sequence[Prediction],
    judge: JudgeSettings,
    against: Sequence[Prediction] | None = None,
    with_reference: bool = True,
) -> Trial:
    """What the judge is asked about each prediction, and in which mode.

    Raises:
        InputError: nothing is known of what was said, only some have a reference, or the two files do not pair.
    """
    if against is not None:
        mode, others = PREFERENCE, [reply_of(each) for each in _paired(predictions, against)]
    elif all(CUE in each.extra for each in predictions):
        spoken = any(each.answer.reply_audio for each in predictions)
        mode, others = EMPATHY_ALOUD if spoken else EMPATHY, [None] * len(predictions)
    elif with_reference and any(each.truth.reply for each in predictions):
        mode, others = REFERENCE, _references(predictions)
    else:
        mode, others = ALONE, [None] * len(predictions)
    rows = zip(predictions, others, strict=True)
    cases = [Case(each.id, _given(each) | _tone(each, mode), reply_of(each), other) for each, other in rows]
    return Trial(predictions, mode, cases, judge, against[0].model if against else None)


def _references(predictions: Sequence[Prediction]) -> list[str | None]:
    lacking = [each.id for each in predictions if not each.truth.reply]
    if lacking:
        raise InputError(
            f"{len(lacking)} of {len(predictions)} clips have no reference, the first is {lacking[0]!r}, and points "
            "with and without one do not go together: judge all without (--no-reference)"
        )
    return [each.truth.reply for each in predictions]


def _tone(prediction: Prediction, mode: JudgeMode) -> dict[str, str]:
    if "tone" not in mode.grades:
        return {}
    answer = prediction.answer
    if answer.reply_audio and not answer.reply_emotion:
        raise InputError(
            f"nothing is known of the sound of the reply to {prediction.id!r}: run osum evaluate with --emotion-by"
        )
    return {"reply_emotion": answer.reply_emotion or "no sound"}


def _given(prediction: Prediction) -> dict[str, Any]:
    known = {name: prediction.extra[name] for name in GIVEN if prediction.extra.get(name)}
    if prediction.truth.text:
        known = {"transcript": prediction.truth.text, **known}
    if "transcript" not in known and "description" not in known:
        raise InputError(
            f"clip {prediction.id!r} of {prediction.benchmark} has no text of what is said in it: a judge does not "
            "listen, so give each clip its 'text', or a 'description'"
        )
    return known


def _paired(predictions: Sequence[Prediction], against: Sequence[Prediction]) -> list[Prediction]:
    """The other model's predictions of the same clips, in the same order."""
    here, there = predictions[0], against[0]
    if here.benchmark != there.benchmark:
        raise InputError(
            f"predictions of {here.benchmark} and of {there.benchmark} do not pair: give the same benchmark"
        )
    if here.model == there.model:
        raise InputError(f"both files are of {here.model}: give --against the predictions of another model")
    by_id = {each.id: each for each in against}
    odd = sorted(by_id.keys() ^ {each.id for each in predictions})
    odd += [each.id for each in predictions if each.id in by_id and by_id[each.id].truth != each.truth]
    if odd:
        raise InputError(
            f"{len(odd)} clips of {here.model} and {there.model} are not the same, the first is {odd[0]!r}: ask both "
            "about the same list"
        )
    return [by_id[each.id] for each in predictions]


# Asking


@dataclass(frozen=True, slots=True)
class JudgePrompts:
    """The words of `judge.yaml`."""

    version: int
    sha256: str
    """Of the file."""
    texts: Mapping[str, Mapping[str, str]]
    """Language to section to words."""

    def system(self, mode: JudgeMode, language: str = "en") -> str:
        """What the judge is given before a case.

        Raises:
            InputError: a language without words.
        """
        if language not in self.texts:
            raise InputError(f"language {language!r} of the judge: it is one of {', '.join(self.texts)}")
        return "\n".join(self.texts[language][section] for section in mode.sections)


@cache
def judge_prompts() -> JudgePrompts:
    """The published words."""
    raw = _PROMPTS.read_bytes()
    texts = yaml.safe_load(raw)
    version, chinese = texts.pop("version"), texts.pop("zh")
    return JudgePrompts(version, hashlib.sha256(raw).hexdigest(), {"en": texts, "zh": chinese})


def verdicts_on(trial: Trial, model: LanguageModel, concurrency: int = 4) -> Iterator[Verdict]:
    """A verdict for each case, in order, whatever becomes of the endpoint.

    Raises:
        InputError: the cache cannot be written.
    """
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            yield from pool.map(partial(_judge, mode=trial.mode, judge=trial.judge, model=model), trial.cases)
        except BaseException:  # else the pool would wait for as long as the endpoint asks for patience
            model.end("the run was stopped")
            raise


def _judge(case: Case, mode: JudgeMode, judge: JudgeSettings, model: LanguageModel) -> Verdict:
    verdict = Verdict(case.id, hash_of(case.reply), UNANSWERED)
    if mode is PREFERENCE and (case.reply is None or case.other is None):
        own = 0.5 if case.reply == case.other else float(case.reply is not None)
        return replace(verdict, opinions=(Opinion(own, 1 - own),))
    if case.reply is None:
        return replace(verdict, opinions=(Opinion(mode.lowest),))
    try:
        opinions = tuple(_ask(case, mode, judge, model, own_first) for own_first in (True, False)[: mode.sides])
    except EndpointUnusableError as fault:
        return replace(verdict, state=MISSING, problem=str(fault))
    except EndpointError as fault:
        return replace(verdict, state=UNJUDGED, problem=str(fault))
    return replace(verdict, state=JUDGED, opinions=opinions)


def _ask(case: Case, mode: JudgeMode, judge: JudgeSettings, model: LanguageModel, own_first: bool) -> Opinion:
    reply = model.ask(request_of(case, mode, judge, own_first))
    points = mode.points(reply.values)
    own, *other = points if own_first else points[::-1]
    return Opinion(
        own=own,
        other=other[0] if other else None,
        own_first=own_first,
        reason=" ".join(reply.values[name] for name in mode.reasons),
        parts={name: float(reply.values[name]) for name in mode.grades},
        served_by=reply.served_by,
        dropped=reply.dropped,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def request_of(case: Case, mode: JudgeMode, judge: JudgeSettings, own_first: bool = True) -> CompletionRequest:
    """What is sent. Replies stand inside JSON texts, which they cannot end, so that none can pose as an order."""
    pair = (case.reply, case.other) if own_first else (case.other, case.reply)
    replies = {"reply": case.reply} if mode.sides == 1 else dict(zip(("first", "second"), pair, strict=True))
    return CompletionRequest(
        model=judge.model,
        messages=(
            {"role": "system", "content": judge_prompts().system(mode, judge.language)},
            {"role": "user", "content": json.dumps({**case.given, **replies}, ensure_ascii=False, indent=1)},
        ),
        schema=mode.schema,
        temperature=judge.temperature,
        max_tokens=judge.max_tokens,
        seed=judge.seed,
    )


# The whole


def judgement_of(trial: Trial, verdicts: Sequence[Verdict], prices: Prices | None = None) -> ModelJudgement:
    """Verdicts with their score and all that is needed to come by them again; cases without a verdict are missing."""
    found = {verdict.id: verdict for verdict in verdicts}
    all_of_them = [found.get(case.id) or _not_asked(case) for case in trial.cases]
    opinions = [opinion for verdict in verdicts if verdict.state == JUDGED for opinion in verdict.opinions]
    prompts = judge_prompts()
    return ModelJudgement(
        benchmark=trial.predictions[0].benchmark,
        model=trial.predictions[0].model,
        mode=trial.mode.name,
        judge=trial.judge,
        prompt_version=prompts.version,
        prompt_sha256=prompts.sha256,
        asked=trial.asked,
        score=judged_result(trial.predictions, all_of_them, resampling_of(trial.predictions)[0]),
        cost=cost_of(opinions, prices),
        against=trial.against,
        served_by=tuple(sorted({opinion.served_by for opinion in opinions if opinion.served_by})),
        dropped=tuple(sorted({name for opinion in opinions for name in opinion.dropped})),
        verdicts=tuple(all_of_them),
        prices=(prices.prompt, prices.completion) if prices else None,
    )


def _not_asked(case: Case) -> Verdict:
    return Verdict(case.id, hash_of(case.reply), MISSING, problem="not asked yet")
