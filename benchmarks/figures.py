"""What is asked of `nano` on its test split, on which part of it, and how the answers are counted and shown.

Knows nothing of who answers: a predictor is a name and a label per utterance id, so the model and the
classical baseline are counted by the same code on the same clips.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osum.data.manifest import read_manifest, unit_hash
from osum.evaluation.nano_split import RAVDESS, is_recording, is_seen
from osum.evaluation.score import MIN_SPEAKERS
from osum.scoring import Resampling, Score, accuracy, macro_f1, normalize, unweighted_recall
from osum.utterance import Utterance

RECORDINGS = "recordings"
SYNTHETIC = "synthetic"
SEEN = " (speaker seen)"
SOURCE = "source only"
"""The predictor that names the commonest training label of a clip's source, or of its kind where it was made: most
labels live in one source, so it says how much of a score could be had by recognising the microphone."""

RAVDESS_EMOTIONS = {"angry": "anger", "fearful": "fear", "surprised": "surprise", "calm": "neutral"}

Labels = Mapping[str, str | None]
"""Utterance id to label; None is an answer without a label."""
Predictors = Mapping[str, Mapping[str, Labels]]
"""Name of the predictor (`nano`) to question to labels."""


@dataclass(frozen=True, slots=True)
class Question:
    """One label of a clip that a predictor is asked for."""

    name: str
    title: str
    truth: Callable[[Utterance], str | None]
    """The right label, None where it is not known."""
    task: str | None = None
    """The model's task that names the label; None where it is read off the transcript or `no_speech`."""


def _known(name: str, with_weak: bool = True) -> Callable[[Utterance], str | None]:
    def truth(row: Utterance) -> str | None:
        return None if not with_weak and name in row.extra.get("weak", ()) else row.labels.get(name)

    return truth


def _speech(row: Utterance) -> str | None:
    if row.text is None and row.language is None:
        return None
    return "no speech" if row.text == "" else "speech"


def _word_of(source: str) -> Callable[[Utterance], str | None]:
    def truth(row: Utterance) -> str | None:
        return normalize(row.text) if row.text and row.source == source and is_recording(row) else None

    return truth


WORD_QUESTIONS = (
    Question("digits", "spoken digit (10 words)", _word_of("fsdd")),
    Question("words", "DSPSpeech-20 word (20 words)", _word_of("dspspeech20")),
)
QUESTIONS = (
    Question("SGC", "gender", _known("gender"), "SGC"),
    Question("SAP", "age, child or adult", _known("age"), "SAP"),
    Question("VED", "vocal event", _known("event"), "VED"),  # laughs and sighs are weak labels only
    Question("LID", "language", _known("language"), "LID"),
    Question("SER", "emotion, acted", _known("emotion", with_weak=False), "SER"),
    Question("SSR", "speaking style, guessed from the source", _known("style"), "SSR"),
    Question("speech", "speech or no speech", _speech),
    *WORD_QUESTIONS,
)


# Clips


def subsets(row: Utterance) -> tuple[str, ...]:
    """The parts of the test split that a clip counts in; a made clip or a seen speaker never counts as a recording."""
    seen = SEEN if is_seen(row) else ""
    if is_recording(row):
        own = f"{row.source}{seen}"
        return (own,) if seen or row.source == RAVDESS else (RECORDINGS, own)
    if row.source == "espeak" and "parts" not in row.extra:
        return (SYNTHETIC,)
    return (f"made: {row.extra.get('kind', 'other')}, {row.extra.get('evidence', 'none')}{seen}",)


def read_split(data: Path, split: str) -> list[Utterance]:
    """The rows of `train`, `valid` or `test`."""
    return list(read_manifest(data / f"{split}.jsonl"))


def read_ravdess(folder: Path) -> list[Utterance]:
    """RAVDESS with our labels: actors and sentences that no training clip holds. Its licence allows measuring only."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [_ravdess(json.loads(line), folder) for line in lines if line.strip()]


def _ravdess(row: Mapping[str, Any], folder: Path) -> Utterance:
    emotion = RAVDESS_EMOTIONS.get(row["emotion"], row["emotion"])
    return Utterance(
        id=row["id"],
        path=str(folder / row["audio"]),
        duration=row["duration_s"],
        labels={"gender": row["gender"], "emotion": emotion},
        speaker=row["speaker"],
        source=RAVDESS,
        extra={"evidence": "real"},
    )


def limited(rows: Iterable[Utterance], limit: int | None) -> list[Utterance]:
    """At most `limit` clips of each subset, the same ones in every run."""
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: unit_hash(row.id)):
        groups[subsets(row)[-1]].append(row)
    return [row for group in groups.values() for row in group[:limit]]


def by_subset(rows: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Rows of each subset: recordings first, then the sources, then what was made."""
    parts: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        for name in subsets(row):
            parts[name].append(row)
    order = sorted(parts, key=lambda name: (name != RECORDINGS, name.startswith(("made", SYNTHETIC)), name))
    return {name: parts[name] for name in order}


# Counting


def commonest(truth: Callable[[Utterance], str | None], train: Iterable[Utterance]) -> dict[str, str]:
    """The commonest label of each subset's training clips."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        label = truth(row)
        if label is not None:
            for name in subsets(row):
                counts[name][label] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counts.items()}


def majority(common: Mapping[str, str], subset: str) -> str:
    """The commonest label of a subset, or of all recordings where it has no training clips.

    A source's own majority is a harder rival than that of all data: digits here are spoken by men only.
    """
    return common.get(subset.removesuffix(SEEN)) or common.get(RECORDINGS, "")


def source_guess(common: Mapping[str, str], row: Utterance) -> str:
    """The label that the source of a clip suggests."""
    return majority(common, subsets(row)[-1])


def source_only(
    questions: Iterable[Question], test: Sequence[Utterance], train: Sequence[Utterance]
) -> dict[str, Labels]:
    """The labels that the sources of the test clips suggest."""
    found: dict[str, Labels] = {}
    for question in questions:
        common = commonest(question.truth, train)
        found[question.name] = {row.id: source_guess(common, row) for row in test if question.truth(row) is not None}
    return found


def resampling(rows: Sequence[Utterance]) -> Resampling:
    """Draw speakers where there are enough of them, else clips."""
    speakers = [row.speaker or row.id for row in rows]
    return Resampling(groups=speakers if len(set(speakers)) >= MIN_SPEAKERS else None)


def label_figures(
    questions: Iterable[Question], test: Sequence[Utterance], train: Sequence[Utterance], predictors: Predictors
) -> list[dict[str, Any]]:
    """One row per question and subset: counts, majority accuracy, and every predictor's three scores."""
    figures = []
    for question in questions:
        asked = [row for row in test if question.truth(row) is not None]
        common = commonest(question.truth, train)
        for subset, rows in by_subset(asked).items():
            scores = {
                name: _scores(question, rows, answers[question.name])
                for name, answers in predictors.items()
                if question.name in answers
            }
            figures.append({**_counts(question, rows, majority(common, subset), subset), "scores": scores})
    return figures


def _counts(question: Question, rows: Sequence[Utterance], common: str, subset: str) -> dict[str, Any]:
    labels = Counter(question.truth(row) for row in rows)
    return {
        "question": question.name,
        "title": question.title,
        "data": subset,
        "count": len(rows),
        **speakers(rows),
        "labels": dict(labels.most_common()),
        "weak": sum(_is_weak(question, row) for row in rows),
        "majority_label": common,
        "majority": labels[common] / len(rows),
    }


def _is_weak(question: Question, row: Utterance) -> bool:
    return any(row.labels.get(name) == question.truth(row) for name in row.extra.get("weak", ()))


def speakers(rows: Sequence[Utterance]) -> dict[str, Any]:
    """How many speakers are known, and what the interval draws."""
    by_speaker = resampling(rows).groups is not None
    known = len({row.speaker for row in rows if row.speaker})
    return {"speakers": known, "resampled_by": "speaker" if by_speaker else "clip"}


def _scores(question: Question, rows: Sequence[Utterance], answers: Labels) -> dict[str, Any]:
    truth = [question.truth(row) or "" for row in rows]
    named = [answers.get(row.id) for row in rows]
    metrics = (accuracy, macro_f1, unweighted_recall)
    return {metric.__name__: score_row(metric(truth, named, resampling(rows))) for metric in metrics}


def score_row(score: Score) -> dict[str, Any]:
    """A score as JSON, with null for what could not be measured."""
    numbers = {"value": score.value, "low": score.low, "high": score.high, **score.detail}
    return {name: None if math.isnan(number) else round(number, 5) for name, number in numbers.items()}


# Showing


def label_tables(figures: Sequence[Mapping[str, Any]], predictors: Sequence[str]) -> str:
    """Markdown: first what says most, recordings with several classes; then sources of one class and made clips."""
    chief = [figure for figure in figures if _is_chief(figure)]
    rest = [figure for figure in figures if not _is_chief(figure)]
    head = "Accuracy in percent [95 % interval]; unseen speakers"
    titles = f"{head}, recordings", f"{head} unless noted; one class, made or synthetic clips"
    parts = [f"{title}\n\n{label_table(part, predictors)}" for title, part in zip(titles, (chief, rest), strict=True)]
    return "\n\n".join(parts)


def _is_chief(figure: Mapping[str, Any]) -> bool:
    return (
        len(figure["labels"]) > 1 and not figure["data"].startswith(("made", SYNTHETIC)) and SEEN not in figure["data"]
    )


def label_table(figures: Sequence[Mapping[str, Any]], predictors: Sequence[str]) -> str:
    """Markdown: accuracies in percent with 95 % intervals, and macro F1 and unweighted recall of the last predictor."""
    last = predictors[-1]
    head = ["task", "data", "n", "majority", *predictors, f"{last} macro F1", f"{last} unweighted recall"]
    return table(head, [_label_row(figure, predictors) for figure in figures])


def _label_row(figure: Mapping[str, Any], predictors: Sequence[str]) -> list[str]:
    scores = figure["scores"]
    cells = [interval(scores.get(name, {}).get("accuracy")) for name in predictors]
    others = [percent(scores.get(predictors[-1], {}).get(name)) for name in ("macro_f1", "unweighted_recall")]
    if len(figure["labels"]) < 2:  # of one class these say no more than accuracy does
        others = ["–", "–"]
    majority_accuracy = f"{100 * figure['majority']:.1f}"
    return [f"{figure['question']} {figure['title']}", data_name(figure), str(figure["count"]), majority_accuracy,
            *cells, *others]  # fmt: skip


def data_name(figure: Mapping[str, Any]) -> str:
    """The subset, with a note where it holds one class only or where labels are guessed from the source."""
    notes = ["one class"] if len(figure.get("labels", "..")) == 1 else []
    notes += [f"{figure['weak']} weak labels"] if figure.get("weak") else []
    return f"{figure['data']} [{', '.join(notes)}]" if notes else str(figure["data"])


def percent(score: Mapping[str, Any] | None) -> str:
    """A fraction in percent."""
    return "–" if score is None or score["value"] is None else f"{100 * score['value']:.1f}"


def interval(score: Mapping[str, Any] | None, factor: float = 100) -> str:
    """A value with its interval, `93.1 [90.2, 95.5]`."""
    if score is None or score["value"] is None:
        return "–"
    value, low, high = (factor * score[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
