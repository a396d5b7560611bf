"""TaskSet: the tasks that a checkpoint answers, by name, with their prompts; what `tasks.json` holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osum.errors import TaskError
from osum.records import RecordError, from_row
from osum.tasks.label_set import LabelSet
from osum.tasks.prompt_bank import fill, packaged_languages, packaged_prompts
from osum.tasks.task import Task
from osum.text import did_you_mean
from osum.utterance import Utterance

FORMAT_VERSION = 1
"""Version of `tasks.json`."""

Prompts = Mapping[str, Sequence[str]]
"""Language to prompts."""


@dataclass(frozen=True)
class TaskSet(Mapping[str, Task]):
    """An ordered mapping of task name to task."""

    name: str
    tasks: tuple[Task, ...]
    prompt_sets: tuple[str, ...] = ()
    """Packaged prompt sets; the first that has prompts for a task and a language gives them."""
    own_prompts: Mapping[str, Prompts] = field(default_factory=dict, hash=False)
    """Task name to prompts that come before the packaged ones."""

    def __post_init__(self) -> None:
        self._check_unique("name", [task.name.upper() for task in self.tasks])
        self._check_unique("tag", [_tag_key(task.tag) for task in self.tasks])
        label_sets = self.label_sets
        for name, labels in self._all_label_sets():
            if label_sets[labels.name] != labels:
                raise TaskError(f"task {name} has other {labels.name!r} labels than its task set: use one LabelSet")

    def _check_unique(self, what: str, values: list[str]) -> None:
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise TaskError(f"task set {self.name!r} has the {what} {twice[0]} twice: give each task its own")

    def _all_label_sets(self) -> Iterator[tuple[str, LabelSet]]:
        return ((task.name, labels) for task in self.tasks for labels in task.label_sets)

    # Looking up

    def __getitem__(self, name: str) -> Task:
        return next((task for task in self.tasks if task.name == name), None) or _missing(name)

    def __iter__(self) -> Iterator[str]:
        return (task.name for task in self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def label_sets(self) -> dict[str, LabelSet]:
        """Every label set by its name."""
        found: dict[str, LabelSet] = {}
        for _, labels in self._all_label_sets():
            found.setdefault(labels.name, labels)
        return found

    @property
    def main(self) -> tuple[Task, ...]:
        """The tasks that `all` means: no composites, no tag-only form of a task that is there in full."""
        return tuple(task for task in self.tasks if not self._covered(task))

    def find(self, name: str) -> Task:
        """The task of a name in any case, a release tag with or without spaces, or a label set's name.

        Raises:
            TaskError: no task goes by this name.
        """
        key = _tag_key(name)
        by_name = {_tag_key(task.name): task for task in self.tasks}
        by_tag = {_tag_key(task.tag): task for task in self.tasks}
        by_labels = {
            _tag_key(task.label_sets[0].name): task for task in reversed(self.tasks) if len(task.label_sets) == 1
        }
        task = by_name.get(key) or by_tag.get(key) or by_labels.get(key)
        if task is None:
            names = {_tag_key(n): n for n in (*self, *self.label_sets, *(task.tag for task in self.tasks))}
            hint = did_you_mean(key, names, names)
            known = ", ".join(task.name for task in self.main)
            raise TaskError(
                f"unknown task {name!r}: {hint}use all, or a task, label set or tag of {self.name}: {known}"
            )
        return task

    def select(self, names: str | Iterable[str] = "all") -> tuple[Task, ...]:
        """The tasks of some names (a list, or one text with commas), in the order asked; `all` is `main`."""
        asked = names.split(",") if isinstance(names, str) else names
        found: dict[str, Task] = {}
        for name in (name.strip() for name in asked):
            tasks = self.main if name.lower() == "all" else (self.find(name),)
            found.update({task.name: task for task in tasks})
        return tuple(found.values())

    def answerable(self, utterance: Utterance) -> tuple[Task, ...]:
        """The tasks that an utterance can teach: those it names, or else all that its fields can answer."""
        if utterance.tasks:
            return self.select(utterance.tasks)
        return tuple(task for task in self.tasks if task.can_render(utterance))

    def _covered(self, task: Task) -> bool:
        others = [other for other in self.tasks if other.transcript != "none" and other != task]
        if len(task.label_sets) > 1:
            single = {labels for other in self.tasks if len(other.label_sets) == 1 for labels in other.label_sets}
            return set(task.label_sets) <= single
        same = (other for other in others if (other.label_sets, other.reply) == (task.label_sets, task.reply))
        return task.transcript == "none" and any(same)

    # Prompts

    def prompts(self, task: Task | str, language: str = "zh") -> tuple[str, ...]:
        """Every prompt of a task in a language, labels written in; training draws one, variant 0 is the fixed one.

        Raises:
            TaskError: there are none in this language.
        """
        task = self.find(task) if isinstance(task, str) else task
        found = self._prompts_of(task, language)
        if not found:
            known = ", ".join(known for known in self.languages if self._prompts_of(task, known))
            raise TaskError(f"task {task.name} has no prompts in {language!r}: use one of {known}")
        return tuple(fill(prompt, task.label_sets, language) for prompt in found)

    def prompt(self, task: Task | str, language: str = "zh", variant: int = 0) -> str:
        """One prompt of a task."""
        prompts = self.prompts(task, language)
        if not 0 <= variant < len(prompts):
            raise TaskError(f"prompt variant {variant} is not there: use 0 to {len(prompts) - 1}")
        return prompts[variant]

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language that some task has prompts in."""
        own = {language for prompts in self.own_prompts.values() for language in prompts}
        return tuple(sorted(own.union(*map(packaged_languages, self.prompt_sets))))

    def _prompts_of(self, task: Task, language: str) -> Sequence[str]:
        sources = [self.own_prompts.get(task.name, {}).get(language)]
        sources += [packaged_prompts(prompt_set, language).get(task.tag) for prompt_set in self.prompt_sets]
        return next((found for found in sources if found), ())

    def languages_of(self, task: Task) -> tuple[str, ...]:
        """The languages that a task has prompts in."""
        return tuple(language for language in self.languages if self._prompts_of(task, language))

    # Changing

    def with_task(self, task: Task, prompts: Prompts | None = None) -> TaskSet:
        """A copy with one more task, or with one task replaced; a new tag needs prompts.

        Raises:
            TaskError: the task has no prompts, or its label sets clash with those of another task.
        """
        if prompts is not None and any(isinstance(texts, str) for texts in prompts.values()):
            raise TaskError(f"prompts of task {task.name} must be lists, such as {{'en': ['Transcribe ...']}}")
        kept = tuple(task if old.name == task.name else old for old in self.tasks)
        tasks = kept if task in kept else (*kept, task)
        own = self.own_prompts if prompts is None else {**self.own_prompts, task.name: _frozen(prompts)}
        changed = replace(self, tasks=tasks, own_prompts=own)
        if not any(changed._prompts_of(task, language) for language in changed.languages):
            raise TaskError(f"task {task.name} has no prompts: pass prompts={{'en': ['...']}}")
        return changed

    def keep(self, names: str | Iterable[str]) -> TaskSet:
        """A copy with only some tasks."""
        chosen = self.select(names)
        return replace(self, tasks=tuple(task for task in self.tasks if task in chosen))

    # The JSON a checkpoint carries

    def to_dict(self) -> dict[str, Any]:
        """The content of `tasks.json`: whole, so that reading it needs none of our own catalogue."""
        return {
            "version": FORMAT_VERSION,
            "name": self.name,
            "label_sets": {name: _label_set_row(labels) for name, labels in self.label_sets.items()},
            "tasks": [self._task_row(task) for task in self.tasks],
        }

    def _task_row(self, task: Task) -> dict[str, Any]:
        prompts = {language: list(self.prompts(task, language)) for language in self.languages_of(task)}
        fields = {name: value for name, value in vars(task).items() if name != "free" or value}  # few tasks are free
        return {**fields, **_plain(task), "prompts": prompts}

    @classmethod
    def load(cls, path: Path) -> TaskSet:
        """Read a `tasks.json`.

        Raises:
            TaskError: the file cannot be read, or holds no tasks.
        """
        try:
            return cls.from_dict(json.loads(path.read_text("utf8")))
        except (OSError, ValueError, TaskError) as fault:
            raise TaskError(
                f"{path} cannot be read ({fault}): give the tasks.json of a checkpoint as it was written"
            ) from fault

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> TaskSet:
        """Read the content of `tasks.json`.

        Raises:
            TaskError: a field is missing, unknown, or not what it must be.
        """
        try:
            if row["version"] != FORMAT_VERSION:
                raise TaskError(f"tasks.json is version {row['version']!r}: this osum reads version {FORMAT_VERSION}")
            label_sets = {
                name: from_row(LabelSet, {"name": name, **fields}) for name, fields in row["label_sets"].items()
            }
            tasks = tuple(_task(item, label_sets) for item in row["tasks"])
            prompts = {item["name"]: _frozen(item["prompts"]) for item in row["tasks"]}
            return cls(str(row["name"]), tasks, own_prompts=prompts)
        except (RecordError, KeyError, TypeError, AttributeError, ValueError) as fault:
            reason = f"no {fault}" if isinstance(fault, KeyError) else str(fault)
            raise TaskError(f"tasks.json is damaged ({reason}): write it again with TaskSet.to_dict") from fault


def _missing(name: str) -> Task:
    raise KeyError(name)


def _tag_key(name: str) -> str:
    return "".join(name.split()).upper()


def _frozen(prompts: Prompts) -> dict[str, tuple[str, ...]]:
    for texts in prompts.values():
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"prompts {texts!r} are no list of texts")
    return {language: tuple(texts) for language, texts in prompts.items()}


def _label_set_row(labels: LabelSet) -> dict[str, Any]:
    return {"labels": list(labels.labels), "display": dict(labels.display), "folds": dict(labels.folds)}


def _plain(task: Task) -> dict[str, Any]:
    own = task.temperature
    return {
        "label_sets": [labels.name for labels in task.label_sets],
        "metrics": list(task.metrics),
        "temperature": list(own) if isinstance(own, tuple) else own,
    }


def _task(item: Mapping[str, Any], label_sets: Mapping[str, LabelSet]) -> Task:
    fields = {key: value for key, value in item.items() if key != "prompts"}
    return from_row(Task, {**fields, "label_sets": tuple(label_sets[name] for name in item["label_sets"])})
