"""Temperatures of `nano`: fitted on its validation split, measured on its test split, kept with the checkpoint.

    python benchmarks/calibration.py --data DIR --answers nano.answers.jsonl [--ravdess DIR] [--model NAME_OR_DIR]
        [--png FILE.png] [--write]

Fitted are the recordings of the validation split, speakers that neither training nor test hears; styles are left out,
since those of recordings are guesses from the source. The test answers are those that `nano_figures.py --answers` kept
of the checkpoint before it was calibrated: another temperature changes no label, so no model has to be asked again.
Counted are clips whose label was not withheld. Intervals are bootstrapped over speakers. Prints Markdown tables;
`--write` puts the temperatures into the model's tasks.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from answers import Answered, read_answers
from figures import QUESTIONS, is_recording, is_seen, read_ravdess, read_split, table

import osum
from osum.evaluation.calibrate import (
    Asked,
    Calibrated,
    Place,
    Scored,
    ask,
    calibrate,
    gathered,
    save,
    with_temperatures,
)
from osum.evaluation.report.plots import reliability_pair
from osum.inference.locate import locate
from osum.scoring import Score, log_scores_of
from osum.tasks import TaskSet
from osum.utterance import Utterance

BY_TASK = {question.task: question for question in QUESTIONS}
ASKED = ("SGC", "SAP", "VED", "LID", "SER")
LABELS = dict(zip(("gender", "age", "event", "language", "emotion"), map(BY_TASK.__getitem__, ASKED), strict=True))
HEAD = ["task", "fitted on", "temperature", "measured on", "accuracy %", "ECE before %", "ECE after %", "-log P before",
        "after"]  # fmt: skip


def with_truth(rows: Iterable[Utterance]) -> Iterator[Utterance]:
    """Recordings of unseen speakers, with the labels that are asked for alone."""
    for row in rows:
        if is_recording(row) and not is_seen(row):
            known = {name: question.truth(row) for name, question in LABELS.items()}
            labels = {name: label for name, label in known.items() if label is not None}
            yield row.with_(labels=labels, language=labels.get("language"))


def kept(rows: Iterable[Utterance], answers: Answered, tasks: TaskSet) -> Iterator[Asked]:
    """The scores in answers of a checkpoint that is not calibrated."""
    for row in rows:
        scores = {}
        for name, question in LABELS.items():
            labels, truth = tasks.label_sets[name], question.truth(row)
            found = [segment.labels.get(question.task or "") for segment in answers[row.id].segments]
            if truth is None or len(found) != 1 or found[0] is None or found[0].distribution is None:
                continue
            distribution = [found[0].distribution[label] for label in labels.labels]
            log_scores = tuple(log_scores_of([distribution])[0].tolist())
            place = Place(question.task or "", name)
            scores[place] = Scored(row.speaker or row.id, labels.labels.index(truth), log_scores)
        yield Asked(row, scores)


def shown(found: Calibrated) -> str:
    """A Markdown table."""

    def percent(score: Score) -> str:
        return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"

    rows = []
    for one in found.fitted:
        share = sum(hit * size for _, hit, size in one.after.bins) / one.after.error.count
        fitted = f"{one.clips} clips, {one.speakers} speakers"
        losses = f"{one.loss_before:.3f}", f"{one.loss_after:.3f}"
        measured = f"{one.after.error.count} clips", f"{100 * share:.1f}"
        rows.append([f"{one.task}, {one.label_set}", fitted, f"{one.temperature:.2f}", *measured,
                     percent(one.before.error), percent(one.after.error), *losses])  # fmt: skip
    left = [f"\n{left.task}, {left.label_set}: left alone: {left.why}" for left in found.left]
    return table(HEAD, rows) + "".join(left)


def measure(
    tasks: TaskSet, fitted_on: Mapping[Place, Sequence[Scored]], rows: Iterable[Utterance], answers: Answered
) -> Calibrated:
    """Fit, and measure on kept answers."""
    return calibrate(tasks, ASKED, fitted_on, gathered(kept(rows, answers, tasks)))


def main() -> None:
    """Ask, fit, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that `osum data nano` wrote")
    parser.add_argument("--answers", type=Path, required=True, help="of the test split, by nano_figures.py")
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS, for measuring only")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--png", type=Path)
    parser.add_argument("--write", action="store_true", help="into the model's tasks.json")
    arguments = parser.parse_args()
    recognizer = osum.load(arguments.model)
    asked = list(ask(recognizer, with_truth(read_split(arguments.data, "valid")), ASKED))
    for one in asked:
        if one.problem is not None:
            print(f"left out: {one.clip.id}: {one.problem}")
    scores, answers = gathered(asked), read_answers(arguments.answers)
    # The kept answers are of before, so before is told of temperature 1.
    tasks = with_temperatures(recognizer.tasks, dict.fromkeys(scores, 1.0))
    print(f"In folds of the validation split\n\n{shown(calibrate(tasks, ASKED, scores))}\n")
    found = measure(tasks, scores, with_truth(read_split(arguments.data, "test")), answers)
    print(f"On the test split\n\n{shown(found)}")
    if arguments.ravdess:
        rows = [row for row in read_ravdess(arguments.ravdess) if row.id in answers]
        print(f"\nOn RAVDESS\n\n{shown(measure(tasks, scores, rows, answers))}")
    if arguments.png:
        before = {f"{one.task} {one.label_set}": one.before for one in found.fitted}
        after = {f"{one.task} {one.label_set}": one.after for one in found.fitted}
        arguments.png.parent.mkdir(parents=True, exist_ok=True)
        arguments.png.write_bytes(reliability_pair(before, after, "nano, test split, unseen speakers"))
    if arguments.write:
        folder = locate(arguments.model, offline=True, notice=None)
        save(folder, folder, found.tasks, {})


if __name__ == "__main__":
    main()
