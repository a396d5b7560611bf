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
        InputError: nothing can be read at all, or no line shows its format.
    """

    path: Path
    format: str | None = None
    """One of `FORMATS`; found out from the content without it."""
    task: str | None = None
    """The task of rows that do not name one."""
    root: Path | None = None
    """What relative paths are seen from; the manifest's folder without it."""
    tasks: TaskSet = OSUM

    def __iter__(self) -> Iterator[Line]:
        for path in files_of(self.path):
            reading, root = Reading(self.tasks, self.task), (self.root or path.parent).absolute()
            if tars := tars_of(path, root, self.format):
                for tar, metadata in tars:
                    for place, key in tar_keys(tar, metadata):
                        yield key if isinstance(key, Line) else utterance_of(place, key, reading)
            else:
                dialect = next((known for known in DIALECTS if known.name == self.format), None) or _detect(path)
                yield from _read_json_lines(path, dialect, reading, root)


def files_of(path: Path) -> list[Path]:
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
    """Whether a folder is a corpus by itself: shards, packed audio, or tars and no recordings next to them."""
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


Metadata = Mapping[str, Mapping[str, Any]]
"""Fields by key that stand in place of those in a tar: the release's `combine` form (echat 3.3)."""
TAR_ROOT = "combines_tar_root.txt"
"""Next to a list of metadata files: the folder of their tars."""


def tars_of(path: Path, root: Path, wanted: str | None = None) -> list[tuple[Path, Metadata]]:
    """The tars that a file is or lists, each with the metadata of its keys; empty for any other file.

    A list names tars (`shards_list.txt`), or files of metadata, of which `NAME.list` goes with `NAME.tar`.

    Raises:
        InputError: a list of metadata without the folder of its tars.
    """
    if wanted == TAR or (wanted is None and path.suffix == ".tar"):
        return [(path, {})]
    listed = _listed(path)
    if listed and listed[0].endswith(".tar"):
        return [(root / name, {}) for name in listed]
    if not listed:
        return []
    try:
        tars = root / path.with_name(TAR_ROOT).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path} lists metadata, and {TAR_ROOT} next to it cannot be read ({fault})") from fault
    return [(tars / f"{Path(name).stem}.tar", _metadata(root / name)) for name in listed]


def _metadata(path: Path) -> Metadata:
    """The rows of a file of metadata by key; a broken one is left out, so its key keeps the values of the tar."""
    rows = (row for _, row in json_lines(path) if not isinstance(row, str))
    return {str(row["key"]): row for row in rows if "key" in row}


def _listed(path: Path) -> list[str]:
    """The lines of a list of tars or of metadata; empty for any other file."""
    try:
        with path.open("rb") as file:
            if not file.readline().strip().endswith((b".tar", b".list")):
                return []
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []  # reading it as a manifest reports why


@dataclass(frozen=True, slots=True)
class TarKey:
    """The members KEY.suffix of one key of a tar (OSUM spec 4)."""

    tar: Path
    key: str
    texts: Mapping[str, bytes]
    """Suffix to content, sound left out."""
    sounds: Mapping[str, Mapping[str, Any]]
    """`wav`, or `wav_1` of an earlier turn, to where the sound is stored, whatever its format."""
    metadata: Mapping[str, Any]
    """Fields that stand in place of those of the members."""

    def row(self) -> dict[str, Any]:
        """The release's raw row, with the tar in place of the sound files.

        Raises:
            ManifestError: a text is not UTF-8, or `extra` is no JSON object.
        """
        row: dict[str, Any] = {"key": self.key, **dict.fromkeys(self.sounds, str(self.tar))}
        for suffix, content in self.texts.items():
            if suffix == "extra" or suffix.startswith("txt"):
                row[suffix] = _text(suffix, content)
            else:
                # The release's shard maker gives sizes in characters, so a Chinese name may end within a character.
                row[suffix] = content.decode("utf-8", errors="ignore")
        row |= {name: value for name, value in self.metadata.items() if not name.startswith("wav") and name != "key"}
        if isinstance(row.get("extra"), str):
            row["extra"] = json_row(row["extra"])
        return row


def tar_keys(path: Path, metadata: Metadata) -> Iterator[tuple[str, TarKey | Line]]:
    """Place and members of every key, in order; last of all a fault where the tar does not end well."""
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = ((item, _content(tar, item)) for item in tar if item.isfile())
            last: list[TarKey] = []
            for key, group in groupby(members, key=lambda member: _key_and_suffix(member[0].name)[0]):
                yield from ((f"{path}:{before.key}", before) for before in last)
                last = [_tar_key(path.absolute(), key, group, metadata.get(key, {}))]
            if not _ends_well(file, tar):
                # tarfile takes this for an end, but the last key may lack members, its task for one.
                raise tarfile.ReadError("no end-of-archive mark")
            yield from ((f"{path}:{before.key}", before) for before in last)
    except (*_FAULTS, tarfile.TarError) as fault:
        why = f"cannot be read to its end ({fault}): cut off, or no plain tar; make it again"
        yield str(path), Line(str(path), fault=why)


def _tar_key(
    path: Path, key: str, group: Iterable[tuple[tarfile.TarInfo, bytes]], metadata: Mapping[str, Any]
) -> TarKey:
    texts: dict[str, bytes] = {}
    sounds: dict[str, Mapping[str, Any]] = {}
    for item, content in group:
        suffix = _key_and_suffix(item.name)[1]
        if f".{suffix.partition('_')[0]}" in _AUDIO_SUFFIXES:
            stored = {"member": item.name, "offset": item.offset_data, "num_bytes": item.size}
            _, _, turn = suffix.partition("_")
            sounds[f"wav_{turn}" if turn else "wav"] = {**stored, "crc32": zlib.crc32(content)}
        else:
            texts[suffix] = content
    return TarKey(path, key, texts, sounds, metadata)


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


def utterance_of(place: str, members: TarKey, reading: Reading) -> Line:
    """The utterance of a key."""
    if (sound := members.sounds.get("wav")) is None:
        return Line(
            place, fault=f"no audio among {', '.join(members.texts)}: pack KEY.wav or KEY.flac next to the texts"
        )
    try:
        utterance = _tar_utterance(members, reading)
    except ManifestError as fault:
        return Line(place, fault=str(fault))
    return Line(place, utterance.with_(extra={**without_place(utterance).extra, **sound}))


def _tar_utterance(members: TarKey, reading: Reading) -> Utterance:
    """From our own KEY.json, or from the release's KEY.txt, KEY.task ..."""
    if "json" in members.texts:
        own = json_row(_text("json", members.texts["json"]))
        return Utterance.from_dict(own | {"path": str(members.tar)})
    dialect = next(known for known in DIALECTS if known.name == "original")
    return next(dialect.read(members.row(), reading))


def _text(suffix: str, content: bytes) -> str:
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as fault:
        raise ManifestError(f"{suffix} is not UTF-8 (byte {fault.start}): pack it again as UTF-8") from fault
