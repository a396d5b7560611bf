"""Any known manifest to utterances, line by line: JSON lines of five projects, and tar shards.

A line that is broken comes out as a fault with its place, so that the good ones go through. Knows nothing of
what the audio holds; an utterance in a tar is found by its bytes, see `osum.corpus.clips`.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from osum.audio import AUDIO_SUFFIXES
from osum.corpus.clips import without_place
from osum.corpus.dialects import DIALECTS, Dialect, Reading
from osum.corpus.manifest import json_lines, json_row
from osum.corpus.packed import AUDIO
from osum.errors import InputError, ManifestError
from osum.tasks import OSUM, TaskSet
from osum.utterance import Utterance

TAR = "tar"
FORMATS = (*(dialect.name for dialect in DIALECTS), TAR)
_JSON_LINES = (".jsonl", ".jsonl.gz")
PLAN = "shards.json"
"""In a folder of shards: what they are made of."""
_SNIFFED = 1000
"""Lines that may be broken before a file is given up."""
_AUDIO_SUFFIXES = AUDIO_SUFFIXES | {".wma"}
_FAULTS = (OSError, EOFError, zlib.error)
"""What reading a damaged or compressed file raises."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a manifest, or a clip of a tar: the utterance, or what is wrong with it."""

    place: str
    """File and line number, or tar and key."""
    utterance: Utterance | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The lines of a manifest, a tar, a list of tars, or a folder of either; can be gone through many times.

    Iterating raises:
        InputError: nothing can be read at all, or no line tells what format it is.
    """

    path: Path
    format: str | None = None
    """One of `FORMATS`; found out from the content without it."""
    task: str | None = None
    """The task of rows that do not tell theirs."""
    root: Path | None = None
    """What relative paths are seen from; the manifest's folder without it."""
    tasks: TaskSet = OSUM

    def __iter__(self) -> Iterator[Line]:
        for path in _files(self.path):
            reading, root = Reading(self.tasks, self.task), (self.root or path.parent).absolute()
            if _is_tar(path, self.format):
                yield from _read_tar(path, reading)
            elif tars := _tar_list(path):
                for tar in tars:
                    yield from _read_tar(root / tar, reading)
            else:
                dialect = next((known for known in DIALECTS if known.name == self.format), None) or _detect(path)
                yield from _read_json_lines(path, dialect, reading, root)


def _files(path: Path) -> list[Path]:
    """The manifests that a path means: a folder's index files where it has some, else its tars."""
    if not path.is_dir():
        return [path]
    items = sorted(path.iterdir())
    if indexes := [item for item in items if item.name.endswith(_JSON_LINES)]:
        shards = [item for item in indexes if item.with_suffix(".tar").exists()]
        return shards if shards and (path / PLAN).exists() else indexes
    if tars := [item for item in items if item.name.endswith(".tar")]:
        return tars
    raise InputError(f"{path}: no {', '.join(_JSON_LINES)} or .tar in it; name a manifest or a folder of shards")


def holds_rows(folder: Path) -> bool:
    """Whether a folder is a corpus by itself: shards, packed audio, or tars and no recordings beside them."""
    if not folder.is_dir():
        return False
    if any((folder / name).exists() for name in (PLAN, AUDIO)):
        return True
    names = [item.name.lower() for item in folder.iterdir()]
    return any(name.endswith(".tar") for name in names) and not any(
        name.endswith(tuple(AUDIO_SUFFIXES)) for name in names
    )


# JSON lines


def _read_json_lines(path: Path, dialect: Dialect, reading: Reading, root: Path) -> Iterator[Line]:
    for place, row in json_lines(path):
        if isinstance(row, str):
            yield Line(place, fault=row)
            continue
        try:
            for utterance in dialect.read(row, reading):
                yield Line(place, utterance.with_(path=str(root / utterance.path)))
        except ManifestError as fault:
            yield Line(place, fault=str(fault))


def _detect(path: Path) -> Dialect:
    """The dialect of the first line that is a row of any."""
    odd, fault = "", "it is empty, with no rows"
    for number, (place, row) in enumerate(json_lines(path)):
        if isinstance(row, str):
            fault = fault if number else row
        elif dialect := next((known for known in DIALECTS if known.fits(row)), None):
            return dialect
        else:
            odd = odd or _unknown(place, row)
        if number == _SNIFFED:
            break
    if odd:
        raise InputError(odd)
    if _begins_as_array(path):
        fault = "it is one JSON array; write an object per line: jq -c '.[]' OLD > NEW"
    raise InputError(f"{path}: no line is a JSON object ({fault})")


def _unknown(place: str, row: Mapping[str, Any]) -> str:
    fields = ", ".join(list(row)[:8]) or "none"
    known = "; ".join(f"{dialect.name}: {' '.join(sorted(dialect.marks[0]))}" for dialect in DIALECTS)
    return f"{place}: fields {fields} are of no known manifest ({known}): rename them, or give --from"


def _begins_as_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


# Tars


def _is_tar(path: Path, wanted: str | None) -> bool:
    return wanted == TAR or (wanted is None and path.suffix == ".tar")


def _tar_list(path: Path) -> list[str]:
    """The lines of a list of tars, as the release's shards_list.txt; empty for any other file."""
    try:
        with path.open("rb") as file:
            if not file.readline().strip().endswith(b".tar"):
                return []
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []  # reading it as a manifest tells why


Member = tuple[tarfile.TarInfo, bytes]


def _read_tar(path: Path, reading: Reading) -> Iterator[Line]:
    """A line for each key: members KEY.suffix that follow one another (OSUM spec 4)."""
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = ((item, _content(tar, item)) for item in tar if item.isfile())
            last: list[Line] = []
            for key, group in groupby(members, key=lambda member: _key_and_suffix(member[0].name)[0]):
                yield from last
                last = [_tar_line(path, key, group, reading)]
            if not _ends_well(file, tar):
                # tarfile takes this for an end, but the last key may lack members, its task for one.
                raise tarfile.ReadError("no end-of-archive mark")
            yield from last
    except (*_FAULTS, tarfile.TarError) as fault:
        yield Line(str(path), fault=f"cannot be read to its end ({fault}): cut off, or no plain tar; make it again")


def _content(tar: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(item)
    content = b"" if file is None else file.read()
    if len(content) < item.size:
        raise tarfile.ReadError(f"{item.name} ends after {len(content)} of {item.size} bytes")
    return content


def _ends_well(file: BinaryIO, tar: tarfile.TarFile) -> bool:
    """A tar that was cut between two members lacks the blocks of zeros at its end."""
    file.seek(tar.offset)
    block = file.read(tarfile.BLOCKSIZE)
    return len(block) == tarfile.BLOCKSIZE and not any(block)


def _key_and_suffix(name: str) -> tuple[str, str]:
    key, _, suffix = name.removeprefix("./").rpartition(".")
    return key, suffix.lower()


def _tar_line(path: Path, key: str, group: Iterable[Member], reading: Reading) -> Line:
    place = f"{path}:{key}"
    members = {_key_and_suffix(item.name)[1]: (item, content) for item, content in group}
    audio = next((member for suffix, member in members.items() if f".{suffix}" in _AUDIO_SUFFIXES), None)
    if audio is None:
        return Line(place, fault=f"no audio among {', '.join(members)}: pack KEY.wav or KEY.flac beside the texts")
    item, content = audio
    where = {"member": item.name, "offset": item.offset_data, "num_bytes": item.size, "crc32": zlib.crc32(content)}
    try:
        utterance = _tar_utterance(
            path.absolute(), key, {suffix: content for suffix, (_, content) in members.items()}, reading
        )
    except ManifestError as fault:
        return Line(place, fault=str(fault))
    return Line(place, utterance.with_(extra={**without_place(utterance).extra, **where}))


def _tar_utterance(path: Path, key: str, contents: dict[str, bytes], reading: Reading) -> Utterance:
    """From our own KEY.json, or from the release's KEY.txt, KEY.task ..."""
    if "json" in contents:
        return Utterance.from_dict(json_row(_text("json", contents["json"])) | {"path": str(path)})
    row: dict[str, Any] = {"key": key, "wav": str(path)}
    for suffix, content in contents.items():
        if suffix in {"txt", "extra"}:
            row[suffix] = _text(suffix, content)
        elif f".{suffix}" not in _AUDIO_SUFFIXES:
            # The release's shard maker gives sizes in characters, so a Chinese name may end within a character.
            row[suffix] = content.decode("utf-8", errors="ignore")
    if "extra" in row:
        row["extra"] = json_row(row["extra"])
    dialect = next(known for known in DIALECTS if known.name == "original")
    return next(dialect.read(row, reading))


def _text(suffix: str, content: bytes) -> str:
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as fault:
        raise ManifestError(f"{suffix} is not UTF-8 (byte {fault.start}): pack it again as UTF-8") from fault
