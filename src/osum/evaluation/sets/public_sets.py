"""The public test sets of the paper's tables 4 and 5, of Qwen2-Audio's list, and a few others: `public_sets.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import yaml

from osum.evaluation.sets.benchmark import Benchmark
from osum.evaluation.sets.layouts import labelled, speech, unpacked
from osum.records import read
from osum.tasks import LabelSet, Task

_LAYOUTS = {"speech": speech, "labelled": labelled, "unpacked": unpacked}


@dataclass(frozen=True, slots=True)
class _Family:
    """Sets that one function reads."""

    reader: str
    """Module and function of `layouts`, such as `speech.librispeech`."""
    shared: Mapping[str, Any]
    """Fields of `Benchmark` that are the same for all of them."""
    sets: tuple[dict[str, Any], ...]
    """The others; `with` holds what the function is called with."""

    def benchmarks(self) -> Iterator[Benchmark]:
        """Each set of the family."""
        module, name = self.reader.split(".")
        for own in self.sets:
            given = {**self.shared, **own}
            reader = partial(getattr(_LAYOUTS[module], name), **given.pop("with", {}))
            yield Benchmark(**given, reader=reader)


def _public_sets() -> Iterator[Benchmark]:
    text = files(__package__).joinpath("public_sets.yaml").read_text("utf8")
    for family in read(tuple[_Family, ...], yaml.safe_load(text), "public_sets.yaml"):
        yield from family.benchmarks()


PUBLIC_SETS = tuple(_public_sets())
SOUNDS = LabelSet("sound", tuple(next(one for one in PUBLIC_SETS if one.name == "esc50-sounds").labels.values()))
"""The 50 classes of ESC-50."""
SOUND = Task("SOUND", "<SOUND>", "kind of sound", "none", (SOUNDS,), needs="sound", metrics=("accuracy",))
TRANSLATION = Task("S2TT", "<TRANSLATE>", "translation", "none", reply=True, metrics=("bleu",))
