"""`osum rate`: replies graded by people, blind."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from osum.cli.arguments import Subparsers, log

_EXAMPLES = """\
examples:
  osum rate sheet runs/a/echat-eval-emotion.jsonl runs/b/echat-eval-emotion.jsonl -o sheet   page and key
  osum rate score sheet ratings-anna.json ratings-ben.json                                   points and agreement
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rate",
        help="have people grade replies, blind",
        description="Write a blind page with replies to grade, and count what raters saved.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    sheet = verbs.add_parser("sheet", help="write the page and its key", description=run_sheet.__doc__)
    sheet.set_defaults(run=run_sheet)
    sheet.add_argument("predictions", type=Path, nargs="+", metavar="PREDICTIONS.jsonl", help="as osum evaluate writes")
    sheet.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of the page and its key")
    sheet.add_argument("--seed", type=int, default=0, metavar="N", help="of the order (default 0)")
    score = verbs.add_parser("score", help="count what raters saved", description=run_score.__doc__)
    score.set_defaults(run=run_score)
    score.add_argument("sheet", type=Path, metavar="DIR", help="folder of the key")
    score.add_argument("ratings", type=Path, nargs="+", metavar="RATINGS.json", help="one file of each rater")


def run_sheet(arguments: Namespace) -> int:
    """Write a page on which people grade replies without knowing the model, and the key, which stays with you."""
    from osum.evaluation.judge.judge import read_replies
    from osum.evaluation.report.ratings import KEY, PAGE, write_sheet

    predictions = [each for path in arguments.predictions for each in read_replies(path)]
    key = write_sheet(predictions, arguments.out, arguments.seed)
    left = len(predictions) - len(key.items)
    without = f", {left} predictions without a reply left out" if left else ""
    log(f"{len(key.items)} replies{without}; give raters {arguments.out / PAGE}, keep {arguments.out / KEY}")
    return 0


def run_score(arguments: Namespace) -> int:
    """Points from 0 to 100 of each model and test set, and how far the raters agree."""
    from osum.evaluation.report.ratings import rated, read_key, read_ratings
    from osum.text import markdown_table

    key = read_key(arguments.sheet)
    found = rated(key, [read_ratings(path, key) for path in arguments.ratings])
    rows = [
        [model, benchmark, f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]" if score.count else "no figure",
         str(score.count)]
        for (model, benchmark), score in found.scores.items()
    ]  # fmt: skip
    print(markdown_table(["model", "test set", "points of 100", "replies"], rows))
    alphas = ", ".join(f"{name} {alpha:.2f}" for name, alpha in found.agreement.items())
    print(f"agreement of {len(found.raters)} raters (Krippendorff's alpha; 1 full, 0 chance): {alphas}")
    if found.missing:
        log(f"{found.missing} of {len(key.items)} replies were graded whole by nobody")
    return 0
