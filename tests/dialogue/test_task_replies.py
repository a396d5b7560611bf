"""A model that was not trained to converse replies by its task."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine.tiny_checkpoint import CLIPS, checkpoint_of

import osum
from osum import audio
from osum.dialogue.talker import Reply
from osum.dialogue.task_replies import TaskReplies
from osum.errors import InputError
from osum.listening.recognizer import Recognizer

SAMPLES = Path(__file__).parents[2] / "samples"


def spoken(*clips: np.ndarray) -> list[dict]:
    return [{"role": "user", "content": [{"type": "audio", "audio": clip} for clip in clips]}]


def test_it_says_what_the_task_answers():
    model = Recognizer(checkpoint_of("speech_first"))
    *pieces, reply = TaskReplies(model).stream_reply(spoken(CLIPS[0]))
    assert isinstance(reply, Reply) and reply.text == model.chat((CLIPS[0], 16_000)).strip()
    assert "".join(piece.text for piece in pieces).strip() == reply.text


@pytest.mark.parametrize("name", ["en_child_girl", "zh_sentence_2"])
def test_a_reply_comes_in_pieces_and_is_that_of_the_whole(name):
    model = osum.load("nano")
    clip = audio.load(SAMPLES / f"{name}.flac")
    *pieces, reply = TaskReplies(model).stream_reply(spoken(clip))
    assert len(pieces) > 3 and "".join(piece.text for piece in pieces) == reply.text == model.chat((clip, 16_000))


def test_a_stream_that_is_closed_frees_the_engine():
    model = osum.load("nano")
    stream = TaskReplies(model).stream_reply(spoken(audio.load(SAMPLES / "en_child_girl.flac")))
    next(stream)
    stream.close()
    assert not model.engine.busy


def test_a_clip_that_is_longer_than_the_model_takes_is_answered_by_its_end():
    model = Recognizer(checkpoint_of("speech_first"))
    *_, reply = TaskReplies(model).stream_reply(spoken(np.tile(CLIPS[0], 40)))
    assert isinstance(reply, Reply)


def test_text_is_refused():
    replies = TaskReplies(Recognizer(checkpoint_of("speech_first")))
    with pytest.raises(InputError, match="replies to speech alone"):
        list(replies.stream_reply([{"role": "user", "content": "hello"}]))


def test_a_model_without_the_task_is_refused():
    checkpoint = checkpoint_of("speech_first")
    with pytest.raises(InputError, match="has no task STTC"):
        TaskReplies(Recognizer(replace(checkpoint, tasks=checkpoint.tasks.keep(["ASR"]))))
