"""What `osum.load` returns: it labels, and it replies with the same engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine.tiny_checkpoint import CLIPS, checkpoint_of

import osum
from dialogue.tiny_voice import VOICE, TinyVoice
from osum.dialogue.model import Model
from osum.dialogue.options import TalkOptions
from osum.dialogue.talker import AudioPiece, Talker
from osum.engine.options import GenerationOptions
from osum.errors import CheckpointError, InputError, UsageError

OPTIONS = TalkOptions(generation=GenerationOptions(max_new_tokens=60))
SPOKEN = [{"role": "user", "content": [{"type": "audio", "audio": CLIPS[0]}]}]


@pytest.fixture
def model() -> Model:
    made = Model(checkpoint_of("chatml"))
    made.speech, made.voice = TinyVoice(), VOICE
    return made


def test_a_model_replies_as_its_talker(model: Model) -> None:
    theirs = Talker(model.engine, TinyVoice(), VOICE).reply(SPOKEN, OPTIONS)
    reply = model.reply(SPOKEN, OPTIONS)
    *_, last = model.stream_reply(SPOKEN, OPTIONS)
    assert (reply.text, reply.codes) == (theirs.text, theirs.codes) == (last.text, last.codes)  # type: ignore[union-attr]


def test_a_feeling_stands_before_the_text_that_is_said(model: Model) -> None:
    def said(text: str, emotion: str | None = None) -> np.ndarray:
        pieces: list[AudioPiece] = list(model.speak(text, OPTIONS, emotion))
        return np.concatenate([piece.samples for piece in pieces])

    assert np.array_equal(said("hi", "happy"), said("<开心>hi"))
    assert not np.array_equal(said("hi", "happy"), said("hi"))


def test_an_unknown_feeling_is_one_line_with_all_that_are_known(model: Model) -> None:
    with pytest.raises(InputError, match=r"emotion is 'hapy': choose one of 愉悦 \(pleased\)"):
        list(model.speak("hi", OPTIONS, "hapy"))


def test_nothing_is_still_nothing_with_a_feeling(model: Model) -> None:
    with pytest.raises(InputError, match="says nothing"):
        list(model.speak(" ", OPTIONS, "happy"))


def test_a_codec_and_a_voice_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give both or neither"):
        osum.load("nano", codec=tmp_path)
    with pytest.raises(CheckpointError, match="no such voice file"):
        osum.load("nano", codec=tmp_path, voice=tmp_path / "none.safetensors")


def test_the_packaged_model_replies_in_text() -> None:
    model = osum.load()
    reply = model.reply(SPOKEN, TalkOptions(generation=GenerationOptions(max_new_tokens=3)))
    assert isinstance(model, osum.Recognizer)
    assert (reply.codes, reply.audio) == ((), None)
