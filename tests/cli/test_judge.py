"""`osum judge` against a server on a real socket: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_judge import clip, taste
from peers.llm_server import Server, completion, fault, running

from cli.conftest import Run
from osum.evaluation.judge.judgement import read_judgement
from osum.evaluation.run.predictions import to_line


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.answer = taste()
        yield server


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return written(tmp_path / "nano" / "chat.jsonl", ["a b c d", "a b", "a"])


def written(path: Path, replies: list[str], **changes: Any) -> Path:
    path.parent.mkdir()
    lines = [to_line(clip(str(number), reply, **changes)) for number, reply in enumerate(replies, 1)]
    path.write_bytes(b"".join(lines))
    return path


def test_replies_are_scored_and_the_cost_is_reported(
    server: Server, osum: Run, predictions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "judge.json"
    words = ("judge", predictions, "--endpoint", server.url, "--judge", "stub", "-o", out)
    code, shown, err = osum(*words, "--price-in", 10, "--price-out", 50)
    assert code == 0
    assert "nano on chat next to the reference, judged by stub:\n  2.333 [1.000, 4.000], 3 of 3 replies" in shown
    assert "6 answers, 600 tokens sent, 120 answered, 0.0120 in all; this run: 6 calls for 0.0120, 0 from" in err
    first = out.read_bytes()
    assert json.loads(first)["score"]["value"] == pytest.approx(7 / 3)
    assert "0 calls for 0.0000, 6 from the cache" in osum(*words, "--price-in", 10, "--price-out", 50).err
    assert out.read_bytes() == first


def test_two_models_are_held_against_each_other(server: Server, osum: Run, predictions: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other" / "chat.jsonl", ["a", "a b", "a b"], model="other")
    words = ("judge", predictions, "--against", other, "--endpoint", server.url, "--judge", "stub")
    ran = osum(*words, "-o", tmp_path / "judge.json")
    assert (ran.code, "nano on chat against other, judged by stub:\n  0.500" in ran.out) == (0, True)


def test_a_server_that_goes_down_costs_what_is_left_and_no_more(
    server: Server, osum: Run, predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSUM_LLM_ENDPOINT", server.url)
    words = ("judge", predictions, "--judge", "stub", "-o", tmp_path / "judge.json", "--concurrency", 1)
    usual = server.answer
    server.answer = lambda body: usual(body) if len(server.asked) <= 3 else fault(402, "no money left")
    code, shown, err = osum(*words)
    assert (code, "1 of 3 replies" in shown) == (1, True)
    assert "error: 2: missing: 127.0.0.1" in err
    assert "HTTP 402: no money left" in err
    assert "2 replies have no verdict" in err
    server.answer = usual
    code, shown, err = osum(*words)
    assert (code, "3 of 3 replies" in shown, "this run: 3 calls, 3 from the cache" in err) == (0, True, True)


def test_a_limit_of_cost_ends_the_run(server: Server, osum: Run, predictions: Path, tmp_path: Path) -> None:
    words = ("judge", predictions, "--endpoint", server.url, "--judge", "stub", "-o", tmp_path / "judge.json")
    ran = osum(*words, "--price-in", 1, "--price-out", 1, "--max-cost", 0.0001)
    assert (ran.code, server.asked) == (1, [])
    assert "3 replies have no verdict" in ran.err
    assert "  no figure, 0 of 3 replies" in ran.out
    assert osum(*words, "--max-cost", 1).err.startswith("osum: error: a limit of cost, 1, needs the prices")


def test_what_a_server_does_not_do_is_reported(server: Server, osum: Run, predictions: Path, tmp_path: Path) -> None:
    words = ("judge", predictions, "--endpoint", server.url, "--judge", "stub", "-o", tmp_path / "judge.json")
    verdict = completion({"reason": "", "first": 5, "second": 5}, tokens=None)
    server.answer = lambda body: fault(400, "no seed") if "seed" in body else verdict
    err = osum(*words).err
    assert "the server did not count the tokens of 6 answers" in err
    assert "the server did not take seed" in err


def test_verdicts_of_another_run_are_not_written_over(
    server: Server, osum: Run, predictions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "judge.json"
    words = ("judge", predictions, "--endpoint", server.url, "-o", out, "--judge")
    assert osum(*words, "stub").code == 0
    ran = osum(*words, "another")
    assert (ran.code, "on other replies or of another judge" in ran.err) == (1, True)
    out.write_text("my notes")
    assert "is no file of osum judge" in osum(*words, "stub").err
    assert (out.read_text(), osum(*words, "stub", "--overwrite").code) == ("my notes", 0)


def test_without_a_file_verdicts_are_next_to_the_predictions(server: Server, osum: Run, predictions: Path) -> None:
    words = ("judge", predictions, "--endpoint", server.url, "--judge", "stub")
    assert osum(*words).code == 0
    assert read_judgement(predictions.parent / "chat.judge.json").score.count == 3
    assert "give -o FILE with --against" in osum(*words, "--against", predictions).err


def test_a_place_that_cannot_be_written_is_reported_before_anything_is_spent(
    server: Server, osum: Run, predictions: Path
) -> None:
    ran = osum("judge", predictions, "--endpoint", server.url, "--judge", "stub", "-o", predictions / "judge.json")
    assert (ran.code, server.asked) == (1, [])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "there is no endpoint"),
        (["--endpoint", "host:8000"], "is no address"),
        (["--endpoint", "http://host/v1", "--price-in", "1"], "--price-in and --price-out go together"),
        (["--price-in", "-1"], "'-1' is no number from 0"),
        (["--timeout", "0"], "'0' is no number over 0"),
    ],
)
def test_what_is_missing_is_reported_in_one_line(
    osum: Run, predictions: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    code, _, err = osum("judge", predictions, "--judge", "stub", "-o", tmp_path / "judge.json", *more)
    assert (code in (1, 2), err.count("\n"), message in err) == (True, 1, True)
    assert not (tmp_path / "judge.json").exists()


def test_predictions_that_are_none_are_reported(osum: Run, tmp_path: Path) -> None:
    words = ("--endpoint", "http://host/v1", "--judge", "stub", "-o", tmp_path / "judge.json")
    assert "is no file of predictions" in osum("judge", tmp_path / "chat.wav", *words).err
    assert "cannot be read" in osum("judge", tmp_path / "chat.jsonl", *words).err
    (tmp_path / "chat.jsonl").touch()
    assert "holds no prediction in the fixed prompt" in osum("judge", tmp_path / "chat.jsonl", *words).err
