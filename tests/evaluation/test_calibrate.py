"""Temperatures are fitted where enough is known, measured on others, and kept with the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from engine.tiny_checkpoint import checkpoint_of
from model.tiny import noise

from osum.errors import ConversionError, InputError
from osum.evaluation.score.calibrate import (
    ScoredClip,
    TemperaturePlace,
    ask,
    calibrate,
    gathered,
    save,
    with_temperatures,
)
from osum.listening.recognizer import Recognizer
from osum.tasks import AGES, GENDERS, OSUM, RELEASE, TaskSet
from osum.utterance import Utterance

GENDER, AGE = TemperaturePlace("SGC", "gender"), TemperaturePlace("SAP", "age")
TAG = "SGC-only"
"""A task that writes no transcript, since a random model never stops."""


def overconfident(temperature: float, labels: int = 2, count: int = 600, speakers: int = 30) -> list[ScoredClip]:
    """Answers that are right as often as scores divided by `temperature` say."""
    draw = np.random.default_rng(count)
    scores = draw.normal(scale=4, size=(count, labels))
    truth = (scores / temperature + draw.gumbel(size=scores.shape)).argmax(axis=1)
    rows = zip(scores.tolist(), truth.tolist(), strict=True)
    return [ScoredClip(f"speaker{index % speakers}", right, tuple(row)) for index, (row, right) in enumerate(rows)]


def others(scored: Sequence[ScoredClip]) -> list[ScoredClip]:
    return [replace(one, speaker=f"other {one.speaker}") for one in scored]


def test_the_temperature_is_found_and_helps_unseen_speakers() -> None:
    found = calibrate(OSUM, ["SGC", "SAP"], {GENDER: overconfident(3.0), AGE: overconfident(0.5, labels=3)})
    assert [(one.task, one.label_set, one.clips, one.speakers) for one in found.fitted] == [
        ("SGC", "gender", 600, 30),
        ("SAP", "age", 600, 30),
    ]
    for one, true in zip(found.fitted, (3.0, 0.5), strict=True):
        assert one.temperature == pytest.approx(true, rel=0.15)
        assert found.tasks[one.task].temperature == one.temperature
        assert one.loss_after < one.loss_before
        assert one.after.error.value < 0.06 < one.before.error.value
        assert one.after.error.count == 600
    assert found.tasks["SER"] == OSUM["SER"] and found.left == ()


def test_what_is_measured_in_folds_is_not_what_was_fitted() -> None:
    sure = [ScoredClip("wrong", 0, (-9.0, 0.0)), *[ScoredClip(f"right{n}", 0, (0.0, -9.0)) for n in range(4)]] * 20
    found = calibrate(OSUM, ["SGC"], {GENDER: sure}).fitted[0]
    # Four folds out of five never see the speaker who is always misheard, and one sees nobody else's luck.
    assert found.loss_after > found.loss_before / 2
    whole = calibrate(OSUM, ["SGC"], {GENDER: sure}, {GENDER: others(sure)}).fitted[0]
    assert whole.loss_after < found.loss_after


def test_what_a_calibrated_checkpoint_says_is_the_before() -> None:
    scores = {GENDER: overconfident(3.0)}
    tasks = calibrate(OSUM, ["SGC"], scores).tasks
    again = calibrate(tasks, ["SGC"], scores)
    assert again.tasks == tasks
    assert again.fitted[0].before.error.value == pytest.approx(again.fitted[0].after.error.value, abs=0.02)


def test_a_label_set_with_too_little_is_left_alone() -> None:
    few = overconfident(3.0)[:49]
    alone = [replace(one, speaker="me") for one in overconfident(3.0)]
    tasks = with_temperatures(OSUM, {AGE: 1.7})
    found = calibrate(tasks, ["SGC", "SAP", "SER"], {GENDER: few, AGE: alone})
    assert [(left.task, left.clips, left.why) for left in found.left] == [
        ("SGC", 49, "49 labelled clips, 50 are needed"),
        ("SAP", 600, "one speaker alone, so nobody to measure on"),
        ("SER", 0, "0 labelled clips, 50 are needed"),
    ]
    assert found.tasks == tasks
    assert calibrate(OSUM, ["SGC"], {GENDER: few}, min_clips=40).fitted[0].clips == 49
    measured = calibrate(OSUM, ["SGC"], {GENDER: overconfident(3.0)}, {GENDER: others(few)})
    assert measured.left[0].why == "49 labelled clips to measure on, 50 are needed"


def test_speakers_of_both_lists_are_refused() -> None:
    with pytest.raises(InputError, match="30 speakers are in both manifests, such as 'speaker0': measure on others"):
        calibrate(OSUM, ["SGC"], {GENDER: overconfident(3.0)}, {GENDER: overconfident(3.0)})


def test_each_label_set_of_a_task_has_its_own_temperature() -> None:
    task = "SAP+SGC"
    scores = {TemperaturePlace(task, "gender"): overconfident(3.0)}
    found = calibrate(RELEASE, [task], scores)
    ages, genders = (found.tasks[task].temperature_of(labels) for labels in (AGES, GENDERS))
    assert (ages, genders) == (1, found.fitted[0].temperature)
    assert [left.label_set for left in found.left] == ["age"]


# Asking


@pytest.fixture
def recognizer() -> Recognizer:
    return Recognizer(checkpoint_of("speech_first"))


def clip(folder: Path, name: str, seconds: float = 0.4, **fields: object) -> Utterance:
    path = folder / f"{name}.wav"
    soundfile.write(path, noise(round(16_000 * seconds), len(name)), 16_000, subtype="FLOAT")
    return Utterance(id=name, path=str(path), **fields)  # type: ignore[arg-type]


def test_scores_are_those_of_temperature_one(recognizer: Recognizer, tmp_path: Path) -> None:
    clips = [clip(tmp_path, name, labels={"gender": "Male"}, speaker="s") for name in ("a", "bb")]
    plain = gathered(ask(recognizer, clips, [TAG]))
    before = recognizer.tasks
    recognizer.tasks = with_temperatures(before, {TemperaturePlace(TAG, "gender"): 4.0})
    calibrated = recognizer.tasks
    assert gathered(ask(recognizer, clips, [TAG])) == plain
    assert recognizer.tasks is calibrated
    (scored, _) = plain[TemperaturePlace(TAG, "gender")]
    reported = recognizer.label(clips[0].path, tasks=TAG, withhold=False).summary[TAG].distribution
    flat = np.exp(np.array(scored.log_scores) / 4)
    assert list(reported.values()) == pytest.approx(flat / flat.sum())
    assert (scored.speaker, scored.truth, len(scored.log_scores)) == ("s", GENDERS.labels.index("male"), 2)


def test_clips_are_asked_what_is_known_of_them_and_bad_ones_are_reported(tmp_path: Path) -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    recognizer._max_samples = 16_000
    clips = [
        clip(tmp_path, "good", labels={"gender": "male", "age": "child"}),
        clip(tmp_path, "unknown"),
        clip(tmp_path, "odd", labels={"gender": "mael"}),
        clip(tmp_path, "long", seconds=2.5, labels={"gender": "male"}),
        Utterance(id="gone", path=str(tmp_path / "gone.wav"), labels={"gender": "male"}),
        clip(tmp_path, "last", labels={"gender": "female"}),
    ]
    asked = list(ask(recognizer, clips, [TAG, "SAP-only", "SER-only"]))
    problems = {one.clip.id: one.problem for one in asked if one.problem}
    assert set(problems) == {"odd", "long", "gone"}
    assert problems["odd"] == "gender of 'odd' is 'mael': did you mean 'male'? use one of female, male"
    assert "longer than the 1 s" in problems["long"] and "gone.wav" in problems["gone"]
    found = gathered(asked)
    assert {place.task: [one.speaker for one in scored] for place, scored in found.items()} == {
        TAG: ["good", "last"],
        "SAP-only": ["good"],
    }


# Keeping


def test_a_checkpoint_is_copied_or_changed_in_place(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text("{}")
    (old / "model.safetensors").write_bytes(b"weights")
    tasks = with_temperatures(OSUM, {GENDER: 1.5})
    save(old, tmp_path / "new", tasks, {"calibration.json": b"{}"})
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tasks.json",
        "calibration.json",
    }
    assert TaskSet.load(tmp_path / "new" / "tasks.json")["SGC"].temperature == 1.5
    assert not (old / "tasks.json").exists()
    save(old, old, tasks, {})
    assert json.loads((old / "tasks.json").read_text("utf8")) == tasks.to_dict()
    with pytest.raises(ConversionError, match="give a new folder, or --overwrite"):
        save(old, tmp_path / "new", tasks, {})
    save(old, tmp_path / "new", OSUM, {}, overwrite=True)
    assert TaskSet.load(tmp_path / "new" / "tasks.json")["SGC"].temperature is None
