"""The classical baseline: learns from a manifest, answers the same every time, reports how it was chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn")

from numpy.typing import NDArray

from osum.audio import SAMPLE_RATE
from osum.corpus.manifest import read_manifest, write_manifest
from osum.errors import InputError, TaskError
from osum.peers import open_recogniser
from osum.peers.classical import Classical, Examples, FittedClassifier, candidates, choose, features
from osum.peers.recogniser import Options, Question, Recogniser
from osum.tasks import GENDERS
from osum.utterance import Utterance

TIME = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE


def voice(hertz: float, seed: int) -> NDArray[np.float32]:
    """Half a second of a tone with overtones and some noise."""
    tone = sum(np.sin(2 * np.pi * hertz * n * TIME) / n for n in range(1, 5))
    return (0.2 * tone + 0.01 * np.random.default_rng(seed).standard_normal(TIME.size)).astype(np.float32)


def word(hertz: float, hissing: bool, seed: int) -> NDArray[np.float32]:
    """A voice before or behind a hiss, and silence around."""
    hiss = (0.1 * np.random.default_rng(seed).standard_normal(TIME.size)).astype(np.float32)
    parts = [hiss, voice(hertz, seed)]
    return np.pad(np.concatenate(parts if hissing else parts[::-1]), 3_200)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low and high voices that say two words, and a synthetic row that would teach the contrary."""
    folder = tmp_path_factory.mktemp("voices")
    rows = []
    for i in range(60):
        high, hissing = i % 2 == 1, i % 4 < 2
        pitch = (220.0 if high else 110.0) * (1 + 0.01 * (i % 7))
        soundfile.write(folder / f"{i}.wav", word(pitch, hissing, i), SAMPLE_RATE)
        labels = {"gender": "female" if high else "male", "emotion": "neutral"}
        rows.append(
            Utterance(f"v{i}", str(folder / f"{i}.wav"), text="Sail!" if hissing else "lass", labels=labels,
                      speaker=f"s{i // 6}", source="high" if high else "low", extra={"weak": ["emotion"]})
        )  # fmt: skip
    false = rows[0].with_(id="false", labels={"gender": "female"}, extra={"evidence": "synthetic"})
    write_manifest(folder / "train.jsonl", [*rows[:56], *[false] * 40])
    write_manifest(folder / "test.jsonl", rows[56:])
    return folder / "train.jsonl"


@pytest.fixture(scope="module")
def clips(manifest: Path) -> list[Utterance]:
    """A low and a high voice say either word."""
    return list(read_manifest(manifest.parent / "test.jsonl"))


@pytest.fixture(scope="module")
def classical(manifest: Path) -> Recogniser:
    return open_recogniser("classical", Options(extra={"train": str(manifest)}))


def test_labels_and_words_are_learned_from_recordings(classical: Recogniser, clips: list[Utterance]) -> None:
    assert classical.tasks == {"ASR", "SGC", "SGC-only"}
    said = [answer.said for answer in classical.recognise(clips, Question("SGC"))]
    assert said == [clip.labels["gender"] for clip in clips]
    assert [answer.text for answer in classical.recognise(clips, Question("ASR"))] == ["sail", "sail", "lass", "lass"]


def test_probabilities_stand_next_to_the_label(classical: Recogniser, clips: list[Utterance]) -> None:
    good, gone = classical.recognise([clips[0], Utterance("gone", "gone.wav")], Question("SGC-only"))
    assert good.distribution is not None and tuple(good.distribution) == GENDERS.labels
    assert good.label == good.said == max(good.distribution, key=good.distribution.__getitem__)
    assert gone.error and "gone.wav" in gone.error and gone.raw == ""


def test_a_second_one_answers_the_same(classical: Recogniser, manifest: Path, clips: list[Utterance]) -> None:
    other = open_recogniser("classical", Options(extra={"train": str(manifest), "cache": str(manifest.parent)}))
    for question in (Question("SGC"), Question("ASR")):
        assert list(other.recognise(clips, question)) == list(classical.recognise(clips, question))
    assert other.describe() == classical.describe() and (manifest.parent / "features-train.npz").is_file()


def test_what_it_says_of_itself_does_not_depend_on_what_it_was_asked(manifest: Path, clips: list[Utterance]) -> None:
    fresh = open_recogniser("classical", Options(extra={"train": str(manifest)}))
    before = fresh.describe()
    list(fresh.recognise(clips, Question("SGC")))
    assert fresh.describe() == before


def test_a_machine_without_probabilities_gives_none() -> None:
    inputs = np.arange(8, dtype=np.float32)[:, None]
    machine = candidates()["RBF SVM, C=1"].fit(inputs, ["male"] * 4 + ["female"] * 4)
    assert FittedClassifier(machine, "", 1.0).distributions(inputs, GENDERS.labels) is None


@pytest.mark.parametrize(
    ("extra", "reported"),
    [
        ({}, "classical needs the setting 'train': give train=FILE"),
        ({"trian": "a"}, "classical has no setting 'trian': did you mean 'train'?"),
        ({"train": "absent.jsonl"}, "absent.jsonl'? cannot be read"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_reported(extra: dict[str, str], reported: str) -> None:
    with pytest.raises(InputError, match=reported):
        open_recogniser("classical", Options(extra=extra))


def test_what_cannot_be_learned_or_answered_is_reported(classical: Recogniser, clips: list[Utterance]) -> None:
    with pytest.raises(InputError, match="no two labels or texts in its training manifest that differ"):
        Classical(clips[:1])
    with pytest.raises(TaskError, match="classical does not answer 'SER': it answers ASR, SGC"):
        classical.recognise(clips, Question("SER"))


def test_features_are_read_again_until_a_label_changes(tmp_path: Path) -> None:
    read = []
    row = Utterance(id="a", path="a", labels={"gender": "male"})

    def run(row: Utterance) -> NDArray[np.float32]:
        return features([row], lambda row: read.append(row) or voice(150, 0), tmp_path / "f.npz").statistics

    assert np.array_equal(run(row), run(row))
    assert len(read) == 1
    run(row.with_(labels={"gender": "female"}))
    assert len(read) == 2


def test_a_model_is_chosen_between_speakers_where_there_is_no_validation_clip() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["one", "two"] * 40)
    inputs = (rng.standard_normal((80, 5)) + 3 * (labels == "two")[:, None]).astype(np.float32)
    speakers = np.array([f"s{i // 20}" for i in range(80)])
    none = Examples(inputs[:0], labels[:0], speakers[:0])
    assert choose(Examples(inputs, labels, speakers), none)[1] > 0.9
