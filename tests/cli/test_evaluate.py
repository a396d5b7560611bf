"""`osum evaluate` and `osum score`: nano on two of the samples, and everything that can be wrong around it."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import osum as osum_package
from cli.conftest import Ran, Run
from osum.cli import main
from osum.corpus.manifest import read_manifest, write_manifest
from osum.evaluation.score.result import read_report
from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES
from osum.tasks import OSUM, LabelSet, Task
from osum.utterance import Utterance

ROOT = Path(__file__).parents[2]
SAMPLES = str(ROOT / "samples/manifest.jsonl")


def cells(table: str, start: str) -> list[str]:
    """The cells of the first line of a table that begins with some word."""
    lines = ([cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines())
    return next(line for line in lines if line and line[0] == start)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The folder and the end of one run: a set that is there, one that is not, one that nano does not answer."""
    out = tmp_path_factory.mktemp("evaluate") / "out"
    names = "librispeech-test-clean,samples-gender,covost2-en-de"
    words = ["evaluate", "--benchmark", names, "--data", str(ROOT), "-o", str(out), "--limit", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as reported, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = main([*words, "--device", "cpu"])
    return out, Ran(code, reported.getvalue(), errors.getvalue())


@pytest.fixture
def copy(nano: tuple[Path, Ran], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(nano[0], tmp_path / "copy"))


def test_one_command_gives_figures_and_keeps_every_answer(nano: tuple[Path, Ran]) -> None:
    out, ran = nano
    assert cells(ran.out, "samples-gender")[:3] == ["samples-gender", "nano", "accuracy % ↑"]
    assert "unweighted recall" in ran.out
    assert sorted(path.name for path in out.rglob("*.*") if path.name[0] != ".") == [
        "lists.json", "report.json", "samples-gender.asked.json", "samples-gender.jsonl"
    ]  # fmt: skip
    assert len((out / "nano/samples-gender.jsonl").read_text("utf8").splitlines()) == 2


def test_a_report_holds_what_is_needed_to_run_it_again(nano: tuple[Path, Ran]) -> None:
    (result,) = read_report(nano[0] / "report.json").results
    assert {"python", "osum", "torch", "transformers", "jiwer", "numpy"} <= result.run["versions"].keys()
    assert (result.run["seed"], result.run["limit"], result.run["model"]["dtype"]) == (0, 2, "float32")
    assert result.run["list_hash"].startswith("sha256:")
    assert len(result.run["prompts"]) == 1
    assert result.real_time_factor is not None
    assert result.real_time_factor > 0


def test_what_cannot_be_run_is_reported_in_a_line_and_costs_the_rest_nothing(nano: tuple[Path, Ran]) -> None:
    _, ran = nano
    errors = [line for line in ran.err.splitlines() if line.startswith("osum: error")]
    assert (ran.code, len(errors)) == (1, 2)
    assert "librispeech-test-clean" in errors[1]
    assert str(ROOT / "LibriSpeech/test-clean") in errors[1]
    assert errors[0] == "osum: error: nano does not answer S2TT; left out: covost2-en-de"


def test_counting_again_gives_the_same_bytes(osum: Run, nano: tuple[Path, Ran], copy: Path) -> None:
    (copy / "report.json").unlink()
    ran = osum("score", copy)
    assert (ran.code, ran.out) == (0, nano[1].out)
    assert (copy / "report.json").read_bytes() == (nano[0] / "report.json").read_bytes()


def test_counting_again_needs_no_model(copy: Path) -> None:
    code = "import sys; from osum.cli import main; main(['score', sys.argv[1]]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, copy], capture_output=True, text=True, check=True)
    assert not set(done.stdout.splitlines()[-1].split()) & {"torch", "transformers", "sklearn", "matplotlib"}


def test_two_folders_are_compared_in_pairs(osum: Run, nano: tuple[Path, Ran], copy: Path) -> None:
    ran = osum("score", nano[0], copy)
    pair = cells(ran.out.split("Pairs of models")[1], "samples-gender")
    assert (ran.code, pair[1:3]) == (0, ["out/nano", "copy/nano"])
    assert pair[4:] == ["0.0", "0.0 to 0.0", "1.000", "2"]


def test_a_line_that_is_damaged_is_reported_with_its_number(osum: Run, copy: Path) -> None:
    path = copy / "nano/samples-gender.jsonl"
    first, second = path.read_text("utf8").splitlines()
    row = {**json.loads(second), "benchmark": "samples-age"}
    path.write_text(f"{first}\n{json.dumps(row)}\n", "utf8")
    ran = osum("score", copy)
    assert ran.code == 1
    assert f"{path}:2: this is a prediction for 'samples-age'" in ran.err


def test_an_unfinished_run_is_counted_and_reported(osum: Run, copy: Path) -> None:
    path = copy / "nano/samples-gender.jsonl"
    path.write_text(path.read_text("utf8").splitlines(keepends=True)[0], "utf8")
    ran = osum("score", copy)
    assert ran.code == 0
    assert "nano on samples-gender is not finished, 1 of 2 answers" in ran.err


def test_the_list_shows_every_benchmark_and_suite(osum: Run) -> None:
    ran = osum("evaluate", "--list")
    assert ran.code == 0
    for name in (*BENCHMARKS, *SUITES):
        assert name in ran.out


PITCH = LabelSet("pitch", ("low", "high"))


@pytest.fixture(scope="module")
def pitched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint with a label of its own (the packaged one under other tasks), and a manifest that tells it."""
    folder = tmp_path_factory.mktemp("pitched")
    model = folder / "run/best"
    model.mkdir(parents=True)
    for path in (Path(osum_package.__file__).parent / "assets/nano").iterdir():
        (model / path.name).symlink_to(path)
    (model / "tasks.json").unlink()
    task = Task("PITCH", "<PITCH>", "pitch of the voice", label_sets=(PITCH,), needs="sound")
    tasks = OSUM.keep(("ASR",)).with_task(task, {"en": ["{pitch}?"]})
    (model / "tasks.json").write_text(json.dumps(tasks.to_dict()), "utf8")
    clips = sorted((ROOT / "samples").glob("*.flac"))[:2]
    rows = [
        Utterance(clip.stem, str(clip), labels={"pitch": each}) for clip, each in zip(clips, PITCH.labels, strict=True)
    ]
    write_manifest(folder / "test.jsonl", rows)
    return model, folder / "test.jsonl"


def test_a_manifest_of_ones_own_is_measured_with_the_label_set_of_the_checkpoint(
    osum: Run, pitched: tuple[Path, Path], tmp_path: Path
) -> None:
    model, manifest = pitched
    models = ("--model", model, "--model", "majority", "--set", f"train={manifest}", "--device", "cpu")
    ran = osum("evaluate", *models, "--data-file", manifest, "-o", tmp_path)
    results = {one.model: one for one in read_report(tmp_path / "report.json").results}
    assert (ran.code, results.keys()) == (0, {"run/best", "majority"})
    found = results["run/best"]
    assert found.confusion is not None and found.calibration is not None
    assert (found.benchmark, found.confusion.labels, found.clips) == ("test.PITCH", PITCH.labels, 2)
    again = osum("score", tmp_path)
    assert (again.code, again.out) == (0, ran.out)
    assert osum("evaluate", *models, "--data-file", manifest, "-o", tmp_path, "--resume").out == ran.out


def test_faults_of_a_manifest_are_reported_and_cost_their_rows(
    osum: Run, pitched: tuple[Path, Path], tmp_path: Path
) -> None:
    model, manifest = pitched
    bad = tmp_path / "bad.jsonl"
    rows = list(read_manifest(manifest))
    write_manifest(bad, [*rows, rows[0].with_(id="x", labels={"pitch": "hihg"})])
    words = ("--tasks-file", model / "tasks.json", "--model", "majority", "--set", f"train={manifest}")
    ran = osum("evaluate", *words, "--data-file", bad, "-o", tmp_path / "out")
    assert (ran.code, cells(ran.out, "bad.PITCH")[5]) == (1, "2")
    assert f"osum: error: {bad}:3: pitch of 'x' is 'hihg': did you mean 'high'?" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no benchmark: give --benchmark NAME or --suite NAME"),
        (("--benchmark", "melt"), "unknown benchmark 'melt': did you mean 'meld'?"),
        (("--suite", "tabel4"), "unknown suite 'tabel4': did you mean 'table4'?"),
        (("--benchmark", "meld"), "no place for results: give -o FOLDER"),
        (("--benchmark", "meld", "-o", "x", "--resume", "--overwrite"), "--resume keeps what is there"),
        (("--benchmark", "meld", "-o", "x", "--retry-failed"), "--retry-failed is about an earlier run"),
        (("--benchmark", "meld", "-o", __file__), "is a file: give the folder of results"),
        (("--benchmark", "meld", "-o", "no/out", "--model", "whisperr:x"), "did you mean 'whisper:FOLDER'?"),
        (("--benchmark", "meld", "-o", "no/out", "--set", "x"), "write KEY=VALUE"),
        (("--benchmark", "meld", "-o", "no/out", "--tasks", "SER"), "give --data-file FILE with them"),
        (("--data-file", "nowhere.jsonl", "-o", "no/out"), "nowhere.jsonl cannot be read"),
        (("--data-file", SAMPLES, "--data-file", SAMPLES, "-o", "no/out"), "two data files are named 'manifest'"),
        (("--data-file", SAMPLES, "--tasks", "STTC", "-o", "no/out"), "no row has the field 'reply'"),
    ],
)
def test_a_wrong_command_is_reported_in_a_line(osum: Run, words: tuple[str, ...], message: str) -> None:
    ran = osum("evaluate", *words)
    assert ran.code in (1, 2)
    assert (message in ran.err, ran.err.count("\n"), ran.out) == (True, 1, "")


def test_a_setting_may_be_for_one_of_several_models(osum: Run, tmp_path: Path) -> None:
    """Both learn from the samples; the second is given a file that is not there."""
    words = (
        "--benchmark",
        "samples-gender",
        "--data",
        ROOT,
        "-o",
        tmp_path,
        "--model",
        "majority",
        "--model",
        "source",
    )
    settings = ("--set", f"majority.train={ROOT / 'samples/manifest.jsonl'}", "--set", "source.train=nowhere.jsonl")
    ran = osum("evaluate", *words, *settings)
    assert (ran.code, cells(ran.out, "samples-gender")[1]) == (1, "majority")
    assert "nowhere.jsonl" in ran.err


def test_the_files_of_the_original_are_scored(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("a 你好<HAPPY>\nb good day<SAD>\n", "utf8")
    (tmp_path / "hyp").write_text("a 你<happy>\nb good day<fear>\n", "utf8")
    files = ("--hyp", tmp_path / "hyp", "--ref", tmp_path / "ref")
    ran = osum("score", "--compat", "original", *files, "--task", "<TRANSCRIBE> <EMOTION>")
    assert (ran.code, ran.out.splitlines()) == (
        0,
        ["error rate 25.00 %  (1 errors, 4 units, 2 utterances)", "accuracy   50.00 %  (1 of 2 first tags)"],
    )
    assert "accuracy" not in osum("score", "--compat", "original", *files).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to score"),
        (("nowhere",), "nowhere holds no predictions that can be counted"),
        (("--hyp", "x"), "give --compat original"),
        (("--compat", "original", "--hyp", "x"), "give --hyp FILE and --ref FILE"),
    ],
)
def test_a_wrong_score_is_reported_in_a_line(osum: Run, words: tuple[str, ...], message: str) -> None:
    ran = osum("score", *words)
    code = 1 if "nowhere" in words else 2  # what stands on the disk is no wrong usage
    assert (ran.code, message in ran.err, ran.err.count("\n"), ran.out) == (code, True, 1, "")


def test_what_a_model_does_not_answer_of_a_suite_is_a_note_and_leaves_nothing_behind(osum: Run, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    out = tmp_path / "out"
    ran = osum("evaluate", "--suite", "nano", "--model", "pocketsphinx", "--data", tmp_path, "-o", out, "--limit", "1")
    notes = [line.removeprefix("osum: note: ") for line in ran.err.splitlines() if line.startswith("osum: note: ")]
    reported = dict(note.split("; left out: ") for note in notes)
    assert reported["pocketsphinx knows English, not 'zh': ask it about clips in 'en'"].split(", ") == [
        "kit-commonvoice-zh", "kit-aishell", "synthetic-zh", "synthetic-times-zh", "espeak-zh", "espeak-times-zh"
    ]  # fmt: skip
    assert reported["pocketsphinx does not answer SSR"] == "kit-style"
    assert not list(out.glob("*/*-zh*"))


@pytest.mark.parametrize("name", ["someone/something", "whisper:someone/something"])
def test_offline_fetches_no_model(osum: Run, tmp_path: Path, name: str) -> None:
    words = ("--benchmark", "samples-gender", "-o", tmp_path / "out", "--offline")
    ran = osum("evaluate", "--model", name, *words)
    assert ran.code == 1 and "someone/something" in ran.err
