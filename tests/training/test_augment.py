"""Augmentation keeps type, finiteness, length and time laws, and depends on its generator only."""

from collections import Counter
from dataclasses import asdict, fields, replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osum.audio import SAMPLE_RATE
from osum.errors import InputError
from osum.training.augment import (
    CODECS,
    DEFAULT,
    Augmentation,
    Codec,
    EventMixer,
    add_noise,
    augment,
    change_speed,
    limit_band,
    overlay,
    shift_voice,
    surround,
    transcode,
)
from osum.training.spec_augment import RELEASED
from osum.utterance import Utterance, Word

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


def test_speed_divides_the_length():
    changed, words = change_speed(tone(2.0), (Word("a", 1.0, 2.0),), 1.25)
    assert changed.size == pytest.approx(1.6 * SAMPLE_RATE, abs=2)
    assert (words[0].start, words[0].end) == (0.8, 1.6)


def test_silence_adds_its_length():
    changed, words = surround(tone(1.0), (Word("a", 0.0, 1.0),), 0.25, 0.5)
    assert changed.size == 1.75 * SAMPLE_RATE and words[0].start == 0.25


def test_noise_has_the_asked_ratio():
    clip, noise = tone(), np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    added = add_noise(clip, noise, 10.0) - clip
    assert 10 * np.log10((clip**2).sum() / (added**2).sum()) == pytest.approx(10.0, abs=0.1)


def test_the_band_limit_takes_out_what_is_above():
    assert np.abs(limit_band(tone(frequency=6000), 4000)[2000:-2000]).max() < 1e-3
    np.testing.assert_allclose(
        limit_band(tone(frequency=1000), 4000)[4000:-4000], tone(frequency=1000)[4000:-4000], atol=1e-2
    )


def clicked(size: int, place: int) -> np.ndarray:
    """Faint noise (S,) and a click of 2 ms around a sample."""
    clip = 1e-4 * np.random.default_rng(size).standard_normal(size)
    clip[place - 16 : place + 17] += 0.5 * np.hanning(33)
    return clip.astype(np.float32)


def loudest(samples: np.ndarray) -> float:
    """Seconds of the greatest amplitude."""
    return int(np.abs(samples).argmax()) / SAMPLE_RATE


# Codecs


@pytest.mark.parametrize("codec", CODECS)
@settings(deadline=None, max_examples=15)
@given(size=st.integers(0, 6000), seed=st.integers(0, 99))
def test_a_codec_keeps_length_and_scale_and_gives_the_same_twice(codec, size, seed):
    clip = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    coded = transcode(clip, codec)
    assert coded.dtype == np.float32 and coded.size == size and np.abs(coded).max(initial=0) <= 1
    np.testing.assert_array_equal(coded, transcode(clip, codec))


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_loses_something_but_not_the_sound(codec):
    clip = tone()
    error = (transcode(clip, codec) - clip)[2000:-2000]
    assert 1e-6 < (error**2).sum() / (clip[2000:-2000] ** 2).sum() < 0.05


@pytest.mark.parametrize("codec", CODECS)
@settings(deadline=None, max_examples=10)
@given(size=st.integers(8000, 40000), seed=st.integers(0, 99))
def test_a_codec_does_not_delay(codec, size, seed):
    """Noise of the telephone's band is most like what comes back where it stands, to 1 ms."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    clip = np.fft.irfft(spectrum * ((hertz > 200) & (hertz < 3000)), size)
    clip = (0.3 * clip / np.abs(clip).max()).astype(np.float32)
    alike = np.fft.irfft(np.fft.rfft(transcode(clip, codec), 2 * size) * np.fft.rfft(clip, 2 * size).conj())
    delay = int(alike.argmax())
    assert min(delay, 2 * size - delay) <= SAMPLE_RATE // 1000


def test_a_codec_that_libsndfile_lacks_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(CODECS, "opus", ("WAV", "OPUS", 16000))
    with pytest.raises(InputError, match="libsndfile has no OPUS: update soundfile, or leave 'opus' out"):
        transcode(tone(), "opus")


def test_the_codec_comes_last_and_leaves_all_else_as_it_was():
    options = Augmentation(codec_probability=1.0, codecs=("gsm",))
    plain, coded = (augment(tone(), np.random.default_rng(8), options=chosen)[0] for chosen in (DEFAULT, options))
    np.testing.assert_array_equal(coded, transcode(plain, "gsm"))


# Voices


def voice(pitch: float, formant: float) -> np.ndarray:
    """A second of a buzz of `pitch` Hz that is strongest around `formant` Hz, on partials 30 dB below."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    partials = pitch * np.arange(1, int(7500 / pitch))
    loud = np.exp(-0.5 * ((partials - formant) / 300) ** 2) + 0.03
    return (0.1 * (loud[:, None] * np.sin(2 * np.pi * partials[:, None] * seconds)).sum(0)).astype(np.float32)


def pitch_and_formant(samples: np.ndarray, near: float) -> tuple[float, float]:
    """By autocorrelation, less than an octave off `near`, and the centre of the spectrum, in Hz."""
    power = np.abs(np.fft.rfft(samples[2000:-2000] * np.hanning(samples.size - 4000))) ** 2
    hertz = np.fft.rfftfreq(samples.size - 4000, 1 / SAMPLE_RATE)
    lags = np.arange(int(SAMPLE_RATE / near / 1.4), int(SAMPLE_RATE / near * 1.4))
    return SAMPLE_RATE / lags[np.fft.irfft(power)[lags].argmax()], (power * hertz).sum() / power.sum()


@settings(deadline=None, max_examples=25)
@given(st.floats(0.8, 1.25), st.floats(0.85, 1.2), st.integers(130, 260))
def test_pitch_and_formants_move_each_by_its_factor(pitch, formants, hertz):
    plain = voice(hertz, 1500)
    _, centre = pitch_and_formant(plain, hertz)
    assert pitch_and_formant(shift_voice(plain, pitch, formants), hertz) == (
        pytest.approx(hertz * pitch, rel=0.03),
        pytest.approx(centre * formants, rel=0.12),
    )


def test_a_voice_that_is_not_shifted_stays():
    np.testing.assert_allclose(shift_voice(voice(180, 1500), 1.0, 1.0)[600:-600], voice(180, 1500)[600:-600], atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 5000), st.floats(0.5, 2.0), st.floats(0.5, 2.0), st.booleans())
def test_a_shift_keeps_the_length_and_silence(size, pitch, formants, silent):
    clip = np.zeros(size, np.float32) if silent else np.random.default_rng(size).uniform(-1, 1, size).astype(np.float32)
    shifted = shift_voice(clip, pitch, formants)
    assert shifted.dtype == np.float32 and shifted.size == size and np.isfinite(shifted).all()
    assert not (silent and shifted.any())


def test_a_shift_keeps_the_place_of_a_sound():
    for factor in (0.8, 1.25):
        assert loudest(shift_voice(clicked(32000, 20000), factor, 1.0)) == pytest.approx(1.25, abs=0.016)


# Events in speech


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(-400, 400))
def test_an_overlay_is_the_sum_of_both_and_moves_the_words_with_the_speech(size, event_size, start):
    clip, event = np.full(size, 0.25, np.float32), np.full(event_size, 0.5, np.float32)
    mixed, (word,) = overlay(clip, (Word("a", 0.5, 0.7, 0.9),), event, start)
    front = max(-start, 0)
    expected = [
        0.25 * (0 <= place < size) + 0.5 * (start <= place < start + event_size)
        for place in range(-front, max(size, start + event_size))
    ]
    assert mixed.tolist() == expected
    assert word == Word("a", 0.5 + front / SAMPLE_RATE, 0.7 + front / SAMPLE_RATE, 0.9)


def hiss(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)


SPEECH = Utterance(
    "s", "s", text="hi you", words=(Word("hi", 0.2, 0.4), Word("you", 0.5, 0.9)), reply="hello",
    labels={"event": "none", "emotion": "happy", "gender": "male", "age": "adult"},
)  # fmt: skip
EVENTS = [Utterance(name, name, text="", labels={"event": name}) for name in ("laugh", "cry", "sneeze")]
NO_EVENTS = [
    SPEECH,
    SPEECH.with_(labels={"event": "sigh"}),
    Utterance("n", "n", text="", labels={"event": "none"}),
    Utterance("o", "o", text="", labels={"event": "other"}),
    Utterance("u", "u", labels={"event": "cough"}),
]
MIXING = Augmentation(event_probability=1.0)


def mixer(options: Augmentation = MIXING, seconds: float = 2.0) -> EventMixer:
    return EventMixer([*EVENTS, *NO_EVENTS], lambda row: hiss(seconds, len(row.id)), options)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 4.0))
def test_a_mixed_clip_has_the_label_of_the_event_and_the_words_of_the_speech(seed, seconds):
    mixed, row = mixer()(hiss(seconds), SPEECH, np.random.default_rng(seed))
    assert row.text == "hi you" and [word.text for word in row.words] == ["hi", "you"]
    assert row.labels["event"] in ("laugh", "cry", "sneeze") and row.labels["gender"] == "male"
    assert "emotion" not in row.labels and row.reply is None
    assert ("age" in row.labels) == (row.labels["event"] != "cry")
    assert mixed.dtype == np.float32 and np.abs(mixed).max() <= 1
    assert 0 <= mixed.size - int(seconds * SAMPLE_RATE) <= 2 * 0.6 * SAMPLE_RATE


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_event_has_the_asked_level(seed):
    clip = hiss(3.0) / 4
    mixed, row = mixer()(clip, SPEECH, np.random.default_rng(seed))
    front = round((row.words[0].start - 0.2) * SAMPLE_RATE)
    event = mixed - np.pad(clip, (front, mixed.size - front - clip.size))
    event = event[np.abs(event) > 1e-6]
    assert -6.1 <= 20 * np.log10(np.sqrt((event**2).mean()) / np.sqrt((clip**2).mean())) <= 3.1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(4000, 28000))
def test_a_word_starts_where_its_click_is_after_everything(seed, place):
    rng = np.random.default_rng(seed)
    row = SPEECH.with_(words=(Word("hi", place / SAMPLE_RATE, 1.9),))
    mixed, row = mixer()(clicked(32000, place), row, rng)
    changed, (word,) = augment(mixed, rng, row.words, options=replace(ALWAYS, snr=(20, 30)))
    assert loudest(changed) == pytest.approx(word.start, abs=0.003)


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (SPEECH, DEFAULT),
        (SPEECH.with_(text=""), MIXING),
        (SPEECH.with_(text=None), MIXING),
        (SPEECH.with_(labels={"event": "laugh"}), MIXING),
        (SPEECH.with_(labels={}), MIXING),
    ],
)
def test_other_clips_are_left_as_they_are(row, options):
    clip = hiss(1.0)
    mixed, heard = mixer(options)(clip, row, np.random.default_rng(1))
    assert mixed is clip and heard is row


@pytest.mark.parametrize("made", [mixer(seconds=0.0), EventMixer(NO_EVENTS, lambda _: hiss(1.0), MIXING)])
def test_without_a_sound_there_is_no_event(made):
    assert made(hiss(1.0), SPEECH, np.random.default_rng(1))[1] is SPEECH


def test_a_silent_event_is_no_event():
    silent = EventMixer(EVENTS, lambda _: np.zeros(9000, np.float32), MIXING)
    assert silent(hiss(1.0), SPEECH, np.random.default_rng(1))[1] is SPEECH


def test_events_are_as_likely_as_each_other_however_many_clips_they_have():
    many = EventMixer([*EVENTS, *[EVENTS[0]] * 20], lambda _: hiss(0.1), Augmentation(event_probability=0.5))
    found = Counter(many(hiss(0.1), SPEECH, np.random.default_rng(i))[1].labels["event"] for i in range(600))
    assert [found[name] for name in ("none", "laugh", "cry", "sneeze")] == pytest.approx([300, 100, 100, 100], abs=45)


def test_the_same_seed_mixes_the_same():
    first, second = (mixer()(hiss(1.0), SPEECH, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]


# Options from a recipe


def test_options_are_read_back_as_they_were_written():
    chosen = Augmentation(0.1, (0.8, 1.2), codecs=("gsm", "mp3"), event_probability=0.2, spec=RELEASED)
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
def test_a_wrong_option_is_told_in_one_line(mapping, message):
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
