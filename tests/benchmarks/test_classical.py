import numpy as np
import pytest

pytest.importorskip("sklearn")
from classical import Examples, Features, choose, clip_features, features, pitch_track

from osum.audio import SAMPLE_RATE
from osum.utterance import Utterance

TIME = np.arange(SAMPLE_RATE) / SAMPLE_RATE


def tone(hertz: float) -> np.ndarray:
    """A second of a tone with overtones."""
    return sum(np.sin(2 * np.pi * hertz * n * TIME) / n for n in range(1, 5)).astype(np.float32) * np.float32(0.2)


@pytest.mark.parametrize("hertz", [90, 150, 250, 450])
def test_pitch_of_a_tone_is_its_frequency(hertz):
    assert 2 ** np.median(pitch_track(tone(hertz))) == pytest.approx(hertz, rel=0.03)


def test_noise_is_unvoiced():
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    assert (pitch_track(noise) > 0).mean() < 0.1


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(SAMPLE_RATE, np.float32), tone(150)])
def test_features_are_finite_and_of_one_size(samples):
    statistics, frames = clip_features(samples)
    assert statistics.shape == (187,) and frames.shape == (208,)
    assert np.isfinite(statistics).all() and np.isfinite(frames).all()


def test_time_normalised_features_do_not_depend_on_silence_around_the_word():
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    word = np.concatenate([tone(150)[:4000], tone(300)[:4000]])
    alone, within = (clip_features(np.concatenate([quiet, word, *rest]))[1] for rest in ([quiet], [quiet, quiet]))
    assert np.allclose(alone, within, atol=1e-4)


def test_features_are_read_again_until_a_label_changes(tmp_path):
    read = []
    row = Utterance(id="a", path="a", labels={"gender": "male"})

    def run(row: Utterance) -> Features:
        return features([row], lambda row: read.append(row) or tone(150), tmp_path / "f.npz")

    assert np.array_equal(run(row).statistics, run(row).statistics)
    assert len(read) == 1
    run(row.with_(labels={"gender": "female"}))
    assert len(read) == 2


def test_a_model_is_chosen_between_speakers_where_there_is_no_validation_clip():
    rng = np.random.default_rng(0)
    labels = np.array(["one", "two"] * 40)
    inputs = (rng.standard_normal((80, 5)) + 3 * (labels == "two")[:, None]).astype(np.float32)
    speakers = np.array([f"s{i // 20}" for i in range(80)])
    none = Examples(inputs[:0], labels[:0], speakers[:0])
    assert choose(Examples(inputs, labels, speakers), none)[1] > 0.9
