"""Rows of other projects become rows of ours: texts without tags, labels in labels, times in seconds of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks.strategies import answering, utterances

from osum.corpus.dialects import DIALECTS, Reading
from osum.errors import ManifestError
from osum.tasks import ECHAT, OSUM
from osum.text import normalise_target
from osum.utterance import Utterance, Word

LHOTSE = Path(__file__).parents[1] / "fixtures/lhotse_cuts.jsonl"
"""Written by lhotse 1.33 (`CutSet.to_file`): a stretch, two channels, changed speed, no text, mixed, multi-channel."""
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}


def read(name: str, row: dict[str, Any], task: str | None = None) -> Utterance:
    (utterance,) = BY_NAME[name].read(row, Reading(task=task))
    return utterance


def original(txt: str = "你好", **fields: Any) -> Utterance:
    return read("original", {"key": "k", "wav": "k.wav", "txt": txt, **fields})


def test_each_dialect_knows_its_rows_and_no_other() -> None:
    rows = {
        "osum": {"id": "a", "path": "a.wav"},
        "original": {"key": "a", "wav": "a.wav", "txt": "", "extra": {}},
        "nemo": {"audio_filepath": "a.wav", "duration": 1, "text": ""},
        "swift": {"messages": [], "audios": []},
        "lhotse": json.loads(LHOTSE.read_text().splitlines()[0]),
    }
    assert [[name for name in BY_NAME if BY_NAME[name].fits(row)] for row in rows.values()] == [[n] for n in rows]


def test_the_maintainers_example_gives_text_label_and_task() -> None:
    row = original("你好<anger>", task="<TRANSCRIBE> <EMOTION>")
    assert (row.text, row.labels, row.tasks) == ("你好", {"emotion": "anger"}, ("SER",))


@pytest.mark.parametrize(
    ("task", "txt", "text", "labels"),
    [
        ("<TRANSCRIBE>", "Hello", "Hello", {}),
        ("<TRANSCRIBE><STYLE>", "从前<朗读>", "从前", {"style": "新闻科普"}),
        ("<TRANSCRIBE> <AGE> <GENDER>", "hi<YOUTH><FEMALE>", "hi", {"age": "adult", "gender": "female"}),
        ("<TRANSCRIBE> <CAPTION>", "<throat clearing>", "", {"event": "throat clearing"}),
        ("<EMOTION>", "<HAPPY>", None, {"emotion": "happy"}),
    ],
)
def test_tags_of_every_kind_land_in_labels(task: str, txt: str, text: str | None, labels: dict[str, str]) -> None:
    row = original(txt, task=task)
    assert (row.text, row.labels) == (text, labels)


@pytest.mark.parametrize("name", [name for name in ECHAT if name not in OSUM])
@given(data=st.data())
def test_rows_of_echat_are_read_whichever_tasks_are_understood(name: str, data: st.DataObject) -> None:
    task = ECHAT[name]
    clip = data.draw(answering(task))
    row = original(task.render(clip), task=task.tag.upper().replace("> <", "><"))
    assert (row.tasks, task.render(row)) == ((name,), task.render(clip))
    assert row.labels == {labels.name: clip.labels[labels.name] for labels in task.label_sets}


def test_a_task_of_the_set_goes_before_one_of_the_releases() -> None:
    assert Reading().find("<CAPTION>") is OSUM["VED-only"]
    assert Reading(OSUM.keep("ASR")).find("<CAPTION>") is ECHAT["VED-only"]


def test_a_reply_and_word_times_are_read() -> None:
    assert original("几点了<开始回答>三点", task="<TRANSCRIBE> <S2TCHAT>").reply == "三点"
    timed = original("<0.00>新<0.2><0.20>年<0.4>", task="<TRANSCRIBE> <ALIGN>", start=2.0, end=3.0)
    assert timed.words == (Word("新", 2.0, 2.2), Word("年", 2.2, 2.4))


def test_fields_next_to_the_text_are_read_and_the_rest_is_kept() -> None:
    extra = {"duration": 1.5, "dataset": "KeSpeech", "age": "<ADULT>", "question": "?"}
    row = original(lang="<CN>", speaker="s1", gender="<FEMALE>", emotion="none", extra=extra, tar="t", text="x")
    assert (row.language, row.speaker, row.source, row.duration) == ("zh", "s1", "KeSpeech", 1.5)
    assert row.labels == {"gender": "female", "age": "adult"}
    assert row.extra == {"extra": extra, "tar": "t", "original_text": "x"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"txt": "你好<anger>"}, "'task', or with --task"),
        ({"txt": "你好<agner>", "task": "<TRANSCRIBE><EMOTION>"}, "read <agner> as <anger>"),
        ({"txt": "你好<NONE>", "task": "<TRANSCRIBE><EMOTION>"}, "no emotion tag"),
        ({"txt": "你好", "task": "<TRANSCRIBE><EMOTON>"}, "did you mean"),
        ({"txt": "你好", "gender": "femal"}, "did you mean 'female'"),
        ({"txt": 3}, "text is 3"),
        ({"txt": "a", "extra": 3}, "wrong type"),
        ({"txt": "a", "wav": None}, "'path'"),
        ({"txt": "a", "start": "soon"}, "wrong type"),
        ({"txt": "a", "duration": 10**400}, "wrong type"),
    ],
)
def test_what_does_not_fit_is_said_with_the_way_out(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read("original", {"key": "k", "wav": "k.wav", **fields})


@pytest.mark.parametrize(("name", "missing"), [("original", "txt"), ("swift", "audios"), ("lhotse", "start")])
def test_a_missing_field_is_named(name: str, missing: str) -> None:
    row = {"key": "k", "wav": "w", "messages": [], "recording": {}}
    with pytest.raises(ManifestError, match=f"no field '{missing}'"):
        read(name, row)


def test_a_long_laugh_is_no_fault() -> None:
    assert original("哈" * 80).text == "哈" * 80


def test_nemo_rows_are_stretches_when_they_have_an_offset() -> None:
    row = read("nemo", {"audio_filepath": "d/a.wav", "offset": 1.5, "duration": 2, "text": "hi", "lang": "en", "x": 1})
    assert (row.id, row.path, row.start, row.end, row.duration) == ("d/a@1.5", "d/a.wav", 1.5, 3.5, 2)
    assert (row.text, row.language, row.extra) == ("hi", "en", {"x": 1})
    assert read("nemo", {"audio_filepath": "/d/a.wav", "duration": 2}).end is None


def test_rows_without_names_get_different_ones() -> None:
    reading = Reading()
    rows = [row for _ in range(3) for row in BY_NAME["nemo"].read({"audio_filepath": "a.wav"}, reading)]
    assert [row.id for row in rows] == ["a", "a#2", "a#3"]


def swift(prompt: str, answer: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"<audio>{prompt}"}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "audios": ["a.wav"], **more}


@pytest.mark.parametrize("name", ["SER", "ASR", "SGC-only", "STTC"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_ms_swift_prompts_name_the_task(name: str, language: str) -> None:
    clip = Utterance("u", "u.wav", text="hi", reply="yes", labels={"emotion": "sad", "gender": "male"})
    for prompt in OSUM.prompts(name, language):
        row = read("swift", swift(prompt, OSUM[name].render(clip)))
        assert (row.tasks, OSUM[name].render(row)) == ((name,), OSUM[name].render(clip))


def test_an_ms_swift_prompt_of_ones_own_needs_the_task() -> None:
    with pytest.raises(ManifestError, match="--task"):
        read("swift", swift("How do they feel?", "hi<sad>"))
    assert read("swift", swift("How do they feel?", "hi<sad>"), task="emotion").labels == {"emotion": "sad"}


def test_an_ms_swift_row_is_one_question() -> None:
    row = swift("a", "b")
    with pytest.raises(ManifestError, match="2 questions, 2 answers"):
        read("swift", {**row, "messages": row["messages"] * 2})


def lhotse(number: int) -> list[Utterance]:
    row = json.loads(LHOTSE.read_text(encoding="utf-8").splitlines()[number])
    return list(BY_NAME["lhotse"].read(row, Reading()))


def test_a_lhotse_cut_is_the_stretch_of_its_supervision() -> None:
    (row,) = lhotse(0)
    assert (row.id, row.path, row.start, row.end, row.channel) == ("c1", "audio/o.wav", 1.5, 2.5, None)
    assert (row.text, row.language, row.speaker) == ("hello world", "en", "anna")
    assert row.labels == {"gender": "female", "emotion": "happy"}
    assert row.words == (Word("hello", 1.5, 1.9, 0.9), Word("world", 2.0, 2.5))


def test_lhotse_channels_are_counted_within_their_file() -> None:
    rows = lhotse(1)
    assert [(row.id, row.path, row.channel, row.text, row.end) for row in rows] == [
        ("c2-0", "audio/r.wav", None, "你好", 1.0),
        ("c2-1", "audio/r.wav", None, "again", 4.0),
    ]
    assert [(row.path, row.channel) for row in lhotse(5)] == [("audio/m.wav", None)]


def test_a_lhotse_cut_without_text_stays_without() -> None:
    (row,) = lhotse(3)
    assert (row.text, row.duration, row.extra) == (None, 4.0, {"custom": {"snr": 3}})


@pytest.mark.parametrize(("number", "message"), [(2, "transformed"), (4, "MixedCut has no file of its own")])
def test_a_lhotse_cut_that_no_file_holds_is_a_fault(number: int, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        lhotse(number)


LOSSLESS = [OSUM[name] for name in OSUM if OSUM[name].transcript != "timed"]


@settings(deadline=None)
@given(utterances, st.sampled_from(LOSSLESS))
def test_whatever_a_task_renders_is_read_back(utterance: Utterance, task: Any) -> None:
    row = original(task.render(utterance), task=task.tag)
    assert task.render(row) == task.render(utterance)
    assert row.text is None or "<" not in row.text
    assert normalise_target(row.text or "") == (normalise_target(utterance.text) if task.transcript == "plain" else "")


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("<开始回答>")
json_values = st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
FIELDS = (
    "id",
    "path",
    "key",
    "wav",
    "txt",
    "task",
    "lang",
    "extra",
    "start",
    "end",
    "duration",
    "audio_filepath",
    "offset",
    "text",
    "messages",
    "audios",
    "recording",
    "supervisions",
    "channel",
    "alignment",
    "custom",
    "labels",
    "words",
    "speaker",
    "gender",
)


@settings(deadline=None)
@given(st.sampled_from(DIALECTS), st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_object_is_a_row_or_a_manifest_error(dialect: Any, row: dict[str, Any]) -> None:
    try:
        assert all(isinstance(found, Utterance) for found in dialect.read(row, Reading()))
    except ManifestError as fault:
        assert str(fault)
