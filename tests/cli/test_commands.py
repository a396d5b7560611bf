"""The commands other than label: chat, ask, tasks, doctor, convert, data, train."""

from __future__ import annotations

import io
import json
import re
import tomllib
from pathlib import Path

import pytest

from cli.conftest import MakeClip, Run, StandIn
from osum.cli import doctor
from osum.tasks import OSUM


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that carries tasks and nothing else."""
    (tmp_path / "tasks.json").write_text(json.dumps(OSUM.to_dict()), encoding="utf-8")
    return tmp_path


def test_chat_prints_the_reply(osum: Run, clip: MakeClip, model: StandIn) -> None:
    assert osum("chat", clip()) == (0, "you said str GenerationOptions\n", "")


def test_chat_reads_standard_input(osum: Run, clip: MakeClip, model: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(clip().read_bytes())))
    assert osum("chat", "-").out == "you said bytes GenerationOptions\n"


def test_ask_prints_the_answer(osum: Run, clip: MakeClip, model: StandIn) -> None:
    assert osum("ask", clip(), "who?").out == "who? str GenerationOptions\n"


def test_ask_records_its_prompt(osum: Run, clip: MakeClip, model: StandIn) -> None:
    row = json.loads(osum("ask", clip(), "who?", "--json").out)
    assert (row["prompt"], row["model"], row["revision"], row["dtype"]) == ("who?", "stand-in", "1", "float32")


@pytest.mark.parametrize("words", [["chat"], ["ask", "who?"]])
def test_a_clip_that_is_not_there_needs_no_model(osum: Run, tmp_path: Path, words: list[str]) -> None:
    code, out, err = osum(words[0], tmp_path / "no.wav", *words[1:])
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no such file" in err


def test_tasks_are_those_that_the_checkpoint_carries(osum: Run, checkpoint: Path) -> None:
    out = osum("tasks", "--model", checkpoint).out
    assert all(name in out for name in OSUM)
    assert "everyday speech" in out


def test_tasks_as_json_are_what_a_checkpoint_holds(osum: Run, checkpoint: Path) -> None:
    assert json.loads(osum("tasks", "--model", checkpoint, "--json").out) == OSUM.to_dict()


def test_tasks_of_an_unknown_model_are_an_error(osum: Run) -> None:
    code, _, err = osum("tasks", "--model", "nanu")
    assert (code, err.count("\n")) == (1, 1)
    assert "model 'nanu' is unknown" in err


def test_doctor_names_versions_devices_and_threads(osum: Run) -> None:
    out = osum("doctor").out
    assert all(f"  {name} " in out for name in ("osum", "python", "torch", "devices", "threads"))


def test_doctor_knows_every_package_of_every_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf8"))["project"]

    def names(requirements: list[str]) -> list[str]:
        return [name for one in requirements if (name := re.split(r"[\[><=]", one)[0]) != "osum"]

    extras = {name: some for name, some in project["optional-dependencies"].items() if name not in ("all", "dev")}
    assert {package: extra for package, (extra, _) in doctor.OPTIONAL.items()} == {
        package: extra for extra, some in extras.items() for package in names(some)
    }
    assert sorted(doctor.CORE) == sorted(names(project["dependencies"]))


def test_doctor_gives_the_line_for_what_is_missing(osum: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    monkeypatch.setitem(doctor.OPTIONAL, "no-such-package", ("train", "nothing"))
    out = osum("doctor").out
    assert "->  apt install espeak-ng" in out
    assert "->  pip install 'osum[train]'" in out


def test_doctor_fails_where_osum_cannot_run(osum: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CORE", ("no-such-package",))
    code, out, _ = osum("doctor")
    assert code == 1
    assert "! no-such-package" in out


@pytest.mark.parametrize("words", [["in.pt"], ["out", "--whisper", "w"], ["a", "b", "--whisper", "w", "--llm", "l"]])
def test_convert_says_which_paths_it_takes(osum: Run, words: list[str]) -> None:
    code, _, err = osum("convert", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "SRC OUT, or --whisper DIR --llm DIR OUT" in err


def test_convert_reports_a_missing_file_in_one_line(osum: Run, tmp_path: Path) -> None:
    code, _, err = osum("convert", tmp_path / "no.pt", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "no.pt is not a file" in err


def test_convert_takes_merge_or_keep_but_not_both(osum: Run) -> None:
    assert osum("convert", "a", "b", "--merge-lora", "--keep-lora").code == 2


def test_train_reports_a_missing_recipe_in_one_line(osum: Run, tmp_path: Path) -> None:
    code, _, err = osum("train", tmp_path / "no.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert "no.yaml" in err


def test_train_knows_its_keys(osum: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("steps: 1\n")
    assert "did you mean 'steps'" in osum("train", tmp_path / "a.yaml", "stps=2").err


def test_data_nano_names_the_script_that_took_its_place(osum: Run, tmp_path: Path) -> None:
    code, _, err = osum("data", "nano", "--kit", tmp_path / "no", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "python -m recipes.nano.build" in err


def test_convert_there_and_back_gives_the_same_file(osum: Run, tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "fixtures/osum_tiny.safetensors"
    assert osum("convert", source, tmp_path / "model", "--keep-lora").code == 0
    code, out, _ = osum("convert", tmp_path / "model", tmp_path / "back.pt", "--to", "original")
    assert (code, out) == (0, f"{tmp_path / 'back.pt'}\n")
