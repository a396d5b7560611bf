"""Figures of the embedded checkpoint `nano` on the test split of its data, beside majority and classical baseline.

    python benchmarks/nano_figures.py --data DIR --model NAME_OR_DIR --out FILE.json [--limit N] [--ravdess DIR]

Measured are labels (accuracy, macro F1, unweighted recall), single words (the whole transcript equals the word),
transcripts (WER in English, CER in Mandarin) and word times (AAS with its coverage), each with a 95 % bootstrap
interval over speakers, for recordings of unseen speakers, for each source, for synthetic and for made clips apart.
Everything is answered by the public API, each clip asked only for the tasks whose answer is known.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import classical
from figures import (
    QUESTIONS,
    WORD_QUESTIONS,
    Labels,
    Question,
    by_subset,
    interval,
    label_figures,
    label_tables,
    limited,
    read_ravdess,
    read_split,
    resampling,
    score_row,
    speakers,
    table,
    write_json,
)
from tqdm import tqdm

import osum
from osum.audio import SAMPLE_RATE, load
from osum.data.packed import Float32, PackedAudio
from osum.scoring import Score, aas, cer, normalize, wer
from osum.utterance import Segment, Utterance, Word

CHUNK = 128  # clips of one call
NANO = "nano"
ERROR_RATES: Mapping[str, Callable[..., Score]] = {"en": wer, "zh": cer}

Answered = Mapping[str, Utterance]
"""Id of a clip to what the model answered."""
Read = Callable[[Utterance], Float32]


# Asking


def tasks_of(row: Utterance) -> tuple[str, ...]:
    """The tasks whose answer is known for a clip; `ASR` always, as it tells speech from silence."""
    known = [question.task for question in QUESTIONS if question.task and question.truth(row) is not None]
    return ("ASR", *(["SRWT"] if row.words else []), *known)


def ask(recognizer: Any, rows: Iterable[Utterance], read: Read) -> dict[str, Utterance]:
    """The model's answer to every clip, clips with the same tasks together and the like in length side by side."""
    groups: dict[tuple[str, ...], list[Utterance]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.duration or 0):
        groups[tasks_of(row)].append(row)
    answers: dict[str, Utterance] = {}
    with tqdm(total=sum(map(len, groups.values())), desc="answering", unit="clip") as progress:
        for tasks, group in groups.items():
            for first in range(0, len(group), CHUNK):
                chunk = group[first : first + CHUNK]
                results = recognizer.label([(read(row), SAMPLE_RATE) for row in chunk], tasks=list(tasks))
                answers |= {row.id: result for row, result in zip(chunk, results, strict=True)}
                progress.update(len(chunk))
    return answers


def read_clip(packed: PackedAudio) -> Read:
    """Reads packed clips, and those of RAVDESS from their files."""
    return lambda row: packed.read(row) if "offset" in row.extra else load(row.path)


# Reading answers


def text_of(answer: Utterance) -> str:
    """The transcript of all segments."""
    return " ".join(segment.text for segment in answer.segments if segment.text)


def words_of(answer: Utterance) -> tuple[Word, ...]:
    """The timed words of all segments."""
    return tuple(word for segment in answer.segments for word in segment.words)


def label_of(question: Question, answer: Utterance) -> str | None:
    """What the model says to a question; None for no label."""
    if not answer.segments:
        return None
    if question in WORD_QUESTIONS:
        return normalize(text_of(answer))
    if question.name == "speech":
        return "no speech" if all(segment.no_speech for segment in answer.segments) else "speech"
    named = [label for segment in answer.segments if (label := _label(question, segment))]
    return named[0] if named else None


def _label(question: Question, segment: Segment) -> str | None:
    found = segment.labels.get(question.task or "")
    return found.label if found else None


def labels_of(question: Question, rows: Iterable[Utterance], answers: Answered) -> Labels:
    """The model's labels of the clips whose true one is known."""
    return {row.id: label_of(question, answers[row.id]) for row in rows if question.truth(row) is not None}


# Transcripts and times


def text_figures(test: Iterable[Utterance], answers: Answered) -> list[dict[str, Any]]:
    """Error rate of every subset and language with known transcripts; synthetic speech by kind of text too."""
    figures = []
    for language, metric in ERROR_RATES.items():
        spoken = [row for row in test if row.text and row.language == language]
        for subset, rows in _text_subsets(spoken).items():
            heard = [text_of(answers[row.id]) for row in rows]
            score = metric([row.text or "" for row in rows], heard, resampling(rows))
            figures.append({"metric": score.name, "language": language, **_figure(subset, rows, score)})
    return figures


def _text_subsets(rows: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    subsets = by_subset(rows)
    kinds: dict[str, list[Utterance]] = defaultdict(list)
    for row in subsets.get("synthetic", ()):
        kinds[f"synthetic: {row.extra.get('kind')}"].append(row)
    return {**subsets, **dict(sorted(kinds.items()))}


def time_figures(test: Iterable[Utterance], answers: Answered) -> list[dict[str, Any]]:
    """Accumulated average shift of every subset with known word times, by where the times come from."""
    figures = []
    for subset, rows in by_subset(row for row in test if row.words).items():
        score = aas([row.words for row in rows], [words_of(answers[row.id]) for row in rows], resampling(rows))
        source = sorted({str(row.extra.get("times")) for row in rows})
        figures.append({"metric": "aas", "times": ", ".join(source), **_figure(subset, rows, score)})
    return figures


def _figure(subset: str, rows: Sequence[Utterance], score: Score) -> dict[str, Any]:
    return {"data": subset, "count": len(rows), **speakers(rows), NANO: score_row(score)}


def text_table(figures: Iterable[Mapping[str, Any]]) -> str:
    """Markdown table of error rates."""
    rows = [
        [f"{row['metric'].upper()} ({row['language']})", row["data"], str(row["count"]), interval(row[NANO])]
        for row in figures
    ]
    return table(["task", "data", "n", "nano % [95 % CI]"], rows)


def time_table(figures: Iterable[Mapping[str, Any]]) -> str:
    """Markdown table of word times."""
    rows = [
        [f"AAS, times from {row['times']}", row["data"], str(row["count"]), interval(row[NANO], 1), _coverage(row)]
        for row in figures
    ]
    return table(["task", "data", "n", "nano ms [95 % CI]", "coverage %"], rows)


def _coverage(figure: Mapping[str, Any]) -> str:
    coverage = figure[NANO]["coverage"]
    return "–" if coverage is None else f"{100 * coverage:.1f}"


# The report


def report(
    test: Sequence[Utterance],
    train: Sequence[Utterance],
    answers: Answered,
    baselines: Mapping[str, Mapping[str, Labels]],
) -> dict[str, Any]:
    """All figures: the model's and, for labels, the baselines' on the same clips."""
    predictors = {**baselines, NANO: {question.name: labels_of(question, test, answers) for question in QUESTIONS}}
    return {
        "labels": label_figures(QUESTIONS, test, train, predictors),
        "transcripts": text_figures(test, answers),
        "times": time_figures(test, answers),
        "clips": len(answers),
        "failed": sorted({answer.error for answer in answers.values() if answer.error}),
    }


def show(found: Mapping[str, Any], predictors: Sequence[str]) -> str:
    """The Markdown of a report."""
    parts = [label_tables(found["labels"], predictors), text_table(found["transcripts"]), time_table(found["times"])]
    return "\n\n".join(parts)


def write_answers(path: Path, answers: Answered) -> None:
    """Every answer beside its clip's id, to look into errors."""
    lines = [json.dumps({**answer.to_dict(), "id": name}, ensure_ascii=False) for name, answer in answers.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Figures of nano on its test split.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train, valid, test.jsonl and audio.i16")
    parser.add_argument("--model", default=NANO, help="name or folder of the checkpoint")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON to write; answers and baseline are kept beside it"
    )
    parser.add_argument("--limit", type=int, help="most clips of each subset")
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS (for measuring only)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    data, out = arguments.data, arguments.out
    baselines = classical.answers(data, out.parent, arguments.ravdess)
    test = read_split(data, "test") + (read_ravdess(arguments.ravdess) if arguments.ravdess else [])
    test = limited(test, arguments.limit)
    recognizer = osum.load(arguments.model)
    started = time.monotonic()
    answers = ask(recognizer, test, read_clip(PackedAudio(data / "audio.i16")))
    seconds = time.monotonic() - started
    found = report(test, read_split(data, "train"), answers, baselines["labels"])
    run = {"model": arguments.model, "limit": arguments.limit, "seconds": round(seconds, 1)}
    write_json(out, {**run, "baselines": baselines["models"], **found})
    write_answers(out.with_suffix(".answers.jsonl"), answers)
    print(show(found, (classical.FRAMES, classical.STATISTICS, NANO)))
    audio = sum(row.duration or 0 for row in test)
    print(f"\n{len(test)} clips, {audio / 60:.1f} min of audio answered in {seconds:.0f} s")


if __name__ == "__main__":
    main()
