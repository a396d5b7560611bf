"""LabelSet: the names that one question may be answered with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from osum.errors import TaskError
from osum.text import normalise_target

_GAPS = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class LabelSet:
    """A closed list of labels; prompts, parsers, scorers and tables are made from it."""

    name: str
    labels: tuple[str, ...]
    """In lower case, as the model writes them; their order is the order of every table."""
    display: Mapping[str, str] = field(default_factory=dict, hash=False)
    """English name of a label that is not English."""
    folds: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Name that raw data uses to the label it counts as."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise TaskError(f"label set name {self.name!r}: use lower-case letters, digits and _, such as 'emotion'")
        if not self.labels:
            raise TaskError(f"label set {self.name!r} has no labels: give it at least one")
        for label in self.labels:
            self._check(label)
        if len({_key(label) for label in self.labels}) < len(self.labels):
            raise TaskError(f"label set {self.name!r} names a label twice: {', '.join(self.labels)}")
        for label in (*self.display, *self.folds.values()):
            if label not in self.labels:
                raise TaskError(f"label set {self.name!r} maps {label!r}, which is none of its labels: remove it")

    def _check(self, label: str) -> None:
        if not label or label != normalise_target(label) or "<" in label or ">" in label:
            wanted = normalise_target(label).strip("<>") or "a name"
            raise TaskError(f"label {label!r} of {self.name!r}: write it as the model does, as {wanted!r}")

    @property
    def tags(self) -> tuple[str, ...]:
        """The labels as they stand in an answer, `<happy>`."""
        return tuple(f"<{label}>" for label in self.labels)

    def canonical(self, name: str) -> str | None:
        """The label that `name` means: any case, `_` or `-` for a space, and the raw data's names."""
        return self._by_key.get(_key(name))

    def title(self, label: str) -> str:
        """The English name of a label."""
        return self.display.get(label, label)

    @cached_property
    def _by_key(self) -> dict[str, str]:
        folds = {_key(raw): label for raw, label in self.folds.items()}
        return folds | {_key(label): label for label in self.labels}


def _key(name: str) -> str:
    return _GAPS.sub(" ", name.lower()).strip()
