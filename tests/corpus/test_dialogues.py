"""Dialogue rows: written and read as they are, and refused in one line where they are no dialogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.corpus.clips import ClipAudio
from osum.corpus.dialogue_forms import read_dialogues
from osum.corpus.dialogues import USER_LABELS, Dialogue, DialogueTurn, write_dialogues
from osum.errors import ManifestError
from osum.tasks import REPLY_EMOTIONS

from .manifests_of_others import noise, write_clip

BY_HAND = {
    "id": "tea-1",
    "language": "en",
    "turns": [
        {"role": "user", "audio": "q1.wav", "text": "is there tea", "labels": {"age": "child", "emotion": "sad"}},
        {"role": "assistant", "text": "there is", "codes": [4, 0, 4]},
        {"role": "user", "audio": "q2.wav"},
        {"role": "assistant", "thought": "A child asks.", "emotion": "开心", "text": "for you too"},
    ],
}
USER, ASSISTANT = BY_HAND["turns"][0], BY_HAND["turns"][1]  # type: ignore[index]
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
LABELS = st.fixed_dictionaries({}, optional={name: st.sampled_from(of.labels) for name, of in USER_LABELS.items()})
CODES = st.lists(st.integers(0, 4095), max_size=4).map(tuple)
QUESTIONS = st.builds(DialogueTurn, st.just("user"), text=st.none() | WORDS, audio=st.just("a.wav"), labels=LABELS)
REPLIES = st.builds(
    DialogueTurn,
    st.just("assistant"),
    text=WORDS,
    thought=st.none() | WORDS,
    emotion=st.none() | st.sampled_from(REPLY_EMOTIONS.labels),
    codes=CODES,
)
EXCHANGES = st.lists(st.tuples(QUESTIONS, REPLIES), min_size=1, max_size=3)
DIALOGUES = st.builds(
    Dialogue, id=WORDS, turns=EXCHANGES.map(lambda pairs: tuple(turn for pair in pairs for turn in pair))
)


@given(DIALOGUES)
def test_a_row_is_read_as_it_was_written(dialogue: Dialogue) -> None:
    assert Dialogue.from_dict(json.loads(json.dumps(dialogue.to_dict()))) == dialogue


def test_a_row_written_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps(BY_HAND))
    (dialogue,) = read_dialogues(tmp_path / "d.jsonl")
    assert dialogue.question.audio == str(tmp_path / "q2.wav")
    assert dialogue.reply == DialogueTurn("assistant", "for you too", thought="A child asks.", emotion="开心")


def test_sounds_below_the_file_are_named_relative_to_it(tmp_path: Path) -> None:
    write_clip(tmp_path / "q.wav", seed=3)
    row = Dialogue("a", (DialogueTurn("user", audio=str(tmp_path / "q.wav")), DialogueTurn("assistant", "yes")))
    assert write_dialogues(tmp_path / "d.jsonl", [row]) == 1
    assert json.loads((tmp_path / "d.jsonl").read_text())["turns"][0]["audio"] == "q.wav"
    (read,) = read_dialogues(tmp_path / "d.jsonl")
    assert read == row
    assert (ClipAudio().read(read.clips[0]) == noise(seed=3)).all()


def test_fields_that_are_not_known_are_kept() -> None:
    assert Dialogue.from_dict({**BY_HAND, "judged": 4}).to_dict()["judged"] == 4


@pytest.mark.parametrize(
    ("question", "reply", "stream"),
    [
        ({"audio": "a.wav"}, {"text": "b"}, "s2t"),
        ({"audio": "a.wav"}, {"text": "b", "codes": [1]}, "s2s"),
        ({"text": "a"}, {"codes": [1]}, "t2s"),
        ({"text": "a"}, {"text": "b"}, "t2t"),
        ({"text": "a"}, {"text": "b", "codes": [1]}, "s2s"),
    ],
)
def test_the_stream_follows_from_what_is_given_and_answered(
    question: dict[str, Any], reply: dict[str, Any], stream: str
) -> None:
    turns = [{"role": "user", **question}, {"role": "assistant", **reply}]
    assert Dialogue.from_dict({"id": "a", "turns": turns}).stream == stream


def test_every_reply_of_a_dialogue_can_be_learned() -> None:
    first, second = Dialogue.from_dict(BY_HAND).prefixes()
    assert (first.id, first.reply.text, second.id, second.reply.text) == ("tea-1#1", "there is", "tea-1", "for you too")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "id is '': give the dialogue a name"),
        ({"version": 2}, "version is 2: this osum reads dialogues of version 1; update one of the two"),
        ({"turns": []}, "0 turns that do not end with the assistant's: there is nothing to learn"),
        ({"turns": [USER]}, "1 turns that do not end with the assistant's"),
        ({"turns": [ASSISTANT, USER]}, "turn 1 is of the assistant, where the user speaks: let them take turns"),
        ({"turns": [USER, USER]}, "turn 2 is of the user, where the assistant speaks"),
        ({"turns": [{"role": "user"}, ASSISTANT]}, "turn 1 of the user says nothing: give it text or audio"),
        ({"turns": [USER, {"role": "assistant", "text": " "}]}, "turn 2 of the assistant says nothing"),
        ({"turns": [{**USER, "codes": [1]}, ASSISTANT]}, "turn 1 of the user has 'codes', which the other side has"),
        ({"turns": [USER, {**ASSISTANT, "labels": {"age": "old"}}]}, "turn 2 of the assistant has 'labels'"),
        ({"turns": [USER, {**ASSISTANT, "codes": [1, -1]}]}, "turn 2 has speech code -1: codes count from 0"),
        ({"turns": [USER, {**ASSISTANT, "emotin": "开心"}]}, "turns[1].emotin is unknown: did you mean 'emotion'?"),
        ({"turns": [{**USER, "labels": {"age": "chil"}}, ASSISTANT]}, "age is 'chil': did you mean 'child'?"),
        ({"turns": [{**USER, "labels": {"mood": "sad"}}, ASSISTANT]}, "turn 1 has label 'mood': a user's turn has age"),
        ({"turns": [{"role": "user", "audio": "a"}, {"role": "assistant", "codes": [1]}]}, "has codes and no text"),
        ({"turns": [*BY_HAND["turns"][:3], {"role": "assistant", "codes": [1]}]}, "turn 4 of the assistant has codes"),  # type: ignore[index]
        ({"turns": [{"role": "bot", "text": "a"}, ASSISTANT]}, "turns[0].role is 'bot': give assistant or user"),
        ({"turns": "hello"}, "turns is 'hello': a list is needed"),
    ],
)
def test_what_is_no_dialogue_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Dialogue.from_dict({**BY_HAND, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_come_in_osums_spelling() -> None:
    turns = [{**USER, "labels": {"age": "<OLD>", "gender": "FEMALE"}}, {**ASSISTANT, "emotion": "happy"}]
    read = Dialogue.from_dict({"id": "a", "turns": turns})
    assert (read.question.labels, read.reply.emotion) == ({"age": "old", "gender": "female"}, "开心")
