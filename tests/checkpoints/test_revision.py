"""One revision for a folder: it changes with everything that decides an answer, and with nothing else."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from osum.checkpoints import revision
from osum.checkpoints.revision import revision_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": "{}",
    "model.safetensors": "w" * 3_000_000,
    "adapter/adapter_config.json": "{}",
    "adapter/adapter_model.safetensors": "a" * 64,
    "tokenizer.json": "{}",
    "chat_template.jinja": "x",
    "tasks.json": "{}",
}
RECORDS = ("README.md", "training.json", "conversion.json", "progress.json", "training_state.safetensors", ".cache/x")
LONG_AGO = 1_600_000_000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("OSUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's files, by name alone."""
    for name, text in FILES.items():
        write(tmp_path / "model" / name, text)
    return tmp_path / "model"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("name", FILES)
def test_one_byte_at_the_end_of_any_file_that_decides_answers_makes_another_revision(folder: Path, name: str) -> None:
    before = revision_of(folder)
    (folder / name).write_text(FILES[name][:-1] + "!")
    assert revision_of(folder) != before


@pytest.mark.parametrize("name", RECORDS)
def test_what_documents_or_resumes_a_checkpoint_does_not_count(folder: Path, name: str) -> None:
    before = revision_of(folder)
    write(folder / name, "reported")
    assert revision_of(folder) == before


def test_a_copy_elsewhere_has_the_same_revision(folder: Path, tmp_path: Path) -> None:
    assert revision_of(Path(shutil.copytree(folder, tmp_path / "copy"))) == revision_of(folder)


def test_two_files_that_swap_their_names_make_another_revision(folder: Path) -> None:
    write(folder / "vocab.json", "other")
    before = revision_of(folder)
    (folder / "vocab.json").rename(folder / "x")
    (folder / "tasks.json").rename(folder / "vocab.json")
    (folder / "x").rename(folder / "tasks.json")
    assert revision_of(folder) != before


def test_a_snapshot_of_a_hub_keeps_its_commit_and_a_folder_of_that_name_does_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    assert revision_of(folder.rename(tmp_path / "snapshots" / COMMIT)) == COMMIT
    assert len(revision_of((tmp_path / "snapshots" / COMMIT).rename(tmp_path / "snapshots" / "run"))) == revision.DIGITS


def test_a_file_is_read_once_until_its_size_or_time_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "RACE", 0)
    before, opened = revision_of(folder), []
    real = Path.open

    def watched(self: Path, *words: object, **options: object) -> object:
        opened.append(self.name)
        return real(self, *words, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", watched)
    assert (revision_of(folder), opened.count("model.safetensors")) == (before, 0)
    os.utime(folder / "model.safetensors", (LONG_AGO, LONG_AGO))
    assert (revision_of(folder), opened.count("model.safetensors")) == (before, 1)


def test_a_change_within_one_tick_of_the_clock_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, path = revision_of(folder), folder / "model.safetensors"
    times = path.stat()
    path.write_text("v" * 3_000_000)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert revision_of(folder) != before


@pytest.mark.parametrize("damage", ["not json", "[]", '{"model.safetensors": 3}'])
def test_a_damaged_cache_costs_time_and_no_answer(
    folder: Path, home: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revision, "RACE", 0)
    before = revision_of(folder)
    (cache,) = home.rglob("*.json")
    cache.write_text(damage)
    assert revision_of(folder) == before


def test_a_folder_and_a_home_that_cannot_be_written_do(folder: Path, home: Path) -> None:
    home.write_text("a file where a folder is wanted")
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    for path, mode in before.items():
        path.chmod(mode & ~0o222)
    try:
        assert len(revision_of(folder)) == revision.DIGITS
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(FILES)
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def test_a_user_without_a_home_is_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = revision_of(folder)
    monkeypatch.delenv("OSUM_CACHE")

    def homeless(path: Path) -> Path:
        raise RuntimeError(f"no home for {path}")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert revision_of(folder) == before
