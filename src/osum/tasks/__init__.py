"""What the model is asked and what it answers; pure Python, no model and no audio."""

from osum.tasks.answer import REPLY_SEPARATOR, TaskResult
from osum.tasks.catalog import (
    AGES,
    ECHAT,
    EMOTIONS,
    EVENTS,
    EVENTS_OR_NONE,
    GENDERS,
    LANGUAGES,
    OSUM,
    QWEN2_AUDIO,
    RELEASE,
    REPLY_EMOTIONS,
    STYLES,
    TURNS,
)
from osum.tasks.label_set import LabelSet
from osum.tasks.task import Task
from osum.tasks.task_set import TaskSet
from osum.text import normalise_target

__all__ = [
    "AGES",
    "ECHAT",
    "EMOTIONS",
    "EVENTS",
    "EVENTS_OR_NONE",
    "GENDERS",
    "LANGUAGES",
    "OSUM",
    "QWEN2_AUDIO",
    "RELEASE",
    "REPLY_EMOTIONS",
    "REPLY_SEPARATOR",
    "STYLES",
    "TURNS",
    "LabelSet",
    "Task",
    "TaskResult",
    "TaskSet",
    "normalise_target",
]
