"""`osum label` and `osum transcribe`: recordings in, answers out."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from osum.cli.arguments import (
    Subparsers,
    add_generation_options,
    add_model_options,
    generation,
    load_model,
    one_of,
    over_zero,
    positive,
    probability,
    tell,
)
from osum.text import did_you_mean

if TYPE_CHECKING:
    from osum import LabelOptions, Recognizer, Utterance
    from osum.cli.inputs import ChannelChoice, Inputs
    from osum.cli.outputs import FailedList, Place, Rows, Target
    from osum.cli.tally import Tally
    from osum.corpus.share import Shard
    from osum.listening.transcripts import Transcriber
    from osum.results.subtitles import SubtitleOptions

FORMATS = ("table", "json", "jsonl", "txt", "srt", "vtt", "tsv", "textgrid", "ctm", "audacity", "parquet", "all")
"""Spelled here as well as DETECTORS and TRANSCRIPTS, since help must not import what knows them; a test compares."""
TIMED_FORMATS = ("textgrid", "ctm")
"""Formats that are of little use without word times."""
DETECTORS = ("auto", "silero", "energy")
TRANSCRIPTS = ("decoded", "given")
CORES_PER_READER = 4
"""Processes that read are one for so many cores, unless --num-workers says how many."""


def register(commands: Subparsers) -> None:
    """Add both commands."""
    label = commands.add_parser("label", help="answer every task about recordings", description=run.__doc__)
    _add_inputs(label)
    asked = label.add_argument_group("what is asked")
    asked.add_argument("--tasks", default="all", help="all, or names with commas, such as SER,gender (see osum tasks)")
    given = "given: score labels behind the text that each row came with, and decode nothing; decoded without it"
    asked.add_argument("--transcript", choices=TRANSCRIPTS, default=TRANSCRIPTS[0], help=given)
    others = "who writes the transcripts behind which labels are scored: any model of osum evaluate, whisper:FOLDER ..."
    asked.add_argument("--transcriber", metavar="NAME", help=others)
    _add_common(label, asked)
    label.set_defaults(run=run, folder_format="json", word_timestamps=False)

    transcribe = commands.add_parser("transcribe", help="speech to text", description=run_transcribe.__doc__)
    _add_inputs(transcribe)
    asked = transcribe.add_argument_group("what is asked")
    asked.add_argument("--word-timestamps", "--word_timestamps", type=_truth, nargs="?", const=True, default=False)
    asked.add_argument("--task", type=_transcribe_only, default="transcribe", help=argparse.SUPPRESS)
    _add_common(transcribe, asked)
    transcribe.set_defaults(run=run_transcribe, folder_format="txt", transcript=TRANSCRIPTS[0], transcriber=None)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="file, folder, glob, manifest .jsonl, - for stdin")
    group = parser.add_argument_group("input")
    group.add_argument("--files-from", metavar="FILE", help="read more PATHs from a file, one per line")
    group.add_argument("--channel", type=_channel, metavar="{mix,each,N}", help="mix of all, each alone, or one from 0")


def _add_common(parser: argparse.ArgumentParser, asked: argparse._ArgumentGroup) -> None:
    asked.add_argument("--language", type=_auto_only, help=argparse.SUPPRESS)
    doubt = "tell labels less probable than P (0 to 1) as unknown"
    asked.add_argument("--min-confidence", type=probability, default=0.0, metavar="P", help=doubt)
    asked.add_argument("--prompt-language", metavar="CODE", help="of the prompts; the checkpoint's first without it")
    group = parser.add_argument_group("output")
    spellings = ("-f", "--format", "--output-format", "--output_format")
    group.add_argument(*spellings, dest="format", type=_format, metavar="FORMAT", help=", ".join(FORMATS))
    out = "a name with a known suffix is one file for all, any other a folder"
    group.add_argument("-o", "--output", "--output-dir", "--output_dir", dest="out", metavar="OUT", help=out)
    group.add_argument("--overwrite", action="store_true", help="replace results that are there")
    group.add_argument("--dry-run", action="store_true", help="show what would be read and written, load no model")
    group.add_argument("--resume", action="store_true", help="go on with an -o FILE.jsonl or FILE.parquet")
    group.add_argument("--retry-failed", action="store_true", help="with --resume: ask again what failed")
    group.add_argument("--changed", action="store_true", help="with --resume: answer again what changed since")
    group.add_argument("--shard", type=_shard, metavar="I/N", help="only one of N parts of the input, from 0/N on")
    group.add_argument("--quiet", action="store_true", help="no progress, warnings or summary; errors are still told")
    _add_subtitles(parser)
    add_model_options(parser)
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="clips answered together")
    workers = (
        "processes that read ahead; without it one for 4 cores; 0 reads in this one, where a broken decoder ends all"
    )
    parser.add_argument("--num-workers", type=_count, metavar="N", help=workers)
    cuts = f"what finds pauses to cut long recordings in: {', '.join(DETECTORS)}; auto is silero where it is installed"
    parser.add_argument("--vad", type=one_of("detector", DETECTORS), default="auto", metavar="NAME", help=cuts)
    add_generation_options(parser)


def _add_subtitles(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("subtitles (srt, vtt)")
    limits = (
        ("line-width", "characters of a line"),
        ("line-count", "lines of a cue"),
        ("words-per-line", "words of a line, each a cue where words have times; ignored with a width"),
    )
    for name, meaning in limits:
        spellings = (f"--max-{name}", f"--max_{name.replace('-', '_')}")
        group.add_argument(*spellings, type=positive, metavar="N", help=meaning)
    wishes = (
        ("--min-cue-length", "seconds that a cue is shown at least, where the next one leaves room"),
        ("--max-reading-speed", "characters a second (without spaces) at most, where the next cue leaves room"),
    )
    for name, meaning in wishes:
        group.add_argument(name, type=over_zero, metavar="X", help=meaning)
    highlight = "underline each word while it is said"
    spellings = ("--highlight-words", "--highlight_words")
    group.add_argument(*spellings, type=_truth, nargs="?", const=True, default=False, help=highlight)


def _format(word: str) -> str:
    if word.lower() not in FORMATS:
        hint = did_you_mean(word, FORMATS)
        raise argparse.ArgumentTypeError(f"unknown format {word!r}: {hint}use one of {', '.join(FORMATS)}")
    return word.lower()


def _channel(word: str) -> ChannelChoice:
    if word == "mix":
        return "mix"
    if word == "each":
        return "each"
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no channel: use mix, each, or a number from 0")
    return int(word)


def _shard(word: str) -> Shard:
    from osum.corpus.share import Shard
    from osum.errors import InputError

    try:
        return Shard.parse(word)
    except InputError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number from 0")
    return int(word)


def _truth(word: str) -> bool:
    """Whisper's `--word_timestamps True`."""
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{word!r}: use True or False")
    return word.lower() == "true"


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
    language. Text comes in lower case without punctuation; speakers are not told apart."""
    return _run(arguments, arguments.tasks)


def run_transcribe(arguments: Namespace) -> int:
    """Write down what is said, in lower case and without punctuation. The text goes to standard output."""
    if arguments.format is None and arguments.out is None:
        arguments.format = "txt"
    arguments.word_timestamps |= arguments.format in TIMED_FORMATS or _subtitles(arguments).needs_words
    return _run(arguments, "ASR")


def _run(arguments: Namespace, tasks: str) -> int:
    from osum.cli.inputs import collected
    from osum.cli.outputs import TABLE, target_of
    from osum.errors import InputError, UsageError

    if arguments.format == TABLE and arguments.out is not None:
        raise UsageError(f"-f {TABLE} is for the terminal: leave out -o, or choose another format")
    place = _place(arguments)
    with collected(_given(arguments), arguments.channel) as inputs:
        if not inputs.items:
            raise InputError(f"no rows in {', '.join(arguments.paths)}: give a manifest that has some")
        target = target_of(place, inputs.items)
        if place.shard is not None:
            inputs.keep(place.holds)
        if arguments.dry_run:
            return _show_plan(inputs.items, target.names)
        target.prepare()
        return _answer(arguments, tasks, inputs, target)


def _place(arguments: Namespace) -> Place:
    from osum.cli.inputs import STDIN
    from osum.cli.outputs import Place
    from osum.errors import UsageError

    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume keeps what is there and --overwrite drops it: give one of them")
    for name in ("retry_failed", "changed"):
        if getattr(arguments, name) and not arguments.resume:
            raise UsageError(f"--{name.replace('_', '-')} is about an earlier run: give --resume with it")
    if arguments.resume and STDIN in arguments.paths:
        raise UsageError(f"{STDIN} cannot be read a second time, so --resume does not go with it: name a file")
    return Place(
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
    from osum.results.subtitles import SubtitleOptions

    return SubtitleOptions(
        max_line_width=arguments.max_line_width,
        max_line_count=arguments.max_line_count,
        max_words_per_line=arguments.max_words_per_line,
        highlight_words=arguments.highlight_words,
        min_cue_seconds=arguments.min_cue_length,
        max_characters_per_second=arguments.max_reading_speed,
    )


def _given(arguments: Namespace) -> Sequence[str]:
    from osum.cli.inputs import read_list
    from osum.errors import UsageError

    listed = read_list(arguments.files_from) if arguments.files_from else []
    given = [*arguments.paths, *listed]
    if not given:
        raise UsageError(f"no input: name a file, folder, glob or manifest (see osum {arguments.command} --help)")
    return given


def _show_plan(rows: Rows, places: Iterable[str]) -> int:
    """One line per input: seconds, what is read, where its result would go."""
    seconds, good = 0.0, 0
    for row, place in zip(rows, places, strict=True):
        measured = _measured(row)
        if measured.error is not None:
            tell(f"error: {measured.error}")
        else:
            channel = "" if row.channel is None else f" channel {row.channel}"
            print(f"{measured.duration:10.2f} s  {row.path}{channel} -> {place}")
            seconds, good = seconds + (measured.duration or 0.0), good + 1
    tell(f"{good} recordings, {seconds:.1f} s of audio, {len(rows) - good} unreadable; nothing was run")
    return 0 if good == len(rows) else 1


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
    from osum.cli.tally import Tally
    from osum.errors import as_usage
    from osum.listening.workers import context

    usable = inputs.items.num_usable
    workers = _num_workers(arguments.num_workers, usable)
    if workers:
        context()  # before anything heavy is imported here, so that they are ready when the model is
    from osum.listening.run import asked_of, label_all

    model = load_model(arguments) if usable else None
    with as_usage():
        options = _options(arguments, tasks, model, workers)
        transcriber = _transcriber(arguments) if model else None
        asked = asked_of(model, options, transcriber) if model else {}
    left = target.left(inputs.items, asked)
    if target.note and not arguments.quiet:
        tell(target.note)
    failed = None if target.failed_file is None else FailedList(target.failed_file, inputs.manifests)
    tally = Tally(model.tasks if model else {}, quiet=arguments.quiet, formats=target.formats)
    way_out = "ask again with --resume --retry-failed" if target.resumable else None
    good = (row for row in left if row.error is None)  # a reader of its own, which runs ahead
    answers = label_all(model, good, options, tell, transcriber) if model else iter(())
    try:
        bar = sys.stderr.isatty() and not arguments.quiet and not target.streams
        target.write(_noted(_watched(inputs, left, answers, bar), tally, failed))
    except KeyboardInterrupt:
        tally.stop(len(left), "; go on with --resume" if target.resumable else "")
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


def _options(arguments: Namespace, tasks: str, model: Recognizer | None, num_workers: int) -> LabelOptions:
    """What is asked; an unknown task or prompt language shows here, before anything is written."""
    from osum.engine.options import LabelOptions

    if model is not None:
        for task in model.tasks.select(tasks):
            if arguments.prompt_language is not None:
                model.tasks.prompts(task, arguments.prompt_language)
    return LabelOptions(
        tasks=tasks,
        prompt_language=arguments.prompt_language,
        min_confidence=arguments.min_confidence,
        batch_size=arguments.batch_size,
        num_workers=num_workers,
        vad=arguments.vad,
        generation=generation(arguments),
        transcript=arguments.transcript,
        word_times=arguments.word_timestamps,
    )


def _transcriber(arguments: Namespace) -> Transcriber | None:
    """Who writes the transcripts, where a model is named for it."""
    from osum.errors import UsageError
    from osum.peers import open_recogniser
    from osum.peers.recogniser import Options
    from osum.peers.transcriber import ByRecogniser

    if arguments.transcriber is None:
        return None
    if arguments.transcript != TRANSCRIPTS[0]:
        raise UsageError("--transcript given takes the rows' own texts, and --transcriber writes others: give one")
    return ByRecogniser(
        open_recogniser(arguments.transcriber, Options(arguments.device, arguments.dtype, arguments.batch_size))
    )


def _watched(inputs: Inputs, items: Rows, answers: Iterator[Utterance], bar: bool) -> Iterator[Utterance]:
    """The results in the order of the items, with the progress shown where `bar` says so."""
    from tqdm import tqdm

    rows = (row if row.error is not None else next(answers) for row in items)
    total, done = len(inputs.items), len(inputs.items) - len(items)
    for row in tqdm(rows, total=total, initial=done, unit="clip", file=sys.stderr, disable=not bar, leave=False):
        yield inputs.told(row)


def _noted(rows: Iterable[Utterance], tally: Tally, failed: FailedList | None) -> Iterator[Utterance]:
    """The rows, each counted, and listed where it failed."""
    for row in rows:
        tally.add(row)
        if failed is not None:
            failed.add(row)
        yield row
