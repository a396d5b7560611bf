"""Predictions are counted as by hand, and equal predictions give equal reports to the last byte."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.stage import BENCHMARKS, SPOKEN, TIMED, Echo, benchmark, go, row, write_list
from osum.errors import InputError, OsumError
from osum.evaluation.run.prediction import Prediction, Truth
from osum.evaluation.run.predictions import AskedBenchmark
from osum.evaluation.score.result import REPORT, read_report, write_report
from osum.evaluation.score.score import Scored, compare, report_of, score, score_folder
from osum.evaluation.sets.benchmark import Benchmark
from osum.peers.recogniser import Recognition
from osum.scoring import resampling_of

ROWS = [row(number) for number in range(14)]
ASKED = AskedBenchmark("voices", "echo", "SGC", "sha256:0", 4)


def fail(fault: OsumError) -> None:
    raise fault


def scored(tmp_path: Path, bench: Benchmark, rows: Sequence[dict[str, object]] = ROWS, **options: object) -> Scored:
    root = write_list(tmp_path / "data", rows, bench.name)
    go(root, tmp_path / "out", bench, **options)
    (one,) = score_folder(tmp_path / "out", BENCHMARKS, fail)
    return one


def test_labels_are_counted_as_by_hand(tmp_path: Path) -> None:
    """Women are even numbers; woman is named for 0 to 4 and 10 to 12, man for 5 to 9, nothing for 13 (a man)."""
    result = scored(tmp_path, benchmark()).result
    assert (result.score.value, result.clips, result.failed) == (pytest.approx(8 / 14), 14, 1)
    assert (result.confusion.labels, result.confusion.counts) == (("female", "male"), ((5, 2, 0), (3, 3, 1)))
    assert result.others["unweighted_recall"].value == pytest.approx((5 / 7 + 3 / 7) / 2)
    assert result.others["free"].value == pytest.approx(7 / 14)  # 4 says nothing that can be read
    assert result.unreadable == pytest.approx(1 / 13)
    assert result.resampled_by == "speaker"
    assert result.calibration is not None
    assert sum(count for _, _, count in result.calibration.bins) == 13
    assert result.run["failed"] == ["clip13"]


def test_texts_are_counted_as_by_hand(tmp_path: Path) -> None:
    """The third word is wrong for 10 to 12, and all three are lost for 13."""
    result = scored(tmp_path, SPOKEN).result
    assert result.score.value == pytest.approx((3 + 3) / 42)
    assert set(result.others) == {"cer", "mer"}
    assert result.run["normaliser"].startswith("osum (")
    assert (result.confusion, result.calibration, result.times) == (None, None, None)


def test_word_times_are_counted_as_by_hand(tmp_path: Path) -> None:
    """Starts are right and ends 50 ms late."""
    result = scored(tmp_path, TIMED).result
    assert result.score.value == pytest.approx(25)
    assert result.score.detail["coverage"] == pytest.approx(13 / 14)
    assert result.times is not None
    assert (result.times.median, result.times.within[50]) == (pytest.approx(25), 1.0)
    assert result.others["mer"].value == pytest.approx((13 * 2 + 1) / 14)  # the answer's text has two words more


def test_each_prompt_has_its_score(tmp_path: Path) -> None:
    result = scored(tmp_path, benchmark(), all_prompts=True).result
    assert [one.value for one in result.prompts] == [result.score.value] * 3
    assert (result.clips, result.run["answers"], len(result.run["prompts"])) == (14, 42, 3)


def test_machine_seconds_per_second_of_audio(tmp_path: Path) -> None:
    found = scored(tmp_path, benchmark())
    half = [replace(one, seconds=1.0) for one in found.predictions]
    assert score(found.benchmark, found.asked, half).real_time_factor == pytest.approx(0.5)
    none = [replace(one, seconds=None) for one in found.predictions]
    assert score(found.benchmark, found.asked, none).real_time_factor is None


def one_of(number: int, truth: str, label: str | None, speaker: str | None = None) -> Prediction:
    answer = Recognition(label=label)
    return Prediction(f"c{number}", "voices", "echo", Truth(label=truth), answer, "a.wav", speaker=speaker)


def test_a_model_that_writes_nothing_has_no_free_answer() -> None:
    result = score(benchmark(), ASKED, [one_of(n, "male", "male") for n in range(4)])
    assert (result.unreadable, set(result.others)) == (None, {"macro_f1", "unweighted_recall"})


def test_the_answer_counts_where_there_is_no_likeliest_label() -> None:
    said = replace(one_of(0, "male", None), answer=Recognition(raw="<male>", said="male"))
    assert score(benchmark(), ASKED, [said]).score.value == 1


def test_single_words_are_right_as_a_whole_whatever_their_case() -> None:
    bench = benchmark(task="ASR", target="text", metric="accuracy", label_set=None)
    pairs = [("Yes", "yes."), ("no", "know")]
    some = [Prediction(right, "voices", "echo", Truth(right), Recognition(text=said), "a.wav") for right, said in pairs]
    assert score(bench, ASKED, some).score.value == 0.5


def test_a_judge_is_not_counted() -> None:
    bench = benchmark(task="STTC", target="reply", metric="judge", label_set=None)
    some = [Prediction("a", "voices", "echo", Truth(reply="hello"), Recognition(reply="hi"), "a.wav")]
    assert math.isnan(score(bench, ASKED, some).score.value)


@pytest.mark.parametrize(("speakers", "by"), [("abcd", "clip"), ("abcde", "speaker")])
def test_five_speakers_are_drawn_and_four_are_not(speakers: str, by: str) -> None:
    assert resampling_of([one_of(n, "male", "male", name) for n, name in enumerate(speakers)])[1] == by


def test_clips_of_nobody_are_groups_of_their_own() -> None:
    some = [one_of(n, "male", "male", name) for n, name in enumerate(["a", "a", "b", "c", "d", "e", None, None])]
    groups = resampling_of(some)[0].groups
    assert groups is not None
    assert (len(set(groups)), groups[0] == groups[1], groups[6] == groups[7]) == (7, True, False)


def test_equal_predictions_give_equal_bytes(tmp_path: Path) -> None:
    root = write_list(tmp_path / "data", ROWS)
    go(root, tmp_path / "out")
    other = Echo()
    other.name = "other"
    go(root, tmp_path / "out", echo=other)
    for name in "ab":
        write_report(tmp_path / name / REPORT, report_of(score_folder(tmp_path / "out", BENCHMARKS, fail)))
    text = (tmp_path / "a" / REPORT).read_bytes()
    assert text == (tmp_path / "b" / REPORT).read_bytes()
    report = read_report(tmp_path / "a" / REPORT)
    write_report(tmp_path / "c" / REPORT, report)
    assert text == (tmp_path / "c" / REPORT).read_bytes()
    assert [(one.first, one.second) for one in report.comparisons] == [("echo", "other")]
    assert report.comparisons[0].difference.value == 0


def test_models_are_compared_on_the_clips_they_share(tmp_path: Path) -> None:
    found = scored(tmp_path, benchmark())
    right = [replace(one, answer=Recognition(label=one.truth.label)) for one in found.predictions]
    best = replace(found, predictions=right[2:]).renamed("best")
    comparison = compare(best, found)
    assert comparison is not None
    assert comparison.difference.count == 12
    assert comparison.difference.value == pytest.approx(1 - 7 / 12)
    other = [replace(one, truth=Truth(label="other")) for one in right]
    assert compare(replace(found, predictions=other), found) is None


def test_what_cannot_be_counted_costs_the_rest_nothing(tmp_path: Path) -> None:
    scored(tmp_path, benchmark())
    (tmp_path / "out/echo/unheard.asked.json").write_text("{}", "utf8")
    (tmp_path / "out/odd").mkdir()
    (tmp_path / "out/odd/voices.asked.json").write_text('{"benchmark": "voices"}', "utf8")
    faults: list[str] = []
    found = score_folder(tmp_path / "out", BENCHMARKS, lambda fault: faults.append(str(fault)))
    assert ([one.asked.model for one in found], len(faults)) == (["echo"], 2)
    assert "there is no benchmark 'unheard'" in "".join(faults)


def test_a_prediction_without_truth_is_reported() -> None:
    with pytest.raises(InputError, match=r"the prediction of 'c1' has no truth.label"):
        score(benchmark(), ASKED, [one_of(0, "male", "male"), replace(one_of(1, "male", "male"), truth=Truth("text"))])


def test_no_predictions_are_no_result() -> None:
    with pytest.raises(InputError, match="no predictions"):
        score(benchmark(), ASKED, [])


def test_a_report_of_another_form_is_reported(tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text(json.dumps({"results": [{}]}), "utf8")
    with pytest.raises(InputError, match=r"results\[0\].benchmark is missing"):
        read_report(tmp_path / REPORT)
