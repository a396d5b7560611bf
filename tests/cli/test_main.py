"""Starting, help, wrong usage, and how runs end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import MakeClip, Run
from osum.errors import OsumError

SAMPLES = Path(__file__).parents[2] / "samples"
NOT_FOR_A_LABEL = {
    "onnxruntime",
    "matplotlib",
    "sklearn",
    "pandas",
    "pyarrow",
    "openai",
    "fastapi",
    "uvicorn",
    "aiohttp",
}
NOT_FOR_A_LABEL |= {"peft", "rich", "pypinyin", "trackio", "osum.training", "osum.evaluation", "osum.dialogue"}
NOT_FOR_A_LABEL |= {"osum.server", "osum.speech", "osum.pipeline"}


def stopped_by(fault: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise fault

    monkeypatch.setattr("osum.cli.label.load_model", fail)


def test_help_lists_every_command(osum: Run) -> None:
    ran = osum("--help")
    assert ran.code == 0
    for command in ("label", "transcribe", "chat", "ask", "tasks", "doctor", "convert", "train", "data"):
        assert f"    {command}" in ran.out


def test_help_loads_nothing_heavy() -> None:
    code = "from osum.cli import main; main(['label', '--help']); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "transformers", "numpy", "rich", "yaml", "tqdm", "osum.tasks", "osum.results.formats"}


def test_labelling_a_clip_loads_only_what_it_needs_and_collects_none_of_it(tmp_path: Path) -> None:
    words = ["label", str(SAMPLES / "zh_sentence_3.flac"), "-o", str(tmp_path / "a.json"), "--quiet"]
    code = "import gc, sys; from osum.cli import main; code = main(sys.argv[1:])\n"
    code += "print(code, gc.isenabled(), gc.get_freeze_count()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    ends, loaded = done.stdout.splitlines()
    code, collects, kept = ends.split()
    assert (code, collects) == ("0", "True") and int(kept) > 100_000, done.stderr
    assert {"torch", "osum.listening.run"} <= set(loaded.split()) and not NOT_FOR_A_LABEL & set(loaded.split())


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "osum", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("osum 0.")


def test_no_command_is_wrong_usage(osum: Run) -> None:
    assert osum().code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labl"], "did you mean 'label'"),
        (["label", "x.wav", "-f", "jsno"], "did you mean 'json'"),
        (["label", "x.wav", "--dtype", "float31"], "did you mean 'float32'"),
        (["label", "x.wav", "--language", "fr"], "recognises the language by itself; leave it out"),
        (["label", "x.wav", "--channel", "left"], "use mix, each, or a number"),
        (["label", "x.wav", "--batch-size", "0"], "no whole number from 1"),
        (["label", "x.wav", "--formt=json"], "unknown argument '--formt': did you mean '--format'"),
        (["chat", "x.wav", "y.wav"], "unknown argument 'y.wav'"),
        (["transcribe", "x.wav", "--task", "translate"], "does not translate"),
        (["ask", "x.wav"], "QUESTION"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(osum: Run, words: list[str], message: str) -> None:
    code, out, err = osum(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("osum: error: ")
    assert message in err


def test_a_file_in_place_of_a_command_shows_the_command(osum: Run, clip: MakeClip) -> None:
    path = clip()
    assert f"did you mean 'osum label {path}'?" in osum(path).err


def test_an_error_of_osum_is_one_line_and_code_1(osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_by(OsumError("no luck\nat all"), monkeypatch)
    assert osum("label", clip()) == (1, "", "osum: error: no luck at all\n")


def test_debug_shows_the_traceback(osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_by(OsumError("no luck"), monkeypatch)
    monkeypatch.setenv("OSUM_DEBUG", "1")
    assert "Traceback" in osum("label", clip()).err


def test_a_bug_is_one_line_that_says_so(osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_by(KeyError("gone"), monkeypatch)
    code, _, err = osum("label", clip())
    assert (code, err.count("\n")) == (1, 1)
    assert "bug: KeyError: 'gone'" in err


def test_an_interrupt_is_one_line_and_code_130(osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_by(KeyboardInterrupt(), monkeypatch)
    assert osum("label", clip()) == (130, "", "osum: interrupted\n")


def test_a_broken_pipe_is_quiet(osum: Run, clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_by(BrokenPipeError(), monkeypatch)
    assert osum("label", clip()) == (141, "", "")


def test_a_real_pipe_that_closes_early_is_quiet() -> None:
    line = f"{sys.executable} -m osum tasks --help | head -c 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        ("label",),
        ("label", "CLIP", "-f", "srt", "-o", "out.json"),
        ("label", "CLIP", "-f", "table", "-o", "out"),
        ("label", "CLIP", "--resume"),
        ("label", "CLIP", "--changed", "-o", "out.jsonl"),
        ("ask", "CLIP", ""),
        ("align", "CLIP", "--text", ""),
        ("evaluate", "-o", "out"),
        ("evaluate", "--benchmark", "samples-gender"),
        ("evaluate", "--benchmark", "samples-gendre", "-o", "out"),
        ("data", "split", "rows.jsonl", "out", "--valid", "0.6", "--test", "0.6"),
        ("data", "split", "rows.jsonl", "out"),
        ("judge", "rows.jsonl", "--against", "other.jsonl"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_as_asked_is_one_line_and_code_2(
    osum: Run, clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("{}\n")
    code, out, err = osum(*(clip() if word == "CLIP" else word for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1)
