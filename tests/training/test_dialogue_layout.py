"""How dialogues become prompts and answers: modes, thoughts, feelings, turns."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.tiny import noise, tiny_processor

from osum.corpus.dialogues import Dialogue, DialogueTurn
from osum.dialogue import modes
from osum.dialogue.thought import ReadAnswer, Thought, read_said
from osum.errors import LayoutError
from osum.model.spoken_answer import SpokenAnswer
from osum.training.config import DialogueOptions
from osum.training.dialogue_layout import DialogueLayout, Laid

from .dialogues import THOUGHT, assistant, dialogues, user

PROCESSOR = tiny_processor("chatml")


def lay(dialogue: Dialogue, seed: int = 0, **options: Any) -> Laid:
    return DialogueLayout(PROCESSOR, DialogueOptions(**options)).lay(dialogue, random.Random(seed))


@pytest.fixture(scope="module")
def given_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dialogue]:
    return {row.id: row for row in dialogues(tmp_path_factory.mktemp("dialogues"))}


@pytest.mark.parametrize(
    ("name", "options", "mode"),
    [
        ("s2t", {}, modes.SPEECH_TO_TEXT),
        ("s2t", {"thinking": {"tag": 1}}, modes.SPEECH_TO_TEXT_THINK),
        ("s2s", {}, modes.TALK),
        ("s2s", {"thinking": {"language": 1}}, modes.TALK_THINK),
        ("s2s", {"in_turns": 1}, modes.TALK_IN_TURNS),
        ("s2s", {"in_turns": 1, "thinking": {"tag": 1}}, modes.TALK_THINK_IN_TURNS),
        ("t2s", {}, modes.SPEAK),
        ("t2s", {"in_turns": 1}, modes.SPEAK_IN_TURNS),
        ("t2t", {"thinking": {"tag": 1, "language": 1}, "in_turns": 1}, modes.TEXT_TO_TEXT),
    ],
)
def test_stream_thinking_and_turns_choose_the_mode(
    given_rows: dict[str, Dialogue], name: str, options: dict[str, Any], mode: modes.Mode
) -> None:
    laid = lay(given_rows[name], **options)
    assert laid.form.mode == mode
    assert mode.system_prompt in laid.text


def test_a_spoken_question_is_given_as_sound_alone(given_rows: dict[str, Dialogue]) -> None:
    text = lay(given_rows["s2t"]).text
    assert text.endswith("<|im_start|>user\n<|audio|><|im_end|>\n<|im_start|>assistant\n")


def test_earlier_turns_are_given_with_their_codes_and_without_thoughts(given_rows: dict[str, Dialogue]) -> None:
    laid = lay(given_rows["two"])
    assert laid.text.count("<|audio|>") == 2
    assert laid.text.count("ok<|im_end|><|ids|>\n") == 1
    assert [len(run) for run in laid.runs] == [14]  # both edges


def test_the_released_history_is_that_of_its_training(given_rows: dict[str, Dialogue]) -> None:
    text = lay(given_rows["two"], released=True).text
    assert "<|bare_audio|><|im_end|>\n<|im_end|>\n<|im_start|>assistant\nok<|ids|><|im_end|>\n" in text


def test_a_text_that_is_read_aloud_has_no_text_in_its_answer(given_rows: dict[str, Dialogue]) -> None:
    codes = given_rows["t2s"].reply.codes
    assert lay(given_rows["t2s"]).answer == SpokenAnswer(None, codes)
    assert lay(given_rows["t2s"], in_turns=1).answer == SpokenAnswer("hi", codes, in_turns=True)


def test_a_text_that_is_read_aloud_begins_with_its_feeling(given_rows: dict[str, Dialogue]) -> None:
    question, reply = given_rows["t2s"].turns
    row = Dialogue("felt", (question, replace(reply, codes=reply.codes * 2, emotion="开心")))
    assert "<|im_start|>user\n<开心>hi<|im_end|>" in lay(row).text
    assert lay(row, in_turns=1).answer.text == "<开心>hi"


def test_a_thought_in_fields_follows_from_the_row(given_rows: dict[str, Dialogue]) -> None:
    answer = lay(given_rows["s2t"], thinking={"tag": 1}, masked=1.0).answer
    assert answer.text == "<开心>yes"
    assert read_said(answer.thought + str(answer.text)) == ReadAnswer(
        "yes", Thought("tea?", age="child", emotion="sad", reply_emotion="开心"), "开心"
    )


def test_labels_that_nobody_knows_are_masked_or_defaults(given_rows: dict[str, Dialogue]) -> None:
    masked, default = (lay(given_rows["s2s"], thinking={"tag": 1}, masked=share).answer.thought for share in (1.0, 0.0))
    assert "年龄为:<OLD>,性别为:<&&>,情感为:<&&>,声音事件为:<&&>,推测使用的回复情感为:<中立>" in masked
    assert "年龄为:<OLD>,性别为:<MALE>,情感为:<NEUTRAL>,声音事件为:<OTHER>," in default
    drawn = [lay(given_rows["s2s"], seed, thinking={"tag": 1}).answer.thought.count("<&&>") for seed in range(300)]
    assert sum(drawn) / 900 == pytest.approx(0.85, abs=0.04)


def test_a_reply_that_thinks_in_sentences_has_no_tag(given_rows: dict[str, Dialogue]) -> None:
    answer = lay(given_rows["s2t"], thinking={"language": 1}).answer
    assert (answer.thought, answer.text) == (f"<think>{THOUGHT}<think end>", "yes")


def test_a_row_that_cannot_think_as_wanted_replies_at_once(given_rows: dict[str, Dialogue]) -> None:
    assert lay(given_rows["two"], thinking={"language": 1, "tag": 1}).form.thinking == "off"


def test_ways_of_thinking_are_drawn_by_weight(given_rows: dict[str, Dialogue]) -> None:
    weights = {"tag": 1.0, "language": 2.0, "off": 1.0}
    drawn = [lay(given_rows["s2t"], seed, thinking=weights).form.thinking for seed in range(400)]
    assert drawn.count("language") / 400 == pytest.approx(0.5, abs=0.08)


@given(st.integers(0, 12), st.integers(1, 40))
def test_turns_are_taken_exactly_where_there_is_enough_speech(letters: int, codes: int) -> None:
    row = Dialogue("a", (user("q"), DialogueTurn("assistant", "x" * (letters + 1), codes=(1,) * codes)))
    laid = lay(row, in_turns=1)
    text_ids = letters + 1 + len("<中立>".encode()) + 1  # what stands before it with a feeling; its end
    assert laid.answer.in_turns == (3 * text_ids <= codes + 2)
    PROCESSOR.answer_ids(laid.answer)  # can be laid out


@pytest.mark.parametrize(
    ("name", "options", "room"),
    [
        ("s2t", {}, 1.0),
        ("t2s", {}, 1.0),
        ("s2s", {}, 0.8),
        ("t2t", {}, 0.6),
        ("two", {}, 0.6),
        ("t2s", {"in_turns": 1}, 0.6),
        ("s2t", {"thinking": {"tag": 1}}, 0.6),
    ],
)
def test_heavy_forms_may_use_a_part_of_a_batch(
    given_rows: dict[str, Dialogue], name: str, options: dict[str, Any], room: float
) -> None:
    assert lay(given_rows[name], **options).form.room == room


def test_the_positions_of_a_row_are_those_of_its_batch(given_rows: dict[str, Dialogue]) -> None:
    layout = DialogueLayout(PROCESSOR, DialogueOptions(thinking={"tag": 1}))
    laid = layout.lay(given_rows["two"], random.Random(0))
    features = [PROCESSOR.log_mel(noise(16_000)) for _ in range(2)]
    batch = PROCESSOR.batch([laid.text], features, [laid.answer], "right", given=laid.runs)
    assert layout.positions(laid, [layout.clip_tokens(1.0)] * 2) == batch["input_ids"].shape[1]


def test_codes_of_another_model_are_refused() -> None:
    row = Dialogue("a", (user("q"), DialogueTurn("assistant", "x", codes=(1,) * 6), user("q"), assistant("y")))
    lay(row)
    with pytest.raises(LayoutError, match="speech code 9 is outside the codebook of 6"):
        lay(Dialogue("a", (user("q"), DialogueTurn("assistant", "x", codes=(9,)), user("q"), assistant("y"))))
