"""Figures of the embedded checkpoint `nano` on the test split of its data, beside majority and classical baseline.

    python benchmarks/nano_figures.py --data DIR --model NAME_OR_DIR --out FILE.json [--limit N] [--ravdess DIR]

Measured are labels (accuracy, macro F1, unweighted recall), single words (the whole transcript equals the word),
transcripts (WER in English, CER in Mandarin) and word times (AAS with its coverage), each with a 95 % bootstrap
interval over speakers, for recordings of unseen speakers, for each source, for synthetic and for made clips apart;
before that, in one table, the slices that the project aims at (slices.py), replies among them.
Everything is answered by the public API, each clip asked only for the tasks whose answer is known.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import classical
from answers import REPLY, Answered, ask, labels_of, read_answers, read_clip, text_of, words_of, write_answers
from figures import (
    QUESTIONS,
    SOURCE,
    Labels,
    by_subset,
    interval,
    label_figures,
    label_tables,
    limited,
    read_ravdess,
    read_split,
    resampling,
    score_row,
    source_only,
    speakers,
    table,
    write_json,
)
from slices import NANO, slice_figures, slice_table

import osum
from osum.data.packed import PackedAudio
from osum.scoring import ERROR_RATES, Score, aas
from osum.utterance import Utterance

# Asking


def tasks_of(row: Utterance) -> tuple[str, ...]:
    """The tasks whose answer is known for a clip; `ASR` always, as it tells speech from silence."""
    known = [question.task for question in QUESTIONS if question.task and question.truth(row) is not None]
    return ("ASR", *(["SRWT"] if row.words else []), *known, *([REPLY] if row.reply else []))


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
    predictors = {
        SOURCE: source_only(QUESTIONS, test, train),
        **baselines,
        NANO: {question.name: labels_of(question, test, answers) for question in QUESTIONS},
    }
    return {
        "slices": slice_figures(test, train, predictors, answers),
        "labels": label_figures(QUESTIONS, test, train, predictors),
        "transcripts": text_figures(test, answers),
        "times": time_figures(test, answers),
        "clips": len(answers),
        "failed": sorted({answer.error for answer in answers.values() if answer.error}),
    }


def show(found: Mapping[str, Any], predictors: Sequence[str]) -> str:
    """The Markdown of a report."""
    parts = [slice_table(found["slices"]), label_tables(found["labels"], predictors)]
    parts += [text_table(found["transcripts"]), time_table(found["times"])]
    return "\n\n".join(parts)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Figures of nano on its test split.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train, valid, test.jsonl and audio.i16")
    parser.add_argument("--model", default=NANO, help="name or folder of the checkpoint")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON to write; answers and baseline are kept beside it"
    )
    parser.add_argument("--answers", type=Path, help="FILE.answers.jsonl of an earlier run: count these, ask nothing")
    parser.add_argument("--limit", type=int, help="most clips of each subset")
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS (for measuring only)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    data, out = arguments.data, arguments.out
    baselines = classical.answers(data, out.parent, arguments.ravdess)
    test = read_split(data, "test") + (read_ravdess(arguments.ravdess) if arguments.ravdess else [])
    test = limited(test, arguments.limit)
    started = time.monotonic()
    if arguments.answers:
        answers = read_answers(arguments.answers)
    else:
        answers = ask(osum.load(arguments.model), test, read_clip(PackedAudio(data / "audio.i16")), tasks_of)
        write_answers(out.with_suffix(".answers.jsonl"), answers)
    seconds = None if arguments.answers else round(time.monotonic() - started, 1)
    found = report(test, read_split(data, "train"), answers, baselines["labels"])
    run = {"model": arguments.model, "limit": arguments.limit, "seconds": seconds}
    write_json(out, {**run, "baselines": baselines["models"], **found})
    print(show(found, (SOURCE, classical.FRAMES, classical.STATISTICS, NANO)))
    audio = sum(row.duration or 0 for row in test)
    print(f"\n{len(test)} clips, {audio / 60:.1f} min of audio answered in {seconds} s")


if __name__ == "__main__":
    main()
