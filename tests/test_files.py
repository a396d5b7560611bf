"""A file appears whole or not at all."""

from pathlib import Path

import pytest

from osum.files import atomic_file


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
