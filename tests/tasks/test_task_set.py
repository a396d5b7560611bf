import copy
import json
from dataclasses import replace

import pytest

from docs.generate.tasks import EXAMPLE
from osum.errors import TaskError
from osum.tasks import AGES, ECHAT, EMOTIONS, OSUM, RELEASE, LabelSet, Task, TaskSet

PITCH = Task("PITCH", "<TRANSCRIBE> <PITCH>", "pitch", label_sets=(LabelSet("pitch", ("low", "high")),))
PROMPTS = {"en": ["Transcribe and tag the pitch: {pitch}."]}
CALIBRATED = RELEASE.with_task(replace(RELEASE["SAP+SGC"], temperature=(1.5, 0.8)))


@pytest.mark.parametrize(
    "tasks",
    [OSUM, RELEASE, ECHAT, OSUM.with_task(PITCH, PROMPTS), CALIBRATED],
    ids=["osum", "release", "echat", "own", "calibrated"],
)
def test_a_task_set_survives_json(tasks):
    row = json.loads(json.dumps(tasks.to_dict()))
    again = TaskSet.from_dict(row)
    assert again.tasks == tasks.tasks
    assert again.label_sets == tasks.label_sets
    assert again.to_dict() == row


def test_a_file_of_tasks_is_read_or_reported(tmp_path):
    (tmp_path / "tasks.json").write_text(json.dumps(OSUM.to_dict()), encoding="utf-8")
    assert TaskSet.load(tmp_path / "tasks.json").label_sets == OSUM.label_sets
    with pytest.raises(TaskError, match=r"absent cannot be read .*: give the tasks\.json of a checkpoint"):
        TaskSet.load(tmp_path / "absent")


def test_each_label_set_has_its_temperature():
    task = CALIBRATED["SAP+SGC"]
    assert [task.temperature_of(labels) for labels in task.label_sets] == [1.5, 0.8]
    assert replace(task, temperature=2.0).temperature_of(AGES) == 2
    assert replace(task, temperature=None).temperature_of(AGES) == 1


def test_the_json_holds_evidence_calibration_and_whole_prompts():
    row = OSUM.with_task(replace(OSUM["SER"], evidence="none", temperature=1.5)).to_dict()["tasks"][3]
    assert (row["name"], row["evidence"], row["temperature"], row["label_sets"]) == ("SER", "none", 1.5, ["emotion"])
    assert len(row["prompts"]["en"]) == len(row["prompts"]["zh"]) == 5
    assert "sad, anger" in row["prompts"]["en"][0]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 99, "version 99"),
        (("tasks", 0, "colour"), "red", "colour"),
        (("tasks", 0, "transcript"), "sung", "sung"),
        (("tasks", 0, "prompts"), {"en": "Transcribe"}, "no list of texts"),
        (("tasks", 2, "label_sets"), ["smell"], "smell"),
        (("label_sets", "age", "labels"), ["OLD"], "OLD"),
        (("label_sets",), None, "damaged"),
        (("tasks",), 3, "damaged"),
    ],
)
def test_damaged_json_is_refused(path, value, message):
    row = at = copy.deepcopy(OSUM.to_dict())
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(TaskError, match=message):
        TaskSet.from_dict(row)


@pytest.mark.parametrize("missing", ["version", "name", "label_sets", "tasks"])
def test_json_without_a_field_is_refused(missing):
    row = OSUM.to_dict()
    del row[missing]
    with pytest.raises(TaskError, match=f"no '{missing}'"):
        TaskSet.from_dict(row)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("ser", ["SER"]),
        ("emotion", ["SER"]),
        ("<TRANSCRIBE> <GENDER>", ["SGC"]),
        ("<transcribe><gender>", ["SGC"]),
        ("<GENDER>", ["SGC-only"]),
        ("sap+sgc", ["SAP+SGC"]),
        ("age, ASR, age", ["SAP", "ASR"]),
        (["language", "srwt"], ["LID", "SRWT"]),
        ("all", [task.name for task in OSUM.main]),
    ],
)
def test_tasks_are_selected_by_name_tag_or_label_set(asked, found):
    assert [task.name for task in OSUM.select(asked)] == found


@pytest.mark.parametrize(
    ("asked", "near"), [("emotoin", "emotion"), ("ASRR", "ASR"), ("<TRANSCRIBE><GENDR>", "<TRANSCRIBE> <GENDER>")]
)
def test_an_unknown_task_is_refused_with_the_nearest(asked, near):
    with pytest.raises(TaskError) as error:
        OSUM.select(["ASR", asked])
    assert f"unknown task {asked!r}: did you mean {near!r}?" in str(error.value)


def test_an_unknown_task_far_from_any_is_refused_with_the_list():
    with pytest.raises(TaskError, match=r"unknown task 'translation-of-poems': use all, or a task.*ASR, SRWT"):
        OSUM.select("translation-of-poems")


def test_labels_without_a_transcript_count_as_main_where_there_is_no_other_form():
    assert [task.name for task in OSUM.keep(["ASR", "SER-only", "SGC", "SGC-only"]).main] == ["ASR", "SGC", "SER-only"]


def test_prompts_are_filled_with_the_labels_of_the_set():
    assert "sneeze, other, none." in OSUM.prompt("VED", "en")
    assert "sneeze, other." in RELEASE.prompt("VED", "en")
    assert RELEASE.prompt("asr") == "转录如下音频。"


@pytest.mark.parametrize(("language", "variant"), [("fr", 0), ("en", 5), ("en", -1)])
def test_a_prompt_that_is_not_there_is_refused(language, variant):
    with pytest.raises(TaskError, match=r"use one of en, zh|use 0 to 4"):
        OSUM.prompt("ASR", language, variant)


def test_a_task_of_ones_own_joins_the_set():
    tasks = OSUM.with_task(PITCH, PROMPTS)
    assert tasks.find("pitch") is PITCH
    assert tasks.main[-1] is PITCH
    assert tasks.prompt("PITCH", "en") == "Transcribe and tag the pitch: low, high."
    assert len(OSUM) == len(tasks) - 1


def test_a_task_that_is_replaced_keeps_its_place_and_prompts():
    changed = OSUM.with_task(replace(OSUM["SER"], evidence="synthetic"))
    assert list(changed) == list(OSUM)
    assert changed["SER"].evidence == "synthetic"
    assert changed.prompts("SER", "zh") == OSUM.prompts("SER", "zh")


@pytest.mark.parametrize("prompts", [None, {"en": "one text"}, {}])
def test_a_new_task_without_prompts_is_refused(prompts):
    with pytest.raises(TaskError, match="prompts"):
        OSUM.with_task(PITCH, prompts)


@pytest.mark.parametrize(
    "change",
    [{"name": "ser", "tag": "<S>"}, {"tag": "<TRANSCRIBE><EMOTION>"}, {"label_sets": (LabelSet("emotion", ("sad",)),)}],
)
def test_tasks_that_clash_are_refused(change):
    task = replace(OSUM["SER"], **{"name": "MOOD", "tag": "<MOOD>", **change})
    with pytest.raises(TaskError, match=r"twice|other 'emotion' labels"):
        OSUM.with_task(task, PROMPTS)


def test_a_set_behaves_as_a_mapping():
    assert OSUM["SER"].label_sets == (EMOTIONS,)
    assert "SER" in OSUM
    assert "ser" not in OSUM
    assert OSUM.get("nothing") is None


def test_an_utterance_teaches_what_its_fields_answer():
    spoken = EXAMPLE.with_(labels={"gender": "male"}, words=(), reply=None)
    assert [task.name for task in OSUM.answerable(spoken)] == ["ASR", "SGC", "LID", "SGC-only", "LID-only"]


def test_only_a_text_with_punctuation_teaches_it():
    bare = EXAMPLE.with_(labels={}, words=(), reply=None)
    assert [task.name for task in ECHAT.answerable(bare)] == ["ASR"]
    assert [task.name for task in ECHAT.answerable(bare.with_(text="Good morning!"))] == ["ASR", "PUNC"]


@pytest.mark.parametrize(("asked", "found"), [("event", "VED"), ("<CAPTION><AUDIO>", "VED-sound"), ("punc", "PUNC")])
def test_a_label_set_of_echat_still_names_the_task_with_a_transcript(asked, found):
    assert ECHAT.find(asked).name == found


def test_an_utterance_may_name_its_tasks():
    assert [task.name for task in OSUM.answerable(EXAMPLE.with_(tasks=("ASR", "emotion")))] == ["ASR", "SER"]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (lambda row: row["label_sets"]["gender"].update(labels="low"), "labels is 'low': a list is needed"),
        (lambda row: row["label_sets"]["gender"].update(fold={}), "fold is unknown: did you mean 'folds'?"),
        (lambda row: row["tasks"][0].update(replly=True), "replly is unknown: did you mean 'reply'?"),
        (lambda row: row["tasks"][0].update(reply="no"), "reply is 'no': true or false is needed"),
        (lambda row: row["tasks"][0].update(metrics=[1]), r"metrics\[0\] is 1: a text is needed"),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(change, reported):
    row = copy.deepcopy(OSUM.to_dict())
    change(row)
    with pytest.raises(TaskError, match=reported):
        TaskSet.from_dict(row)
