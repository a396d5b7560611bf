"""The revision of a model folder: the hub's commit, or one hash of everything in it that decides an answer.

1. Every file counts by name and SHA-256: weights, adapter, configuration, tokenizer, tasks; not what only documents
   the folder or resumes its training.
2. A file that was hashed before is known again by its size and times, from `~/.cache/osum/revisions` (or `OSUM_CACHE`),
   so that 16 GB are read for it once. A cache that cannot be read or written costs time and nothing else.
3. A file that changed within `RACE` before it was hashed is hashed again the next time: it may have changed once more
   within one tick of the clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from osum.checkpoints.folder import ACCOUNTS
from osum.files import atomic_file

DIGITS = 12
"""Hexadecimal digits of a revision that is no commit."""
RACE = 2 * 10**9  # nanoseconds: the coarsest clock of a common file system, FAT's
_COMMIT = re.compile("[0-9a-f]{40}")
_Entry = list[int | str]
"""Size, time of the content and of the entry in nanoseconds, SHA-256."""


def revision_of(folder: Path) -> str:
    """What distinguishes two versions of a model: the commit of a hub's snapshot, else a hash of its content.

    Equal folders have equal revisions, wherever they are located.

    Raises:
        OSError: a file cannot be read.
    """
    if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
        return folder.name
    digest = hashlib.sha256()
    for name, content in _contents(folder.resolve()).items():
        digest.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:DIGITS]


def _contents(folder: Path) -> dict[str, str]:
    """Name of each file that counts to the hash of its content."""
    cache = _cache_of(folder)
    known = _read(cache)
    found: dict[str, str] = {}
    trusted: dict[str, _Entry] = {}
    for path in _counted(folder):
        name, status = path.relative_to(folder).as_posix(), path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        entry = known.get(name)
        if entry is None or entry[:-1] != stamp:
            began = time.time_ns()
            with path.open("rb") as file:
                entry = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            if began - max(stamp[1:]) < RACE:
                found[name] = str(entry[-1])
                continue
        found[name], trusted[name] = str(entry[-1]), entry
    if cache is not None and trusted != known:
        with suppress(OSError), atomic_file(cache) as file:
            file.write(json.dumps(trusted).encode())
    return found


def _counted(folder: Path) -> Iterator[Path]:
    """Files that decide an answer, in order; hidden ones are of tools."""
    for path in sorted(folder.rglob("*"), key=Path.as_posix):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if not hidden and path.name not in ACCOUNTS and path.suffix != ".md" and path.is_file():
            yield path


def _cache_of(folder: Path) -> Path | None:
    """Where the hashes of a folder's files are kept; None for a user without a home."""
    name = hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()
    with suppress(RuntimeError):
        home = os.environ.get("OSUM_CACHE") or Path("~/.cache/osum").expanduser()
        return Path(home) / "revisions" / f"{name}.json"
    return None


def _read(cache: Path | None) -> dict[str, _Entry]:
    """What is known of each file; nothing where the cache cannot be read."""
    if cache is None:
        return {}
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(name): list(entry) for name, entry in json.loads(cache.read_bytes()).items()}
    return {}
