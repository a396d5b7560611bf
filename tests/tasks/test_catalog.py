from collections import Counter
from pathlib import Path

import pytest

import osum.tasks
from osum.scoring import METRICS
from osum.tasks import ECHAT, EVENTS, EVENTS_OR_NONE, OSUM, RELEASE
from osum.tasks.prompt_bank import packaged_prompts

SOURCES = sorted(Path(osum.tasks.__file__).parents[1].rglob("*.py"))


@pytest.mark.parametrize("labels", RELEASE.label_sets.values(), ids=lambda labels: labels.name)
def test_a_label_set_is_spelled_in_one_file(labels):
    spelled = ", ".join(f'"{label}"' for label in labels.labels[:3])
    assert [path.name for path in SOURCES if spelled in path.read_text(encoding="utf-8")] == ["catalog.py"]


def test_the_eight_tasks_of_the_paper_the_language_and_the_turn_are_there():
    assert [task.name for task in OSUM.main] == [
        "ASR",
        "SRWT",
        "VED",
        "SER",
        "SSR",
        "SGC",
        "SAP",
        "STTC",
        "LID",
        "TURN",
    ]
    assert [task.name for task in RELEASE.main] == ["ASR", "SRWT", "VED", "SER", "SSR", "SGC", "SAP", "STTC"]


# The understanding tags of the prompt bank of OSUM-EChat (echat spec 2.6), and the reply alone.
ECHAT_TAGS = {
    "<TRANSCRIBE>",
    "<TRANSCRIBE> <ALIGN>",
    "<TRANSCRIBE> <S2TCHAT>",
    "<TRANSCRIBE> <EMOTION>",
    "<EMOTION>",
    "<TRANSCRIBE> <STYLE>",
    "<STYLE>",
    "<TRANSCRIBE> <CAPTION>",
    "<CAPTION>",
    "<CAPTION> <AUDIO>",
    "<TRANSCRIBE> <GENDER>",
    "<GENDER>",
    "<TRANSCRIBE> <AGE>",
    "<AGE>",
    "<TRANSCRIBE> <AGE> <GENDER>",
    "<AGE> <GENDER>",
    "<TRANSCRIBE> <STYLE> <AGE> <GENDER>",
    "<STYLE> <AGE> <GENDER>",
    "<TRANSCRIBE> <PUNCTUATION>",
    "<TRANSCRIBE> <CAPTION> <AGE> <GENDER>",
    "<TRANSCRIBE> <EMOTION> <AGE> <GENDER>",
    "<TRANSCRIBE> <AGE> <GENDER> <STYLE> <EMOTION>",
    "<TRANSCRIBE> <CAPTION> <AGE> <GENDER> <EMOTION> <STYLE>",
    "<S2TCHAT>",
}
DEMO_PROMPTS = {
    "ASR": "转录这段音频中的语音内容为文字。",
    "SRWT": "请识别音频内容，并对所有英文词和中文字进行时间对齐，标注格式为<>，时间精度0.1秒。",
    "VED": "请将音频转化为文字，并在末尾添加相关音频事件标签，标签格式为<>。",
    "SER": "请将音频内容转录成文字记录，并在记录末尾标注情感标签,以<>表示。",
    "SSR": "请将音频中的讲话内容转化为文字，并在结尾处注明风格标签，用<>表示。",
    "SGC": "请将音频转录为文字，并在文本末尾标注性别标签，标签格式为<>。",
    "SAP": "请将这段音频转录成文字，并在末尾加上年龄标签，格式为<>。",
    "STTC": "首先将语音转录为文字，然后对语音内容进行回复，转录和文字之间使用<开始回答>分割。",
    "PUNC": "需对提供的语音文件执行文本转换，同时为转换结果补充必要的标点。",
}
LABELS_OF_TAG = {"CAPTION": "event", "EMOTION": "emotion", "STYLE": "style", "GENDER": "gender", "AGE": "age"}
ADDED = [name for name in ECHAT if name not in RELEASE]


def test_echat_answers_every_understanding_tag_and_all_that_the_release_answers():
    assert {task.tag for task in ECHAT.tasks} == ECHAT_TAGS
    assert ECHAT.tasks[: len(RELEASE)] == RELEASE.tasks
    assert [task.name for task in ECHAT.main] == [*(task.name for task in RELEASE.main), "PUNC"]


def test_what_only_echat_answers_is_not_in_the_other_sets():
    assert len(ADDED) == 6
    assert not {ECHAT[name].tag for name in ADDED} & {task.tag for tasks in (OSUM, RELEASE) for task in tasks.tasks}


@pytest.mark.parametrize("task", ECHAT.tasks, ids=lambda task: task.name)
def test_labels_stand_in_the_order_of_the_tag(task):
    named = task.tag.strip("<>").split("> <")
    assert [labels.name for labels in task.label_sets] == [LABELS_OF_TAG[tag] for tag in named if tag in LABELS_OF_TAG]


def test_echat_is_asked_in_the_words_of_its_demo():
    assert {name: ECHAT.prompt(name) for name in DEMO_PROMPTS} == DEMO_PROMPTS
    assert set(packaged_prompts("echat", "zh")) == {ECHAT[name].tag for name in DEMO_PROMPTS}
    assert ECHAT.prompt("SER-only") == RELEASE.prompt("SER-only")


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("name", ECHAT)
def test_every_task_of_echat_has_prompts_that_name_its_labels_but_for_those_of_the_demo(name, language):
    prompts = ECHAT.prompts(name, language)
    assert len(set(prompts)) == len(prompts)
    if language == "zh" and name in DEMO_PROMPTS:
        return
    assert len(prompts) == 5
    labels = [label for labels in ECHAT[name].label_sets for label in labels.labels]
    assert all(label.lower() in prompt.lower() for label in labels for prompt in prompts if label != "other")


def test_our_events_are_the_release_events_and_none():
    assert RELEASE.label_sets["event"] == EVENTS
    assert OSUM.label_sets["event"] == EVENTS_OR_NONE
    assert EVENTS_OR_NONE.labels == (*EVENTS.labels, "none")


def test_every_metric_of_a_task_exists():
    assert {metric for task in (*OSUM.tasks, *ECHAT.tasks) for metric in task.metrics} <= set(METRICS)


def test_the_release_tags_are_the_tags_of_its_prompts():
    assert {task.tag for task in RELEASE.tasks} == set(packaged_prompts("release", "zh"))


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("tasks", [OSUM, RELEASE], ids=lambda tasks: tasks.name)
def test_every_task_has_five_different_prompts_that_name_its_labels(tasks, language):
    for name in tasks:
        prompts = tasks.prompts(name, language)
        assert len(set(prompts)) == 5
        labels = [label for labels in tasks[name].label_sets for label in labels.labels]
        assert all(label.lower() in prompt.lower() for label in labels for prompt in prompts if label != "other")


@pytest.mark.parametrize("tasks", [OSUM, ECHAT], ids=lambda tasks: tasks.name)
def test_english_prompts_are_not_repeated_between_tasks(tasks):
    prompts = Counter(prompt for name in tasks for prompt in tasks.prompts(name, "en"))
    assert max(prompts.values()) == 1
