"""A model that was not trained to converse replies by its task."""

from dataclasses import replace

import numpy as np
import pytest
from engine.tiny_checkpoint import CLIPS, checkpoint_of

from osum.dialogue.talker import Reply
from osum.dialogue.task_replies import TaskReplies
from osum.errors import InputError
from osum.listening.recognizer import Recognizer


def spoken(*clips: np.ndarray) -> list[dict]:
    return [{"role": "user", "content": [{"type": "audio", "audio": clip} for clip in clips]}]


def test_it_says_what_the_task_answers():
    model = Recognizer(checkpoint_of("speech_first"))
    *_, reply = TaskReplies(model).stream_reply(spoken(CLIPS[0]))
    assert isinstance(reply, Reply) and reply.text == model.chat((CLIPS[0], 16_000)).strip()


def test_text_is_refused():
    replies = TaskReplies(Recognizer(checkpoint_of("speech_first")))
    with pytest.raises(InputError, match="replies to speech alone"):
        list(replies.stream_reply([{"role": "user", "content": "hello"}]))


def test_a_model_without_the_task_is_refused():
    checkpoint = checkpoint_of("speech_first")
    with pytest.raises(InputError, match="has no task STTC"):
        TaskReplies(Recognizer(replace(checkpoint, tasks=checkpoint.tasks.keep(["ASR"]))))
