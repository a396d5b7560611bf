"""`osum data`: manifests and shards.

A broken line among good ones is one line on standard error and exit code 1; the others go through.
"""

from __future__ import annotations

import argparse
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from osum.cli.arguments import Parser, Subparsers, log, one_of, over_zero, positive

if TYPE_CHECKING:
    from osum.corpus.readers import Line, Manifest
    from osum.corpus.statistics import Statistics
    from osum.utterance import Utterance

FORMATS = ("osum", "original", "nemo", "swift", "lhotse", "tar")
_EXAMPLES = """\
examples:
  osum data convert train.json train.jsonl                any known manifest to ours
  osum data dialogues shards_list.txt dialogues.jsonl     conversations, also of the original's form
  osum data validate train.jsonl                          what is wrong, line by line
  osum data cut labels.jsonl cut/ --max-seconds 15        segments of long recordings as rows
  osum data split train.jsonl data/ --valid 0.05          by speaker
  osum data shard data/train.jsonl shards/train           tars that many workers read
  osum data stats shards/train --plot stats.png
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    data = commands.add_parser(
        "data",
        help="manifests and shards",
        description="Convert, check, split, shard and count manifests.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    acts = data.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    _add_convert(acts)
    _add_dialogues(acts)
    _add_cut(acts)
    _add_shard(acts)
    _add_split(acts)
    _add_validate(acts)
    _add_stats(acts)
    _add_moved(acts, "kit", "recipes.nano.kit")
    _add_moved(acts, "nano", "recipes.nano.build")


def _add(acts: Subparsers, name: str, run: Callable[[Namespace], int], help_line: str, manifest: str) -> Parser:
    """A command that reads a manifest of any known format."""
    parser = acts.add_parser(name, help=help_line, description=run.__doc__)
    parser.add_argument("manifest", type=Path, metavar=manifest, help="manifest, tar, list of tars, or folder of them")
    parser.set_defaults(run=run)
    group = parser.add_argument_group("reading")
    group.add_argument("--from", dest="format", type=one_of("format", FORMATS), help=", ".join(FORMATS))
    group.add_argument("--task", metavar="NAME", help="task of rows that do not name one, such as SER")
    group.add_argument("--root", type=Path, metavar="DIR", help="what relative paths are seen from")
    group.add_argument("--tasks-file", type=Path, metavar="FILE", help="tasks.json with labels of your own")
    return parser


def _add_convert(acts: Subparsers) -> None:
    parser = _add(acts, "convert", run_convert, "any known manifest to ours", "IN")
    parser.add_argument("out", type=Path, metavar="OUT", help="JSON-lines file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def _add_dialogues(acts: Subparsers) -> None:
    parser = acts.add_parser("dialogues", help="dialogues of any known form to ours", description=run_dialogues.__doc__)
    parser.add_argument("manifest", type=Path, metavar="IN", help="manifest, tar, list of tars, or folder of them")
    parser.add_argument("out", type=Path, metavar="OUT", help="JSON-lines file to write")
    parser.add_argument("--root", type=Path, metavar="DIR", help="what relative paths are seen from")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.set_defaults(run=run_dialogues)


def _add_cut(acts: Subparsers) -> None:
    parser = _add(acts, "cut", run_cut, "segments of long recordings as rows", "MANIFEST")
    parser.add_argument("out", type=Path, metavar="OUTDIR", help="folder for a manifest of the same name")
    parser.add_argument("--max-seconds", type=over_zero, default=30.0, metavar="S", help="longest row (30)")
    kept = "offset: rows point into the recordings (default); flac: a file of its own for each, 16 kHz"
    parser.add_argument("--audio", choices=("offset", "flac"), default="offset", help=kept)
    parser.add_argument("--overwrite", action="store_true", help="replace what is in OUTDIR")


def _add_shard(acts: Subparsers) -> None:
    parser = _add(acts, "shard", run_shard, "tars with an index", "MANIFEST")
    parser.add_argument("out", type=Path, metavar="OUTDIR", help="folder to write, or to continue")
    parser.add_argument("--per-shard", type=positive, default=1000, metavar="N", help="utterances a tar (1000)")
    parser.add_argument(
        "--audio", choices=("flac", "copy"), default="flac", help="16 kHz flac (default), or bytes as they are"
    )


def _add_split(acts: Subparsers) -> None:
    parser = _add(acts, "split", run_split, "train, valid and test by speaker", "MANIFEST")
    parser.add_argument("out", type=Path, metavar="OUTDIR", help="folder for train, valid and test .jsonl")
    parser.add_argument("--valid", type=_fraction, default=0.0, metavar="F", help="share of speakers (0)")
    parser.add_argument("--test", type=_fraction, default=0.0, metavar="F", help="share of speakers (0)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another split (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the manifests")


def _add_validate(acts: Subparsers) -> None:
    parser = _add(acts, "validate", run_validate, "what is wrong, line by line", "MANIFEST")
    checks = ("none", "header", "decode")
    parser.add_argument("--audio", choices=checks, default="header", help="how far clips are read (header)")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="problems of a kind shown in full (20)")


def _add_stats(acts: Subparsers) -> None:
    parser = _add(acts, "stats", run_stats, "hours, speakers, labels, lengths", "MANIFEST")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")


def _add_moved(acts: Subparsers, name: str, script: str) -> None:
    """A command of earlier versions, of which only the way to the script is left."""
    parser = acts.add_parser(name, help=f"moved: python -m {script}", prefix_chars="\0", add_help=False)
    parser.add_argument("given", nargs="*")
    parser.set_defaults(run=partial(_moved, f"osum data {name}", script))


def _moved(command: str, script: str, _: Namespace) -> int:
    from osum.errors import UsageError

    raise UsageError(f"{command} is now a script of the repository: run python -m {script} in its root folder")


def _fraction(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"{word!r} is no share from 0 to below 1, such as 0.05")
    return value


# The commands


def run_convert(arguments: Namespace) -> int:
    """Write the rows of any known manifest as ours, one JSON object a line; rows of a tar point into the tar."""
    from osum.corpus.manifest import write_manifest

    _check_free([arguments.out], arguments.overwrite)
    rows = _Good(_manifest(arguments))
    count = write_manifest(arguments.out, _some(rows, arguments.manifest))
    log(f"{arguments.out}: {count} rows{rows.summary}")
    return rows.code


def run_dialogues(arguments: Namespace) -> int:
    """Write dialogues, the original's or ours, as rows of ours; sounds of a tar stay in it. Other rows are counted."""
    from osum.corpus.dialogue_forms import DialogueManifest
    from osum.corpus.dialogues import Dialogue, write_dialogues
    from osum.errors import InputError

    _check_free([arguments.out], arguments.overwrite)
    streams, failed, others = Counter[str](), 0, 0

    def good() -> Iterator[Dialogue]:
        nonlocal failed, others
        for line in DialogueManifest(arguments.manifest, arguments.root):
            if isinstance(line.row, Dialogue):
                streams[line.row.stream] += 1
                yield line.row
            elif line.fault:
                failed += 1
                log(f"error: {line.place}: {line.fault}")
            else:
                others += 1
        if not streams:
            raise InputError(f"{arguments.manifest}: no row is a dialogue: a row needs 'turns', see docs/data.md")

    count = write_dialogues(arguments.out, good())
    kinds = ", ".join(f"{name} {number}" for name, number in sorted(streams.items()))
    left = [f"{failed} broken lines left out"] * bool(failed) + [f"{others} rows of no dialogue left out"] * bool(
        others
    )
    log(f"{arguments.out}: {count} dialogues ({kinds}){''.join(f', {words}' for words in left)}")
    return 1 if failed else 0


def run_cut(arguments: Namespace) -> int:
    """Write the segments of recordings that are longer than --max-seconds as rows of their own, with times, words,
    labels and origin; shorter rows stay as they are. Silences are left out."""
    from osum.corpus.cut import SILENCE, Cutter
    from osum.corpus.manifest import write_manifest

    given = arguments.manifest
    out = arguments.out / f"{'rows' if given.is_dir() else given.name.partition('.')[0]}.jsonl"
    _check_free([out], arguments.overwrite)
    rows = _Good(_manifest(arguments))
    cutter = Cutter(_manifest(arguments).tasks, arguments.max_seconds)
    cut = cutter.cut(_some(rows, given))
    count = write_manifest(out, cut if arguments.audio == "offset" else _as_files(cut, arguments.out / "audio"))
    for reason, number in cutter.left_out.items():
        some = cutter.named[reason]
        more = ", ..." if number > len(some) else ""
        log(f"left out: {number} {reason}" + (f": {', '.join(some)}{more}" if reason != SILENCE else ""))
    log(f"{out}: {count} rows, {cutter.num_cut} recordings cut{rows.summary}")
    return 1 if set(cutter.left_out) - {SILENCE} else rows.code


def _as_files(rows: Iterable[Utterance], folder: Path) -> Iterator[Utterance]:
    """Each row with a file of its own."""
    from osum.corpus.clips import ClipAudio, as_clip, without_place
    from osum.corpus.sound_file import flac
    from osum.files import atomic_file

    for number, row in enumerate(rows):
        samples = ClipAudio().read(row)
        path = folder / f"{number:09d}.flac"
        with atomic_file(path) as file:
            file.write(flac(samples))
        yield without_place(as_clip(row, len(samples))).with_(path=str(path))


def run_shard(arguments: Namespace) -> int:
    """Pack utterances into tars with an index next to each; run it again after a kill and it continues."""
    from tqdm import tqdm

    from osum.corpus.shards import plan, write_shards

    lines = _manifest(arguments)
    rows = _Good(lines)
    wanted = plan(_some(rows, arguments.manifest), arguments.per_shard, arguments.audio)
    written = resumed = 0
    shards = tqdm(write_shards(lines, arguments.out, wanted), total=wanted.num_shards, unit=" shards", disable=None)
    for shard in shards:
        written += shard.num_rows
        resumed += shard.num_rows if shard.resumed else 0
        for line in shard.failed:
            log(f"error: {line.place}: {line.fault}")
    lost = wanted.num_rows - written
    before = f", {resumed} of them written before" if resumed else ""
    log(f"{arguments.out}: {written} clips in {wanted.num_shards} shards{before}, {lost} without audio{rows.summary}")
    return 1 if lost else rows.code


def run_split(arguments: Namespace) -> int:
    """Deal the rows to train, valid and test so that each speaker is in one; new rows do not move old speakers."""
    from osum.corpus.manifest import split_by_speaker, write_manifest
    from osum.errors import InputError, UsageError

    shares = {"train": 1 - arguments.valid - arguments.test, "valid": arguments.valid, "test": arguments.test}
    if shares["train"] <= 0 or not (arguments.valid or arguments.test):
        given = f"--valid {arguments.valid:g} --test {arguments.test:g}"
        raise UsageError(f"{given}: give shares above 0 that are below 1 together")
    shares = {name: share for name, share in shares.items() if share}
    paths = {name: arguments.out / f"{name}.jsonl" for name in shares}
    _check_free(paths.values(), arguments.overwrite)
    rows = _Good(_manifest(arguments))
    splits = split_by_speaker(_some(rows, arguments.manifest), shares, arguments.seed)
    if empty := [name for name, part in splits.items() if not part]:
        speakers = len({row.speaker or row.id for part in splits.values() for row in part})
        raise InputError(
            f"{empty[0]} would have no row, since {speakers} speakers are dealt whole: give a greater share, another "
            "--seed, or more speakers"
        )
    for name, part in splits.items():
        write_manifest(paths[name], part)
        speakers = len({row.speaker for row in part if row.speaker})
        log(f"{paths[name]}: {len(part)} rows of {speakers} speakers")
    if alone := sum(not row.speaker for part in splits.values() for row in part):
        log(f"warning: {alone} rows name no speaker and were split by id: one voice may be in several parts")
    if rows.failed:
        log(f"{rows.summary.removeprefix(', ')}")
    return rows.code


def run_validate(arguments: Namespace) -> int:
    """Report what is wrong with each line, and how often each kind of problem comes; exit code 1 if anything is."""
    from osum.corpus.validation import Validator

    lines = _manifest(arguments)
    wrong, counts, count = 0, Counter[str](), 0
    for line, problems in Validator(lines.tasks, arguments.audio).check(lines):
        count += 1
        wrong += bool(problems)
        for problem in problems:
            counts[problem.rule] += 1
            if counts[problem.rule] <= arguments.show:
                print(f"{line.place}: {problem.rule}: {' '.join(problem.message.split())}")
    for rule, number in counts.items():
        if number > arguments.show:
            print(f"{arguments.manifest}: {rule}: {number - arguments.show} more, {number} in all (--show {number})")
    shown = "".join(f", {rule} {number}" for rule, number in counts.most_common())
    print(f"{arguments.manifest}: {count} rows, {wrong} wrong{shown}")
    return 1 if wrong or not count else 0


def run_stats(arguments: Namespace) -> int:
    """Show clips, hours, speakers, labels and lengths of every source."""
    import json

    from osum.corpus.statistics import plot, statistics

    found = statistics(_manifest(arguments))
    for line in found.failed:
        log(f"error: {line.place}: {line.fault}")
    if arguments.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))
    else:
        _show(found)
    if arguments.plot and found.sources:
        plot(found, arguments.plot)
    return 1 if found.failed or not found.sources else 0


# What they share


class _Good:
    """The rows of lines that are not broken; the broken ones are reported and counted as they come."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = lines
        self.failed = 0

    def __iter__(self) -> Iterator[Utterance]:
        for line in self._lines:
            if line.utterance is not None:
                yield line.utterance
            else:
                self.failed += 1
                log(f"error: {line.place}: {line.fault}")

    @property
    def summary(self) -> str:
        """The end of a summary."""
        return f", {self.failed} broken lines left out" if self.failed else ""

    @property
    def code(self) -> int:
        """Exit code."""
        return 1 if self.failed else 0


def _manifest(arguments: Namespace) -> Manifest:
    from osum.corpus.readers import Manifest
    from osum.tasks import OSUM, TaskSet

    tasks = TaskSet.load(arguments.tasks_file) if arguments.tasks_file else OSUM
    if arguments.task:
        tasks.find(arguments.task)  # a wrong name is reported once, not for every line
    return Manifest(arguments.manifest, arguments.format, arguments.task, arguments.root, tasks)


def _some(rows: Iterable[Utterance], given: Path) -> Iterator[Utterance]:
    """The rows; none at all is an error, so that no empty manifest is written."""
    from osum.errors import InputError

    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is asked for behind the loop
        yield row
    if not count:
        raise InputError(f"{given}: no row can be used: correct the lines above, or name another manifest")


def _check_free(paths: Iterable[Path], overwrite: bool) -> None:
    from osum.errors import InputError

    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        raise InputError(f"{taken[0]} is there already: name another place, or give --overwrite")


def _show(found: Statistics) -> None:
    """A line of figures for each source, and below it a line for each label set."""
    from osum.corpus.statistics import QUANTILES

    shown = {**found.sources, **({"all": found.total} if len(found.sources) > 1 else {})}
    width = max(len("source"), *map(len, shown), 0)
    print(f"{'source':{width}}    clips     hours  speakers  " + "  ".join(f"{f'{name} s':>8}" for name in QUANTILES))
    for name, source in shown.items():
        times = "  ".join(f"{seconds:8.2f}" for seconds in source.quantiles().values())
        alone = f"  {source.without_speaker} clips without speaker" if source.without_speaker else ""
        figures = f"{len(source.lengths):7}  {source.hours:8.2f}  {len(source.speakers):8}"
        print(f"{name:{width}}  {figures}  {times}{alone}")
        for labels, counts in sorted(source.labels.items()):
            print(f"  {labels}: {', '.join(f'{label} {count}' for label, count in counts.most_common())}")
