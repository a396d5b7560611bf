from collections import Counter
from pathlib import Path

import pytest

import osum.tasks
from osum.scoring import METRICS
from osum.tasks import EVENTS, EVENTS_OR_NONE, OSUM, RELEASE
from osum.tasks.prompt_bank import packaged_prompts

SOURCES = sorted(Path(osum.tasks.__file__).parents[1].rglob("*.py"))


@pytest.mark.parametrize("labels", RELEASE.label_sets.values(), ids=lambda labels: labels.name)
def test_a_label_set_is_spelled_in_one_file(labels):
    spelled = ", ".join(f'"{label}"' for label in labels.labels[:3])
    assert [path.name for path in SOURCES if spelled in path.read_text(encoding="utf-8")] == ["catalog.py"]


def test_the_eight_tasks_of_the_paper_and_the_language_are_there():
    assert [task.name for task in OSUM.main] == ["ASR", "SRWT", "VED", "SER", "SSR", "SGC", "SAP", "STTC", "LID"]
    assert [task.name for task in RELEASE.main] == ["ASR", "SRWT", "VED", "SER", "SSR", "SGC", "SAP", "STTC"]


def test_our_events_are_the_release_events_and_none():
    assert RELEASE.label_sets["event"] == EVENTS
    assert OSUM.label_sets["event"] == EVENTS_OR_NONE
    assert EVENTS_OR_NONE.labels == (*EVENTS.labels, "none")


def test_every_metric_of_a_task_exists():
    assert {metric for task in OSUM.tasks for metric in task.metrics} <= set(METRICS)


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


def test_english_prompts_are_not_repeated_between_tasks():
    prompts = Counter(prompt for name in OSUM for prompt in OSUM.prompts(name, "en"))
    assert max(prompts.values()) == 1
