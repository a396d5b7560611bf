"""From predictions to results, without a model: equal predictions give equal results, to the last digit."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from osum.errors import InputError, OsumError
from osum.evaluation.judge.judgement import judged_result, judgement_path, read_judgement
from osum.evaluation.run.clips import is_known
from osum.evaluation.run.prediction import Prediction
from osum.evaluation.run.predictions import ASKED_SUFFIX, AskedBenchmark, Predictions
from osum.evaluation.score.result import DECLARED, BenchmarkResult, Comparison, Report
from osum.evaluation.sets.benchmark import Benchmark
from osum.records import to_row
from osum.scoring import (
    METRICS,
    NORMALISERS,
    Calibration,
    Confusion,
    Counts,
    Resampling,
    Score,
    WordTimes,
    accuracy,
    calibration,
    confusion,
    mer,
    paired_difference,
    resampling_of,
    word_times,
)

JUDGE = "judge"
"""A metric that no count gives: a language model's verdicts."""
_OF_THE_JUDGE = ("judge", "mode", "prompt_version", "prompt_sha256", "served_by", "dropped", "cost")
"""Fields of a judgement that a report shows."""
NAMED = 20
"""So many clips without an answer are named in a report."""
_LABEL_METRICS = ("accuracy", "unweighted_recall", "macro_f1")
_TEXT_METRICS = ("wer", "cer", "mer")

Columns = tuple[list[Any], list[Any]]
"""What is right and what was answered, clip by clip."""


def score(benchmark: Benchmark, asked: AskedBenchmark, predictions: Sequence[Prediction]) -> BenchmarkResult:
    """All that is counted from one model's predictions for one benchmark.

    Raises:
        InputError: there are none, one does not contain what is right, or nothing can be counted in them.
    """
    if bare := next((one.id for one in predictions if not is_known(benchmark, one.truth)), None):
        raise InputError(
            f"{benchmark.name}: the prediction of {bare!r} has no truth.{benchmark.target}, which it counts: "
            "add it, or leave the line out"
        )
    predictions = _counted(benchmark, predictions)
    by_prompt = _by_prompt(predictions)
    if not by_prompt:
        raise InputError(f"no predictions for {benchmark.name}: ask with osum evaluate")
    fixed = by_prompt.get(None) or next(iter(by_prompt.values()))
    columns = _columns(benchmark, fixed)
    resampling, resampled_by = resampling_of(fixed, asked.seed)
    failed = [one.id for one in fixed if one.answer.error is not None]
    labelled = benchmark.target == "label"
    return BenchmarkResult(
        benchmark=benchmark.name,
        model=asked.model,
        metric=benchmark.metric,
        score=_score(benchmark, columns, resampling),
        resampled_by=resampled_by,
        clips=len(fixed),
        failed=len(failed),
        others=dict(_others(benchmark, fixed, columns, resampling)),
        prompts=_under_prompts(benchmark, by_prompt, asked.seed),
        unreadable=_unreadable(fixed) if labelled else None,
        confusion=_confusion(benchmark, columns) if labelled else None,
        calibration=_calibration(fixed, asked.seed) if labelled else None,
        times=_times(benchmark, columns) if benchmark.target == "words" else None,
        real_time_factor=_real_time_factor(predictions),
        run=_run(benchmark, asked, fixed, len(predictions), failed),
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """One file of predictions, and what was counted from it."""

    benchmark: Benchmark
    asked: AskedBenchmark
    predictions: Sequence[Prediction]
    result: BenchmarkResult

    def renamed(self, model: str) -> Scored:
        """A copy in which the model goes by another name."""
        return replace(self, asked=replace(self.asked, model=model), result=replace(self.result, model=model))


def score_folder(out: Path, benchmarks: Mapping[str, Benchmark], fault: Callable[[OsumError], None]) -> list[Scored]:
    """Count all predictions in a folder of results, by benchmark in the order of `benchmarks`, then by model.

    Args:
        out: the folder, as `osum evaluate -o` writes it.
        benchmarks: the catalogue by name; sets that are in none come with their answers.
        fault: called with what cannot be counted; the rest is.
    """
    order = {name: at for at, name in enumerate(benchmarks)}
    paths = out.glob(f"*/*{ASKED_SUFFIX}")
    stores = [Predictions(path.parent, path.name.removesuffix(ASKED_SUFFIX)) for path in paths]
    found = []
    for store in sorted(stores, key=lambda one: (order.get(one.benchmark, len(order)), one.path)):
        try:
            benchmark = benchmarks.get(store.benchmark) or store.declared()
            if benchmark is None:
                raise InputError(f"{store.path}: there is no benchmark {store.benchmark!r}: see osum evaluate --list")
            asked, predictions = store.asked(), list(store.read())
            result = _judged(store, predictions, score(benchmark, asked, predictions))
            found.append(Scored(benchmark, asked, predictions, result))
        except OsumError as why:
            fault(why)
    return found


def _judged(store: Predictions, predictions: Sequence[Prediction], result: BenchmarkResult) -> BenchmarkResult:
    """With the score that `osum judge` has left next to the predictions, where only a judge can decide."""
    place = judgement_path(store.path)
    if result.metric != JUDGE or not place.exists():
        return result
    found = read_judgement(place)
    if found.against:
        raise InputError(f"{place} is a preference, which is no score of one model: give it another place (-o)")
    fixed = [one for one in predictions if not one.prompt_index]
    resampling, _ = resampling_of(fixed, result.run["seed"])
    about = {name: value for name, value in to_row(found).items() if name in _OF_THE_JUDGE}
    return replace(result, score=judged_result(fixed, found.verdicts, resampling), run={**result.run, "judge": about})


def report_of(scored: Sequence[Scored]) -> Report:
    """The results, and every two models of one benchmark against each other."""
    pairs = (pair for pair in combinations(scored, 2) if pair[0].benchmark.name == pair[1].benchmark.name)
    comparisons = (compare(*pair) for pair in pairs)
    return Report(tuple(one.result for one in scored), tuple(filter(None, comparisons)))


def compare(first: Scored, second: Scored) -> Comparison | None:
    """How much the first model scores above the second on the clips that both were asked about, fixed prompt.

    None where there is no such clip with one truth, or only a judge could decide.
    """
    benchmark = first.benchmark
    pair = (_counted(benchmark, some.predictions) for some in (first, second))
    theirs, others = ({one.id: one for one in some if not one.prompt_index} for some in pair)
    shared = [name for name in theirs if name in others and theirs[name].truth == others[name].truth]
    if not shared or benchmark.metric == JUDGE:
        return None
    columns = (_columns(benchmark, [some[name] for name in shared]) for some in (theirs, others))
    counts = [_counts(benchmark, benchmark.metric, pair) for pair in columns]
    resampling, _ = resampling_of([theirs[name] for name in shared], first.asked.seed)
    difference = paired_difference(counts[0], counts[1], resampling)
    return Comparison(benchmark.name, first.asked.model, second.asked.model, difference)


# Counting


def _by_prompt(predictions: Iterable[Prediction]) -> dict[int | None, list[Prediction]]:
    found: dict[int | None, list[Prediction]] = defaultdict(list)
    for one in predictions:
        found[one.prompt_index].append(one)
    return dict(found)


def _counted(benchmark: Benchmark, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """With the labels that the benchmark counts as one."""
    if not benchmark.merged:
        return predictions
    return [replace(one, answer=benchmark.counted(one.answer)) for one in predictions]


def _named(prediction: Prediction) -> str | None:
    """The likeliest label where there is one, else what was said."""
    answer = prediction.answer
    return answer.said if answer.label is None else answer.label


def _columns(benchmark: Benchmark, predictions: Sequence[Prediction]) -> Columns:
    """Texts are normalised here, once for all metrics; a clip without an answer is one with an empty one."""
    normaliser = NORMALISERS[benchmark.normaliser]
    match benchmark.target:
        case "label":
            return [one.truth.label for one in predictions], [_named(one) for one in predictions]
        case "words":
            return [one.truth.words for one in predictions], [one.answer.words for one in predictions]
        case "reply":
            pairs = [(one.truth.reply or "", one.answer.reply or "") for one in predictions]
        case "text":
            pairs = [(one.truth.text or "", one.answer.text or "") for one in predictions]
    return [normaliser(right) for right, _ in pairs], [normaliser(answered) for _, answered in pairs]


def _counts(benchmark: Benchmark, metric: str, columns: Columns) -> Counts:
    if metric in _LABEL_METRICS:  # also of single words, which are right as a whole or not at all
        return METRICS[metric].counts(*columns)
    words = benchmark.target == "words"
    return METRICS[metric].counts(*columns, normalizer=NORMALISERS[benchmark.normaliser] if words else str)


def _score(benchmark: Benchmark, columns: Columns, resampling: Resampling) -> Score:
    if benchmark.metric == JUDGE:
        return Score(JUDGE, math.nan, len(columns[0]), math.nan, math.nan)
    return _counts(benchmark, benchmark.metric, columns).score(resampling)


def _under_prompts(
    benchmark: Benchmark, by_prompt: Mapping[int | None, Sequence[Prediction]], seed: int
) -> tuple[Score, ...]:
    """One score for each published prompt; none where the fixed one alone was asked."""
    if None in by_prompt:
        return ()
    asked = by_prompt.values()
    return tuple(_score(benchmark, _columns(benchmark, some), resampling_of(some, seed)[0]) for some in asked)


def _others(
    benchmark: Benchmark, predictions: Sequence[Prediction], columns: Columns, resampling: Resampling
) -> Iterator[tuple[str, Score]]:
    """Every further metric that fits the target."""
    match benchmark.target:
        case "label":
            names: Sequence[str] = _LABEL_METRICS
        case "text" if benchmark.metric in _TEXT_METRICS:
            # A Chinese sentence is one word, so counting words says nothing about it.
            names = [name for name in _TEXT_METRICS if name != "wer" or benchmark.language != "zh"]
        case _:
            names = ()
    for name in names:
        if name != benchmark.metric:
            yield name, _counts(benchmark, name, columns).score(resampling)
    if benchmark.target == "label" and _writes(predictions):
        said = [one.answer.said for one in predictions]
        yield "free", replace(accuracy(columns[0], said, resampling), name="free")
    if benchmark.target == "words":
        texts = [" ".join(word.text for word in one.truth.words) for one in predictions]
        answers = [one.answer.text or "" for one in predictions]
        yield "mer", mer(texts, answers, resampling, normalizer=NORMALISERS[benchmark.normaliser])


def _writes(predictions: Iterable[Prediction]) -> bool:
    """Whether the model gives free answers at all."""
    return any(one.answer.raw for one in predictions)


def _unreadable(predictions: Sequence[Prediction]) -> float | None:
    answered = [one.answer for one in predictions if one.answer.error is None]
    if not _writes(predictions):
        return None
    return sum(answer.said is None for answer in answered) / len(answered)


def _confusion(benchmark: Benchmark, columns: Columns) -> Confusion:
    true, named = columns
    known = benchmark.answers
    order = {label: at for at, label in enumerate(known.labels if known else ())}
    labels = {*true, *(label for label in named if label is not None)}
    return confusion(true, named, sorted(labels, key=lambda label: (order.get(label, len(order)), label)))


def _calibration(predictions: Sequence[Prediction], seed: int) -> Calibration | None:
    """Of the clips whose label comes with probabilities."""
    sure = [one for one in predictions if one.answer.label in (one.answer.distribution or {})]
    if not sure:
        return None
    # A softmax in half precision may sum to a little more than 1.
    probabilities = [min(1.0, (one.answer.distribution or {})[one.answer.label or ""]) for one in sure]
    right = [one.answer.label == one.truth.label for one in sure]
    return calibration(probabilities, right, resampling_of(sure, seed)[0])


def _times(benchmark: Benchmark, columns: Columns) -> WordTimes:
    return word_times(*columns, normalizer=NORMALISERS[benchmark.normaliser])


def _real_time_factor(predictions: Iterable[Prediction]) -> float | None:
    timed = [(one.seconds, one.duration) for one in predictions if one.seconds is not None and one.duration]
    audio = sum(duration for _, duration in timed)
    return sum(seconds for seconds, _ in timed) / audio if audio else None


def _run(
    benchmark: Benchmark, asked: AskedBenchmark, fixed: Sequence[Prediction], answers: int, failed: Sequence[str]
) -> dict[str, Any]:
    prompts: Sequence[str] = asked.prompts or sorted({one.answer.prompt for one in fixed if one.answer.prompt})
    return {
        "task": asked.task,
        "normaliser": NORMALISERS[benchmark.normaliser].version if benchmark.target != "label" else None,
        "prompts": list(prompts),
        "seed": asked.seed,
        "list_hash": asked.list_hash,
        "listed": asked.clips,
        "limit": asked.limit,
        "answers": answers,
        "wanted": asked.count,
        "left_out": dict(asked.left_out),
        "faulty": {why: list(ids) for why, ids in asked.faulty.items()},
        "failed": list(failed[:NAMED]),
        "model": dict(asked.description),
        "versions": dict(asked.versions),
        **({DECLARED: to_row(asked.declared)} if asked.declared else {}),
    }
