from pathlib import Path

import pytest

pytest.importorskip("sklearn")
from digits import DIGITS, RECIPE, config_of, show, single

from osum.training.config import read_recipe
from osum.utterance import Utterance


def clip(name, speaker, **extra):
    return Utterance(id=name, path="a", text="two", speaker=speaker, source=DIGITS, extra=extra)


def test_a_run_is_the_last_stage_but_for_what_it_reads_and_asks(tmp_path):
    last, run = read_recipe(RECIPE)[-1].to_dict(), config_of(tmp_path, Path("x"), 5).to_dict()
    assert {key for key in run if run[key] != last[key]} <= {
        *("mixture", "valid", "model", "out", "sources", "tasks", "evidence", "questions_per_clip", "timed_share"),
        *("steps", "save_every", "keep"),
    }


def test_single_digits_of_one_speaker_are_scored():
    rows = [clip("a", "x"), clip("b", "y"), clip("c", "x", parts=["a", "a"])]
    assert [row.id for row in single(rows, "x")] == ["a"]


def test_the_table_ends_with_the_mean():
    scores = {"x": {"value": 0.1, "low": 0.0, "high": 0.2, "count": 3}, "y": {"value": 0.2, "low": 0.1, "high": 0.3}}
    scores["y"]["count"] = 4
    assert show(scores).splitlines() == [
        "| speaker left out | n | WER % |",
        "| --- | --- | --- |",
        "| x | 3 | 10.0 [0.0, 20.0] |",
        "| y | 4 | 20.0 [10.0, 30.0] |",
        "| mean |  | 15.0 |",
    ]
