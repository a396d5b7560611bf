"""`osum pipeline`: a plan of steps over a corpus, and the card of what it made."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osum.cli.arguments import Parser, Subparsers, log, one_of, positive
from osum.cli.options import add_field, add_fields, made
from osum.pipeline.export_options import ExportOptions

if TYPE_CHECKING:
    from osum.pipeline.run import Progress, Runner

_EXAMPLES = """\
examples:
  osum pipeline run pipelines/asr.yaml --data recordings/ --out corpus/      or resume where a run stopped
  osum pipeline run pipelines/asr.yaml --data in.jsonl --out corpus/ --set vote.agree=0.8
  osum pipeline run pipelines/asr.yaml --data in.jsonl --out corpus/ --ray auto
  osum pipeline card corpus/                                                 corpus/README.md
  osum pipeline steps                                                        every step, with its options
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "pipeline",
        help="raw sound to a labelled, documented corpus",
        description="Run a plan of steps over a corpus, on one machine or on Ray.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    acts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    _add_run(acts)
    card = acts.add_parser("card", help="write the card of a finished run", description=run_card.__doc__)
    card.add_argument("out", type=Path, metavar="OUT", help="folder of a finished run")
    card.set_defaults(run=run_card)
    _add_export(acts)
    _add_seeds(acts)
    _add_agreement(acts)
    steps = acts.add_parser("steps", help="every step, with its options", description=run_steps.__doc__)
    steps.set_defaults(run=run_steps)


def _add_export(acts: Subparsers) -> None:
    parser = acts.add_parser("export", help="a corpus in another form", description=run_export.__doc__)
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="OUT/corpus of a run, or any manifest")
    parser.add_argument("to", type=Path, metavar="TO", help="a new folder; a file for dialogues")
    forms = ("dialogues", "lhotse", "parquet", "original-raw", "original-shard", "original-combine", "label-studio")
    parser.add_argument("--form", required=True, type=one_of("form", forms), help=", ".join(forms))
    add_fields(parser, ExportOptions, "task")
    add_field(parser, ExportOptions, "url", metavar="URL")
    parser.set_defaults(run=run_export)


def _add_seeds(acts: Subparsers) -> None:
    parser = acts.add_parser("seeds", help="draw seeds of dialogues", description=run_seeds.__doc__)
    parser.add_argument("out", type=Path, metavar="FILE.jsonl", help="file to write")
    parser.add_argument("--count", type=positive, default=200, metavar="N", help="seeds (200)")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other dialogues (0)")
    parser.set_defaults(run=run_seeds)


def _add_agreement(acts: Subparsers) -> None:
    parser = acts.add_parser("agreement", help="how far votes agree, and are right", description=run_agreement.__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of a finished run")
    parser.add_argument("field", metavar="FIELD", help="text, language, words, or the name of a label set")
    parser.add_argument("--truth", type=Path, metavar="MANIFEST", help="rows of the same ids with true labels")
    parser.set_defaults(run=run_agreement)


def _add_run(acts: Subparsers) -> None:
    parser = acts.add_parser("run", help="run a plan, or resume it", description=run_plan.__doc__)
    parser.add_argument("plan", type=Path, metavar="PLAN.yaml", help="the steps, such as those in pipelines/")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH", help="manifests or folders")
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--from", dest="form", metavar="FORM", help="of the manifests; found out without it")
    changes = "an option of every step of a name; wins over the plan"
    parser.add_argument("--set", action="append", default=[], metavar="STEP.OPTION=VALUE", help=changes)
    parser.add_argument("--ray", metavar="ADDRESS", help="run on Ray: auto, local, or ray://HOST:PORT")
    kept = "where answers of models are kept, to be shared by runs (DIR/answers)"
    parser.add_argument("--answers", type=Path, metavar="DIR", help=kept)
    parser.set_defaults(run=run_plan)


def run_plan(arguments: Namespace) -> int:
    """Run a plan over a corpus, or resume it: what is there and has not changed is not done again.

    Writes OUT/corpus (the rows), OUT/report.html (what each step kept and left out) and OUT/README.md (the card).
    """
    from osum.pipeline.card import write_card
    from osum.pipeline.page import write_page
    from osum.pipeline.plan import read_plan
    from osum.pipeline.run import run
    from osum.pipeline.source import lines_of

    plan = read_plan(arguments.plan, arguments.set)
    lines = lines_of(arguments.data, arguments.form)
    with _Bar() as bar:
        try:
            summary = run(plan, lines, arguments.out, _runner(arguments), bar.show, arguments.answers)
        except BaseException:
            bar.log_missing()
            raise
    page, card = write_page(arguments.out, summary), write_card(arguments.out)
    for name, tally in summary.steps:
        for reason, count in sorted(tally.dropped.items(), key=lambda pair: -pair[1]):
            log(f"{name} left out {count} of {tally.rows_in}: {reason}")
    log(f"{arguments.out}: {summary.kept.rows_out} rows, {page.name} and {card.name} written")
    faulty = summary.faulty(plan.max_faults)
    for name in faulty:
        log(f"error: {name} failed at more than {plan.max_faults:.0%} of its rows: {page} shows at which")
    return 1 if faulty else 0


def _runner(arguments: Namespace) -> Runner | None:
    from osum.pipeline.on_ray import OnRay

    return None if arguments.ray is None else OnRay(arguments.ray)


class _Bar:
    """A bar of units on standard error, with the rest of the time."""

    def __init__(self) -> None:
        from tqdm import tqdm

        form = "{desc}: {n_fmt}/{total_fmt} units{bar}{postfix}"
        self._bar: Any = tqdm(total=1, disable=None, bar_format=form, file=sys.stderr)
        self._last: Progress | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: Progress) -> None:
        """One more unit."""
        from tqdm import tqdm

        self._last = progress
        self._bar.total = progress.total
        self._bar.set_description_str(progress.step, refresh=False)
        left = "" if progress.remaining is None else f"{tqdm.format_interval(progress.remaining)} left"
        self._bar.set_postfix_str(left, refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def log_missing(self) -> None:
        """What a run that stops early has done, and that it can be resumed."""
        if self._last is not None and self._last.done < self._last.total:
            done, total = self._last.done, self._last.total
            log(f"stopped in {self._last.step}: {done} of {total} units are kept; the same command continues")


def run_card(arguments: Namespace) -> int:
    """Write OUT/README.md of a finished run: hours, speakers, labels and their origin, licences, filters, the plan."""
    from osum.pipeline.card import write_card

    print(write_card(arguments.out))
    return 0


def run_export(arguments: Namespace) -> int:
    """Write a corpus as dialogues, lhotse cuts, Parquet, the original's forms or Label Studio tasks.

    Tars with an index, as WebDataset reads them, are those of osum data shard.
    """
    from osum.pipeline.exports import export

    count = export(arguments.corpus, arguments.form, arguments.to, made(ExportOptions, arguments))
    log(f"{arguments.to}: {count} rows")
    return 0


def run_seeds(arguments: Namespace) -> int:
    """Draw topics, personas and cues, from which the step write_dialogue makes dialogues."""
    from osum.files import atomic_file
    from osum.pipeline.steps.empathy import seeds
    from osum.text import to_json

    with atomic_file(arguments.out) as file:
        for row in seeds(arguments.count, arguments.language, arguments.seed):
            file.write((to_json(row.to_dict()) + "\n").encode())
    log(f"{arguments.out}: {arguments.count} seeds")
    return 0


def run_agreement(arguments: Namespace) -> int:
    """Report kappa of each pair of voters on a field and, with a truth, precision and yield at each threshold."""
    from osum.pipeline.agreement import agreement

    for line in agreement(arguments.out, arguments.field, arguments.truth):
        print(line)
    return 0


def run_steps(_: Namespace) -> int:
    """List every step with what it does and its options."""
    from dataclasses import MISSING, fields

    from osum.pipeline.plan import STEPS

    for name, step in sorted(STEPS.items()):
        print(f"{name}  {step.about}")
        for item in fields(step.options):
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            print(f"    {item.name}: {'(needed)' if default is MISSING else default!r}")
    return 0
