"""`osum label` and `osum transcribe`: recordings in, answers out."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from osum.cli.arguments import (
    Subparsers,
    add_model_options,
    load_model,
    log,
    one_of,
)
from osum.cli.options import add_field, add_fields, add_generation_options, generation, made
from osum.engine.options import LabelOptions
from osum.results.subtitle_options import SubtitleOptions

if TYPE_CHECKING:
    from osum import Utterance
    from osum.cli.inputs import ChannelChoice, Inputs
    from osum.cli.outputs import FailedList, OutputPlace, Rows, Target
    from osum.cli.tally import RunTally
    from osum.corpus.share import Share
    from osum.listening.transcripts import Transcriber
    from osum.tasks import TaskSet

FORMATS = ("table", "json", "jsonl", "txt", "srt", "vtt", "tsv", "textgrid", "ctm", "audacity", "parquet", "all")
"""Spelled here as well, since help must not import what knows them; a test compares."""
TIMED_FORMATS = ("textgrid", "ctm")
"""Formats that are of little use without word times."""
CORES_PER_READER = 4
"""Processes that read are one for so many cores, unless --num-workers says how many."""


def register(commands: Subparsers) -> None:
    """Add both commands."""
    label = commands.add_parser("label", help="answer every task about recordings", description=run.__doc__)
    _add_inputs(label)
    asked = label.add_argument_group("what is asked")
    asked.add_argument("--tasks", default="all", help="all, or names with commas, such as SER,gender (see osum tasks)")
    add_fields(asked, LabelOptions, "transcript")
    others = "who writes the transcripts behind which labels are scored: any model of osum evaluate, whisper:FOLDER ..."
    asked.add_argument("--transcriber", metavar="NAME", help=others)
    _add_common(label, asked)
    label.set_defaults(run=run, folder_format="json", word_times=False)

    transcribe = commands.add_parser("transcribe", help="speech to text", description=run_transcribe.__doc__)
    _add_inputs(transcribe)
    asked = transcribe.add_argument_group("what is asked")
    add_field(asked, LabelOptions, "word_times", "--word-timestamps", **_TRUTH)
    asked.add_argument("--task", type=_transcribe_only, default="transcribe", help=argparse.SUPPRESS)
    _add_common(transcribe, asked)
    transcribe.set_defaults(run=run_transcribe, folder_format="txt", transcript="decoded", transcriber=None)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="file, folder, glob, manifest .jsonl, - for stdin")
    group = parser.add_argument_group("input")
    group.add_argument("--files-from", metavar="FILE", help="read more PATHs from a file, one per line")
    group.add_argument("--channel", type=_channel, metavar="{mix,each,N}", help="mix of all, each alone, or one from 0")


def _add_common(parser: argparse.ArgumentParser, asked: argparse._ArgumentGroup) -> None:
    asked.add_argument("--language", type=_auto_only, help=argparse.SUPPRESS)
    add_fields(asked, LabelOptions, "min_confidence", "prompt_language")
    group = parser.add_argument_group("output")
    formats: dict[str, Any] = {"type": one_of("format", FORMATS), "metavar": "FORMAT", "help": ", ".join(FORMATS)}
    group.add_argument("-f", "--format", "--output-format", dest="format", **formats)
    out = "a name with a known suffix is one file for all, any other a folder"
    group.add_argument("-o", "--output", "--output-dir", dest="out", metavar="OUT", help=out)
    group.add_argument("--overwrite", action="store_true", help="replace results that are there")
    group.add_argument("--dry-run", action="store_true", help="show what would be read and written, load no model")
    group.add_argument("--resume", action="store_true", help="continue an -o FILE.jsonl or FILE.parquet")
    group.add_argument("--retry-failed", action="store_true", help="with --resume: ask again what failed")
    group.add_argument("--changed", action="store_true", help="with --resume: answer again what changed since")
    group.add_argument("--shard", type=_shard, metavar="I/N", help="only one of N parts of the input, from 0/N on")
    group.add_argument("--quiet", action="store_true", help="no progress, warnings or summary; errors still show")
    _add_subtitles(parser)
    add_model_options(parser)
    add_fields(parser, LabelOptions, "batch_size", "vad")
    workers = (
        f"processes that read ahead, by default one for {CORES_PER_READER} cores; 0: none, a broken decoder ends all"
    )
    add_field(parser, LabelOptions, "num_workers", default=None, help=workers)
    add_generation_options(parser)


def _add_subtitles(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("subtitles (srt, vtt)")
    add_fields(group, SubtitleOptions, "max_line_width", "max_line_count", "max_words_per_line")
    add_field(group, SubtitleOptions, "min_cue_seconds", "--min-cue-length")
    add_field(group, SubtitleOptions, "max_characters_per_second", "--max-reading-speed")
    add_field(group, SubtitleOptions, "highlight_words", **_TRUTH)


def _channel(word: str) -> ChannelChoice:
    if word == "mix":
        return "mix"
    if word == "each":
        return "each"
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no channel: use mix, each, or a number from 0")
    return int(word)


def _shard(word: str) -> Share:
    from osum.corpus.share import Share
    from osum.errors import InputError

    try:
        return Share.parse(word)
    except InputError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def _truth(word: str) -> bool:
    """Whisper's `--word_timestamps True`."""
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{word!r}: use True or False")
    return word.lower() == "true"


_TRUTH: dict[str, Any] = {"type": _truth, "nargs": "?", "const": True, "action": "store"}
"""Of an option that is on by its name alone, or by Whisper's `--word_timestamps True`."""


def _transcribe_only(word: str) -> str:
    if word != "transcribe":
        raise argparse.ArgumentTypeError(f"{word!r}: osum does not translate; leave it out")
    return word


def _auto_only(word: str) -> str:
    """Whisper's `--language`: no checkpoint was taught to follow a language that it is given."""
    if word.lower() not in ("auto", "none"):
        raise argparse.ArgumentTypeError(f"{word!r}: osum recognises the language by itself; leave it out")
    return word


def run(arguments: Namespace) -> int:
    """Answer every task about recordings: transcript, word times, event, emotion, style, gender, age, reply,
    language. Text comes in lower case without punctuation; speakers are not distinguished."""
    return _run(arguments, arguments.tasks)


def run_transcribe(arguments: Namespace) -> int:
    """Write down what is said, in lower case and without punctuation. The text goes to standard output."""
    if arguments.format is None and arguments.out is None:
        arguments.format = "txt"
    arguments.word_times |= arguments.format in TIMED_FORMATS or _subtitles(arguments).needs_words
    return _run(arguments, "ASR")


def _run(arguments: Namespace, tasks: str) -> int:
    from osum.cli.inputs import collected
    from osum.cli.outputs import TABLE, target_of
    from osum.errors import InputError, UsageError

    if arguments.format == TABLE and arguments.out is not None:
        raise UsageError(f"-f {TABLE} is for the terminal: leave out -o, or choose another format")
    place = _place(arguments)
    if arguments.max_line_count and not (arguments.max_line_width or arguments.max_words_per_line or arguments.quiet):
        log("note: --max-line-count changes nothing without --max-line-width or --max-words-per-line")
    with collected(_given(arguments), arguments.channel) as inputs:
        if not inputs.items:
            raise InputError(f"no rows in {', '.join(arguments.paths)}: give a manifest that has some")
        target = target_of(place, inputs.items)
        if place.shard is not None:
            inputs.keep(place.holds)
        if arguments.dry_run:
            _check_asked(arguments, tasks)
            return _show_plan(inputs, target)
        target.prepare()
        return _answer(arguments, tasks, inputs, target)


def _place(arguments: Namespace) -> OutputPlace:
    from osum.cli.inputs import STDIN
    from osum.cli.outputs import OutputPlace
    from osum.errors import UsageError

    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume keeps what is there and --overwrite drops it: give one of them")
    for name in ("retry_failed", "changed"):
        if getattr(arguments, name) and not arguments.resume:
            raise UsageError(f"--{name.replace('_', '-')} is about an earlier run: give --resume with it")
    if arguments.resume and STDIN in arguments.paths:
        raise UsageError(f"{STDIN} cannot be read a second time, so --resume does not go with it: name a file")
    return OutputPlace(
        out=arguments.out,
        format=arguments.format,
        folder_format=arguments.folder_format,
        subtitles=_subtitles(arguments),
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        retry_failed=arguments.retry_failed,
        changed=arguments.changed,
        shard=arguments.shard,
        part_size=arguments.batch_size,
    )


def _subtitles(arguments: Namespace) -> SubtitleOptions:
    return made(SubtitleOptions, arguments)


def _given(arguments: Namespace) -> Sequence[str]:
    from osum.cli.inputs import read_list
    from osum.errors import UsageError

    listed = read_list(arguments.files_from) if arguments.files_from else []
    given = [*arguments.paths, *listed]
    if not given:
        raise UsageError(f"no input: name a file, folder, glob or manifest (see osum {arguments.command} --help)")
    return given


def _check_asked(arguments: Namespace, tasks: str) -> None:
    """Refuse what a run would refuse of model, tasks and options, as far as that shows without loading a model."""
    from osum.checkpoints.locate import located_here, read_tasks
    from osum.errors import as_usage

    folder = located_here(arguments.model)
    if folder is None:
        log(f"note: model {arguments.model} is not on this machine yet; its tasks are not checked")
    with as_usage():
        _options(arguments, tasks, read_tasks(folder) if folder else None, 0)


def _show_plan(inputs: Inputs, target: Target) -> int:
    """One line per input that a run would answer: seconds, what is read, where its result would go."""
    rows = target.planned(inputs.items)
    seconds, good = 0.0, 0
    for row, place in zip(rows, target.names, strict=True):
        measured = inputs.named(_measured(row))
        if measured.error is not None:
            log(f"error: {measured.error}")
        else:
            channel = "" if row.channel is None else f" channel {row.channel}"
            print(f"{measured.duration:10.2f} s  {measured.path}{channel} -> {place}")
            seconds, good = seconds + (measured.duration or 0.0), good + 1
    if target.note:
        log(target.note)
    before = len(inputs.items) - len(rows)
    done = f"{before} answered before ({target.failed_before} of them failed), " if before else ""
    log(f"{done}{good} recordings, {seconds:.1f} s of audio, {len(rows) - good} unreadable; nothing was run")
    return 0 if good == len(rows) and not target.failed_before else 1


def _measured(row: Utterance) -> Utterance:
    """With the seconds that would be read, or with the error."""
    from osum.corpus.clips import ClipAudio
    from osum.errors import OsumError
    from osum.listening.workers import muted

    if row.error is not None:
        return row
    try:
        with muted():
            return row.with_(duration=ClipAudio().duration(row, lambda _: None))
    except OsumError as fault:
        return row.with_(error=str(fault))


def _answer(arguments: Namespace, tasks: str, inputs: Inputs, target: Target) -> int:
    from osum.cli.outputs import FailedList
    from osum.errors import as_usage
    from osum.listening.workers import context

    usable = inputs.items.num_usable
    workers = _num_workers(arguments.num_workers, usable)
    if workers:
        context()  # before anything heavy is imported here, so that they are ready when the model is
    model = load_model(arguments) if usable else None
    from osum.cli.tally import RunTally  # this and the next import torch too, which the line above does in less time
    from osum.listening.run import asked_of, label_all

    with as_usage():
        options = _options(arguments, tasks, model.tasks if model else None, workers)
        transcriber = _transcriber(arguments) if model else None
        asked = asked_of(model, options, transcriber) if model else {}
    left = target.left(inputs.items, asked)
    if target.note and not arguments.quiet:
        log(target.note)
    failed = None if target.failed_file is None else FailedList(target.failed_file, inputs.manifests)
    tally = RunTally(model.tasks if model else {}, quiet=arguments.quiet, formats=target.formats)
    way_out = "ask again with --resume --retry-failed" if target.resumable else None
    good = (row for row in left if row.error is None)  # a reader of its own, which runs ahead
    answers = label_all(model, good, options, log, transcriber) if model else iter(())
    try:
        bar = sys.stderr.isatty() and not arguments.quiet and not target.streams
        target.write(_noted(_watched(inputs, left, answers, bar), tally, failed))
    except KeyboardInterrupt:
        tally.stop(len(left), "; continue with --resume" if target.resumable else "")
        raise
    finally:
        # Also of a run that is interrupted: what was answered stays answered.
        if failed is not None:
            listed = failed.write()
            way_out = f"run them again with: osum label {listed}" if listed else None
    tally.finish(way_out, target.failed_before)
    return 1 if tally.num_failed or target.failed_before else 0


def _num_workers(asked: int | None, num_recordings: int) -> int:
    """As many as are asked for; else at least one, since a decoder that crashes or hangs takes down its process."""
    return min(num_recordings, max(1, (os.cpu_count() or 1) // CORES_PER_READER)) if asked is None else asked


def _options(arguments: Namespace, tasks: str, known: TaskSet | None, num_workers: int) -> LabelOptions:
    """What is asked; an unknown task or prompt language shows here, before anything is written."""
    if known is not None:
        for task in known.select(tasks):
            if arguments.prompt_language is not None:
                known.prompts(task, arguments.prompt_language)
    return made(LabelOptions, arguments, tasks=tasks, num_workers=num_workers, generation=generation(arguments))


def _transcriber(arguments: Namespace) -> Transcriber | None:
    """Who writes the transcripts, where a model is named for it."""
    from osum.errors import UsageError
    from osum.peers import open_recogniser
    from osum.peers.recogniser import Options
    from osum.peers.transcriber import ByRecogniser

    if arguments.transcriber is None:
        return None
    if arguments.transcript != "decoded":
        raise UsageError("--transcript given takes the rows' own texts, and --transcriber writes others: give one")
    return ByRecogniser(
        open_recogniser(
            arguments.transcriber,
            Options(arguments.device, arguments.dtype, arguments.batch_size, offline=arguments.offline),
        )
    )


def _watched(inputs: Inputs, items: Rows, answers: Iterator[Utterance], bar: bool) -> Iterator[Utterance]:
    """The results in the order of the items, with the progress shown where `bar` says so."""
    from tqdm import tqdm

    rows = (row if row.error is not None else next(answers) for row in items)
    total, done = len(inputs.items), len(inputs.items) - len(items)
    for row in tqdm(rows, total=total, initial=done, unit="clip", file=sys.stderr, disable=not bar, leave=False):
        yield inputs.named(row)


def _noted(rows: Iterable[Utterance], tally: RunTally, failed: FailedList | None) -> Iterator[Utterance]:
    """The rows, each counted, and listed where it failed."""
    for row in rows:
        tally.add(row)
        if failed is not None:
            failed.add(row)
        yield row
