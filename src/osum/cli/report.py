"""`osum report`: tables, figures and a page from what `osum evaluate` left."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from osum.cli.arguments import Subparsers, log

_EXAMPLES = """\
examples:
  osum report out/ -o report/                    index.html, report.md, tables.tex, figures/
  osum report ours/ theirs/ -o report/           results of several runs in the same tables
  osum report out/ -o report/ --keep results.json --readme README.md
                                                 and what a repository keeps: the figures, small, and its README
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="tables and figures of an evaluation",
        description=run.__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="OUT", help="folder of osum evaluate, or a file like its report.json"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--worst", type=_from_zero, metavar="N", help="errors of each model on each test set in the page (default 10)"
    )
    parser.add_argument("--no-published", action="store_true", help="quote no published figures")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the figures as a small report.json")
    parser.add_argument(
        "--readme",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="write the table between <!-- results --> and <!-- /results -->; may be given several times",
    )
    parser.set_defaults(run=run)


def _from_zero(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number from 0")
    return int(word)


def run(arguments: Namespace) -> int:
    """Write tables (Markdown, LaTeX), figures, and a page that opens offline, with players for the worst errors."""
    from osum.evaluation.report import WORST, keep, read_results, update_readme, write_pages
    from osum.evaluation.sets.catalogue import BENCHMARKS
    from osum.evaluation.sets.published import PUBLISHED

    outs = [Path(path) for path in arguments.paths]
    found = read_results(outs, BENCHMARKS, () if arguments.no_published else PUBLISHED)
    limit = WORST if arguments.worst is None else arguments.worst
    if arguments.keep:
        keep(arguments.keep, found)
    faults: list[Exception] = []
    written = write_pages(found, outs, arguments.out, limit, faults.append)
    for readme in arguments.readme:
        update_readme(readme, found)
    for fault in faults:
        log(f"left out: {fault}")
    print(written)
    return 1 if faults else 0
