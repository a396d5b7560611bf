"""Every command takes a Qwen2-Audio as it takes a checkpoint of ours, by what its config.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from model.tiny import noise
from peers.models import write_qwen2_audio

from cli.conftest import Run
from osum.corpus.manifest import write_manifest
from osum.evaluation.score.result import read_report
from osum.utterance import Utterance

FEW = ("--max-new-tokens", 6)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen2_audio(tmp_path_factory.mktemp("qwen") / "tiny")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "clip.wav"
    soundfile.write(path, noise(12_000), 16_000)
    return path


def test_its_tasks_are_shown(osum: Run, qwen: Path) -> None:
    ran = osum("tasks", "--model", qwen, "--json")
    tasks = {task["name"]: task for task in json.loads(ran.out)["tasks"]}
    assert tasks["SER"]["prompts"] == {"en": ["Recognize the emotion with keywords in English:"]}
    assert tasks["SER"]["free"] is True and {*tasks} == {"ASR", "VED", "SER", "SGC", "SAP", "STTC", "LID"}


def test_recordings_are_labelled(osum: Run, qwen: Path, sound: Path) -> None:
    ran = osum("label", sound, "--model", qwen, "-f", "jsonl", "--tasks", "SGC,ASR", "--num-workers", 0, *FEW)
    row = json.loads(ran.out)
    assert ran.code == 0 and 0 < sum(row["summary"]["SGC"]["distribution"].values()) < 1.01


def test_a_question_is_answered(osum: Run, qwen: Path, sound: Path) -> None:
    ran = osum("ask", sound, "What's that sound?", "--model", qwen, "--json", *FEW)
    assert ran.code == 0 and json.loads(ran.out)["prompt"] == "What's that sound?"
    caption = "<|audio_bos|><|AUDIO|><|audio_eos|>Generate the caption in English:"
    assert osum("ask", sound, caption, "--model", qwen, *FEW).code == 0


def test_what_is_said_is_replied_to(osum: Run, qwen: Path, sound: Path) -> None:
    chat, talk = (osum(verb, sound, "--model", qwen, *FEW) for verb in ("chat", "talk"))
    assert chat.code == talk.code == 0 and chat.out == talk.out


def test_a_talk_of_several_recordings_is_kept(osum: Run, qwen: Path, sound: Path, tmp_path: Path) -> None:
    words = ("talk", sound, "--model", qwen, "--history", tmp_path / "talk.json", *FEW)
    assert osum(*words).code == osum(*words).code == 0
    turns = json.loads((tmp_path / "talk.json").read_text("utf8"))
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2


def test_what_it_cannot_do_is_one_line(osum: Run, qwen: Path, sound: Path) -> None:
    ran = osum("talk", sound, "--model", qwen, "--thinking", "tag")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1) and "are of OSUM-EChat" in ran.err
    ran = osum("label", sound, "--model", qwen, "--tasks", "SRWT")
    assert ran.code == 2 and "unknown task 'SRWT'" in ran.err


def test_it_is_evaluated(osum: Run, qwen: Path, sound: Path, tmp_path: Path) -> None:
    rows = [Utterance(f"clip{n}", str(sound), labels={"gender": "male"}) for n in range(2)]
    write_manifest(tmp_path / "mine.jsonl", rows)
    ran = osum("evaluate", "--model", qwen, "--data-file", tmp_path / "mine.jsonl", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    (result,) = read_report(tmp_path / "out/report.json").results
    assert (result.model, result.benchmark) == ("tiny", "mine.SGC")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("intermediate_size", 40, "tensors are missing or do not fit"), ("num_hidden_layers", 3, "cannot be loaded")],
)
def test_weights_that_do_not_fit_are_one_line(
    osum: Run, qwen: Path, sound: Path, tmp_path: Path, field: str, value: int, said: str
) -> None:
    for file in qwen.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text("utf8"))
    config["text_config"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config), "utf8")
    ran = osum("ask", sound, "What?", "--model", tmp_path)
    assert ran.code == 1 and said in ran.err.splitlines()[-1] and "bug" not in ran.err
