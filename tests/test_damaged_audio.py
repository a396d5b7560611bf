"""Sound that is damaged and does not look so is an error or a note, for files as for arrays."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from clips import RATE, refusal, tone
from hypothesis import given
from hypothesis import strategies as st

from osum import audio
from osum.errors import AudioError

SAMPLES = Path(__file__).parents[1] / "samples"


def notes_of(source: object, **options: object) -> list[audio.Note]:
    notes: list[audio.Note] = []
    audio.load(source, notice=notes.append, **options)
    return notes


def both(write: Callable[..., Path], samples: np.ndarray) -> list[object]:
    """The same samples as a float file and as an array."""
    return [write("clip.wav", samples, subtype="FLOAT"), (samples.astype(np.float32), RATE)]


def test_floats_of_an_integer_scale_are_refused_in_files_as_in_arrays(write: Callable[..., Path]) -> None:
    for source in both(write, tone() * 32768):
        with pytest.raises(AudioError, match=r"floats up to 9830; full scale is 1\.0") as caught:
            audio.load(source)
        assert caught.value.kind == "scale"


def test_a_hundred_times_full_scale_is_read_and_noted(write: Callable[..., Path]) -> None:
    for source in both(write, tone() * 100):
        (note,) = notes_of(source)
        assert (note.kind, note.message[:39]) == ("scale", "samples up to 30 times full scale: divi")
        assert audio.load(source).max() == pytest.approx(30, abs=0.1)


def test_sixteen_bit_numbers_in_a_wider_array_are_noted() -> None:
    samples = (tone() * 32767).astype(np.int16)
    (note,) = notes_of((samples.astype(np.int32), RATE))
    assert (note.kind, note.message[-18:]) == ("scale", "umbers, pass int16")
    assert notes_of((samples, RATE)) == [] and notes_of((np.sign(samples).astype(np.int16), RATE)) == []


def test_what_a_codec_overshoots_is_not_noted(write: Callable[..., Path]) -> None:
    assert notes_of(write("clip.mp3", np.sign(tone()))) == []


def test_channels_that_cancel_are_refused_in_the_mix_and_read_one_by_one(write: Callable[..., Path]) -> None:
    samples = np.concatenate([tone(), -tone()], axis=1)
    for source in both(write, samples + np.random.default_rng(0).normal(0, 1e-3, samples.shape)):
        with pytest.raises(AudioError, match="2 channels cancel each other in the mix") as caught:
            audio.load(source)
        assert caught.value.kind == "channel"
        assert np.abs(audio.load(source, channel=1)).max() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("num_channels", [2, 6, 64])
def test_channels_that_have_nothing_in_common_do_not_cancel(num_channels: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (RATE, num_channels))
    assert len(audio.load((noise, RATE))) == RATE


def test_silent_channels_do_not_cancel() -> None:
    hum = np.full((RATE, 1), 1e-5)
    assert len(audio.load((np.concatenate([hum, -hum], axis=1), RATE))) == RATE


STATED_LENGTHS = {
    "wav": {"subtype": "PCM_16"},
    "wav ulaw": {"subtype": "ULAW"},
    "wav 24 bit": {"subtype": "PCM_24"},
    "rf64": {"format": "RF64"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "mp3": {"format": "MP3"},
    "mp3 constant": {"format": "MP3", "bitrate_mode": "CONSTANT"},
}


@pytest.mark.parametrize("options", STATED_LENGTHS.values(), ids=STATED_LENGTHS)
def test_fewer_samples_than_the_header_says_are_an_error_and_the_good_part_is_read(
    write: Callable[..., Path], options: dict[str, str]
) -> None:
    path = write("clip", np.random.default_rng(0).normal(0, 0.1, 4 * RATE), **{"format": "WAV", **options})
    whole = path.read_bytes()
    assert len(audio.load(path)) == 4 * RATE
    path.write_bytes(whole[: len(whole) // 2])
    for read in (audio.load, audio.probe, audio.duration):
        with pytest.raises(AudioError, match="broken after frame") as caught:
            read(path)
        assert caught.value.kind == "cut off"
    good = float(str(caught.value).rpartition("end=")[2])
    assert 1 < good < 2.1
    assert len(audio.load(path, end=good)) == pytest.approx(good * RATE, abs=1)
    assert audio.duration(path, end=good) == pytest.approx(good)
    assert "broken after frame" in refusal(path, end=3.5)


@pytest.mark.parametrize("form", ["WAV", "MP3"])
def test_who_takes_notice_gets_the_samples_that_are_there(write: Callable[..., Path], form: str) -> None:
    whole = write("clip", np.random.default_rng(0).normal(0, 0.1, 4 * RATE), format=form).read_bytes()
    (note,) = notes_of(whole[: len(whole) // 2])
    assert note.kind == "cut off"
    assert re.fullmatch(r"holds [12]\.\d\d s of the 4\.00 s that its header promises: fetch it again", note.message)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_promises_nothing(write: Callable[..., Path], size: int) -> None:
    content = bytearray(write("clip.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = size.to_bytes(4, "little")
    assert len(audio.load(bytes(content))) == RATE


def test_a_header_that_counts_itself_is_no_loss(write: Callable[..., Path]) -> None:
    content = bytearray(write("clip.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = (2 * RATE + 44).to_bytes(4, "little")
    assert len(audio.load(bytes(content))) == RATE


def test_an_ogg_without_its_end_mark_is_noted(write: Callable[..., Path]) -> None:
    whole = write("clip.ogg", np.random.default_rng(0).normal(0, 0.1, 20 * RATE)).read_bytes()
    assert notes_of(whole) == []
    assert [note.kind for note in notes_of(whole[: len(whole) // 2])] == ["cut off"]


@given(st.sampled_from(["WAV", "AIFF", "AU", "FLAC", "MP3"]), st.floats(0.0, 1.0))
def test_no_cut_of_a_file_is_a_shorter_clip_without_a_word(form: str, share: float) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(1.0), RATE, format=form)
    content = buffer.getvalue()
    try:
        samples = audio.load(content[: round(share * len(content))])
    except AudioError:
        return
    assert len(samples) >= 0.9 * RATE
