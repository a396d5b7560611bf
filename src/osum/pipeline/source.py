"""Where the rows of a run come from: manifests of any known form, tables, Kaldi folders, folders of recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from osum.audio import find_audio
from osum.corpus.readers import Line, Manifest, holds_rows
from osum.corpus.tables import is_table, table_lines
from osum.errors import InputError
from osum.pipeline.row import NO_SOUND
from osum.utterance import Utterance


def lines_of(paths: Iterable[Path], form: str | None = None) -> Iterator[Line]:
    """The rows of each path in order, as they are asked for.

    Args:
        paths: manifests, tars, folders of either, csv, tsv, Parquet, Kaldi folders, or folders of recordings, whose
            names below the folder become ids.
        form: of the manifests, one of `osum.corpus.readers.FORMATS`; found out without it.

    Raises:
        InputError: there is nothing at a path, or nothing in it can be read.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist: name a manifest or a folder of recordings")
        if is_table(path):
            yield from table_lines(path)
        elif form is not None or path.is_file() or _has_manifest(path):
            yield from map(_with_text_alone, Manifest(path, form))
        else:
            for found in find_audio([path]):
                name = found.relative_to(path).with_suffix("").as_posix()
                yield Line(str(found), Utterance(name, str(found.absolute())))


def _with_text_alone(line: Line) -> Line:
    """A row of text alone has no path that could be seen from somewhere."""
    if line.utterance is None or Path(line.utterance.path).name != NO_SOUND:
        return line
    return replace(line, utterance=line.utterance.with_(path=NO_SOUND))


def _has_manifest(path: Path) -> bool:
    return holds_rows(path) or any(path.glob("*.jsonl")) or any(path.glob("*.jsonl.gz"))
