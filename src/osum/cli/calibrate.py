"""`osum calibrate`: probabilities that mean something, by one temperature for each label set."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, add_model_options, load_model, log, positive
from osum.cli.options import add_fields
from osum.engine.options import LabelOptions

if TYPE_CHECKING:
    from osum import Recognizer, Utterance
    from osum.evaluation.score.calibrate import Calibrated, ScoredClip, TemperaturePlace

DIAGRAM, FIGURES = "reliability.png", "calibration.json"
_EXAMPLES = """\
examples:
  osum calibrate valid.jsonl -o calibrated/                     nano, measured in folds of speakers
  osum calibrate --model mine/ valid.jsonl --valid test.jsonl -o mine/
                                                                measured on test.jsonl; mine/ gets the temperatures
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        help="make probabilities mean something",
        description=run.__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path, help="clips with known labels, of speakers the model was not trained on")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="calibrated copy; or the model's own folder"
    )
    parser.add_argument("--valid", type=Path, metavar="FILE", help="measure on these clips, of other speakers")
    parser.add_argument("--tasks", default="all", metavar="A,B", help="tasks to calibrate (default all)")
    parser.add_argument(
        "--min-clips", type=positive, metavar="N", help="labelled clips that a label set needs (default 50)"
    )
    add_fields(parser, LabelOptions, "batch_size")
    parser.add_argument("--overwrite", action="store_true", help="replace another checkpoint in DIR")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Fit one temperature for each label set of each task on clips with known labels, and keep them in DIR/tasks.json.
    No label changes, only how sure the model says to be. The error of its probabilities is measured before and after
    on speakers that the temperature was not fitted on: in folds, or on --valid."""
    from osum.checkpoints.locate import locate
    from osum.evaluation.score.calibrate import MIN_CLIPS, calibrate, check_place, save

    checkpoint = locate(arguments.model, arguments.offline, log)
    check_place(checkpoint, arguments.out, arguments.overwrite)
    recognizer = load_model(arguments)
    names = [task.name for task in recognizer.tasks.select(arguments.tasks) if task.label_sets]
    asking = _Asking(recognizer, names, arguments.batch_size)
    scores = asking.scores(arguments.manifest)
    valid = asking.scores(arguments.valid) if arguments.valid else None
    found = calibrate(recognizer.tasks, names, scores, valid, arguments.min_clips or MIN_CLIPS)
    _show(found)
    if not found.fitted:
        log("error: nothing was calibrated: give more clips with labels, or a lower --min-clips")
        return 1
    save(checkpoint, arguments.out, found.tasks, _files(found, recognizer), arguments.overwrite)
    log(f"{arguments.out}: {len(found.fitted)} temperatures from {asking.clips} clips, {asking.failed} left out")
    return 1 if asking.failed else 0


class _Asking:
    """Asks the model about manifests, and reports what cannot be used."""

    def __init__(self, recognizer: Recognizer, names: list[str], batch_size: int) -> None:
        self._recognizer, self._names, self._batch_size = recognizer, names, batch_size
        self.clips = self.failed = 0

    def scores(self, manifest: Path) -> dict[TemperaturePlace, list[ScoredClip]]:
        """The scores of all labelled clips of a manifest."""
        from tqdm import tqdm

        from osum.evaluation.score.calibrate import AskedClip, ask, gathered

        rows = list(self._rows(manifest))

        def good() -> Iterator[AskedClip]:
            asked = ask(self._recognizer, rows, self._names, self._batch_size)
            for one in tqdm(asked, total=len(rows), desc=manifest.name, unit=" clips", disable=None):
                if one.problem is None:
                    self.clips += 1
                    yield one
                else:
                    self._fail(f"{one.clip.id}: {one.problem}")

        return gathered(good())

    def _rows(self, manifest: Path) -> Iterator[Utterance]:
        from osum.corpus.readers import Manifest

        for line in Manifest(manifest, tasks=self._recognizer.tasks):
            if line.utterance is None:
                self._fail(f"{line.place}: {line.fault}")
            else:
                yield line.utterance

    def _fail(self, why: str) -> None:
        self.failed += 1
        log(f"error: {why}")


def _show(found: Calibrated) -> None:
    """A line for each temperature, and one for each label set that was left alone."""
    import sys

    from rich.console import Console
    from rich.table import Table

    from osum.scoring import Score

    def percent(score: Score) -> str:
        return f"{100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})"

    table = Table(caption="After: on speakers the temperature was not fitted on. Intervals are 95 % bootstrap.")
    for head in ("task", "label set"):
        table.add_column(head)
    heads = ("temperature", "clips", "speakers", "measured on", "accuracy %", "calibration error % before", "after")
    for head in (*heads, "-log P before", "after"):
        table.add_column(head, justify="right")
    for one in found.fitted:
        share = sum(hit * size for _, hit, size in one.after.bins) / one.after.error.count
        errors = percent(one.before.error), percent(one.after.error)
        counts = str(one.clips), str(one.speakers), str(one.after.error.count), f"{100 * share:.1f}"
        losses = f"{one.loss_before:.3f}", f"{one.loss_after:.3f}"
        table.add_row(one.task, one.label_set, f"{one.temperature:.2f}", *counts, *errors, *losses)
    if found.fitted:
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(table)
    for left in found.left:
        print(f"{left.task}, {left.label_set}: left alone: {left.why}")


def _files(found: Calibrated, recognizer: Recognizer) -> dict[str, bytes]:
    """The figures, and the diagram where it can be drawn."""
    import json

    from osum.errors import MissingExtraError
    from osum.evaluation.report.plots import reliability_pair
    from osum.records import to_row

    row = {
        "model": recognizer.name,
        "revision": recognizer.revision,
        "dtype": recognizer.dtype,
        "fitted": [to_row(one) for one in found.fitted],
        "left": [to_row(one) for one in found.left],
    }
    files = {FIGURES: json.dumps(row, ensure_ascii=False, indent=1).encode() + b"\n"}
    several = len({one.task for one in found.fitted}) < len(found.fitted)
    names = [f"{one.task} {one.label_set}" if several else one.task for one in found.fitted]
    before = {name: one.before for name, one in zip(names, found.fitted, strict=True)}
    after = {name: one.after for name, one in zip(names, found.fitted, strict=True)}
    try:
        files[DIAGRAM] = reliability_pair(before, after, f"{recognizer.name}, speakers not fitted on")
    except MissingExtraError as fault:
        log(f"no {DIAGRAM}: {fault}")
    return files
