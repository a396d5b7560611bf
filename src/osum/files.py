"""Files that appear whole or not at all, written beside their place, forced to the disk, then renamed; and locks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes its name when the block ends well; its folder is made when missing.

    After a fault nothing is left; after a kill or a power cut only a hidden `.NAME.partial` may be.

    Raises:
        OSError: the disk is full or the place cannot be written; what stood there before still stands.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    to_disk(path.parent)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Keep other processes away until the block ends or the process dies, on systems that can lock.

    `path` is a file, made where it is missing, or a folder, which needs no file of its own for it.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def seen_from(folder: Path, path: Path) -> str:
    """A path as a manifest in `folder` names it: relative where it lies below, else absolute."""
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100  (resolve follows links)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def share(folder: Path) -> None:
    """Give the weights below `folder` the mode of any new file: safetensors writes them for their owner alone."""
    probe = folder / f".mode-{os.getpid()}"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for item in folder.rglob("*.safetensors"):
        item.chmod(mode)


def to_disk(item: Path) -> None:
    """Force a file, or the names in a folder, to the disk; only POSIX systems open folders."""
    if os.name == "posix":
        handle = os.open(item, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
