"""A file appears whole or not at all."""

from pathlib import Path

import pytest

from osum.files import atomic_file, atomic_folder


def test_a_file_and_its_folder_appear(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a/b.txt") as file:
        file.write(b"whole")
        assert not (tmp_path / "a/b.txt").exists()
    assert (tmp_path / "a/b.txt").read_bytes() == b"whole"


def test_a_fault_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"), atomic_file(path) as file:
        file.write(b"half")
        raise OSError(28, "disk full")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    with atomic_folder(out) as folder:
        (folder / "new").touch()
        assert [item.name for item in out.iterdir()] == ["old"]
    assert [str(item.relative_to(tmp_path)) for item in tmp_path.rglob("*")] == ["out", "out/new"]


def test_a_fault_leaves_the_folder_that_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    with pytest.raises(OSError, match="full"), atomic_folder(out) as folder:
        (folder / "new").touch()
        raise OSError("the disk is full")
    assert [str(item.relative_to(tmp_path)) for item in tmp_path.rglob("*")] == ["out", "out/old"]
