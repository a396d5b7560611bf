"""Audio in: every way in gives the same samples, every bad input is one line that says what to do."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
from clips import RATE, refusal, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from osum import audio
from osum.errors import AudioError, InputError, MissingExtraError
from osum.utterance import Utterance

SAMPLES = Path(__file__).parents[1] / "samples"


# What is read


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_sixteen_kilohertz_as_soxr_does_it_offline(write: Callable[..., Path], rate: int) -> None:
    samples = tone(2.345, rate)[:, 0].astype(np.float32)
    path = write("clip.wav", samples, rate, subtype="FLOAT")
    expected = soxr.resample(samples, rate, RATE)
    assert np.array_equal(audio.load(path), expected)
    assert np.array_equal(np.concatenate(list(audio.read_blocks(path, seconds=0.3))), expected)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au", ".caf"])
def test_every_libsndfile_container_is_read(write: Callable[..., Path], suffix: str) -> None:
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    samples = audio.load(write(f"clip{suffix}", **options))
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(RATE, abs=1200)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_sample_width_has_full_scale_one(write: Callable[..., Path], subtype: str) -> None:
    assert np.allclose(audio.load(write("clip.wav", subtype=subtype)), tone()[:, 0], atol=0.02)


@pytest.mark.parametrize("num_channels", [2, 6])
def test_channels_are_averaged_or_picked(write: Callable[..., Path], num_channels: int) -> None:
    samples = tone(channels=num_channels)
    path = write("clip.wav", samples, subtype="FLOAT")
    assert np.allclose(audio.load(path), samples.mean(axis=1), atol=1e-6)
    assert np.allclose(audio.load(path, channel=1), samples[:, 1], atol=1e-6)
    assert audio.channels(path) == tuple(range(num_channels))


def test_one_channel_or_the_mix_is_a_list_of_itself(write: Callable[..., Path]) -> None:
    path = write("clip.wav", tone(channels=2))
    assert audio.channels(path, "mix") == ("mix",)
    assert audio.channels(path, 1) == (1,)
    with pytest.raises(AudioError, match="no channel 2"):
        audio.channels(path, 2)


def test_path_text_bytes_stream_and_array_are_equal(write: Callable[..., Path]) -> None:
    path = write("clip.wav", subtype="FLOAT")
    expected = audio.load(path)
    array = tone()[:, 0].astype(np.float32)
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), (array, RATE), (array[:, None], RATE)):
        assert np.array_equal(audio.load(source), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_integer_arrays_are_scaled_as_files_are(dtype: type) -> None:
    samples = np.array([np.iinfo(dtype).min, 0, np.iinfo(dtype).max], dtype)
    assert np.allclose(audio.load((samples, RATE)), [-1, 0, 1], atol=1e-4)


def test_a_stretch_is_the_same_samples(write: Callable[..., Path]) -> None:
    path = write("clip.flac", tone(3))
    assert np.array_equal(audio.load(path, start=0.5, end=1.25), audio.load(path)[RATE // 2 : RATE * 5 // 4])


def test_an_end_just_behind_the_last_sample_is_the_end(write: Callable[..., Path]) -> None:
    assert len(audio.load(write("clip.wav"), end=1.01)) == RATE


def test_ten_milliseconds_are_read(write: Callable[..., Path]) -> None:
    assert len(audio.load(write("clip.wav", tone(0.01)))) == RATE // 100


def test_probe_reports_what_the_file_holds(write: Callable[..., Path]) -> None:
    path = write("clip.flac", tone(2, 44_100, 2), 44_100)
    assert audio.probe(path) == audio.AudioInfo(2.0, 44_100, 2, 88_200)


def test_a_flac_from_a_pipe_is_measured_by_decoding(write: Callable[..., Path]) -> None:
    content = bytearray(write("clip.flac").read_bytes())
    content[21] &= 0xF0  # total samples in STREAMINFO: 36 bits, 0 for unknown
    content[22:26] = bytes(4)
    assert audio.probe(bytes(content)).frames == RATE
    assert len(audio.load(bytes(content), start=0.25)) == RATE * 3 // 4


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_without_index_is_read_to_its_end(write: Callable[..., Path], mode: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 9 * RATE) * np.linspace(0, 1, 9 * RATE) ** 4
    content = write("clip.mp3", noise, bitrate_mode=mode, compression_level=0.5).read_bytes()
    body = content[content.index(content[:2], 100) :]  # the first frame is the index
    assert audio.probe(body).duration == pytest.approx(9, abs=0.2)
    assert len(audio.load(body, start=1.0)) == len(audio.load(body)) - RATE


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40_000), st.sampled_from([8_000, RATE, 44_100]), st.floats(0.01, 3))
def test_blocks_joined_are_the_whole_and_all_but_the_last_are_full(num: int, rate: int, seconds: float) -> None:
    samples = np.random.default_rng(num).uniform(-1, 1, num + 10).astype(np.float32)
    blocks = list(audio.read_blocks((samples, rate), seconds=seconds))
    assert np.array_equal(np.concatenate(blocks), audio.load((samples, rate)))
    assert {len(block) for block in blocks[:-1]} <= {round(seconds * RATE)}


def test_ten_minutes_in_blocks_take_the_memory_of_a_few_blocks(write: Callable[..., Path]) -> None:
    path = write("long.wav", np.zeros((600 * 8_000, 1), np.int16), 8_000)
    next(audio.read_blocks(path))  # imports are not counted
    tracemalloc.start()
    assert sum(len(block) for block in audio.read_blocks(path)) == 600 * RATE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * audio.BLOCK_SECONDS * RATE * 4  # bytes of four float32 blocks


# What is refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nope.wav: no such file" in refusal(tmp_path / "nope.wav")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_a_device_is_no_file() -> None:
    assert "no regular file" in refusal("/dev/null")


def test_an_unreadable_file_names_its_permissions(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("clip.wav")

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # chmod does not stop root
    assert "Permission denied); check its permissions" in refusal(path)


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "empty.wav")
    assert "0 bytes" in refusal(b"")


@pytest.mark.parametrize("name", ["text.wav", "text.mp3", "text.raw", "text"])
def test_text_is_no_audio_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello, I am a text\n" * 9)
    assert f"{name}: is no audio that can be decoded" in refusal(tmp_path / name)


def test_a_truncated_flac_names_the_frame_and_the_good_part(write: Callable[..., Path]) -> None:
    path = write("clip.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refusal(path)
    assert "broken after frame 16384 of 64000" in message
    assert message.endswith("end=1.0")
    assert len(audio.load(path, end=1.0)) == RATE


def test_a_file_of_no_samples_is_refused(write: Callable[..., Path]) -> None:
    assert "0 samples" in refusal(write("clip.wav", np.zeros((0, 1))))
    assert "0 samples" in refusal((np.zeros(0, np.float32), RATE))


def test_a_clip_that_resamples_to_nothing_is_too_short() -> None:
    assert "too short" in refusal((np.zeros(1, np.float32), 768_000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_located(write: Callable[..., Path], value: float) -> None:
    samples = tone(2, channels=2)
    samples[20_000, 1] = value
    assert f"sample 20000 of channel 1 is {value}" in refusal(write("clip.wav", samples, subtype="FLOAT"))
    assert f"sample 20000 of channel 1 is {value}" in refusal((samples, RATE))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ((RATE, np.zeros(9)), "in this order"),
        ((np.zeros(9),), "in this order"),
        ((np.zeros((2, 900)), RATE), "pass array.T"),
        ((np.zeros((9, 1, 1)), RATE), "shape (9, 1, 1)"),
        ((np.zeros(9, np.int64), RATE), "dtype int64"),
        ((np.full(9, 30_000.0), RATE), "full scale is 1.0"),
        ((np.zeros(9), 16_000.5), "whole number of Hz"),
        ((np.zeros(9), 10), "1000 to 768000"),
        ((np.zeros(9), -RATE), "1000 to 768000"),
        ((np.zeros((900, 65)), RATE), "65 channels"),
        (io.StringIO("text"), "binary mode"),
        (7, "a int is no audio source"),
    ],
)
def test_a_source_of_the_wrong_form_says_the_right_form(source: object, reason: str) -> None:
    assert reason in refusal(source)


@pytest.mark.parametrize("options", [{"start": -1}, {"start": 2}, {"end": 5}, {"start": 0.5, "end": 0.5}])
def test_a_stretch_outside_the_clip_is_refused(write: Callable[..., Path], options: dict[str, float]) -> None:
    assert "start=" in refusal(write("clip.wav"), **options)


@pytest.mark.parametrize("channel", [1, -1, "left", True, 0.0])
def test_a_channel_that_is_not_there_is_refused(write: Callable[..., Path], channel: object) -> None:
    assert f"no channel {channel!r}; it has 1" in refusal(write("clip.wav"), channel=channel)


def test_size_and_duration_are_limited_before_decoding(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("clip.wav")
    monkeypatch.setattr(audio, "MAX_DURATION", 0.5)
    assert "lasts 1 s" in refusal(path)
    monkeypatch.setattr(audio, "MAX_FILE_BYTES", 1000)
    assert "the limit is 1000" in refusal(path)
    assert "the limit is 1000" in refusal(io.BytesIO(path.read_bytes()))


# Containers of PyAV


def test_a_media_container_without_pyav_prints_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'osum\[media\]'"):
        audio.load(b"\0\0\0\x20ftypM4A " + bytes(99))


@pytest.fixture
def m4a(tmp_path: Path) -> Path:
    av = pytest.importorskip("av", reason="the extra 'media' is not installed")
    path = tmp_path / "clip.m4a"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE"
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        samples = np.ascontiguousarray(tone(2, 44_100, 2).T.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def test_an_m4a_is_read_as_its_samples(m4a: Path) -> None:
    samples = audio.load(m4a, channel=0)
    assert audio.probe(m4a).duration == pytest.approx(2, abs=0.1)
    assert np.sqrt(np.mean(samples[RATE // 2 : RATE] ** 2)) == pytest.approx(0.3 / np.sqrt(2), abs=0.02)
    assert np.array_equal(samples, audio.load(m4a.read_bytes(), channel=0))
    assert len(audio.load(m4a, start=0.5, end=1.5)) == RATE


def test_titles_of_another_encoding_do_not_matter(m4a: Path) -> None:
    foreign = m4a.read_bytes().replace(b"TITLE", "录音".encode("gbk") + b" ")
    assert foreign != m4a.read_bytes()
    assert np.array_equal(audio.load(foreign), audio.load(m4a))


def test_a_stretch_behind_an_m4a_is_refused(m4a: Path) -> None:
    assert "0 samples from 3.00 s" in refusal(m4a, start=3)
    assert "end=9.00 is outside" in refusal(m4a, end=9)


def test_a_webm_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="the extra 'media' is not installed")
    with av.open(str(tmp_path / "clip.webm"), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(4, 48_000).T.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    whole = (tmp_path / "clip.webm").read_bytes()
    assert len(audio.load(whole)) == pytest.approx(4 * RATE, abs=400)
    assert "broken after frame" in refusal(whole[: len(whole) // 2])


def test_a_damaged_m4a_is_no_audio(m4a: Path) -> None:
    assert "is no audio that can be decoded" in refusal(m4a.read_bytes()[:200])


# Finding files


def test_folders_files_and_globs_become_one_sorted_list(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    a, b, c = write("a.wav"), write("b.FLAC"), write("deep/c.mp3")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._a.wav").touch()
    assert audio.find_audio([tmp_path]) == [a, b, c]
    assert audio.find_audio([b, str(tmp_path / "*"), tmp_path / "deep", tmp_path / "missing.wav"]) == [
        b,
        a,
        c,
        tmp_path / "missing.wav",
    ]


def test_a_link_to_what_is_gone_is_found_and_reported(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").symlink_to("gone.wav")
    assert audio.find_audio([tmp_path]) == [tmp_path / "clip.wav"]
    assert "is a link to gone.wav, which is not there" in refusal(tmp_path / "clip.wav")


def test_text_that_is_called_mp3_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "clip.mp3").write_bytes(b"%PDF-1.4 " + bytes(5_000))
    assert "is no audio that can be decoded" in refusal(tmp_path / "clip.mp3")
    assert "exist" not in refusal(tmp_path / "clip.mp3")


@pytest.mark.parametrize("name", ["", "*.wav"])
def test_a_place_without_audio_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no audio in it"):
        audio.find_audio([tmp_path / name])


def test_brackets_in_a_real_name_are_no_glob(write: Callable[..., Path]) -> None:
    path = write("take [1].wav")
    assert audio.find_audio([path]) == [path]


def test_the_samples_are_as_long_as_their_manifest_says() -> None:
    rows = [
        Utterance.from_dict(json.loads(line)) for line in (SAMPLES / "manifest.jsonl").read_text("utf8").splitlines()
    ]
    assert {row.path: row.duration for row in rows} == {
        path.name: pytest.approx(audio.probe(path).duration, abs=0.001) for path in audio.find_audio([SAMPLES])
    }


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_samples_come_at_the_rate_that_is_asked_for(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)
    found = audio.load((tone, 48_000), rate=rate)
    assert len(found) == rate
    assert np.abs(np.fft.rfft(found)).argmax() == 440
