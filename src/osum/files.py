"""Files and folders that appear whole or not at all: written next to their place, then renamed; and locks."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: str | Path, to_the_disk: bool = True) -> Iterator[BinaryIO]:
    """A binary file that takes its name when the block ends well; its folder is made when missing.

    After a fault nothing is left; after a kill or a power cut only a hidden `.NAME.partial` may be. A file that is not
    forced `to_the_disk` survives a kill, but not a power cut.

    Raises:
        OSError: the disk is full or the place cannot be written; what stood there before still stands.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        with partial.open("wb") as file:
            yield file
            if to_the_disk:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if to_the_disk:
        to_disk(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `path`, if there is one, when the block ends well.

    After a fault nothing is left; after a kill a hidden `.NAME.partial` or `.NAME.old` may be, never half a `path`.

    Raises:
        OSError: the disk is full or the place cannot be written; what stood there before still stands.
    """
    partial = partial_name(path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        share(partial)
        for item in (*partial.rglob("*"), partial):
            to_disk(item)
        remove_folder(path)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    to_disk(path.parent)


def partial_name(path: Path) -> Path:
    """Where a file or folder is written until it is whole."""
    return path.with_name(f".{path.name}.partial")


def remove_folder(path: Path) -> None:
    """Remove a folder where there is one; a kill leaves no half of it under its name, which promises a whole one."""
    hidden = path.with_name(f".{path.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    if path.is_dir():
        path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


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
    """A path as a manifest in `folder` names it: relative where it is below, else absolute."""
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
