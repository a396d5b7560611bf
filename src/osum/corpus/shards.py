"""Tar shards of N utterances, each with an index next to it, that many workers read at random.

1. Row i of the manifest belongs to shard i // N, so the plan is known before any audio is read.
2. A shard is `shard-000000.tar` (KEY.json and KEY.flac for each row) and `shard-000000.jsonl`, its index: a manifest
   whose rows say where in the tar their audio is. `osum.corpus.clips.ClipAudio` reads them.
3. Tar and index appear whole, the index last: a run that was killed continues with the shards that have no index.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from osum.corpus.clips import ClipAudio, as_clip, is_packed, without_place
from osum.corpus.manifest import fingerprint, write_manifest
from osum.corpus.readers import PLAN, Line
from osum.corpus.sound_file import flac
from osum.errors import InputError, OsumError
from osum.files import atomic_file
from osum.text import to_json
from osum.utterance import Utterance

Storage = Literal["flac", "copy"]


@dataclass(frozen=True)
class ShardPlan:
    """What decides the bytes of all shards."""

    per_shard: int
    storage: Storage
    """`flac`: 16 kHz mono, cut to the row's stretch. `copy`: the bytes of the file as they are."""
    num_rows: int
    sha256: str
    """Of the rows."""

    @property
    def num_shards(self) -> int:
        """How many shards hold the rows."""
        return -(-self.num_rows // self.per_shard)


@dataclass(frozen=True)
class Shard:
    """One shard that stands."""

    path: Path
    num_rows: int
    failed: tuple[Line, ...] = ()
    """Rows whose audio could not be read, so that they are not in it."""
    resumed: bool = False
    """It stood there before this run; `num_rows` then counts its index."""


def plan(rows: Iterable[Utterance], per_shard: int, storage: Storage) -> ShardPlan:
    """Count and fingerprint the rows of a manifest.

    Raises:
        InputError: two rows have one id, so that their answers could not be distinguished.
    """
    return ShardPlan(per_shard, storage, *fingerprint(_of_own_ids(rows)))


def _of_own_ids(rows: Iterable[Utterance]) -> Iterator[Utterance]:
    seen: set[int] = set()
    for row in rows:
        if (key := hash(row.id)) in seen:
            raise InputError(f"two rows have the id {row.id!r}: give each row its own")
        seen.add(key)
        yield row


def write_shards(lines: Iterable[Line], folder: Path, wanted: ShardPlan) -> Iterator[Shard]:
    """Write the shards that are not there yet, one by one.

    Args:
        lines: the manifest that `wanted` was made from; its broken lines are passed over.
        folder: where to; made when missing.
        wanted: from `plan`.

    Raises:
        InputError: the folder holds shards of another manifest or of other settings.
        OSError: the disk is full; what stands can be gone on with.
    """
    _claim(folder, wanted)
    rows = ((line, line.utterance) for line in lines if line.utterance is not None)
    for number in range(wanted.num_shards):
        part = list(islice(rows, wanted.per_shard))
        path = folder / f"shard-{number:06d}.tar"
        if path.exists() and path.with_suffix(".jsonl").exists():
            with path.with_suffix(".jsonl").open("rb") as index:
                yield Shard(path, sum(1 for _ in index), resumed=True)
        else:
            yield _write_shard(path, part, number * wanted.per_shard, wanted.storage)


def _claim(folder: Path, wanted: ShardPlan) -> None:
    path = folder / PLAN
    if not path.exists():
        if folder.is_dir() and any(folder.glob("shard-*")):
            raise InputError(f"{folder} holds shards but no {PLAN} that describes them: name another folder")
        with atomic_file(path) as file:
            file.write(json.dumps(asdict(wanted), indent=1).encode())
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as fault:
        raise InputError(f"{path} cannot be read ({fault}): remove the folder and write it again") from fault
    if found != asdict(wanted):
        changed = ", ".join(name for name, value in asdict(wanted).items() if found.get(name) != value)
        raise InputError(f"{folder} holds shards made with another {changed}: name another folder, or remove this one")


def _write_shard(path: Path, rows: list[tuple[Line, Utterance]], first: int, storage: Storage) -> Shard:
    index: list[Utterance] = []
    failed: list[Line] = []
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, (line, given) in enumerate(rows, first):
            try:
                content, suffix, row = _encoded(given, storage)
            except OsumError as fault:
                failed.append(Line(line.place, fault=str(fault)))
                continue
            member = f"{key:09d}{suffix}"
            text = to_json(row.with_(path=member).to_dict())
            add_member(tar, file, f"{key:09d}.json", text.encode())
            place = add_member(tar, file, member, content)
            index.append(row.with_(path=str(path), extra={**row.extra, **place}))
    write_manifest(path.with_suffix(".jsonl"), index)
    return Shard(path, len(index), tuple(failed))


def add_member(tar: tarfile.TarFile, file: BinaryIO, name: str, content: bytes) -> dict[str, str | int]:
    """Append a member; returns the fields of `extra` that find it. No time and no owner: equal rows give equal bytes.

    Args:
        tar: opened for writing to `file`.
        file: the tar's own.
        name: short and ASCII, since its header is one block then.
        content: of the member.
    """
    item = tarfile.TarInfo(name)
    item.size = len(content)
    offset = file.tell() + tarfile.BLOCKSIZE
    tar.addfile(item, io.BytesIO(content))
    return {"member": name, "offset": offset, "num_bytes": len(content), "crc32": zlib.crc32(content)}


def _encoded(row: Utterance, storage: Storage) -> tuple[bytes, str, Utterance]:
    """Content, suffix, and the row that describes the content; packed samples are no file that could be copied."""
    clips = ClipAudio()
    if storage == "copy" and not is_packed(row):
        source = clips.source(row)
        kept = row.with_(duration=round(clips.duration(row), 4))
        content = source if isinstance(source, bytes) else Path(row.path).read_bytes()
        return content, Path(row.extra.get("member", row.path)).suffix, without_place(kept)
    samples = clips.read(row)
    return flac(samples), ".flac", without_place(as_clip(row, len(samples)))
