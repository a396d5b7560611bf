"""`osum rate`: the page, the key, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path

from cli.conftest import Run
from cli.test_judge import written


def test_replies_are_put_on_a_page_and_what_was_saved_is_counted(osum: Run, tmp_path: Path) -> None:
    predictions = written(tmp_path / "nano" / "chat.jsonl", ["a b", "a"])
    ran = osum("rate", "sheet", predictions, "-o", tmp_path / "sheet")
    assert (ran.code, "2 replies; give raters" in ran.err) == (0, True)
    key = json.loads((tmp_path / "sheet/key.json").read_bytes())
    grades = {str(number): {"cue": 3, "content": 5} for number in (1, 2)}
    ratings = tmp_path / "anna.json"
    ratings.write_text(json.dumps({"sheet": key["sheet"], "rater": "anna", "grades": grades}))
    ran = osum("rate", "score", tmp_path / "sheet", ratings)
    assert ran.code == 0 and "| nano | chat | 75.0 [75.0, 75.0] | 2 |" in ran.out
    assert "agreement of 1 raters" in ran.out


def test_a_folder_without_a_key_is_one_line(osum: Run, tmp_path: Path) -> None:
    ran = osum("rate", "score", tmp_path, tmp_path / "anna.json")
    assert (ran.code, ran.err.count("\n")) == (1, 1) and "is no file of osum rate sheet" in ran.err
