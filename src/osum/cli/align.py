"""`osum align`: recordings with a known text in, the times of their words out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, add_model_options, load_model, one_of
from osum.cli.options import add_fields, made
from osum.engine.options import LabelOptions

if TYPE_CHECKING:
    from osum import Utterance

FORMATS = ("ctm", "json", "jsonl", "srt", "vtt", "textgrid", "audacity", "parquet")
"""Those in which words have times."""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser("align", help="when each word of a known text is said", description=run.__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="one recording with --text, or manifests .jsonl")
    parser.add_argument("--text", metavar="TEXT", help="what is said; without it each row's own text is aligned")
    formats = f"{', '.join(FORMATS)}; without it the one that -o means, else ctm"
    parser.add_argument("-f", "--format", type=one_of("format", FORMATS), metavar="FORMAT", help=formats)
    out = "a name with a known suffix is one file for all, any other a folder"
    parser.add_argument("-o", "--output", dest="out", metavar="OUT", help=out)
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    parser.add_argument("--quiet", action="store_true", help="no warnings or summary; errors still show")
    add_fields(parser, LabelOptions, "batch_size")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Find when each word of a known text is said: by the checkpoint's letters head where it keeps one, else by its
    task of word times with the words fixed. The text keeps its spelling."""
    from osum.cli.inputs import collected
    from osum.cli.outputs import FailedList, OutputPlace, target_of
    from osum.cli.tally import RunTally

    form = arguments.format or (None if arguments.out else FORMATS[0])
    with collected(arguments.paths) as inputs:
        _check(arguments, len(inputs.items))
        target = target_of(OutputPlace(arguments.out, form, FORMATS[0], overwrite=arguments.overwrite), inputs.items)
        target.prepare()
        model = load_model(arguments)
        asked = {"model": model.name, "revision": model.revision, "dtype": model.dtype, "align": True}
        left = target.left(inputs.items, asked)
        good = (_with_text(row, arguments.text) for row in left if row.error is None)
        answers = model.align_files(good, made(LabelOptions, arguments))
        tally = RunTally({}, quiet=arguments.quiet)
        failed = None if target.failed_file is None else FailedList(target.failed_file, inputs.manifests)

        def counted() -> Iterator[Utterance]:
            for row in left:
                found = inputs.named(row if row.error is not None else next(answers))
                tally.add(found)
                if failed is not None:
                    failed.add(found)
                yield found

        target.write(counted())
        if failed is not None:
            failed.write()
        tally.finish(None)
        return 1 if tally.num_failed else 0


def _with_text(row: Utterance, text: str | None) -> Utterance:
    return row if text is None else row.with_(text=text, segments=())


def _check(arguments: Namespace, count: int) -> None:
    """Refuse what cannot be aligned.

    Raises:
        InputError: no row.
        UsageError: one text for several recordings, or none.
    """
    from osum.errors import InputError, UsageError

    if arguments.text is not None and not arguments.text.strip():
        raise UsageError("--text is empty: give what is said")
    if not count:
        raise InputError("no rows to align: give a recording with --text, or a manifest that has rows")
    if arguments.text is not None and count > 1:
        raise UsageError(f"--text is about one recording, and {count} are given: put each text into a manifest")
