"""From files and arrays to results: in order, one bad item costing nothing else, nothing dropped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from engine.tiny_checkpoint import CLIPS, FEW, checkpoint_of, write_checkpoint
from model.tiny import noise

import osum
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.options import GenerationOptions, LabelOptions
from osum.engine.request import EngineReply, Request, Result
from osum.errors import AudioError, InputError, TaskError
from osum.listening.recognizer import Recognizer
from osum.results.formats import to_row
from osum.tasks import ECHAT, OSUM, RELEASE, LabelSet, Task, TaskSet
from osum.utterance import Utterance, Word

BRIEF: dict[str, Any] = {"generation": GenerationOptions(max_new_tokens=4)}
RATE = 16_000


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Ten recordings; the third is none, the fifth is missing."""
    for index in range(10):
        soundfile.write(tmp_path / f"{index}.wav", noise(3_000 + 700 * index, index), RATE, subtype="FLOAT")
    (tmp_path / "2.wav").write_text("no sound")
    (tmp_path / "4.wav").unlink()
    return [str(tmp_path / f"{index}.wav") for index in range(10)]


def test_a_result_holds_what_was_asked(recognizer: Recognizer) -> None:
    result = recognizer.label(CLIPS[0], tasks=FEW, **BRIEF)
    (segment,) = result.segments
    assert list(segment.labels) == ["ASR", "VED", "SGC"] and list(result.summary) == ["VED", "SGC"]
    assert (result.duration, segment.start, segment.end) == (0.5, 0.0, 0.5)
    assert (result.model, result.revision, result.dtype, result.error) == ("tiny", "1", "float32", None)
    assert result.extra["prompts"] == {name: OSUM.prompt(name, "en") for name in FEW}


def test_distributions_are_over_the_label_set(recognizer: Recognizer) -> None:
    answer = recognizer.label(CLIPS[0], tasks="VED", **BRIEF).segments[0].labels["VED"]
    assert tuple(answer.distribution) == OSUM["VED"].label_sets[0].labels
    assert sum(answer.distribution.values()) == pytest.approx(1)
    assert answer.probability == max(answer.distribution.values()) == answer.distribution[answer.label]


def test_a_temperature_flattens_the_scores(recognizer: Recognizer) -> None:
    plain = recognizer.label(CLIPS[0], tasks="VED", **BRIEF).summary["VED"].distribution
    recognizer.tasks = OSUM.with_task(Task(**{**vars(OSUM["VED"]), "temperature": 2.0}))
    flat = recognizer.label(CLIPS[0], tasks="VED", **BRIEF).summary["VED"].distribution
    roots = {label: value**0.5 for label, value in plain.items()}
    assert flat == pytest.approx({label: root / sum(roots.values()) for label, root in roots.items()}, abs=1e-6)


def test_results_come_in_order_and_a_bad_item_costs_nothing_else(recognizer: Recognizer, files: list[str]) -> None:
    results = recognizer.label(files, tasks=FEW, batch_size=3, **BRIEF)
    assert [result.path for result in results] == files
    assert [index for index, result in enumerate(results) if result.error] == [2, 4]
    good = [path for path in files if path not in (files[2], files[4])]
    assert [r for r in results if not r.error] == recognizer.label(good, tasks=FEW, batch_size=3, **BRIEF)


def test_the_batch_size_changes_no_answer(recognizer: Recognizer, files: list[str]) -> None:
    one, many = (recognizer.label(files, tasks=FEW, batch_size=size, **BRIEF) for size in (1, 100))
    for left, right in zip(one, many, strict=True):
        assert [s.labels["ASR"] for s in left.segments] == [s.labels["ASR"] for s in right.segments]
        for name, answer in left.summary.items():
            assert right.summary[name].label == answer.label
            assert right.summary[name].distribution == pytest.approx(answer.distribution, abs=1e-4)


@pytest.mark.parametrize("pick", [2, 0], ids=["bad", "good"])
def test_the_same_file_twice_is_answered_twice(recognizer: Recognizer, files: list[str], pick: int) -> None:
    results = recognizer.label([files[1], files[pick], files[pick]], tasks="ASR", **BRIEF)
    assert [result.path for result in results] == [files[1], files[pick], files[pick]]


def test_results_are_given_before_the_next_file_is_read(recognizer: Recognizer, files: list[str]) -> None:
    taken: list[str] = []
    items = (taken.append(path) or Utterance(id=path, path=path) for path in files)
    next(recognizer.label_files(items, LabelOptions(tasks="ASR", batch_size=1, **BRIEF)))
    assert taken == files[:1]


def test_a_file_that_breaks_off_is_an_error_after_its_first_windows(short: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(20 * RATE), RATE)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) * 4 // 5])
    result, other = short.label([str(tmp_path / "a.flac"), CLIPS[0]], tasks="ASR", batch_size=2, **BRIEF)
    assert result.error is not None and "a.flac" in result.error and result.segments == ()
    assert other.error is None and len(other.segments) == 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_long_audio_is_cut_at_the_limit_of_the_model(short: Recognizer, batch_size: int) -> None:
    result = short.label(noise(56_000), tasks="ASR", batch_size=batch_size, **BRIEF)
    edges = [(segment.start, segment.end) for segment in result.segments]
    assert edges[0][0] == 0 and edges[-1][1] == result.duration == 3.5
    assert all(one[1] == other[0] for one, other in pairwise(edges))
    assert max(end - start for start, end in edges) <= short.max_seconds == 1.0
    assert result.warnings[0].startswith("longer than the 1 s this model takes at once: cut into")


def test_audio_within_the_limit_gives_no_warning(recognizer: Recognizer) -> None:
    assert recognizer.max_seconds == 30.0
    assert recognizer.label(CLIPS[0], tasks="ASR", **BRIEF).warnings == ()


def test_arrays_bytes_and_paths_are_answered_alike(recognizer: Recognizer, files: list[str]) -> None:
    samples, rate = soundfile.read(files[0], dtype="float32")
    ways: list[Any] = [files[0], Path(files[0]), Path(files[0]).read_bytes(), (samples, rate), samples]
    results = [recognizer.label(way, tasks=FEW, **BRIEF) for way in ways]
    assert [result.segments for result in results] == [results[0].segments] * len(ways)
    listed = recognizer.label(ways, tasks=FEW, **BRIEF)
    assert [result.text for result in listed] == [results[0].text] * len(ways)
    assert [result.id for result in listed] == ["0", "0", "clip-2", "clip-3", "clip-4"]


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        ("absent.wav", "no such file"),
        (np.zeros(0, np.float32), "0 samples"),
        (np.full(100, np.nan, np.float32), "must be finite"),
        (b"", "empty"),
        (7, "is no audio source"),
        ((16_000, CLIPS[0]), "give .array, rate"),
    ],
)
def test_one_clip_that_cannot_be_read_raises_and_in_a_list_says_so(
    recognizer: Recognizer, audio: Any, reason: str
) -> None:
    with pytest.raises(osum.OsumError, match=reason):
        recognizer.label(audio, tasks="ASR", **BRIEF)
    bad, good = recognizer.label([audio, CLIPS[0]], tasks="ASR", **BRIEF)
    assert bad.error and "\n" not in bad.error and good.error is None


def test_an_empty_list_gives_an_empty_list(recognizer: Recognizer) -> None:
    assert recognizer.label([], tasks="ASR") == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tasks": "gendr"}, "did you mean 'gender'"),
        ({"tasks": ["ASR", "mood"]}, "unknown task 'mood'"),
        ({"prompt_language": "fr"}, "no prompts in 'fr'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_an_unknown_option_is_one_line(recognizer: Recognizer, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(osum.OsumError, match=reason) as caught:
        recognizer.label(CLIPS[0], **options)
    assert "\n" not in str(caught.value)


# Manifest rows


def row(path: str, **fields: Any) -> Utterance:
    return Utterance(id="u1", path=path, text="was said", speaker="s1", source="home", licence="cc0", **fields)


def answered(recognizer: Recognizer, item: Utterance, **options: Any) -> Utterance:
    (result,) = recognizer.label_files([item], LabelOptions(**{"tasks": FEW, **BRIEF, **options}))
    return result


def test_a_row_keeps_its_fields_and_its_truth(recognizer: Recognizer, files: list[str]) -> None:
    item = row(files[0], labels={"gender": "male"}, words=(Word("was", 0, 0.1),), extra={"session": 4})
    result = answered(recognizer, item)
    assert (result.id, result.speaker, result.source, result.licence) == ("u1", "s1", "home", "cc0")
    assert result.extra["session"] == 4 and result.words == ()
    truth = {"text": "was said", "words": item.to_dict()["words"], "labels": {"gender": "male"}}
    assert result.extra["reference"] == truth


def test_a_row_that_failed_keeps_everything(recognizer: Recognizer, files: list[str]) -> None:
    item = row(files[4], labels={"gender": "male"}, extra={"session": 4})
    result = answered(recognizer, item)
    assert result.error and (result.text, result.labels, result.extra) == ("was said", {"gender": "male"}, item.extra)


def test_labelling_again_keeps_the_first_truth(recognizer: Recognizer, files: list[str]) -> None:
    once = answered(recognizer, row(files[0]))
    again = answered(recognizer, once)
    assert once.extra["reference"] == {"text": "was said"}
    assert again == once


def test_what_a_model_said_is_no_truth(recognizer: Recognizer, files: list[str]) -> None:
    once = answered(recognizer, Utterance(id="u", path=files[0]))
    assert "reference" not in answered(recognizer, once).extra


def test_a_stretch_of_a_file_is_answered_in_times_of_the_file(recognizer: Recognizer, files: list[str]) -> None:
    result = answered(recognizer, row(files[9], start=0.1, end=0.4))
    assert [(segment.start, segment.end) for segment in result.segments] == [(0.1, 0.4)]
    assert (result.start, result.end, result.duration) == (0.1, 0.4, 0.3)


def test_a_channel_is_answered_by_itself(recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack(CLIPS[2:3] * 2, 1) * [1, 0.5], RATE, subtype="FLOAT")
    result = answered(recognizer, row(str(path), channel=0))
    assert result.segments == recognizer.label(CLIPS[2], tasks=FEW, **BRIEF).segments and result.channel == 0
    assert "no channel 2" in (answered(recognizer, row(str(path), channel=2)).error or "")


def test_a_result_comes_back_from_its_json(recognizer: Recognizer, files: list[str]) -> None:
    for item in (row(files[0], words=(Word("was", 0, 0.1),)), row(files[4])):
        result = answered(recognizer, item, tasks="all")
        assert Utterance.from_dict(json.loads(json.dumps(result.to_dict()))) == result
        rounded = Utterance.from_dict(to_row(result))
        assert to_row(rounded) == to_row(result)


def test_without_a_transcript_asked_the_text_is_not_known(recognizer: Recognizer) -> None:
    result = recognizer.label(CLIPS[0], tasks="VED-only", **BRIEF)
    assert result.text is None and result.labels.keys() == {"event"}


def test_a_language_that_would_steer_nothing_cannot_be_given(recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="language"):
        recognizer.label(CLIPS[0], tasks="ASR", language="zh", **BRIEF)


# Prompts, tasks, questions


def with_tasks(tasks: Any) -> Recognizer:
    known = checkpoint_of("speech_first")
    return Recognizer(Checkpoint("own", "1", known.model, known.processor, tasks))


@pytest.mark.parametrize("tasks", [RELEASE, ECHAT], ids=lambda tasks: tasks.name)
def test_a_release_is_asked_in_chinese(tasks: TaskSet) -> None:
    prompts = with_tasks(tasks).label(CLIPS[0], tasks=FEW, **BRIEF).extra["prompts"]
    assert prompts == {name: tasks.prompt(name, "zh") for name in FEW}


def test_prompts_are_asked_in_the_language_given(recognizer: Recognizer) -> None:
    result = recognizer.label(CLIPS[0], tasks="ASR", prompt_language="zh", **BRIEF)
    assert result.extra["prompts"] == {"ASR": OSUM.prompt("ASR", "zh")}


def test_a_prompt_of_the_call_is_asked_as_it_is(recognizer: Recognizer) -> None:
    given = "Male or female?"
    asked, usual = (
        recognizer.label(CLIPS[0], tasks=["SGC-only", "VED-only"], prompts=prompts, **BRIEF)
        for prompts in ({"sgc-only": given}, {})
    )
    assert asked.extra["prompts"] == {"SGC-only": given, "VED-only": OSUM.prompt("VED-only", "en")}
    assert asked.segments[0].labels["SGC-only"].raw == recognizer.ask(CLIPS[0], given, BRIEF["generation"])
    assert asked.summary["SGC-only"] != usual.summary["SGC-only"]
    assert asked.summary["VED-only"].distribution == pytest.approx(usual.summary["VED-only"].distribution, abs=1e-5)


def test_a_label_is_not_withheld_where_that_is_not_wanted(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tuple(float(label == "none") for label in OSUM["VED"].label_sets[0].labels)
    silence = EngineReply("<male>", (), empty=1.0, scores={"gender": (0.0, 1.0), "event": events})
    asked: list[int] = []

    def answer(requests: Iterable[Request], **_: object) -> Iterator[Result]:
        for request in requests:
            asked.append(len(request.asks))
            yield Result(request.id, tuple(silence for _ in request.asks))

    monkeypatch.setattr(recognizer.engine, "run", answer)
    labels = [recognizer.label(CLIPS[0], tasks="SGC", withhold=withhold).labels for withhold in (True, False)]
    assert labels == [{}, {"gender": "male"}] and asked == [3, 1]


PITCH = Task("PITCH", "<TRANSCRIBE> <PITCH>", "pitch", label_sets=(LabelSet("pitch", ("low", "high")),))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_label_of_ones_own_is_answered_from_the_checkpoint(tmp_path: Path, language: str) -> None:
    tasks = OSUM.keep(FEW).with_task(PITCH, prompts={language: ["Pitch: {pitch}?"]})
    result = osum.load(str(write_checkpoint(tmp_path, tasks))).label(CLIPS[0], **BRIEF)
    assert result.labels["pitch"] in ("low", "high")
    assert set(result.summary["PITCH"].distribution) == {"low", "high"}
    assert list(result.extra["prompts"]) == [*FEW, "PITCH"]


def test_a_checkpoint_without_a_transcript_task_is_answered_and_asked() -> None:
    recognizer = with_tasks(OSUM.keep("SGC-only"))
    assert recognizer.label(CLIPS[0], **BRIEF).segments[0].no_speech_probability is None
    assert recognizer.ask(CLIPS[0], "what", BRIEF["generation"])
    with pytest.raises(TaskError, match="unknown task 'ASR'"):
        recognizer.transcribe(CLIPS[0])


def test_a_free_question_is_asked_as_it_is(recognizer: Recognizer) -> None:
    long = GenerationOptions(max_new_tokens=12)
    answers = {recognizer.ask(CLIPS[0], question, long) for question in ("what", "who is it", "what")}
    assert len(answers) == 2


def test_a_question_about_too_long_a_clip_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(AudioError, match="at most 30 s"):
        recognizer.ask(noise(31 * RATE), "what")


def test_a_chat_gives_the_reply(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = EngineReply("hi<开始回答>hello there", (), empty=0.0)

    def answer(requests: Iterable[Request], ahead: int, **_: object) -> Iterator[Result]:
        assert ahead == 8
        return (Result(request.id, (reply, reply)) for request in requests)

    monkeypatch.setattr(recognizer.engine, "run", answer)
    assert recognizer.chat(CLIPS[0]) == "hello there"
    assert recognizer.label(CLIPS[0], tasks="STTC").reply == "hello there"


def test_a_decoded_tag_that_is_not_the_likeliest_label_is_noted_and_counted(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"event": tuple(-float(label != "cough") for label in OSUM["VED"].label_sets[0].labels)}
    said = [
        EngineReply("hi<laugh>", (), empty=0.0, scores=scores),
        EngineReply("hi<cough>", (), empty=0.0, scores=scores),
    ]
    results = iter([Result(0, (reply, reply)) for reply in said])
    monkeypatch.setattr(
        recognizer.engine, "run", lambda requests, ahead, **_: (next(results) for _ in requests if ahead)
    )
    answers = [recognizer.label(CLIPS[0], tasks="VED").segments[0].labels["VED"] for _ in said]
    assert [(answer.label, answer.problems) for answer in answers] == [
        ("cough", ("the decoded tag says laugh",)),
        ("cough", ()),
    ]
    assert recognizer.disagreements == {"VED": 1}


def test_a_transcript_alone_is_asked_for(recognizer: Recognizer) -> None:
    result = recognizer.transcribe(CLIPS[0], **BRIEF)
    assert list(result.segments[0].labels) == ["ASR"] and result.text is not None


@pytest.mark.parametrize(("tasks", "reported"), [(5, "tasks is 5"), ([5], r"tasks is \[5\]"), (None, "tasks is None")])
def test_tasks_that_are_no_names_are_refused_in_one_line(recognizer: Recognizer, tasks: Any, reported: str) -> None:
    with pytest.raises(InputError, match=f"{reported}: a name, or a list of names, is needed"):
        recognizer.label(CLIPS[0], tasks=tasks)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), "a", 16_000.5])
def test_a_rate_that_is_no_whole_number_is_refused_in_one_line(recognizer: Recognizer, rate: Any) -> None:
    with pytest.raises(InputError, match="a whole number of Hz is needed"):
        recognizer.label({"array": CLIPS[0], "sampling_rate": rate}, tasks="ASR")
