"""Augmentation keeps type, finiteness, length and time laws, and depends on its generator only."""

from dataclasses import asdict, fields, replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.audio import SAMPLE_RATE
from osum.corpus.waveform import CODECS, Codec, transcode
from osum.errors import InputError
from osum.training.augment import DEFAULT, Augmentation, augment
from osum.training.spec_augment import RELEASED
from osum.utterance import Word

ALWAYS = Augmentation(1.0, (0.9, 1.1), 1.0, 0.6, 1.0, (0.1, 0.4), 1.0, (5, 30), 1.0, codec_probability=1.0)


def tone(seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype("float32")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40000), st.integers(0, 2**32 - 1), st.booleans())
def test_any_clip_stays_finite_float32_within_full_scale(size, seed, silent):
    rng = np.random.default_rng(seed)
    clip = np.zeros(size, np.float32) if silent else rng.uniform(-1, 1, size).astype(np.float32)
    changed, _ = augment(clip, rng, noises=[tone(0.1)], options=ALWAYS)
    assert changed.dtype == np.float32 and np.isfinite(changed).all()
    assert np.abs(changed).max(initial=0) <= 1
    assert size / 1.1 - 2 <= changed.size <= size / 0.9 + 1.2 * SAMPLE_RATE + 2


def test_the_same_seed_gives_the_same_clip():
    first, second = (augment(tone(), np.random.default_rng(5), options=ALWAYS)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_words_move_with_the_sound(seed):
    clip = np.concatenate([np.zeros(8000, np.float32), tone(0.5), np.zeros(8000, np.float32)])
    options = Augmentation(1.0, (0.9, 1.1), 1.0, 0.6, 0.0, noise_probability=0.0, band_probability=0.0)
    changed, (word,) = augment(clip, np.random.default_rng(seed), (Word("a", 0.5, 1.0),), options=options)
    loud = np.flatnonzero(np.abs(changed) > 0.05 * np.abs(changed).max()) / SAMPLE_RATE
    assert (loud[0], loud[-1]) == pytest.approx((word.start, word.end), abs=0.01)


def test_the_codec_comes_last_and_leaves_all_else_as_it_was():
    options = Augmentation(codec_probability=1.0, codecs=("gsm",))
    plain, coded = (augment(tone(), np.random.default_rng(8), options=chosen)[0] for chosen in (DEFAULT, options))
    np.testing.assert_array_equal(coded, transcode(plain, "gsm"))


def clicked(size: int, place: int) -> np.ndarray:
    """Faint noise (S,) and a click of 2 ms around a sample."""
    clip = 1e-4 * np.random.default_rng(size).standard_normal(size)
    clip[place - 16 : place + 17] += 0.5 * np.hanning(33)
    return clip.astype(np.float32)


def loudest(samples: np.ndarray) -> float:
    """Seconds of the greatest amplitude."""
    return int(np.abs(samples).argmax()) / SAMPLE_RATE


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(4000, 28000))
def test_a_word_starts_where_its_click_is_after_everything(seed, place):
    rng = np.random.default_rng(seed)
    words = (Word("hi", place / SAMPLE_RATE, 1.9),)
    changed, (word,) = augment(clicked(32000, place), rng, words, options=replace(ALWAYS, snr=(20, 30)))
    assert loudest(changed) == pytest.approx(word.start, abs=0.003)


# Options from a recipe


def test_options_are_read_back_as_they_were_written():
    chosen = Augmentation(0.1, (0.8, 1.2), codecs=("gsm", "mp3"), spec=RELEASED)
    assert Augmentation.from_mapping(asdict(chosen)) == chosen
    assert Augmentation.from_mapping(None) == Augmentation.from_mapping({}) == DEFAULT


def test_a_recipe_names_what_it_changes():
    read = Augmentation.from_mapping({"snr": [0, 20], "codecs": ["opus"], "spec": {"time_masks": 1}})
    assert (read.snr, read.codecs, read.spec.time_masks, read.spec.max_bins) == ((0, 20), ("opus",), 1, 10)
    assert replace(read, snr=DEFAULT.snr, codecs=DEFAULT.codecs, spec=DEFAULT.spec) == DEFAULT


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"codec_probabilty": 1}, "augmentation.codec_probabilty is unknown: did you mean 'codec_probability'?"),
        ({"spec": {"time_mask": 1}}, "augmentation.spec.time_mask is unknown: did you mean 'time_masks'?"),
        ({"event_probability": 1}, "augmentation.event_probability: mix events ahead of training, by insert_events of"),
        ({"xyzzy": 1}, "augmentation.xyzzy is unknown: the fields are speed_probability, "),
        ({7: 1}, "augmentation.name is 7: a text is needed"),
        ({"spec": 3}, "augmentation.spec is 3: an object is needed"),
        ([], r"augmentation is []: an object is needed"),
        ({"echo_probability": 1.5}, "augmentation.echo_probability is 1.5: a number from 0 to 1 is needed"),
        ({"echo_probability": float("nan")}, "augmentation.echo_probability is nan: a finite number from 0 to 1 is"),
        ({"echo_probability": None}, "augmentation.echo_probability is None: a number is needed"),
        ({"echo_probability": True}, "augmentation.echo_probability is True: a number is needed"),
        ({"speed": [1.1, 0.9]}, "augmentation.speed is [1.1, 0.9]: [least, greatest] is needed"),
        ({"speed": [0.1, 0.9]}, "augmentation.speed[0] is 0.1: a number from 0.25 to 4 is needed"),
        ({"speed": 1.1}, "augmentation.speed is 1.1: a list of 2 values is needed"),
        ({"snr": ["a", 2]}, "augmentation.snr[0] is 'a': a number is needed"),
        ({"codecs": ["aac"]}, "augmentation.codecs[0] is 'aac': give gsm, mp3, mulaw, opus or vorbis"),
        ({"codecs": [["aac"]]}, "augmentation.codecs[0] is ['aac']: give gsm, mp3, "),
        ({"codecs": []}, "augmentation.codecs is []: a list that is not empty is needed"),
        ({"spec": {"max_bins": 1.5}}, "augmentation.spec.max_bins is 1.5: a whole number is needed"),
        ({"spec": {"max_bins": -1}}, "augmentation.spec.max_bins is -1: a whole number from 0 is needed"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(mapping, message):
    with pytest.raises(InputError) as fault:
        Augmentation.from_mapping(mapping)
    assert str(fault.value).startswith(message) and "\n" not in str(fault.value)


def test_a_recipe_may_name_every_codec():
    assert set(get_args(Codec)) == set(CODECS)


def test_every_option_with_a_number_has_limits_that_its_default_keeps():
    for name in {item.name for item in fields(Augmentation)} - {"codecs", "spec"}:
        value = -1e9 if not isinstance(getattr(DEFAULT, name), tuple) else [-1e9, 1.0]
        with pytest.raises(InputError, match=f"augmentation.{name}.* is -1000000000.0: a number from "):
            Augmentation.from_mapping({name: value})
    assert Augmentation.from_mapping(asdict(DEFAULT)) == DEFAULT
