"""Whatever form a clip comes in, it is answered alike; one that cannot be read ends nothing but itself."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from engine.tiny_checkpoint import CLIPS, checkpoint_of

from osum.engine.options import GenerationOptions
from osum.errors import AudioError, OsumError
from osum.listening.recognizer import Recognizer
from osum.listening.sources import is_stream, load, sound_of
from osum.utterance import Utterance

BRIEF: dict[str, Any] = {"tasks": "ASR,SGC", "generation": GenerationOptions(max_new_tokens=3)}
RATE = 16_000
SOUND = np.round(CLIPS[0] * 2**15).astype(np.int16)
FLOATS = (SOUND / 2**15).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", SOUND, RATE)
    return tmp_path / "a.wav"


def forms(path: Path) -> dict[str, Any]:
    """One clip in every form."""
    return {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "row": Utterance("row", str(path)),
        "floats": FLOATS,
        "doubles": FLOATS.astype(np.float64),
        "array and rate": (SOUND, RATE),
        "tensor": torch.from_numpy(FLOATS.copy()),
        "tensor that learns": torch.from_numpy(FLOATS.copy()).requires_grad_(),
        "integer tensor and rate": (torch.from_numpy(SOUND.copy()), RATE),
        "decoded": {"array": FLOATS, "sampling_rate": RATE, "path": "speech/b.wav"},
        "decoded list": {"array": FLOATS.tolist(), "sampling_rate": RATE, "path": None},
        "undecoded": {"bytes": path.read_bytes(), "path": None},
        "place": {"bytes": None, "path": str(path)},
    }


def test_every_form_of_a_clip_is_answered_alike(path: Path) -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    wanted = recognizer.label(str(path), **BRIEF)
    results = dict(zip(forms(path), recognizer.label(list(forms(path).values()), batch_size=1, **BRIEF), strict=True))
    for name, result in results.items():
        assert (name, result.error, result.segments) == (name, None, wanted.segments)
    ids = [results[name].id for name in ("path", "row", "floats", "decoded", "undecoded")]
    assert ids == ["a", "row", "clip-5", "b", "clip-13"]


def test_a_half_precision_tensor_is_read() -> None:
    for kind in (torch.bfloat16, torch.float16):
        assert np.allclose(load(torch.from_numpy(FLOATS.copy()).to(kind)), FLOATS, atol=1e-2)


def test_a_row_is_read_from_its_stretch_and_keeps_its_fields(path: Path) -> None:
    row = Utterance("r", str(path), start=0.1, end=0.3, speaker="s", extra={"session": 4})
    result = Recognizer(checkpoint_of("speech_first")).label(row, **BRIEF)
    assert (result.id, result.speaker, result.extra["session"], result.duration) == ("r", "s", 4, 0.2)
    assert len(load(row)) == round(0.2 * RATE)


REFUSED = {
    "integers": (SOUND, "without a rate"),
    "integer tensor": (torch.from_numpy(SOUND.copy()), "without a rate"),
    "two dimensions": (np.stack([FLOATS, FLOATS], 1), "without a rate"),
    "two dimensional tensor": (torch.zeros(1, 9), "without a rate"),
    "no sound": ({"text": "hi"}, "give 'array' with 'sampling_rate'"),
    "nothing": ({}, "a mapping of nothing"),
    "no rate": ({"array": FLOATS}, "give 'array' with 'sampling_rate'"),
    "no numbers": ({"array": [[1.0], [1.0, 2.0]], "sampling_rate": RATE}, "no array of numbers"),
    "none": (None, "is no audio source"),
    "sentence": (("a", "b", "c"), "give .array, rate"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_say_what_it_holds_is_refused_in_one_line(name: str) -> None:
    audio, reason = REFUSED[name]
    recognizer = Recognizer(checkpoint_of("speech_first"))
    with pytest.raises(OsumError, match=reason) as caught:
        recognizer.label(audio, **BRIEF)
    assert "\n" not in str(caught.value)
    before, bad, after = recognizer.label([FLOATS, audio, FLOATS], **BRIEF)
    assert (before.error, after.error) == (None, None) and bad.error == str(caught.value)


def test_a_clip_that_the_model_breaks_on_ends_no_other_of_a_list() -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    encode = recognizer.engine._encode

    def fail(clips: Any) -> Any:
        if any(clip.shape[-1] == 30 for clip in clips):
            raise ValueError("cannot")
        return encode(clips)

    recognizer.engine._encode = fail  # type: ignore[method-assign]
    odd = FLOATS[: 30 * 160]
    results = recognizer.label([FLOATS, odd, FLOATS, FLOATS], **BRIEF)
    assert [result.error is None for result in results] == [True, False, True, True]
    assert results[1].error.startswith("clip-1: could not be answered (ValueError: cannot)")
    with pytest.raises(ValueError, match="cannot"):
        recognizer.label(odd, **BRIEF)


def test_a_generator_is_streamed() -> None:
    recognizer, taken = Recognizer(checkpoint_of("speech_first")), []

    def clips() -> Iterator[Any]:
        for number in range(1_000_000):
            taken.append(number)
            yield SOUND if number == 1 else FLOATS

    results = recognizer.label(clips(), batch_size=1, **BRIEF)
    assert taken == []
    first = list(islice(results, 3))
    assert [result.error is None for result in first] == [True, False, True] and len(taken) < 8
    results.close()
    assert not recognizer.engine.busy


def test_an_open_file_is_one_clip_and_an_iterator_many(path: Path) -> None:
    with path.open("rb") as file:
        assert not is_stream(file)
    assert is_stream(iter([path])) and is_stream(map(str, [path])) and not is_stream([path])


def test_a_question_is_asked_about_any_form(path: Path) -> None:
    recognizer = Recognizer(checkpoint_of("speech_first"))
    answers = {recognizer.ask(form, "what", BRIEF["generation"]) for form in forms(path).values()}
    assert len(answers) == 1
    with pytest.raises(AudioError, match="without a rate"):
        sound_of(SOUND)
