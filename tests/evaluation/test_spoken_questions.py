"""VoiceBench's columns and MMAU's sounds, on miniatures of their layouts, asked of a real model and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from osum.corpus.manifest import write_manifest
from osum.errors import InputError
from osum.evaluation.run.run import Run, RunOptions
from osum.evaluation.score.score import score_folder
from osum.evaluation.sets.catalogue import BENCHMARKS, SUITES
from osum.evaluation.sets.layouts.unpacked import LISTED
from osum.peers import open_recogniser
from osum.utterance import Utterance

MMAU = {
    "id": "one",
    "audio_id": "./test-mini-audios/one.wav",
    "question": "What is the source?",
    "choices": ["Man", "Woman"],
    "answer": "Woman",
    "dataset": "AudioSet",
    "task": "sound",
    "split": "test-mini",
    "category": "Reasoning",
    "sub-category": "Acoustic Source Inference",
    "difficulty": "medium",
}


def wav(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).standard_normal(8_000) * 0.1, 16_000)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    mmau = tmp_path / "MMAU"
    wav(mmau / "test-mini-audios/one.wav")
    music = {**MMAU, "id": "two", "task": "music"}
    (mmau / "mmau-test-mini.json").write_text(json.dumps([MMAU, music]), "utf8")
    for name, reply in (("mmsu", "B"), ("advbench", None)):
        folder = tmp_path / f"voicebench-{name}"
        rows = [Utterance(f"q{n}", wav(folder / f"{n}.wav"), text="why?", reply=reply) for n in range(2)]
        write_manifest(folder / LISTED, rows)
    return tmp_path


def test_the_sound_questions_of_mmau_are_read_with_their_choices(data: Path) -> None:
    (clip,) = BENCHMARKS["mmau-sound"].read(data / "MMAU")
    assert clip.reply == "Woman\nMan" and "Choose one of: Man; Woman." in clip.extra["question"]


def test_a_missing_sound_is_named(data: Path) -> None:
    (data / "MMAU/test-mini-audios/one.wav").unlink()
    with pytest.raises(InputError, match="1 of 1 audio files are missing"):
        BENCHMARKS["mmau-sound"].read(data / "MMAU")


def test_the_seven_columns_are_a_suite() -> None:
    metrics = [BENCHMARKS[name].metric for name in SUITES["voicebench"]]
    assert metrics == ["judge", "judge", "judge", "choice", "choice", "instructions", "refusal"]


def test_items_without_a_reference_are_answered_for_the_judge(data: Path, tmp_path: Path) -> None:
    folder = data / "echat-eval"
    row = Utterance("q", wav(folder / "q.wav"), text="why?", labels={"gender": "male"}, extra={"column": "gender"})
    write_manifest(folder / "test.jsonl", [row])
    found = Run(BENCHMARKS["echat-eval-gender"], data, open_recogniser("nano"), tmp_path / "out", RunOptions()).go()
    assert (found.answers, dict(found.failed), dict(found.faulty)) == (1, {}, {})


def test_replies_of_a_real_model_are_counted_by_the_sets_rules(data: Path, tmp_path: Path) -> None:
    nano, out = open_recogniser("nano"), tmp_path / "out"
    for name in ("voicebench-mmsu", "voicebench-advbench"):
        Run(BENCHMARKS[name], data, nano, out, RunOptions()).go()
    faults: list[object] = []
    scored = score_folder(out, BENCHMARKS, faults.append)
    assert not faults and [(one.benchmark.name, one.result.clips) for one in scored] == [
        ("voicebench-mmsu", 2),
        ("voicebench-advbench", 2),
    ]
    assert all(one.result.score.value == 0 for one in scored)
