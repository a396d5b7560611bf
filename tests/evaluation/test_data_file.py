"""A manifest of one's own as test sets: which ones, what of it is faulty, and that answers are counted without it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluation.stage import Echo, go, row, untimed
from osum.errors import InputError, TaskError
from osum.evaluation.report import read_results, write_pages
from osum.evaluation.run.clips import read_clips
from osum.evaluation.score.result import REPORT, write_report
from osum.evaluation.score.score import report_of, score_folder
from osum.evaluation.sets.benchmark import Benchmark, Declaration
from osum.evaluation.sets.catalogue import BENCHMARKS
from osum.evaluation.sets.data_file import read_data_file, sets_of
from osum.records import from_row, to_row
from osum.tasks import OSUM, LabelSet, Task

PITCH = LabelSet("pitch", ("low", "high"), display={"low": "deep"}, folds={"bass": "low"})
TASKS = OSUM.with_task(Task("PITCH", "<PITCH>", "pitch of the voice", label_sets=(PITCH,)), {"en": ["{pitch}?"]})


def manifest(path: Path, rows: Iterable[Mapping[str, Any]], *lines: str) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows) + "".join(f"{line}\n" for line in lines), "utf8")
    return path


def labelled(number: int, **labels: str) -> dict[str, Any]:
    return {"id": f"clip{number:02}", "path": f"{number}.wav", "duration": 2.0, "labels": labels}


def declared(path: Path, *names: str) -> dict[str, Benchmark]:
    return {one.task: one for one in sets_of(read_data_file(path, TASKS), TASKS, names)}


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """14 clips with texts, word times, genders and speakers."""
    rows = ({**row(n), "labels": {"gender": ["female", "male"][n % 2]}, "language": "en"} for n in range(14))
    return manifest(tmp_path / "test.jsonl", rows)


def test_every_task_that_a_row_has_the_answer_of_is_a_set(voices: Path) -> None:
    found = declared(voices)
    assert {name: (one.target, one.metric) for name, one in found.items()} == {
        "ASR": ("text", "wer"),
        "SRWT": ("words", "aas"),
        "SGC": ("label", "accuracy"),
        "LID": ("label", "accuracy"),
    }
    assert (found["SGC"].name, found["SGC"].title) == ("test.SGC", "test: gender")


def test_a_set_holds_only_the_rows_that_have_its_answer(tmp_path: Path) -> None:
    rows = [labelled(0, pitch="low"), labelled(1, gender="male"), {**labelled(2), "text": " "}]
    path = manifest(tmp_path / "test.jsonl", rows)
    assert {name: [clip.id for clip in one.read(path)] for name, one in declared(path).items()} == {
        "PITCH": ["clip00"],
        "SGC": ["clip01"],
    }


def test_labels_are_read_in_the_words_of_their_set(tmp_path: Path) -> None:
    path = manifest(tmp_path / "t.jsonl", [labelled(0, pitch="Bass"), labelled(1, pitch="HIGH")])
    clips = read_clips(declared(path)["PITCH"], tmp_path)
    assert [truth.label for _, truth in clips.pairs] == ["low", "high"]


def test_what_is_wrong_with_a_row_costs_that_row_and_is_reported_once_for_each_kind(tmp_path: Path) -> None:
    rows = [labelled(0, pitch="low"), labelled(1, pitch="hihg", gender="male"), labelled(2, pitch="hihg")]
    path = manifest(tmp_path / "t.jsonl", rows, "{broken")
    file = read_data_file(path, TASKS)
    broken, label = file.faults
    assert broken.startswith(f"{path}:4: not JSON")
    assert label == (f"{path}:2: pitch of 'clip01' is 'hihg': did you mean 'high'? use one of low, high (2 of 'hihg')")
    assert {one.task: len(one.read(path)) for one in sets_of(file, TASKS)} == {"PITCH": 1, "SGC": 1}


def test_a_language_that_no_label_set_has_is_no_fault(tmp_path: Path) -> None:
    path = manifest(tmp_path / "t.jsonl", [{**labelled(0), "text": "bonjour", "language": "fr"}])
    assert read_data_file(path, TASKS).faults == ()
    assert list(declared(path)) == ["ASR"]


@pytest.mark.parametrize(
    ("languages", "metric"),
    [(["en", "en"], "wer"), (["zh", "zh"], "cer"), (["en", "zh"], "mer"), ([None, "en"], "mer")],
)
def test_texts_in_one_language_are_measured_as_that_language_is(
    tmp_path: Path, languages: list[str | None], metric: str
) -> None:
    rows = [{**labelled(n), "text": "a", "language": language} for n, language in enumerate(languages)]
    assert declared(manifest(tmp_path / "t.jsonl", rows), "ASR")["ASR"].metric == metric


@pytest.mark.parametrize(
    ("names", "fault", "message"),
    [
        (["SAP+SGC"], TaskError, "asks for several labels at once: name tasks of one of age, gender"),
        (["SER"], InputError, "no row has the label 'emotion', which SER is measured by"),
        (["STTC"], InputError, "no row has the field 'reply'"),
        (["PITHC"], TaskError, "unknown task 'PITHC': did you mean 'pitch'"),
    ],
)
def test_a_task_that_cannot_be_measured_is_refused(
    voices: Path, names: list[str], fault: type[Exception], message: str
) -> None:
    with pytest.raises(fault, match=message.replace("+", r"\+")):
        declared(voices, *names)


def test_a_manifest_without_any_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row has an answer to measure by: add one of the field 'text'"):
        declared(manifest(tmp_path / "t.jsonl", [labelled(0)]))


def test_no_name_is_one_of_the_catalogue(voices: Path) -> None:
    assert not any("." in name for name in BENCHMARKS)
    assert all("." in one.name for one in declared(voices).values())


def test_a_declaration_comes_back_as_it_was(voices: Path) -> None:
    for one in declared(voices).values():
        assert one.declared is not None
        assert from_row(Declaration, json.loads(json.dumps(to_row(one.declared)))) == one.declared
    with pytest.raises(InputError, match="target of 'x' is 'truth': it must be one of text, label"):
        Declaration("x", "x", "SGC", "truth", "accuracy", "x.jsonl")


def test_answers_are_counted_and_reported_without_the_manifest(voices: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for one in declared(voices, "SGC", "ASR").values():
        go(tmp_path, out, one)
    voices.unlink()
    found = {one.benchmark.task: one for one in score_folder(out, BENCHMARKS, pytest.fail)}
    gender = found["SGC"].result
    assert gender.confusion is not None and gender.calibration is not None
    assert (list(gender.confusion.labels), gender.clips, gender.resampled_by) == (["female", "male"], 14, "speaker")
    assert {"unweighted_recall", "macro_f1", "free"} <= gender.others.keys()
    assert (found["ASR"].result.metric, found["ASR"].result.others.keys()) == ("wer", {"cer", "mer"})
    write_report(out / REPORT, report_of(list(found.values())))
    compared = read_results([out], BENCHMARKS, ())
    assert compared.title("test.SGC") == "test: gender"
    reported = write_pages(compared, [out], tmp_path / "report", 3, pytest.fail)
    assert reported.num_errors > 0 and (tmp_path / "report/figures/test.SGC-confusion.png").is_file()


def test_labels_of_ones_own_set_keep_its_order_and_names(tmp_path: Path) -> None:
    path = manifest(tmp_path / "t.jsonl", [labelled(0, pitch="low"), labelled(1, pitch="high")])
    answers = declared(path)["PITCH"].answers
    assert answers is not None
    assert (answers.labels, answers.title("low")) == (("low", "high"), "deep")


def test_a_run_continues_and_refuses_a_manifest_whose_answers_have_changed(voices: Path, tmp_path: Path) -> None:
    one = declared(voices, "SGC")["SGC"]
    go(tmp_path, tmp_path / "out", one)
    whole = untimed(tmp_path / "out/echo/test.SGC.jsonl")
    lines = (tmp_path / "out/echo/test.SGC.jsonl").read_text("utf8").splitlines(keepends=True)
    (tmp_path / "out/echo/test.SGC.jsonl").write_text("".join(lines[:5]), "utf8")
    asked: list[str] = []
    go(tmp_path, tmp_path / "out", declared(voices, "SGC")["SGC"], Echo(note=asked.append), resume=True)
    assert (untimed(tmp_path / "out/echo/test.SGC.jsonl"), asked[0]) == (whole, "clip04")
    voices.write_text(voices.read_text("utf8").replace('"female"', '"male"', 1), "utf8")
    with pytest.raises(InputError, match=r"the list of test\.SGC has changed"):
        go(tmp_path, tmp_path / "out", declared(voices, "SGC")["SGC"], resume=True)
