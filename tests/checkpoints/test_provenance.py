"""Which osum made a checkpoint, and what it records of its runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from osum.checkpoints import provenance
from osum.errors import CheckpointError


def test_the_commit_is_that_of_the_checkout_and_of_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    git("init")
    ours = tmp_path / "provenance.py"
    ours.write_text("one")
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(provenance, "__file__", str(ours))
    assert re.fullmatch(r"[0-9a-f]{40}", provenance.commit() or "")
    ours.write_text("two")
    assert (provenance.commit() or "").endswith("-dirty")
    installed = tmp_path / "site-packages" / "provenance.py"
    installed.parent.mkdir()
    installed.write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.commit() is None


def test_what_cannot_be_read_is_reported(tmp_path: Path) -> None:
    assert provenance.runs_behind(tmp_path) == []
    (tmp_path / "training.json").write_text("{", "utf8")
    with pytest.raises(CheckpointError, match=r"the record of training in .* cannot be read .*: remove it$"):
        provenance.runs_behind(tmp_path)
