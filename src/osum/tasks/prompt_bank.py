"""Prompts as package data: one file per prompt set and language, `prompts/<set>.<language>.yaml`.

A file maps a task's tag to its prompts. `{emotion}` in a prompt stands for the labels of that label set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from osum.tasks.label_set import LabelSet

_FOLDER = Path(__file__).parent / "prompts"
_COMMAS = {"zh": "、"}


@cache
def packaged_prompts(prompt_set: str, language: str) -> Mapping[str, tuple[str, ...]]:
    """Tag to prompts of one packaged file; empty where there is no such file."""
    import yaml  # a catalogue is imported far more often than a prompt is read

    file = _FOLDER / f"{prompt_set}.{language}.yaml"
    if not file.is_file():
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    return {tag: tuple(prompts) for tag, prompts in rows.items()}


@cache
def packaged_languages(prompt_set: str) -> tuple[str, ...]:
    """The languages that a packaged prompt set is written in."""
    return tuple(sorted(file.name.split(".")[1] for file in _FOLDER.glob(f"{prompt_set}.*.yaml")))


@cache
def packaged_sets() -> tuple[str, ...]:
    """The names of the packaged prompt sets."""
    return tuple(sorted({file.name.split(".")[0] for file in _FOLDER.glob("*.yaml")}))


def fill(prompt: str, label_sets: Sequence[LabelSet], language: str) -> str:
    """Write the labels into a prompt's `{label_set}` places."""
    comma = _COMMAS.get(language, ", ")
    for labels in label_sets:
        prompt = prompt.replace(f"{{{labels.name}}}", comma.join(labels.labels))
    return prompt
