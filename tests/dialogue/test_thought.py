"""Thoughts: read as they are written, whatever a model writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osum.dialogue.thought import ReadAnswer, Thought, read_said
from osum.tasks import AGES, EMOTIONS, EVENTS, GENDERS, REPLY_EMOTIONS, LabelSet

TAGGED = (
    "<think>用户说的话是:妈妈,我要喝水,年龄为:<CHILD>,性别为:<FEMALE>,情感为:<SAD>,声音事件为:<CRY>,"
    "推测使用的回复情感为:<安慰鼓励>,我应该综合用户的语义和副语言信息给出专业且对应的回答<think end>"
    "<安慰鼓励>别哭,水来了"
)
LINES = st.text(st.characters(exclude_characters="<>", exclude_categories=["C", "Z"]), min_size=1, max_size=30)


def labels(of: LabelSet) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(of.labels)


IN_FIELDS = st.builds(
    Thought,
    words=LINES,
    age=labels(AGES),
    gender=labels(GENDERS),
    emotion=labels(EMOTIONS),
    event=labels(EVENTS),
    reply_emotion=labels(REPLY_EMOTIONS),
)
FREE = st.builds(Thought, free=LINES.filter(lambda text: "为" not in text and "是" not in text))
SAID = st.builds(ReadAnswer, reply=LINES, thought=st.none() | IN_FIELDS | FREE, emotion=labels(REPLY_EMOTIONS))


@given(SAID)
def test_what_is_written_is_read_again(said: ReadAnswer) -> None:
    assert read_said(said.render()) == said


PIECES = st.sampled_from(
    ["<think>", "<think end>", "</think>", "年龄为:", "<OLD>", "<&&>", "<", ">", "think", ",", "x"]
)


@given(st.text() | st.lists(PIECES).map("".join))
def test_whatever_a_model_writes_is_read_and_no_mark_is_spoken(raw: str) -> None:
    said = read_said(raw)
    assert all(mark not in said.reply for mark in ("<think>", "<think end>", "</think>"))


def test_the_releases_form_is_the_worked_example() -> None:
    assert read_said(TAGGED) == ReadAnswer(
        reply="别哭,水来了",
        thought=Thought("妈妈,我要喝水", "child", "female", "sad", "cry", "安慰鼓励"),
        emotion="安慰鼓励",
    )
    assert read_said(TAGGED).render() == TAGGED


def test_words_that_look_like_a_field_stay_words() -> None:
    thought = Thought(words="他的性别为:<MALE>吗,年龄为:几岁", gender="female")
    assert read_said(thought.render() + "x").thought == thought


@pytest.mark.parametrize("end", ["<think end>", "</think end>", "</think>", "< think  end >"])
def test_a_thought_ends_in_several_spellings(end: str) -> None:
    assert read_said(f"<think>she sounds tired{end}rest a while") == ReadAnswer(
        "rest a while", Thought(free="she sounds tired")
    )


def test_full_width_marks_are_read() -> None:
    raw = "<think>用户说的话是：你好，年龄为：<OLD>，性别为：<&&>，情感为：HAPPY<think end>您好"
    assert read_said(raw).thought == Thought("你好", "old", None, "happy")


def test_an_unknown_label_is_a_problem_and_no_label() -> None:
    said = read_said("<think>用户说的话是:a,年龄为:<DRAGON><think end>b")
    assert said.thought == Thought("a")
    assert said.problems == ("the thought names 'DRAGON', which is no age",)


def test_a_thought_that_never_ends_leaves_no_reply() -> None:
    assert read_said("<think>let me see") == ReadAnswer(
        "", Thought(free="let me see"), None, ("the thought does not end",)
    )


def test_an_end_without_a_beginning_is_a_thought_all_the_same() -> None:
    said = read_said("he is glad<think end>hello")
    assert (said.reply, said.thought) == ("hello", Thought(free="he is glad"))
    assert said.problems == ("a thought ends that did not begin",)


def test_a_tag_that_is_no_feeling_is_not_spoken() -> None:
    said = read_said("<bored>hello")
    assert (said.reply, said.emotion) == ("hello", None)
    assert said.problems == ("the reply begins with <bored>, which is no feeling to answer with",)


def test_nothing_behind_a_second_thought_is_spoken() -> None:
    said = read_said("<think>a<think end>yes <think>he lies<think end> no")
    assert (said.reply, said.problems) == ("yes", ("the reply holds ' <think>', and nothing behind it is said",))


def test_older_names_of_feelings_are_read() -> None:
    assert read_said("<HAPPY>yes").emotion == "开心"
