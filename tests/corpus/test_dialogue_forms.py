"""The original's raw, multi-turn, shard and combine forms come out as dialogues of ours (specification echat 3.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from osum.corpus.clips import ClipAudio
from osum.corpus.dialogue_forms import DialogueLine, DialogueManifest, read_dialogues
from osum.corpus.dialogues import Dialogue, DialogueTurn
from osum.errors import InputError, ManifestError
from osum.utterance import Utterance

from .manifests_of_others import noise, original_members, wav_bytes, write_lines, write_tar

EXTRA = {"dataset": "kespeech", "age": "<CHILD>", "gender": "<MALE>", "q_emotion": "<&&>", "caption": None}
RAW: dict[str, Any] = {
    "key": "k1",
    "wav": "q.wav",
    "txt": "<愉悦>三点",
    "task": "<S2TCHAT> <TEXT2TOKEN>",
    "lang": "<CN>",
    "extra": {**EXTRA, "question": "几点开会", "think_str": "是个孩子。", "speech_token": [7, 7, 9], "score": 3},
}
LABELS = {"age": "child", "gender": "male"}


def read(path: Path) -> list[DialogueLine]:
    return list(DialogueManifest(path))


def one(folder: Path, **changes: Any) -> Dialogue:
    (dialogue,) = read_dialogues(write_lines(folder / "raw.jsonl", [{**RAW, **changes}]))
    return dialogue


def test_a_raw_row_is_a_dialogue_with_labels_thought_feeling_and_codes(tmp_path: Path) -> None:
    dialogue = one(tmp_path)
    assert dialogue == Dialogue(
        "k1",
        (
            DialogueTurn("user", "几点开会", str(tmp_path / "q.wav"), labels=LABELS),
            DialogueTurn("assistant", "三点", thought="是个孩子。", emotion="愉悦", codes=(7, 7, 9)),
        ),
        language="zh",
        source="kespeech",
        extra={"score": 3},
    )


@pytest.mark.parametrize(
    ("task", "stream"),
    [
        ("<S2TCHAT>", "s2t"),
        ("<S2TCHAT> <THINKER>", "s2t"),
        ("<S2TCHAT_FAKE>", "s2t"),
        ("<S2TCHAT> <TEXT2TOKEN>", "s2s"),
        ("<Speech2TEXTandTOKEN>", "s2s"),
        ("<S2TCHAT> <TEXT2TOKEN> <THINK>", "s2s"),
        ("<S2TCHAT> <TEXT2TOKEN> <STREAMING>", "s2s"),
        ("<S2TCHAT> <TEXT2TOKEN> <EMOTION>", "s2s"),
        ("<TEXT2TOKEN>", "t2s"),
        ("<TEXT2TOKEN> <STREAMING>", "t2s"),
        ("<TEXT2TEXT>", "t2t"),
    ],
)
def test_every_tag_of_the_original_has_its_stream(tmp_path: Path, task: str, stream: str) -> None:
    assert one(tmp_path, task=task).stream == stream


def test_a_text_that_is_read_aloud_is_the_question(tmp_path: Path) -> None:
    question, reply = one(tmp_path, task="<TEXT2TOKEN>", txt="三点开会").turns
    assert (question, reply) == (DialogueTurn("user", "三点开会"), DialogueTurn("assistant", codes=(7, 7, 9)))


def test_a_feeling_that_is_none_counts_as_neutral(tmp_path: Path) -> None:
    assert one(tmp_path, txt="<激动>三点").reply.emotion == "中立"


def test_a_task_about_a_clip_stays_an_utterance(tmp_path: Path) -> None:
    rows = [{**RAW, "task": "<TRANSCRIBE> <S2TCHAT>", "txt": "几点<开始回答>三点"}, RAW, {"id": "a", "path": "a.wav"}]
    kinds = [type(line.row) for line in read(write_lines(tmp_path / "m.jsonl", rows))]
    assert kinds == [Utterance, Dialogue, Utterance]


def test_earlier_turns_stand_before_the_last(tmp_path: Path) -> None:
    extra = {**RAW["extra"], "speech_token_2": [5]}
    past = {"wav_1": "a.wav", "txt_1": "<开心>早", "wav_2": "b.wav", "txt_2": "好"}
    turns = one(tmp_path, **past, extra=extra).turns
    assert [(turn.role, turn.text, turn.codes) for turn in turns[:4]] == [
        ("user", None, ()),
        ("assistant", "早", ()),
        ("user", None, ()),
        ("assistant", "好", (5,)),
    ]
    assert [turn.audio for turn in turns[::2]] == [str(tmp_path / name) for name in ("a.wav", "b.wav", "q.wav")]


def members(key: str, extra: dict[str, Any], **more: str) -> list[tuple[str, bytes]]:
    return original_members(key, "<愉悦>三点", RAW["task"], extra=json.dumps(extra), **more)


def test_a_shard_holds_dialogues_whose_sounds_stay_in_the_tar(tmp_path: Path) -> None:
    content = members("k1", RAW["extra"], txt_1="早")
    content.insert(2, ("k1.wav_1", wav_bytes(seed=5)))
    (dialogue,) = read_dialogues(write_tar(tmp_path / "s.tar", content))
    past, last = (ClipAudio().read(clip) for clip in dialogue.clips)
    assert (past == noise(seed=5)).all()
    assert (last == noise(seed=2)).all()
    assert dialogue.reply.codes == (7, 7, 9)


def test_a_list_of_shards_may_hold_dialogues_and_utterances(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", [*members("k1", RAW["extra"]), *original_members("k2", "你好")])
    path = tmp_path / "shards_list.txt"
    path.write_text("s.tar\n")
    assert [type(line.row) for line in read(path)] == [Dialogue, Utterance]


def combined(folder: Path, metadata: list[Any]) -> Path:
    """A shard of two keys, metadata next to it, and the lists of both."""
    (folder / "tars").mkdir()
    write_tar(folder / "tars" / "s.tar", [*members("k1", {}), *members("k2", RAW["extra"])])
    write_lines(folder / "s.list", metadata)
    (folder / "combines_list.txt").write_text("s.list\n")
    (folder / "combines_tar_root.txt").write_text("tars\n")
    return folder / "combines_list.txt"


def test_metadata_stands_in_place_of_what_a_shard_says(tmp_path: Path) -> None:
    first, second = read_dialogues(combined(tmp_path, [{**RAW, "txt": "四点"}, "broken"]))
    assert (first.reply.text, first.reply.codes) == ("四点", (7, 7, 9))
    assert second.reply.text == "三点"
    assert (ClipAudio().read(first.clips[0]) == noise(seed=2)).all()


def test_metadata_without_the_folder_of_its_tars_is_refused(tmp_path: Path) -> None:
    path = combined(tmp_path, [])
    (tmp_path / "combines_tar_root.txt").unlink()
    with pytest.raises(InputError, match=r"lists metadata, and combines_tar_root\.txt next to it cannot be read"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"extra": {"question": "a"}}, "no field 'speech_token': a row of the original's dialogues needs it"),
        ({"extra": {**RAW["extra"], "speech_token": ["x"]}}, "turns[1].codes[0] is 'x': a whole number is needed"),
        ({"extra": {**RAW["extra"], "age": "<YOUNG>"}}, "turn 1: age is 'YOUNG'"),
        ({"txt": None}, "a field has the wrong type for a row of the original's dialogues"),
        ({"txt_1": "早"}, "no field 'wav_1'"),
        ({"task": "<TEXT2TEXT>", "extra": {}}, "turn 1 of the user says nothing"),
    ],
)
def test_a_broken_row_is_a_fault_and_the_others_go_through(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    bad, good = read(write_lines(tmp_path / "raw.jsonl", [{**RAW, **changes}, RAW]))
    assert bad.row is None and fault in str(bad.fault)
    assert isinstance(good.row, Dialogue)


def test_a_row_that_is_no_dialogue_is_named_where_dialogues_are_wanted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "m.jsonl", [{"id": "a", "path": "a.wav"}])
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: it is no dialogue: a row needs 'turns'"):
        list(read_dialogues(path))
