"""What a run was asked is an object, whatever else stands in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.errors import InputError
from osum.results.asked import keep_asked, read_asked


def test_what_was_asked_is_read_as_it_was_kept(tmp_path: Path) -> None:
    keep_asked(tmp_path / "asked.json", {"model": "nano", "tasks": ["ASR"], "options": {"beams": 1}})
    assert read_asked(tmp_path / "asked.json", tmp_path / "rows.jsonl")["options"] == {"beams": 1}


@pytest.mark.parametrize("content", [b"[]", b'[["model", "nano"]]', b'{"model": NaN}', b"\xff", b""])
def test_what_is_no_object_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "asked.json").write_bytes(content)
    with pytest.raises(InputError, match=r"rows.jsonl cannot be used, .*: give another -o, or start again") as fault:
        read_asked(tmp_path / "asked.json", tmp_path / "rows.jsonl")
    assert "\n" not in str(fault.value)
