"""`osum evaluate`: models asked about test sets. `osum score`: the answers counted again, without a model."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from osum.cli.arguments import DTYPE_NAMES, DTYPES, Subparsers, add_base, log, one_of
from osum.cli.options import add_fields, made
from osum.evaluation.run.options import RunOptions
from osum.text import did_you_mean

if TYPE_CHECKING:
    from osum.evaluation.run.run import Ran
    from osum.evaluation.score.score import Scored
    from osum.evaluation.sets.benchmark import Benchmark
    from osum.peers.recogniser import Recogniser
    from osum.tasks import TaskSet

_SHOWN = 5
"""Clips that are named on the terminal; the report names more."""
_EXAMPLES = """\
examples:
  osum evaluate --list                                              every benchmark, and what it needs
  osum evaluate --benchmark samples --data . -o results/            the clips that come with osum
  osum evaluate --suite table4 --data corpora/ -o results/ --resume the paper's table, resuming where it stopped
  osum evaluate --model nano --model whisper:openai/whisper-small --benchmark librispeech-test-clean \\
      --data corpora/ -o results/                                   two models, side by side and in pairs
  osum evaluate --model classical --set train=train.jsonl ...       a setting of one back end
  osum evaluate --model runs/mine/best --model majority --set train=data/train.jsonl --data-file data/test.jsonl \\
      -o results/                                                   a test set of one's own, and the floor under it
"""


def register(commands: Subparsers) -> None:
    """Add both commands."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure models on benchmarks, or on a manifest of one's own",
        description=cleandoc(run.__doc__ or ""),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.set_defaults(run=run)
    _add_asked(evaluate)
    _add_models(evaluate)
    _add_output(evaluate)

    score = commands.add_parser("score", help="count predictions again", description=run_score.__doc__)
    score.set_defaults(run=run_score)
    score.add_argument("folders", nargs="*", type=Path, metavar="OUT", help="folders that osum evaluate wrote")
    group = score.add_argument_group("files of the original")
    group.add_argument("--compat", choices=("original",), help="score --hyp against --ref as the original's scripts do")
    group.add_argument("--hyp", type=Path, metavar="FILE", help="its answers: lines of a key and a text with tags")
    group.add_argument("--ref", type=Path, metavar="FILE", help="what is right, in the same form")
    group.add_argument("--task", default="ASR", help="what was asked (default ASR)")


def _add_asked(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is asked")
    group.add_argument("--list", action="store_true", help="show every benchmark and end")
    group.add_argument("--benchmark", type=_names, default=[], metavar="A,B", help="names of benchmarks")
    group.add_argument("--suite", metavar="NAME", help="the benchmarks of a table; --list names them")
    group.add_argument("--data", type=Path, default=Path(), metavar="ROOT", help="holds a folder for each benchmark")
    own = "any manifest, or shards, as a test set for each task that its rows answer; may be given again"
    group.add_argument("--data-file", type=Path, action="append", default=[], metavar="FILE", help=own)
    chosen = "of --data-file: only these, such as PITCH,ASR"
    group.add_argument("--tasks", type=_names, default=[], metavar="A,B", help=chosen)
    known = "of --data-file: what can be asked; without it the tasks of the first checkpoint of ours"
    group.add_argument("--tasks-file", type=Path, metavar="FILE", help=known)
    add_fields(group, RunOptions, "limit")
    prompts = "fixed: one prompt (the default); all: every published prompt of the task, with mean and spread"
    group.add_argument("--prompts", choices=("fixed", "all"), default="fixed", help=prompts)


def _add_models(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who is asked")
    kinds = "nano, a checkpoint folder, owner/name, or another model such as whisper:FOLDER; may be given again"
    group.add_argument("--model", "--peer", dest="models", action="append", metavar="NAME", help=kinds)
    emotion = "names the emotion of replies aloud, for the judge: a model as above"
    group.add_argument("--emotion-by", metavar="NAME", help=emotion)
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps, npu; the best one without it")
    group.add_argument("--dtype", type=one_of("dtype", DTYPES, DTYPE_NAMES), help=", ".join(DTYPES))
    group.add_argument("--offline", action="store_true", help="never fetch anything")
    add_base(group)
    add_fields(group, RunOptions, "batch_size")
    setting = "of a back end; among several models KIND.KEY=VALUE, such as classical.train=train.jsonl"
    group.add_argument("--set", type=_setting, action="append", default=[], metavar="KEY=VALUE", help=setting)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--out", type=Path, metavar="OUT", help="folder of results, of any number of runs")
    add_fields(group, RunOptions, "resume", "retry_failed", "overwrite", "seed")


def _names(word: str) -> list[str]:
    return [name for name in (part.strip() for part in word.split(",")) if name]


def _setting(word: str) -> tuple[str, str]:
    key, found, value = word.partition("=")
    if not found or not key:
        raise ArgumentTypeError(f"{word!r} is no setting: write KEY=VALUE, such as train=train.jsonl")
    return key, value


def run(arguments: Namespace) -> int:
    """Ask models about test sets, keep every answer in OUT/MODEL/BENCHMARK.jsonl, count them into OUT/report.json,
    and show the figures with their 95 % intervals. What cannot be run is reported and left out; exit code 1 then."""
    from osum.cli.figures import show_benchmarks
    from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES

    if arguments.list:
        show_benchmarks(BENCHMARKS, SUITES)
        return 0
    faults = _Faults()
    asked = _asked(arguments, faults)
    _check_output(arguments)
    try:
        for model in arguments.models or ["nano"]:
            _run_model(arguments, model, asked, faults)
    finally:
        # Also of a run that is interrupted: what was answered is counted.
        scored = _count(arguments.out, faults)
    _show([one for one in scored if (one.benchmark.name, one.asked.model) in faults.run])
    return faults.code


class _Faults:
    """What went wrong, reported as it comes."""

    def __init__(self) -> None:
        self.code = 0
        self.run: set[tuple[str, str]] = set()
        """Benchmarks and models that were run, to the end or not."""
        self.models: dict[str, str] = {}
        """Names of models, and what they were opened by."""

    def __call__(self, fault: object) -> None:
        log(f"error: {fault}")
        self.code = 1


class _Asked(NamedTuple):
    """What every model is asked."""

    benchmarks: Sequence[Benchmark]
    named: Collection[str]
    """Those that were asked for by name."""
    tasks: TaskSet
    """What can be asked."""


def _asked(arguments: Namespace, faults: _Faults) -> _Asked:
    """The benchmarks that are asked for, each once, those of the catalogue first."""
    from osum.errors import UsageError
    from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES
    from osum.tasks import OSUM

    names = [*arguments.benchmark]
    if arguments.suite is not None:
        names += SUITES[_known(arguments.suite, SUITES, "suite")]
    if not (names or arguments.data_file):
        raise UsageError(
            "no benchmark: give --benchmark NAME or --suite NAME, which osum evaluate --list shows, or --data-file FILE"
        )
    found = [BENCHMARKS[_known(name, BENCHMARKS, "benchmark")] for name in dict.fromkeys(names)]
    if not arguments.data_file:
        if arguments.tasks or arguments.tasks_file:
            raise UsageError("--tasks and --tasks-file are about a manifest: give --data-file FILE with them")
        return _Asked(found, {*arguments.benchmark}, OSUM)
    tasks = _tasks(arguments)
    own = _own_sets(arguments, tasks, faults)
    named = {*arguments.benchmark, *(one.name for one in own if arguments.tasks)}
    return _Asked([*found, *own], named, tasks)


def _tasks(arguments: Namespace) -> TaskSet:
    """What a manifest is read by: the file that is given, else what the first checkpoint of ours carries."""
    from osum.checkpoints.locate import locate, read_tasks
    from osum.peers import is_ours
    from osum.tasks import OSUM, TaskSet

    if arguments.tasks_file:
        return TaskSet.load(arguments.tasks_file)
    ours = next((name for name in arguments.models or ["nano"] if is_ours(name)), None)
    return read_tasks(locate(ours, offline=arguments.offline, notice=log)) if ours else OSUM


def _own_sets(arguments: Namespace, tasks: TaskSet, faults: _Faults) -> list[Benchmark]:
    """The test sets of the manifests that are given."""
    from osum.errors import InputError
    from osum.evaluation.sets.data_file import read_data_file, sets_of

    found: dict[str, Benchmark] = {}
    for path in arguments.data_file:
        file = read_data_file(path, tasks)
        for one in sets_of(file, tasks, arguments.tasks):
            if one.name in found:
                raise InputError(
                    f"two data files are named {file.name!r}: rename one, or evaluate them into two folders (-o)"
                )
            found[one.name] = one
        for fault in file.faults[:_SHOWN]:
            faults(fault)
        if len(file.faults) > _SHOWN:
            faults(f"{path}: {len(file.faults) - _SHOWN} more faults: osum data validate shows them")
    return list(found.values())


def _known(name: str, known: Iterable[str], what: str) -> str:
    from osum.errors import UsageError

    names = list(known)
    if name not in names:
        hint = did_you_mean(name, names) or f"use one of {', '.join(names)}; "
        raise UsageError(f"unknown {what} {name!r}: {hint}osum evaluate --list shows all")
    return name


def _check_output(arguments: Namespace) -> None:
    from osum.errors import UsageError

    if arguments.out is None:
        raise UsageError("no place for results: give -o FOLDER")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UsageError(f"{arguments.out} is a file: give the folder of results")
    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume keeps what is there and --overwrite drops it: give one of them")
    if arguments.retry_failed and not arguments.resume:
        raise UsageError("--retry-failed is about an earlier run: give --resume with it")


def _run_model(arguments: Namespace, name: str, asked: _Asked, faults: _Faults) -> None:
    """One model on every benchmark; what cannot be run costs the others nothing."""
    from osum.errors import OsumError, UsageError
    from osum.peers import open_recogniser
    from osum.peers.recogniser import Options
    from osum.peers.talking import WithEmotion

    how = arguments.device, arguments.dtype, arguments.batch_size, dict(arguments.set), asked.tasks
    options = Options(*how, offline=arguments.offline, base=arguments.base)
    try:
        recogniser = open_recogniser(name, options, arguments.models or ())
        if arguments.emotion_by:
            recogniser = WithEmotion(recogniser, open_recogniser(arguments.emotion_by, replace(options, extra={})))
    except UsageError:
        raise
    except (OsumError, OSError) as fault:
        faults(fault)
        return
    if (first := faults.models.setdefault(recogniser.name, name)) != name:
        faults(f"{first} and {name} are both {recogniser.name!r} in a report: give each a folder (-o)")
        return
    for benchmark in _answered(recogniser, asked, faults):
        try:
            _run_one(arguments, benchmark, recogniser, faults)
        except (OsumError, OSError) as fault:
            faults(fault)


def _answered(recogniser: Recogniser, asked: _Asked, faults: _Faults) -> list[Benchmark]:
    """Those that a model answers. Others are a fault where they were asked for by name, and else a note."""
    from osum.errors import TaskError
    from osum.evaluation.run.run import check_answers

    answered = []
    left: dict[tuple[str, bool], list[str]] = {}
    for benchmark in asked.benchmarks:
        try:
            check_answers(recogniser, benchmark)
            answered.append(benchmark)
        except TaskError as fault:
            left.setdefault((str(fault), benchmark.name in asked.named), []).append(benchmark.name)
    for (why, is_named), names in left.items():
        missing = f"{why}; left out: {', '.join(names)}"
        if is_named:
            faults(missing)
        else:
            log(f"note: {missing}")
    return answered


def _run_one(arguments: Namespace, benchmark: Benchmark, recogniser: Recogniser, faults: _Faults) -> None:
    from tqdm import tqdm

    from osum.evaluation.run.run import Run

    if arguments.prompts == "all" and not recogniser.prompts(benchmark.task):
        log(f"note: {recogniser.name} takes no prompts, so {benchmark.name} is asked once")
    options = made(RunOptions, arguments, all_prompts=arguments.prompts == "all")
    asked = Run(benchmark, arguments.data, recogniser, arguments.out, options)
    name = f"{recogniser.name} on {benchmark.name}"
    with tqdm(desc=name, unit="clip", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(done: int, total: int) -> None:
            faults.run.add((benchmark.name, recogniser.name))
            bar.total = total
            bar.update(done - bar.n)

        found = asked.go(progress)
    _log_run(name, found, faults)


def _log_run(name: str, found: Ran, faults: _Faults) -> None:
    log(f"{name}: {found.answers} answers in {found.path}")
    for why, ids in found.faulty.items():
        faults(f"{name}: {_clips(len(ids))} left out, {why}: {_some(ids)}")
    if found.failed:
        first = next(iter(found.failed.values()))
        faults(f"{name}: {_clips(len(found.failed))} without an answer, so wrong: {_some(found.failed)} ({first})")


def _clips(count: int) -> str:
    return f"{count} clip" if count == 1 else f"{count} clips"


def _some(ids: Iterable[str]) -> str:
    named = list(ids)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more


def run_score(arguments: Namespace) -> int:
    """Count the predictions of a folder of results again, without a model, and write its report.json. Of several
    folders, models are compared in pairs on the clips they share."""
    from osum.errors import UsageError
    from osum.evaluation.sets.catalogue import BENCHMARKS

    if arguments.compat:
        return _score_original(arguments)
    if arguments.hyp or arguments.ref:
        raise UsageError("--hyp and --ref are files of the original: give --compat original with them")
    if not arguments.folders:
        raise UsageError("nothing to score: give the -o of osum evaluate")
    faults = _Faults()
    folders = list(dict.fromkeys(arguments.folders))
    shown: list[Scored] = []
    for folder, name in zip(folders, _distinct_names(folders), strict=True):
        found = _count(folder, faults)
        if not found:
            faults(f"{folder} holds no predictions that can be counted: give the -o of osum evaluate")
        # Two folders may hold two models of one name.
        shown += [one.renamed(f"{name}/{one.asked.model}") for one in found] if len(folders) > 1 else found
    places = {name: at for at, name in enumerate(BENCHMARKS)}
    _show(sorted(shown, key=lambda one: (places.get(one.benchmark.name, len(places)), one.benchmark.name)))
    return faults.code


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """The folders' last names where they differ, else the whole ones."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(map(str, folders))


def _show(scored: Sequence[Scored]) -> None:
    from osum.cli.figures import show_comparisons, show_results
    from osum.evaluation.score.score import report_of

    if not scored:
        return
    report = report_of(scored)
    show_results(report.results)
    show_comparisons(report.comparisons)
    for one in report.results:
        if one.run["answers"] < one.run["wanted"]:
            log(
                f"note: {one.model} on {one.benchmark} is not finished, {one.run['answers']} of {one.run['wanted']} "
                "answers: continue with osum evaluate --resume"
            )


def _score_original(arguments: Namespace) -> int:
    from osum.errors import UsageError
    from osum.evaluation.score.original import score_original
    from osum.tasks import RELEASE

    if arguments.hyp is None or arguments.ref is None or arguments.folders:
        raise UsageError("--compat original reads two files: give --hyp FILE and --ref FILE, and no folder")
    found = score_original(arguments.ref, arguments.hyp, bool(RELEASE.find(arguments.task).label_sets))
    counts = f"{found.errors} errors, {found.units} units, {found.utterances} utterances"
    print(f"error rate {found.error_rate:.2f} %  ({counts})")
    if found.accuracy is not None:
        print(f"accuracy   {found.accuracy:.2f} %  ({found.right} of {found.asked} first tags)")
    return 0


def _count(out: Path, faults: _Faults) -> list[Scored]:
    """Count a folder of results and write its report, where there is anything in it."""
    from osum.evaluation.score.result import REPORT, write_report
    from osum.evaluation.score.score import report_of, score_folder
    from osum.evaluation.sets.catalogue import BENCHMARKS
    from osum.files import locked

    if not out.is_dir():
        return []
    with locked(out / f".{REPORT}.lock"):  # of runs that share a folder the last one counts all
        scored = score_folder(out, BENCHMARKS, faults)
        if scored:
            write_report(out / REPORT, report_of(scored))
            log(f"figures in {out / REPORT}")
    return scored
