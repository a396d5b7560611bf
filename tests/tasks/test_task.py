import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.generate.tasks import EXAMPLE, PUNCTUATED
from osum.errors import TaskError
from osum.tasks import ECHAT, EMOTIONS, GENDERS, OSUM, RELEASE, REPLY_SEPARATOR, LabelSet, Task, normalise_target
from osum.text import join_units
from osum.utterance import Utterance, Word

from .strategies import answering, utterances

EVERY_TASK = pytest.mark.parametrize(
    "task", (*OSUM.tasks, *(ECHAT[name] for name in ECHAT if name not in OSUM)), ids=lambda task: task.name
)
PARSE_CASES = [
    ("SER", "hello <HAPPY>", "hello", {"emotion": "happy"}, ()),
    ("SER", "hello<happpy>", "hello", {"emotion": "happy"}, ("read <happpy> as <happy>",)),
    ("SER", "hello<hap", "hello", {"emotion": "happy"}, ("read <hap as <happy>",)),
    ("SER", "hello<happy", "hello", {"emotion": "happy"}, ("unterminated tag <happy",)),
    ("SER", "hello<s", "hello", {"emotion": None}, ("unread tags: <s", "no emotion tag")),
    ("SER", "hello", "hello", {"emotion": None}, ("no emotion tag",)),
    ("SER", "<sad>hello", "hello", {"emotion": "sad"}, ("text after a tag",)),
    ("SER", "hi<sad><anger>", "hi", {"emotion": "sad"}, ("unread tags: <anger>",)),
    ("VED", "<Throat_Clearing>", "", {"event": "throat clearing"}, ()),
    ("SSR", "你好<小说>", "你好", {"style": "有声书"}, ()),
    ("SAP", "hi<MIDDLE_AGE>", "hi", {"age": "adult"}, ()),
    ("SAP+SGC", "hi<female>", "hi", {"age": None, "gender": "female"}, ("no age tag",)),
    ("SGC-only", "Female", "", {"gender": "female"}, ("a label without < >",)),
    ("SGC-only", "hi<male>", "", {"gender": "male"}, ("text where only tags were asked for: 'hi'",)),
    ("ASR", "<0.00>新<0.2>年", "新年", {}, ("times in an answer that has none",)),
    ("ASR", "a > b", "a   b", {}, ("a stray >",)),
]


@EVERY_TASK
@given(data=st.data())
def test_what_is_rendered_is_parsed_back(task: Task, data: st.DataObject):
    utterance = data.draw(answering(task))
    result = task.parse(task.render(utterance))
    if task.transcript == "plain":
        assert result.text == normalise_target(utterance.text or "")
    assert result.labels == {labels.name: utterance.labels[labels.name] for labels in task.label_sets}
    assert result.reply == (normalise_target(utterance.reply or "") if task.reply else None)


@given(utterance=utterances)
def test_word_times_come_back_to_a_hundredth_of_a_second(utterance: Utterance):
    result = OSUM["SRWT"].parse(OSUM["SRWT"].render(utterance))
    assert [word.text for word in result.words] == [normalise_target(word.text) for word in utterance.words]
    assert result.text == join_units(word.text for word in result.words)
    for read, written in zip(result.words, utterance.words, strict=True):
        assert (read.start, read.end) == pytest.approx((written.start, written.end), abs=0.00501)


@EVERY_TASK
def test_a_clean_answer_has_no_problems(task: Task):
    assert task.parse(task.render(PUNCTUATED)).problems == ()


@EVERY_TASK
@given(raw=st.text() | st.text(st.sampled_from("<>0.2 新happy开始回答")))
def test_the_parser_survives_any_text(task: Task, raw: str):
    result = task.parse(raw)
    assert result.raw == raw
    assert set(result.labels) == {labels.name for labels in task.label_sets}
    assert raw.startswith(task.transcript_of(raw))


@EVERY_TASK
@given(data=st.data(), seed=st.integers())
def test_the_parser_survives_damaged_answers(task: Task, data: st.DataObject, seed: int):
    characters = list(task.render(data.draw(answering(task))))
    chance = random.Random(seed)
    for _ in range(5):
        characters.insert(chance.randint(0, len(characters)), chance.choice("<>0.新a "))
        characters.pop(chance.randrange(len(characters)))
    assert task.parse("".join(characters)[: chance.randint(0, 200)]).task == task.name


@pytest.mark.parametrize(
    ("name", "raw", "text", "labels", "problems"), PARSE_CASES, ids=[case[1] for case in PARSE_CASES]
)
def test_an_untidy_answer_is_read_and_its_problems_reported(name, raw, text, labels, problems):
    result = OSUM[name].parse(raw)
    assert (result.text, result.labels, result.problems) == (text, labels, problems)


def test_the_release_recording_is_read():
    result = OSUM["SRWT"].parse("<0.00>新<0.2><0.20>年<0.4><0.40>喜<0.71><1.73>万<1.97><1.96>事<2.29>")
    assert result.text == "新年喜万事"
    assert result.words[-2:] == (Word("万", 1.73, 1.97), Word("事", 1.96, 2.29))
    assert result.problems == ()


@pytest.mark.parametrize(
    ("raw", "text", "words", "problem"),
    [
        ("<0.00>新<0.2>年<0.4>", "新年", 2, "no start time for '年'"),
        ("<0.00>新<0.2><0.2>年", "新年", 1, "no end time for '年'"),
        ("<0.00>新<0.2><0.2>年<0.", "新年", 1, "unread tags: <0."),
        ("<0.50>新<0.2>", "新", 1, "'新' ends before it starts"),
        ("新年", "新年", 0, "no start time for '新年'"),
    ],
)
def test_damaged_times_are_reported(raw, text, words, problem):
    result = OSUM["SRWT"].parse(raw)
    assert (result.text, len(result.words)) == (text, words)
    assert problem in result.problems


def test_a_repetition_loop_is_reported():
    assert OSUM["ASR"].parse("so " + "and then " * 40).problems == ("repetition loop: ' and then' 40 times",)


def test_a_loop_of_tags_keeps_the_first_and_counts_the_rest():
    result = OSUM["SER"].parse("hi" + "<sad>" * 20)
    assert result.labels == {"emotion": "sad"}
    assert "unread tags: <sad> <sad> <sad> <sad> <sad> and 14 more" in result.problems


@pytest.mark.parametrize("separator", [REPLY_SEPARATOR, "<开始回复>", "< 开始回答 >"])
def test_the_reply_stands_after_the_separator(separator):
    result = OSUM["STTC"].parse(f"你好{separator}你好呀")
    assert (result.text, result.reply) == ("你好", "你好呀")


@pytest.mark.parametrize(("raw", "text"), [("你好", "你好"), ("你好<开始回", "你好")])
def test_an_answer_without_the_separator_has_no_reply(raw, text):
    result = OSUM["STTC"].parse(raw)
    assert (result.text, result.reply) == (text, None)
    assert f"no {REPLY_SEPARATOR}, so no reply" in result.problems


def test_two_label_sets_may_share_a_label():
    both = replace(OSUM["SER"], label_sets=(LabelSet("event", ("laugh", "other")), GENDERS, EMOTIONS))
    assert both.parse("<other><male><other>").labels == {"event": "other", "gender": "male", "emotion": "other"}
    assert both.parse("<male><other>").labels == {"event": None, "gender": "male", "emotion": "other"}


@pytest.mark.parametrize("field", ["text", "reply"])
@pytest.mark.parametrize("text", ["a < b", "a > b", f"a{REPLY_SEPARATOR}b", "<happy>"])
def test_text_that_holds_a_bracket_or_separator_is_refused(field, text):
    with pytest.raises(TaskError, match="holds < or >"):
        OSUM["STTC"].render(replace(EXAMPLE, **{field: text}))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (Word("a<b", 0, 1), "holds < or >"),
        (Word(" ", 0, 1), "no text"),
        (Word("a", 1, 0), "start <= end"),
        (Word("a", float("nan"), 1), "start <= end"),
    ],
)
def test_a_bad_word_is_refused(word, message):
    with pytest.raises(TaskError, match=message):
        OSUM["SRWT"].render(replace(EXAMPLE, words=(word,)))


@pytest.mark.parametrize("task", OSUM.main, ids=lambda task: task.name)
def test_a_missing_field_is_refused(task: Task):
    bare = Utterance(id="u", path="u.wav")
    assert not task.can_render(bare)
    with pytest.raises(TaskError, match="lacks: add"):
        task.render(bare)


def test_an_unknown_label_is_refused_with_the_nearest():
    with pytest.raises(TaskError, match=r"emotion of 'example' is 'angre': did you mean 'anger'\?"):
        OSUM["SER"].render(EXAMPLE.with_(labels={"emotion": "angre"}))


def test_the_release_has_no_event_none():
    silent = EXAMPLE.with_(labels={"event": "none"})
    assert OSUM["VED"].render(silent) == "good morning<none>"
    assert not RELEASE["VED"].can_render(silent)


def test_a_punctuated_transcript_keeps_its_marks():
    task, text = ECHAT["PUNC"], "你好，really? Yes."
    assert task.render(EXAMPLE.with_(text=text)) == "你好，really? yes."
    assert task.parse("你好，really? yes.").text == "你好，really? yes."


@pytest.mark.parametrize("text", ["", "Good morning", "don't", "at 10:30 or 3.5", "新年快乐"])
def test_a_text_without_punctuation_teaches_none(text: str):
    plain = EXAMPLE.with_(text=text)
    assert ECHAT["ASR"].can_render(plain)
    with pytest.raises(TaskError, match="task PUNC needs punctuation in the field 'text'"):
        ECHAT["PUNC"].render(plain)


@pytest.mark.parametrize("age", ["youth", "middle_age", "middle", "MIDDLE_AGE", "adult"])
@pytest.mark.parametrize("name", [task.name for task in ECHAT.tasks if "AGE" in task.tag])
def test_ages_that_the_release_writes_are_read_as_adult(name: str, age: str):
    task = ECHAT[name]
    answer = task.render(EXAMPLE).replace("<adult>", f"<{age}>")
    assert (task.parse(answer).labels, task.parse(answer).problems) == (task.parse(task.render(EXAMPLE)).labels, ())


def test_labels_that_two_sets_share_are_distinguished_by_their_order():
    labels = {"event": "other", "age": "old", "gender": "male", "emotion": "other", "style": "其他"}
    task = ECHAT["VED+SAP+SGC+SER+SSR"]
    assert task.parse("hi<other><old><male><other><其他>").labels == labels
    assert task.parse("hi<old><male><other><其他>").labels == {**labels, "event": None}


@pytest.mark.parametrize(
    ("raw", "transcript"),
    [
        ("good day<happy>", "good day"),
        ("Good <hap", "Good "),
        ("good", "good"),
        ("<happy>", ""),
        ("a<0.2>b<sad>", "a<0.2>b"),
    ],
)
def test_the_transcript_is_cut_as_it_was_generated(raw, transcript):
    assert OSUM["SER"].transcript_of(raw) == transcript


def test_the_transcript_of_a_timed_answer_keeps_its_times():
    assert OSUM["SRWT"].transcript_of("<0.00>新<0.2><0.") == "<0.00>新<0.2>"
    assert OSUM["SER-only"].transcript_of("<happy>") == ""


def test_label_texts_are_the_tags_that_follow_the_transcript():
    assert OSUM["SGC"].label_texts("gender") == ("<female>", "<male>")
    with pytest.raises(TaskError, match="no label set 'age': its label sets are gender"):
        OSUM["SGC"].label_texts("age")


@pytest.mark.parametrize(("end", "written"), [(0.2, "0.2"), (2.54, "2.54"), (0.9, "0.9"), (2.0, "2.0"), (10.0, "10.0")])
def test_end_times_are_written_as_the_release_does(end, written):
    assert OSUM["SRWT"].render(EXAMPLE.with_(words=(Word("a", 0, end),))) == f"<0.00>a<{written}>"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a,b"},
        {"tag": "PITCH"},
        {"transcript": "whole"},
        {"needs": "music"},
        {"evidence": "rumour"},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": (1.0, 2.0)},
        {"label_sets": (GENDERS, GENDERS)},
        {"label_sets": (), "transcript": "none"},
        {"punctuated": True, "transcript": "timed"},
        {"punctuated": True, "transcript": "none"},
        {"label_sets": (LabelSet("digit", ("1", "2")),), "transcript": "timed"},
        {"label_sets": (LabelSet("odd", ("开始回答",)),)},
    ],
    ids=str,
)
def test_a_task_that_cannot_work_is_refused(change):
    with pytest.raises(TaskError):
        replace(OSUM["SGC"], **change)


def test_digits_may_be_labels():
    digits = replace(OSUM["SGC"], label_sets=(LabelSet("digit", ("1", "2")),))
    result = digits.parse("one<1>")
    assert (result.text, result.labels, result.problems) == ("one", {"digit": "1"}, ())


@pytest.mark.parametrize("broken", ["\ufffd", "\x00", "\x1b", "\udcff"])
def test_what_nobody_can_say_is_reported(broken: str) -> None:
    found = OSUM["ASR"].parse(f"good{broken} morning")
    assert found.problems == (f"U+{ord(broken):04X}, which nobody says",)


@pytest.mark.parametrize(
    ("task", "raw", "text"),
    [
        ("ASR", "a cand>", "a"),
        ("ASR", "good morning</s cand> x", "good morning"),
        ("SER", "hello happy>", "hello"),
        ("SSR", "你好常口语>", "你好"),
        ("SRWT", "<0.1>good<0.4>0.50>morning<0.9>", "goodmorning"),
        ("ASR", "你好>", "你好"),
    ],
)
def test_half_a_tag_is_no_part_of_the_text(task: str, raw: str, text: str) -> None:
    found = OSUM[task].parse(raw)
    assert found.text.replace(" ", "") == text.replace(" ", "") and found.problems


def test_half_a_tag_alone_is_a_label_where_nothing_else_is_asked_for() -> None:
    assert OSUM["SGC-only"].parse("female>").labels == {"gender": "female"}


@given(st.text("ab <>你好", max_size=12))
def test_no_sign_of_a_tag_is_left_in_a_text(raw: str) -> None:
    assert not {"<", ">"} & set(OSUM["ASR"].parse(raw).text)


def test_half_a_tag_is_reported() -> None:
    assert OSUM["ASR"].parse("a cand>").problems == ("half a tag: cand>",)
    assert OSUM["ASR"].parse("a <cand").problems != ()
