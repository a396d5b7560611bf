"""Each fault of a manifest is found, reported once, with the rule it breaks."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks.strategies import utterances

from corpus.manifests_of_others import original_members, write_clip, write_lines, write_tar
from osum.corpus.clips import ClipAudio
from osum.corpus.readers import Line, Manifest
from osum.corpus.validation import Problem, Validator
from osum.errors import AudioError
from osum.tasks import ECHAT
from osum.utterance import Utterance, Word


def problems(*rows: Utterance | str, **options: Any) -> list[list[Problem]]:
    lines = [
        Line(f"m:{n}", fault=row) if isinstance(row, str) else Line(f"m:{n}", row) for n, row in enumerate(rows, 1)
    ]
    return [found for _, found in Validator(**options).check(lines)]


@pytest.fixture
def good(tmp_path: Path) -> Utterance:
    """A row with nothing wrong, 0.25 s long."""
    path = str(write_clip(tmp_path / "a.wav"))
    return Utterance("a", path, duration=0.25, text="hi", language="en", labels={"emotion": "happy"}, tasks=("SER",))


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing file": ({"path": "absent.wav"}, "audio", "no such file"),
    "wrong label": ({"labels": {"emotion": "hapy"}}, "label", "did you mean 'happy'"),
    "wrong label set": ({"labels": {"emotoin": "happy"}, "tasks": ()}, "label", "did you mean 'emotion'"),
    "label that a task needs": ({"tasks": ("SGC",)}, "label", "needs the label 'gender'"),
    "text that a task needs": ({"text": None}, "label", "needs the field 'text'"),
    "unknown task": ({"tasks": ("SERR",)}, "label", "did you mean 'SER'"),
    "task of another release": ({"tasks": ("SER+SAP+SGC",)}, "label", "give its tasks.json as --tasks-file"),
    "language that is no code": ({"language": "English"}, "label", "write a code"),
    "tag in the text": ({"text": "hi<happy>"}, "text", "holds a tag"),
    "control character": ({"text": "hi\x00"}, "text", "holds U+0000"),
    "character that was lost": ({"reply": "h\ufffd"}, "text", "holds U+FFFD"),
    "more text than time": ({"text": "hi " * 40}, "length", "40 words or characters in 0.25 s"),
    "channel out of range": ({"channel": 1}, "channel", "no channel 1; it has 1"),
    "channel by name": ({"channel": "left"}, "channel", "write a number from 0"),
    "path that no system takes": ({"path": "a\x00.wav"}, "audio", "no such file"),
    "path that is too long": ({"path": "a" * 5000}, "audio", "File name too long"),
    "tag in the reply": ({"reply": "<yes>"}, "text", "holds a tag"),
    "path in the text": ({"text": "a.wav"}, "text", "put it into path"),
    "text in another field": ({"text": None, "tasks": (), "extra": {"txt": "hi"}}, "text", "name the field text"),
    "zero length": ({"start": 0.1, "end": 0.1}, "length", "zero-length"),
    "no duration": ({"duration": 0.0}, "length", "zero-length"),
    "time before zero": ({"start": -1.0}, "length", "seconds from 0"),
    "time that is none": ({"duration": float("nan")}, "length", "seconds from 0"),
    "wrong duration": ({"duration": 3.0}, "length", "the clip lasts 0.25 s"),
    "word outside": ({"words": (Word("hi", 0.1, 0.9),)}, "length", "outside the clip"),
    "end behind the file": ({"start": 0.0, "end": 9.0, "duration": None}, "audio", "stay within"),
}


@pytest.mark.parametrize(("change", "rule", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_problem(good: Utterance, change: dict[str, Any], rule: str, message: str) -> None:
    ((problem,),) = problems(good.with_(**change), audio="decode")
    assert problem.rule == rule
    assert message in problem.message
    assert "\n" not in problem.message


def test_a_good_row_has_no_problem(good: Utterance) -> None:
    assert [problems(good, audio=audio) for audio in ("none", "header", "decode")] == [[[]]] * 3


@given(
    st.fixed_dictionaries(
        {
            "channel": st.sampled_from([None, 0, 1, -1, 7, "mix", "left"]),
            "start": st.sampled_from([None, 0.0, 0.1, 0.25, 9.0, -1.0]),
            "end": st.sampled_from([None, 0.05, 0.2, 0.3, 0.5, 1e9]),
            "path": st.sampled_from(["a.wav", "b.wav", "empty.wav", "c.txt", ""]),
        }
    )
)
def test_what_no_command_can_read_is_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_clip(folder / "a.wav", 0.25), write_clip(folder / "empty.wav", 0.0), (folder / "c.txt").write_text("no")
    row = Utterance("a", "").with_(**changes | {"path": str(folder / changes["path"])})
    try:
        readable = len(ClipAudio().read(row)) > 0
    except AudioError:
        readable = False
    for audio in ("header", "decode"):
        assert (problems(row, audio=audio) == [[]]) == readable


def test_text_of_a_row_without_duration_is_held_against_the_clip(good: Utterance) -> None:
    crowded = good.with_(duration=None, text="hi " * 40)
    assert [[problem.rule for problem in found] for found in problems(crowded)] == [["length"]]


def test_a_broken_line_is_a_problem(good: Utterance) -> None:
    assert problems("not JSON", good) == [[Problem("broken line", "not JSON")], []]


def test_an_id_that_comes_again_names_its_first_line(good: Utterance) -> None:
    first, second = problems(good, good)
    assert (first, second[0].rule) == ([], "id")
    assert "that of m:1 too" in second[0].message


def test_a_file_without_samples_is_found(good: Utterance, tmp_path: Path) -> None:
    path = str(write_clip(tmp_path / "empty.wav", 0.0))
    ((problem,),) = problems(good.with_(path=path, duration=None))
    assert (problem.rule, "0 samples" in problem.message) == ("audio", True)


def test_no_file_is_touched_when_not_asked(good: Utterance) -> None:
    assert problems(good.with_(path="absent.wav"), audio="none") == [[]]


def test_the_tasks_of_echat_are_known_where_its_tasks_are_given(good: Utterance) -> None:
    row = good.with_(tasks=("PUNC",), text="hi!")
    assert problems(row, tasks=ECHAT) == [[]]
    assert [found.rule for found in problems(row)[0]] == ["label"]


def test_only_decoding_finds_a_file_that_is_damaged_behind_its_header(good: Utterance, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.flac", 2.0)
    path.write_bytes(path.read_bytes()[:20_000])
    row = good.with_(path=str(path), duration=2.0)
    ((problem,),) = problems(row, audio="decode")
    assert problems(row, audio="header") == [[]]
    assert "damaged" in problem.message


def test_sound_that_is_silently_damaged_is_counted_by_kind(good: Utterance, tmp_path: Path) -> None:
    wave = 0.1 * np.sin(np.arange(8_000))[:, None]
    sounds = {"scale": wave * 32768, "loud": wave * 100, "channel": np.concatenate([wave, -wave], axis=1), "half": wave}
    rows = []
    for name, samples in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
        rows.append(Utterance(name, str(tmp_path / f"{name}.wav")))
    (tmp_path / "half.wav").write_bytes((tmp_path / "half.wav").read_bytes()[:16_000])
    decoded = [[problem.rule for problem in found] for found in problems(*rows, audio="decode")]
    assert decoded == [["scale"], ["scale"], ["channel"], ["cut off"]]
    assert [len(found) for found in problems(*rows, audio="header")] == [0, 0, 0, 1]


def test_a_broken_shard_is_reported_in_full_once(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [member for key in "abcd" for member in original_members(key, "hi")])
    lines = list(Manifest(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    found = [problem.message for _, reported in Validator().check(lines) for problem in reported]
    assert [str(path) in message and "cut off" in message for message in found] == [True, False, False]
    assert set(found[1:]) == {f"the same as {path}:b"}


def test_foreign_manifests_are_checked_as_they_are(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav")
    rows = [{"key": "a", "wav": "a.wav", "txt": "hi"}, {"key": "b", "wav": "b.wav", "txt": "hi<sad>"}]
    found = list(Validator().check(Manifest(write_lines(tmp_path / "m.jsonl", rows))))
    assert [[problem.rule for problem in reported] for _, reported in found] == [[], ["broken line"]]


@settings(deadline=None)
@given(utterances)
def test_what_every_task_can_render_breaks_no_rule_of_labels_or_texts(utterance: Utterance) -> None:
    ((*reported,),) = problems(utterance, audio="none")
    controls = any(unicodedata.category(c) == "Cc" for c in f"{utterance.text}{utterance.reply}")
    assert {problem.rule for problem in reported} - {"length"} == ({"text"} if controls else set())
