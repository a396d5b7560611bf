"""`osum find`: the vocal events of labelled recordings."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, log, probability

if TYPE_CHECKING:
    from osum.corpus.readers import Line

_SUFFIXES = (".json", ".jsonl", ".jsonl.gz", ".parquet")
"""What `osum label` writes with every answer in it."""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser("find", help="vocal events in labelled files", description=run.__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file that osum label wrote, or folder of such")
    parser.add_argument("--event", metavar="NAMES", help="one or several with commas, such as laugh,cry")
    least = "only events that are at least so probable (0 to 1)"
    parser.add_argument("--min", type=probability, default=0.0, metavar="P", dest="least", help=least)
    parser.add_argument("--json", action="store_true", help="a JSON object a line, with the row's id")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """List the vocal events of labelled recordings: path, start and end in seconds, event and probability, with tabs
    between them, in the order of the rows."""
    from osum.listening.events import events_in
    from osum.results.view import name_of, one_line

    wanted = {name.strip().lower() for name in (arguments.event or "").split(",")} - {""}
    failed, seen = 0, set[str]()
    for line in _lines(arguments.paths):
        if line.utterance is None:
            failed += 1
            log(f"error: {line.place}: {line.fault}")
            continue
        row = line.utterance
        for event in events_in(row):
            seen.add(event.event)
            if (wanted and event.event not in wanted) or (event.probability or 0.0) < arguments.least:
                continue
            if arguments.json:
                print(json.dumps({"id": row.id, "path": row.path, "channel": row.channel, **asdict(event)}))
                continue
            sure = "" if event.probability is None else f"{event.probability:.4f}"
            print(one_line(name_of(row)), f"{event.start:.3f}", f"{event.end:.3f}", event.event, sure, sep="\t")
    _check_events(wanted, seen)
    return 1 if failed else 0


def _check_events(wanted: set[str], seen: set[str]) -> None:
    """A checkpoint may have labels of its own, so a name is none only where no row has it.

    Raises:
        UsageError: it is none of osum's own events either.
    """
    from osum.errors import UsageError
    from osum.records import unknown
    from osum.tasks import EVENTS

    known = [*EVENTS.labels, *sorted(seen - set(EVENTS.labels))]
    if wrong := sorted(wanted - set(known)):
        raise UsageError(f"event {wrong[0]!r} is in no row: {unknown(wrong[0], known, 'events')}")


def _lines(given: list[str]) -> Iterator[Line]:
    """Every row of the files, one at a time; what is no row is a line with a fault."""
    from osum.errors import InputError

    for path in map(Path, given):
        named = path.is_file()
        if not named and not path.is_dir():
            raise InputError(f"{path} is not there: give a file that osum label wrote, or a folder of such")
        for file in [path] if named else sorted(item for item in path.rglob("*") if _is_result(item, path)):
            yield from _rows(file)


def _is_result(item: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in item.relative_to(folder).parts)
    return item.name.lower().endswith(_SUFFIXES) and not hidden and item.is_file()


def _rows(file: Path) -> Iterator[Line]:
    from osum.corpus.readers import Line, Manifest
    from osum.errors import InputError, ManifestError
    from osum.utterance import Utterance

    if file.name.lower().endswith((".jsonl", ".jsonl.gz")):
        yield from Manifest(file, "osum")
        return
    try:
        rows = _parquet_rows(file) if file.suffix.lower() == ".parquet" else _json_rows(file)
        for number, row in enumerate(rows, 1):
            place = f"{file}:{number}"
            try:
                found = Utterance.from_dict(row)
                yield Line(place, found.with_(path=str(file.parent / found.path)))
            except ManifestError as fault:
                yield Line(place, fault=str(fault))
    except (OSError, ValueError) as fault:
        raise InputError(f"{file} cannot be read ({fault}): give a file that osum label wrote") from fault


def _json_rows(file: Path) -> list[dict[str, object]]:
    """An object for one recording, an array for several."""
    found = json.loads(file.read_bytes())
    rows = found if isinstance(found, list) else [found]
    return [row if isinstance(row, dict) else {} for row in rows]


def _parquet_rows(file: Path) -> Iterator[dict[str, object]]:
    from osum.results.parquet import Parquet

    return map(json.loads, Parquet().read(file))
