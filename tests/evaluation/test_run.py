"""A run keeps every answer once, whatever happens to it, and continues only with what it began."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evaluation.stage import SPOKEN, Echo, benchmark, go, row, untimed, write_list
from osum.errors import ManifestError, OsumError
from osum.evaluation.run.clips import LISTS, check_list
from osum.evaluation.run.predictions import Predictions

ROWS = [row(number) for number in range(14)]
FILE = "echo/voices.jsonl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_list(tmp_path / "data", ROWS)


def refused(*arguments: Any, **options: Any) -> str:
    """The one line that a run ends with."""
    with pytest.raises(OsumError) as caught:
        go(*arguments, **options)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_run_keeps_truth_answer_and_time_of_every_clip(root: Path, tmp_path: Path) -> None:
    ran = go(root, tmp_path / "out")
    found = list(Predictions(tmp_path / "out/echo", "voices").read())
    assert [one.id for one in found] == [one["id"] for one in ROWS]
    assert (found[0].truth.label, found[0].answer.label, found[0].speaker) == ("female", "female", "s0")
    assert found[0].path == str(root / "voices/0.wav")
    assert all(one.seconds is not None and one.seconds >= 0 for one in found)
    assert (ran.answers, dict(ran.failed), dict(ran.faulty)) == (14, {"clip13": "clip13: broken"}, {})


def test_a_run_killed_by_the_system_continues_as_if_nothing_had_been(root: Path, tmp_path: Path) -> None:
    code = "import sys, pathlib, evaluation.stage as stage; data, out = map(pathlib.Path, sys.argv[1:]); "
    code += "stage.go(data, out, echo=stage.Echo(kill_at='clip09'))"
    command = [sys.executable, "-c", code, root, tmp_path / "out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = untimed(tmp_path / "out" / FILE)
    asked: list[str] = []
    go(root, tmp_path / "out", echo=Echo(note=asked.append), resume=True)
    go(root, tmp_path / "whole")
    assert (len(kept), asked[0]) == (8, "clip08")
    assert untimed(tmp_path / "out" / FILE) == untimed(tmp_path / "whole" / FILE)


def test_a_file_that_ends_anywhere_is_completed(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    path = tmp_path / "out" / FILE
    whole, lines = path.read_bytes(), untimed(path)
    for length in range(0, len(whole), 211):
        path.write_bytes(whole[:length])
        asked: list[str] = []
        go(root, tmp_path / "out", echo=Echo(note=asked.append), resume=True)
        there = whole[:length].count(b"\n")
        assert untimed(path) == lines, length
        assert len(asked) == 14 - (there if there == 14 else there // 4 * 4), length


def test_a_run_that_was_killed_before_its_first_answer_begins(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    (tmp_path / "out" / FILE).unlink()
    assert go(root, tmp_path / "out", resume=True).answers == 14


def test_nothing_is_replaced_unasked(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    before = (tmp_path / "out" / FILE).read_bytes()
    assert "--resume" in refused(root, tmp_path / "out")
    assert (tmp_path / "out" / FILE).read_bytes() == before
    go(root, tmp_path / "out", overwrite=True, limit=2)
    assert len(untimed(tmp_path / "out" / FILE)) == 2


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ({"limit": 5}, "begun with limit null, and now it is 5"),
        ({"all_prompts": True}, "begun with prompts null"),
        ({"echo": Echo(revision="2")}, 'begun with description revision "1", and now it is "2"'),
        ({"bench": benchmark(task="ASR")}, "begun with task"),
    ],
)
def test_another_question_does_not_continue(root: Path, tmp_path: Path, options: dict[str, Any], reported: str) -> None:
    go(root, tmp_path / "out")
    before = (tmp_path / "out" / FILE).read_bytes()
    assert reported in refused(root, tmp_path / "out", resume=True, **options)
    assert (tmp_path / "out" / FILE).read_bytes() == before


def test_a_changed_list_is_reported_to_every_model(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    write_list(root, [*ROWS[:5], {**ROWS[5], "labels": {"gender": "f"}}, *ROWS[6:]])
    other = Echo()
    other.name = "other"
    for reported in (refused(root, tmp_path / "out", resume=True), refused(root, tmp_path / "out", echo=other)):
        assert "the list of voices has changed" in reported
        assert LISTS in reported
    assert go(root, tmp_path / "new").answers == 14


def test_runs_that_share_a_folder_lose_no_list(tmp_path: Path) -> None:
    names = [f"set{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: check_list(tmp_path, name, "sha256:1"), names))
    assert sorted(json.loads((tmp_path / LISTS).read_text("utf8"))) == sorted(names)


def test_lines_in_another_order_do_not_continue(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    path = tmp_path / "out" / FILE
    first, second, *rest = path.read_text("utf8").splitlines(keepends=True)
    path.write_text("".join([second, first, *rest]), "utf8")
    assert f"{path}:1: this is 'clip01', and the list has 'clip00' there" in refused(
        root, tmp_path / "out", resume=True
    )


def test_two_runs_do_not_write_one_file(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    before = (tmp_path / "out" / FILE).read_bytes()
    with Predictions(tmp_path / "out/echo", "voices").held():
        for options in ({"resume": True}, {"overwrite": True}):
            assert "is being written by another run" in refused(root, tmp_path / "out", **options)
    assert (tmp_path / "out" / FILE).read_bytes() == before
    assert go(root, tmp_path / "out", overwrite=True).answers == 14


def test_clips_without_truth_and_ids_twice_cost_the_others_nothing(root: Path, tmp_path: Path) -> None:
    odd = {**row(20), "labels": {}}, {**row(21), "labels": {"gender": "x"}}, row(3)
    write_list(root, [*ROWS, *odd])
    ran = go(root, tmp_path / "out")
    assert ran.answers == 14
    assert dict(ran.faulty) == {"id stands twice": ("clip03",), "no truth": ("clip20",)}
    assert Predictions(tmp_path / "out/echo", "voices").asked().left_out == {"x": 1}


def test_a_text_of_spaces_is_no_truth(root: Path, tmp_path: Path) -> None:
    write_list(root, [{**row(0), "text": "  "}, row(1)], "spoken")
    assert dict(go(root, tmp_path / "out", SPOKEN).faulty) == {"no truth": ("clip00",)}


def test_a_list_without_any_truth_is_refused(root: Path, tmp_path: Path) -> None:
    write_list(root, [{**row(0), "labels": {}}])
    assert "no clip in" in refused(root, tmp_path / "out")


def test_every_published_prompt_is_asked_about_every_clip(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out", all_prompts=True, limit=3)
    found = list(Predictions(tmp_path / "out/echo", "voices").read())
    assert [(one.prompt_index, one.answer.prompt) for one in found[::3]] == [
        (0, "SGC?"), (1, "please SGC"), (2, "SGC!")
    ]  # fmt: skip
    assert len(found) == 9


def test_a_model_without_prompts_is_asked_once(root: Path, tmp_path: Path) -> None:
    echo = Echo()
    echo.prompts = {"SGC": ()}.__getitem__  # type: ignore[method-assign, assignment]
    assert go(root, tmp_path / "out", echo=echo, all_prompts=True).answers == 14


def test_what_failed_is_asked_again(root: Path, tmp_path: Path) -> None:
    go(root, tmp_path / "out")
    asked: list[str] = []
    go(root, tmp_path / "out", echo=Echo(note=asked.append), resume=True, retry_failed=True)
    assert (asked, len(untimed(tmp_path / "out" / FILE))) == (["clip13"], 14)


def test_a_clip_that_breaks_the_model_costs_the_others_nothing(root: Path, tmp_path: Path) -> None:
    ran = go(root, tmp_path / "out", echo=Echo(breaks_at=("clip02", "clip09")))
    assert (ran.answers, list(ran.failed)) == (14, ["clip02", "clip09", "clip13"])
    assert ran.failed["clip02"].endswith("2.wav: could not be answered (RuntimeError: CUDA out of memory)")


def test_a_model_that_breaks_on_everything_stops_the_run(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        go(root, tmp_path / "out", echo=Echo(breaks_at=[f"clip{number:02}" for number in range(5, 14)]))
    assert len(untimed(tmp_path / "out" / FILE)) == 4


@pytest.mark.parametrize(
    ("number", "change", "reported"),
    [
        (3, {"benchmark": "other"}, ":3: this is a prediction for 'other'"),
        (2, {"model": "other"}, ":2: the model is 'other', and above 'echo'"),
        (5, {"id": "clip00"}, ":5: 'clip00' stands in line 1 already"),
        (1, {"answer": 7}, ":1: answer is 7: an object is needed"),
    ],
)
def test_a_line_that_does_not_belong_is_reported(
    root: Path, tmp_path: Path, number: int, change: dict[str, Any], reported: str
) -> None:
    go(root, tmp_path / "out")
    store = Predictions(tmp_path / "out/echo", "voices")
    lines = [json.loads(line) for line in store.path.read_text("utf8").splitlines()]
    lines[number - 1].update(change)
    store.path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf8")
    with pytest.raises(ManifestError) as caught:
        list(store.read())
    assert reported in str(caught.value)


def test_a_clip_with_a_question_of_its_own_is_asked_that(tmp_path: Path) -> None:
    rows = [
        {**row(number), "reply": "yes", **({"question": f"what {number % 2}?"} if number < 3 else {})}
        for number in range(5)
    ]
    bench = benchmark(name="chat", task="SGC", target="reply", metric="mer", label_set=None, labels={})
    root = write_list(tmp_path / "root", rows, "chat")
    go(root, tmp_path / "out", bench)
    reported = [line["answer"]["prompt"] for line in untimed(tmp_path / "out" / "echo" / "chat.jsonl")]
    assert reported == ["what 0?", "what 1?", "what 0?", "who?", "who?"]
