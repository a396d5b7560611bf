"""Bad input in the middle of a corpus: every input has its row, and the good ones are answered."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from engine.tiny_checkpoint import checkpoint_of
from hypothesis import given, settings
from hypothesis import strategies as st
from model.tiny import noise

from osum.engine.options import GenerationOptions, LabelOptions
from osum.listening.recognizer import Recognizer
from osum.utterance import Utterance

RATE = 16_000
OPTIONS = LabelOptions("ASR,SGC", batch_size=4, generation=GenerationOptions(max_new_tokens=2))
FORMATS = (
    *((name, subtype) for name in ("WAV", "AIFF", "CAF", "AU") for subtype in ("PCM_16", "FLOAT")),
    *(("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "MS_ADPCM")),
)
MEDIA = (("mp4", "aac"), ("mp4", "libmp3lame"), ("webm", "libopus")) if find_spec("av") else ()
"""Containers that PyAV reads, and what is in them."""
NUM_MUTANTS = 2_000


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def with_rate(content: bytes, rate: int) -> bytes:
    """A wav whose header states another rate."""
    return content[:24] + rate.to_bytes(4, "little") + content[28:]


SECOND = wav(noise(RATE, 1))
BAD: dict[str, tuple[bytes, bool]] = {
    "silence": (wav(np.zeros(RATE)), True),
    "noise": (wav(np.random.default_rng(0).uniform(-1, 1, RATE)), True),
    "short": (wav(noise(RATE // 5, 2)), True),
    "long": (wav(noise(RATE + RATE // 100, 3)), True),
    "one sample": (wav(noise(1, 3)), True),
    "slow": (with_rate(SECOND, 8_000), True),
    "no rate": (with_rate(SECOND, 0), False),
    "rate beyond all": (with_rate(SECOND, 2**32 - 1), False),
    "nothing": (b"", False),
    "header alone": (SECOND[:44], False),
    "text": (b"this is no sound", False),
}
"""Name to the bytes of a file, and whether it can be answered."""


def test_bad_clips_cost_the_others_nothing(tmp_path: Path) -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    recognizer._max_samples = RATE  # the limit that `long` is beyond
    clips = {f"good {number}": (wav(noise(1_000 + 50 * number, number)), True) for number in range(24)}
    names = [name for pair in zip(list(clips)[:12], [*BAD, "vanishing"], strict=True) for name in pair]
    names = [*names, "growing", *list(clips)[12:]]
    contents = {**clips, **BAD, "vanishing": (SECOND, False), "growing": (SECOND, True)}

    def items() -> Iterator[Utterance]:
        for name in names:
            path, content = tmp_path / f"{name}.wav", contents[name][0]
            path.write_bytes(content[: len(content) // 2] if name == "growing" else content)
            if name == "vanishing":
                path.unlink()
            yield Utterance(id=name, path=str(path))
            path.write_bytes(content)

    rows = list(recognizer.label_files(items(), OPTIONS))
    assert [row.id for row in rows] == names
    assert {row.id: row.error is None for row in rows} == {name: contents[name][1] for name in names}
    assert {row.id: len(row.segments) for row in rows if len(row.segments) != 1 and row.error is None} == {
        "long": 2,
        "slow": 3,  # twice as long by its header, and cut where it is quiet
    }
    (grown,) = [row for row in rows if row.id == "growing"]
    assert grown.duration == pytest.approx(0.5, abs=0.01)  # what was there when it was read
    alone = {row.id: recognizer.label(row.path, "ASR,SGC", generation=OPTIONS.generation) for row in rows[:6:2]}
    assert {row.id: row.text for row in rows[:6:2]} == {name: row.text for name, row in alone.items()}


def write_media(out: io.BytesIO, form: str, codec: str) -> None:
    import av

    with av.open(out, "w", format=form) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(9_000, 5)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        fit = av.AudioResampler(stream.codec_context.format.name, "mono", 48_000, stream.codec_context.frame_size)
        frames = [*fit.resample(frame), *fit.resample(None)]
        container.mux([packet for part in [*frames, None] for packet in stream.encode(part)])


@cache
def whole(form: str, subtype: str) -> bytes:
    out = io.BytesIO()
    if (form, subtype) in MEDIA:
        write_media(out, form, subtype)
        return out.getvalue()
    soundfile.write(out, noise(3_000, 5), RATE, format=form, subtype=subtype)
    return out.getvalue()


def mutant(seed: int) -> bytes:
    """The bytes of a recording of any format with some of them changed, gone, doubled or put in."""
    chance = random.Random(seed)
    content = bytearray(whole(*chance.choice((*FORMATS, *MEDIA))))
    for _ in range(chance.randint(1, 4)):
        # Headers decide more than samples, so every other change is in one.
        at = chance.randrange(min(len(content), 80) if chance.random() < 0.5 else len(content))
        size = chance.choice((1, 1, 2, 4, 64, 1_000))
        acts: tuple[Callable[[], bytes], ...] = (
            lambda size=size: chance.randbytes(size),
            lambda: b"",
            lambda at=at, size=size: bytes(content[at : at + size]) * 2,
            lambda size=size: bytes(size),
            lambda size=size: b"\xff" * size,
            lambda at=at, size=size: chance.randbytes(size) + bytes(content[at : at + size]),
        )
        content[at : at + size] = chance.choice(acts)()
        if chance.random() < 0.1:
            del content[chance.randrange(len(content) + 1) :]
        if not content:
            break
    return bytes(content)


def check(row: Utterance) -> None:
    """An answer, or one line that names the file."""
    if row.error is None:
        assert row.segments and row.duration is not None
    else:
        assert row.error.startswith(f"{row.path}: ") and "\n" not in row.error
        assert "Traceback" not in row.error and "report it" not in row.error


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_damaged_file_is_answered_or_reported(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mutant"
    path.write_bytes(mutant(seed))
    (row,) = Recognizer(checkpoint_of("speech_first")).label_files([Utterance(id="x", path=str(path))], OPTIONS)
    check(row)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_answered_or_reported(tmp_path: Path) -> None:
    for seed in range(NUM_MUTANTS):
        (tmp_path / f"{seed}").write_bytes(mutant(seed))
    items = [Utterance(id=str(seed), path=str(tmp_path / f"{seed}")) for seed in range(NUM_MUTANTS)]
    options = LabelOptions("ASR", num_workers=1, read_timeout=20.0, generation=OPTIONS.generation)
    rows = list(Recognizer(checkpoint_of("speech_first")).label_files(items, options))
    assert [row.id for row in rows] == [item.id for item in items]
    for row in rows:
        check(row)
