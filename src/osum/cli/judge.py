"""`osum judge`: replies scored by a language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Meta

from osum.cli.arguments import Subparsers, log, number, positive
from osum.cli.options import add_field, add_fields, made
from osum.evaluation.judge.settings import JudgeSettings
from osum.peers.language_model import ENDPOINT_VARIABLE, Endpoint

if TYPE_CHECKING:
    from osum.evaluation.judge.judgement import ModelJudgement, Verdict
    from osum.peers.budget import Prices
    from osum.peers.language_model import Usage

_SHOWN = 5
"""Clips without a verdict that are named on the terminal; the file names all."""
_EXAMPLES = """\
the key, where the endpoint wants one, is read from the environment: OSUM_LLM_KEY
what is cut off, or has no verdict, continues with the same command

examples:
  osum judge runs/nano/air-bench-chat-speech.jsonl --endpoint http://127.0.0.1:8000/v1 --judge MODEL
  osum judge runs/a/chat.jsonl --against runs/b/chat.jsonl --judge MODEL -o a-b.json   which of two is better
  osum judge runs/nano/chat.jsonl --judge MODEL --price-in 2.5 --price-out 10 --max-cost 5
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "judge",
        help="score replies by a language model",
        description=run.__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS.jsonl", help="as osum evaluate writes them")
    parser.add_argument("--against", type=Path, metavar="OTHER.jsonl", help="of another model: which reply is better")
    parser.add_argument("--no-reference", action="store_true", help="judge replies alone where there are references")
    help_of_out = "verdicts and score, as JSON; next to the predictions without it, where osum score finds them"
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help=help_of_out)
    parser.add_argument("--overwrite", action="store_true", help="replace FILE, whatever it is")
    _add_endpoint(parser)
    _add_cost(parser)


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("endpoint")
    group.add_argument(
        "--endpoint", metavar="URL", help=f"base address; the environment's {ENDPOINT_VARIABLE} without it"
    )
    add_field(group, JudgeSettings, "model", "--judge", metavar="MODEL")
    add_fields(group, JudgeSettings, "language")
    add_field(group, JudgeSettings, "seed", required=False, default=0)
    add_field(group, JudgeSettings, "temperature", required=False, default=0.0)
    add_field(group, JudgeSettings, "max_tokens", required=False, default=1024)
    group.add_argument("--concurrency", type=positive, default=4, metavar="N", help="questions at a time (4)")
    add_fields(group, Endpoint, "timeout", "tries")
    group.add_argument("--cache", type=Path, metavar="DIR", help="answers so far; judge-cache next to FILE without it")


def _add_cost(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cost", "in any one currency; prices are those of a million tokens")
    group.add_argument("--price-in", type=_amount, metavar="P", help="of what is sent")
    group.add_argument("--price-out", type=_amount, metavar="P", help="of what is answered")
    group.add_argument("--max-cost", type=_amount, metavar="C", help="the most that this run may spend")


_amount = number(float, Meta(ge=0))


def run(arguments: Namespace) -> int:
    """Score a model's replies by a language model, or find which of two models replies better."""
    from tqdm import tqdm

    from osum.evaluation.judge.judge import judgement_of, read_replies, trial_of, verdicts_on
    from osum.evaluation.judge.judgement import write_judgement
    from osum.peers.language_model import LanguageModel

    out, prices = arguments.out or _place(arguments), _prices(arguments)
    predictions = read_replies(arguments.predictions)
    against = read_replies(arguments.against) if arguments.against else None
    judge = made(JudgeSettings, arguments)
    trial = trial_of(predictions, judge, against, with_reference=not arguments.no_reference)
    cache = arguments.cache or out.parent / "judge-cache"
    verdicts: list[Verdict] = []
    with LanguageModel(
        _endpoint(arguments), judge.model, cache=cache, prices=prices, max_cost=arguments.max_cost
    ) as model:
        if _is_free(out, trial.asked, arguments.overwrite):  # a place that cannot be written is found before it costs
            write_judgement(out, judgement_of(trial, [], prices))
        try:
            for verdict in tqdm(
                verdicts_on(trial, model, arguments.concurrency), total=len(trial.cases), unit=" clips", disable=None
            ):
                verdicts.append(verdict)
        finally:  # an interrupted run keeps what it has
            judgement = judgement_of(trial, verdicts, prices)
            write_judgement(out, judgement)
    _log_cost(judgement, model.usage, prices)
    return _log_result(judgement, out)


def _place(arguments: Namespace) -> Path:
    from osum.errors import UsageError
    from osum.evaluation.judge.judgement import judgement_path

    if arguments.against:
        raise UsageError("a preference belongs to no one model: give -o FILE with --against")
    return judgement_path(arguments.predictions)


def _is_free(path: Path, asked: str, overwrite: bool) -> bool:
    """Whether a new file is to be begun; one of the same questions is continued."""
    from osum.errors import InputError
    from osum.evaluation.judge.judgement import read_judgement

    if overwrite or not path.exists():
        return True
    if read_judgement(path).asked != asked:
        raise InputError(f"{path} holds verdicts on other replies or of another judge: give another -o, or --overwrite")
    return False


def _endpoint(arguments: Namespace) -> Endpoint:
    from osum.errors import UsageError

    url = arguments.endpoint or os.environ.get(ENDPOINT_VARIABLE, "")
    if not url:
        raise UsageError(f"there is no endpoint: give --endpoint http://HOST/v1, or set {ENDPOINT_VARIABLE}")
    return Endpoint.from_environment(url, timeout=arguments.timeout, tries=arguments.tries)


def _prices(arguments: Namespace) -> Prices | None:
    from osum.errors import UsageError
    from osum.peers.budget import Prices

    given = arguments.price_in, arguments.price_out
    if given == (None, None):
        return None
    if None in given:
        raise UsageError("one price is given: --price-in and --price-out go together")
    return Prices(*given)


def _log_cost(judgement: ModelJudgement, usage: Usage, prices: Prices | None) -> None:
    cost = judgement.cost
    tokens = f"{cost.prompt_tokens} tokens sent, {cost.completion_tokens} answered"
    amount = "" if cost.amount is None else f", {cost.amount:.4f} in all"
    spent = "" if prices is None else f" for {prices.of(usage.prompt_tokens, usage.completion_tokens):.4f}"
    log(
        f"{cost.answers} answers, {tokens}{amount}; this run: {usage.calls} calls{spent}, {usage.cached} from the cache"
    )
    if usage.uncounted:
        log(f"warning: the server did not count the tokens of {usage.uncounted} answers: they are in no sum")
    if judgement.dropped:
        log(f"warning: the server did not take {', '.join(judgement.dropped)}: it was asked without")


def _log_result(judgement: ModelJudgement, out: Path) -> int:
    """The score on standard output, what is missing on standard error; returns the exit code."""
    score, left = judgement.score, judgement.left
    sides = {"preference": f" against {judgement.against}", "reference": " next to the reference"}
    held = sides.get(judgement.mode, "")
    print(f"{judgement.model} on {judgement.benchmark}{held}, judged by {judgement.judge.model}:")
    value = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]" if score.count else "no figure"
    print(f"  {value}, {score.count} of {len(judgement.verdicts)} replies")
    shown = {"other": "mean of the other", "better": "better", "ties": "ties", "worse": "worse"}
    shown |= {"order_changed": "changed by the order", "first_gain": "gained by coming first"}
    parts = [f"{title} {score.detail[name]:.3f}" for name, title in shown.items() if name in score.detail]
    if parts:
        print(f"  {', '.join(parts)}")
    for verdict in left[:_SHOWN]:
        log(f"error: {verdict.id}: {verdict.state}: {verdict.problem}")
    if left:
        log(f"{len(left)} replies have no verdict, {out} names them all; the same command continues")
    return 1 if left else 0
