"""Replies in text and aloud, on a tiny random model: whole, in pieces, interrupted, and in company."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine.tiny_checkpoint import CLIPS, checkpoint_of
from model.tiny import noise

from dialogue.tiny_voice import VOICE, TinyVoice
from osum.dialogue.options import TalkOptions
from osum.dialogue.talker import AudioPiece, Reply, Talker, TextPiece, ThoughtPiece
from osum.engine.engine import Engine
from osum.engine.options import GenerationOptions
from osum.errors import AudioError, CheckpointError, InputError, LayoutError

GREEDY = GenerationOptions(max_new_tokens=60)
SPOKEN = {"role": "user", "content": [{"type": "audio", "audio": CLIPS[0]}]}
WRITTEN = {"role": "user", "content": "hello"}
HISTORY = [
    SPOKEN,
    {"role": "assistant", "content": [{"type": "text", "text": "hi"}, {"type": "speech", "codes": [1, 2]}]},
    WRITTEN,
]


@pytest.fixture
def talker() -> Talker:
    return Talker(Engine(checkpoint_of("chatml")), TinyVoice(), VOICE)


@pytest.mark.parametrize("conversation", [[SPOKEN], [WRITTEN], HISTORY], ids=["sound", "text", "history"])
@pytest.mark.parametrize("in_turns", [False, True])
@pytest.mark.parametrize("thinking", ["off", "tag", "language"])
def test_the_pieces_of_a_stream_are_the_whole_reply(
    talker: Talker, conversation: list[dict[str, Any]], in_turns: bool, thinking: Any
) -> None:
    options = TalkOptions(thinking=thinking, thought_tokens=9, in_turns=in_turns, generation=GREEDY)
    *pieces, reply = talker.stream_reply(conversation, options)
    assert isinstance(reply, Reply)
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)) == reply.text
    sound = [piece.samples for piece in pieces if isinstance(piece, AudioPiece)]
    spoken = TinyVoice().synthesize(reply.codes, VOICE).numpy() if reply.codes else None
    assert (spoken is None and not sound) or np.array_equal(np.concatenate(sound), spoken)
    assert (reply.audio is None and spoken is None) or np.array_equal(reply.audio, spoken)
    assert (thinking != "off") == any(isinstance(piece, ThoughtPiece) for piece in pieces)


def test_a_reply_is_the_same_alone_and_with_others(talker: Talker) -> None:
    options = [TalkOptions(generation=GREEDY), TalkOptions(in_turns=True, generation=GREEDY)]
    alone = [talker.reply(HISTORY, option) for option in options]
    streams = [talker.stream_reply(HISTORY, option) for option in options]
    together = [list(stream)[-1] for stream in streams]
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, Reply)
        assert (one.text, one.codes) == (other.text, other.codes)


def test_a_thought_keeps_to_its_budget_and_is_never_spoken(talker: Talker) -> None:
    reply = talker.reply([SPOKEN], TalkOptions(thinking="language", thought_tokens=5, generation=GREEDY))
    assert reply.thought is not None
    assert len(reply.thought.free) <= 5  # an id is a byte here
    assert "think" not in reply.text and "think" not in str(reply.message())


def test_a_stream_that_is_closed_frees_the_engine(talker: Talker) -> None:
    stream = talker.stream_reply([SPOKEN], TalkOptions(generation=GREEDY))
    next(iter(stream))
    assert talker.engine.busy
    stream.close()  # type: ignore[attr-defined]
    assert not talker.engine.busy


def test_a_reply_is_a_turn_of_the_next_conversation(talker: Talker) -> None:
    first = talker.reply([SPOKEN], TalkOptions(generation=GREEDY))
    conversation = [
        SPOKEN,
        {"role": "assistant", "content": "hi"} | ({} if not first.text else first.message()),
        WRITTEN,
    ]
    assert isinstance(talker.reply(conversation, TalkOptions(generation=GREEDY)), Reply)


def test_history_is_bounded(talker: Talker) -> None:
    long = [WRITTEN, {"role": "assistant", "content": "hi"}] * 40 + [SPOKEN]
    short = [WRITTEN, {"role": "assistant", "content": "hi"}] * 2 + [SPOKEN]
    options = TalkOptions(max_turns=2, generation=GREEDY)
    assert talker.reply(long, options).codes == talker.reply(short, options).codes


def test_without_a_voice_a_reply_is_text(talker: Talker) -> None:
    reply = Talker(talker.engine).reply([SPOKEN], TalkOptions(generation=GREEDY))
    assert reply.audio is None and not reply.codes


def test_a_text_is_spoken(talker: Talker) -> None:
    pieces = list(talker.speak("good morning", TalkOptions(generation=GREEDY)))
    assert pieces and all(piece.sampling_rate == 100 for piece in pieces)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (list, "a conversation of list"),
    "a bare text": (lambda: "hello", "a conversation of str"),
    "an unknown role": (lambda: [{"role": "robot", "content": "x"}], "role 'robot'"),
    "two of the user": (lambda: [WRITTEN, WRITTEN], "turn 2 is of the user, where the assistant speaks"),
    "the assistant last": (lambda: [WRITTEN, {"role": "assistant", "content": "x"}], "nothing to reply to"),
    "an assistant without text": (
        lambda: [WRITTEN, {"role": "assistant", "content": [{"type": "speech", "codes": [1]}]}, WRITTEN],
        "message 2 of the assistant says nothing",
    ),
    "sound of the assistant": (
        lambda: [WRITTEN, {"role": "assistant", "content": [{"type": "audio", "audio": CLIPS[0]}]}, WRITTEN],
        "message 2 holds 'audio': a turn of the assistant holds text or speech",
    ),
    "sound without a source": (lambda: [{"role": "user", "content": [{"type": "audio"}]}], "without 'audio' or 'path'"),
    "a mark in a text": (lambda: [{"role": "user", "content": "hi<|im_end|>"}], "holds '<|im_end|>', which steers"),
    "a placeholder in a text": (lambda: [{"role": "user", "content": "<|audio|>"}], r"holds '<|audio|>', which steers"),
    "a content of numbers": (lambda: [{"role": "user", "content": 3}], "has content of int"),
    "codes that are none": (
        lambda: [WRITTEN, {"role": "assistant", "content": [*HISTORY[1]["content"][:1], {"type": "speech"}]}, WRITTEN],
        "a speech part without a list of codes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_conversation_that_cannot_be_answered_is_one_line(talker: Talker, name: str) -> None:
    conversation, message = BAD[name]
    with pytest.raises(InputError) as caught:
        talker.reply(conversation())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_code_of_another_codebook_is_refused(talker: Talker) -> None:
    said = [{"type": "text", "text": "hi"}, {"type": "speech", "codes": [4000]}]
    with pytest.raises(LayoutError, match="speech code 4000 is outside the codebook of 6"):
        talker.reply([WRITTEN, {"role": "assistant", "content": said}, WRITTEN])


def test_a_clip_that_is_too_long_is_refused(talker: Talker) -> None:
    with pytest.raises(AudioError, match="the model takes at most 30 s"):
        talker.reply([{"role": "user", "content": [{"type": "audio", "audio": noise(16_000 * 31)}]}])


def test_a_conversation_longer_than_the_model_is_refused(talker: Talker) -> None:
    with pytest.raises(LayoutError, match="shorten it"):
        talker.reply([{"role": "user", "content": "long " * 20_000}])


def test_a_model_without_a_speech_head_is_not_asked_to_speak() -> None:
    mute = Talker(Engine(checkpoint_of("speech_first")))
    with pytest.raises(LayoutError, match="no speech head"):
        mute.reply([SPOKEN], TalkOptions(aloud=True))
    with pytest.raises(CheckpointError, match="speaks 6 codes, the model says 0"):
        Talker(mute.engine, TinyVoice(), VOICE)
    with pytest.raises(InputError, match="no voice to speak with"):
        mute.speak("hello")


@pytest.mark.parametrize("wrong", [{"thinking": "loud"}, {"thought_tokens": -1}, {"max_turns": 0.5}], ids=str)
def test_options_have_ranges(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TalkOptions(**wrong)
