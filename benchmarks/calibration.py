"""Temperatures of `nano`: fitted on its validation split, measured on its test split, kept with the checkpoint.

    python benchmarks/calibration.py --data DIR [--model NAME_OR_DIR] [--ravdess DIR] [--write]
        [--page docs/labelling.md] [--png docs/images/nano_calibration.png]

Fitted are the recordings of the validation split, speakers that neither training nor test hears; styles are left out,
since those of recordings are guesses from the source. Counted are clips whose label was not withheld. Intervals are
bootstrapped over speakers. Prints Markdown; `--page` writes it between <!-- calibration --> and <!-- /calibration -->,
`--write` puts the temperatures into the model's tasks.json.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from figures import QUESTIONS, table

import osum
from osum.checkpoints.locate import locate
from osum.corpus.manifest import read_manifest
from osum.evaluation.report import replace_block
from osum.evaluation.report.plots import reliability_pair
from osum.evaluation.score.calibrate import (
    AskedClip,
    Calibrated,
    FittedTemperature,
    Scores,
    ask,
    calibrate,
    gathered,
    save,
    with_temperatures,
)
from osum.evaluation.sets.catalogue import BENCHMARKS
from osum.evaluation.sets.nano_split import is_unseen
from osum.files import atomic_file
from osum.listening.recognizer import Recognizer
from osum.scoring import Score
from osum.utterance import Utterance

TASKS = tuple(question.task for question in QUESTIONS)
RAVDESS = ("ravdess-gender", "ravdess-emotion")
WIDTH = 118  # columns of running text
BATCH_SIZE = 32
HEAD = ["task", "clips, fitted and measured", "temperature", "accuracy %", "calibration error before %", "after %",
        "-log P before", "after"]  # fmt: skip


def with_truth(rows: Iterable[Utterance]) -> Iterator[Utterance]:
    """Recordings of unseen speakers, with the labels that are asked for alone."""
    for row in filter(is_unseen, rows):
        known = {question.label_set: question.truth(row) for question in QUESTIONS}
        labels = {name: label for name, label in known.items() if label is not None}
        yield row.with_(labels=labels, language=labels.get("language"))


def split(data: Path, name: str) -> Iterator[Utterance]:
    """What is asked of a split."""
    return with_truth(read_manifest(data / f"{name}.jsonl"))


def scores(recognizer: Recognizer, rows: Iterable[Utterance], tasks: Sequence[str] = TASKS) -> Scores:
    """What the model makes of clips; those that cannot be asked are named."""

    def good() -> Iterator[AskedClip]:
        for one in ask(recognizer, rows, tasks, BATCH_SIZE):
            if one.problem is None:
                yield one
            else:
                print(f"left out: {one.clip.id}: {one.problem}")

    return gathered(good())


def accuracy(one: FittedTemperature) -> float:
    """Percent of the clips it was measured on."""
    return 100 * sum(hit * size for _, hit, size in one.after.bins) / one.after.error.count


def shown(found: Calibrated) -> str:
    """A Markdown table."""

    def percent(score: Score) -> str:
        return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"

    rows = [
        [f"{one.task}, {one.label_set}", f"{one.clips}, {one.after.error.count}", f"{one.temperature:.2f}",
         f"{accuracy(one):.1f}", percent(one.before.error), percent(one.after.error),
         f"{one.loss_before:.3f}", f"{one.loss_after:.3f}"]
        for one in found.fitted
    ]  # fmt: skip
    left = [f"\n\n{left.task}, {left.label_set}: left alone: {left.why}." for left in found.left]
    return table(HEAD, rows) + "".join(left)


def elsewhere(found: Calibrated) -> str:
    """What the temperatures are worth on RAVDESS, in words."""
    reported = [
        f"of {one.label_set} the error was {100 * one.before.error.value:.1f} % and is "
        f"{100 * one.after.error.value:.1f} %, with {accuracy(one):.1f} % of the labels right"
        for one in found.fitted
    ]
    said = "On RAVDESS, acted sentences by speakers and microphones of another kind, "
    return textwrap.fill(f"{said}{'; '.join(reported)}.", WIDTH)


def main() -> None:
    """Ask, fit, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that `recipes.nano.build` wrote")
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS, for measuring only")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--page", type=Path, help="Markdown page to bring up to date")
    parser.add_argument("--png", type=Path)
    parser.add_argument("--write", action="store_true", help="into the model's tasks.json")
    arguments = parser.parse_args()
    recognizer = osum.load(arguments.model)
    fitted_on = scores(recognizer, split(arguments.data, "valid"))
    # Scores are those of temperature 1, so "before" is reported of temperature 1 too.
    tasks = with_temperatures(recognizer.tasks, dict.fromkeys(fitted_on, 1.0))
    found = calibrate(tasks, TASKS, fitted_on, scores(recognizer, split(arguments.data, "test")))
    text = shown(found)
    if arguments.ravdess:
        parts = (BENCHMARKS[name] for name in RAVDESS)
        asked = [scores(recognizer, part.read(arguments.ravdess), (part.task,)) for part in parts]
        others = {place: some for one in asked for place, some in one.items()}
        text += f"\n\n{elsewhere(calibrate(tasks, [place.task for place in others], fitted_on, others))}"
    print(text)
    if arguments.page:
        page = replace_block(arguments.page.read_text(encoding="utf-8"), "calibration", lambda _: text)
        with atomic_file(arguments.page) as file:
            file.write(page.encode())
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
