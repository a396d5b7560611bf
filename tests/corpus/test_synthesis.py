"""espeak-ng speaks with word times that lie in order within the clip."""

import ctypes

import numpy as np
import pytest

from osum.audio import SAMPLE_RATE
from osum.corpus import synthesis
from osum.corpus.synthesis import Espeak, SynthesisVoice, espeak
from osum.errors import InputError, OsumError


@pytest.fixture(scope="module")
def library() -> Espeak:
    try:
        ctypes.CDLL(synthesis.LIBRARY)
    except OSError:
        pytest.skip("espeak-ng is not installed")
    return espeak()


@pytest.mark.parametrize(
    ("units", "accent"),
    [
        (["how", "are", "you,", "my", "friend?"], "en-us"),
        (["one", "of", "the", "men", "in", "the", "room."], "en-gb-x-rp"),
        (["ni2", "hao3,", "wo3", "qu4", "chang2", "cheng2"], "cmn-latn-pinyin"),
    ],
)
@pytest.mark.parametrize("rate", [120, 220])
def test_times_are_in_order_and_within_the_clip(library, units, accent, rate):
    speech = library.speak(units, SynthesisVoice(accent, "f3", rate=rate))
    times = [time for word in speech.words for time in (word.start, word.end)]
    assert [word.text for word in speech.words] == [unit.strip(",.?") for unit in units]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= speech.samples.size / SAMPLE_RATE
    assert all(word.start < word.end for word in speech.words)


def test_the_waveform_is_loud_where_words_are(library):
    speech = library.speak(["yes,", "no"], SynthesisVoice("en-us"))
    assert speech.samples.dtype == np.float32
    word, rest = (speech.samples[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)] for a, b in _word_and_pause(speech))
    assert np.abs(word).max() > 20 * np.abs(rest).max()


def _word_and_pause(speech):
    first, second = speech.words
    return (first.start, first.end), (first.end + 0.03, second.start)


def test_the_rate_shortens_the_clip(library):
    slow, fast = (library.speak(["good", "morning"], SynthesisVoice("en-us", rate=rate)) for rate in (120, 220))
    assert fast.samples.size < 0.8 * slow.samples.size


def test_an_unknown_voice_is_named(library):
    with pytest.raises(InputError, match="xx-none"):
        library.speak(["a"], SynthesisVoice("xx-none"))


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr(synthesis, "LIBRARY", "libabsent.so.9")
    with pytest.raises(OsumError, match="apt install espeak-ng"):
        Espeak()
