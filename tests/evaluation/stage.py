"""What the tests of evaluation share: a small benchmark with a list as its folder, and a recogniser that hears nothing.

`Echo` keeps the contract of `Recogniser` and answers from the clip's id alone, so that what is tested is the run.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from osum.corpus.manifest import read_manifest
from osum.evaluation.run.run import Ran, Run, RunOptions
from osum.evaluation.sets.benchmark import Benchmark
from osum.peers.recogniser import Question, Recognition
from osum.utterance import Word

GENDERS = ("female", "male")


def benchmark(**changes: Any) -> Benchmark:
    """Gender by default."""
    fields = {
        "name": "voices",
        "title": "Voices",
        "task": "SGC",
        "target": "label",
        "metric": "accuracy",
        "licence": "CC0",
        "home": "https://example.org",
        "reader": lambda folder: read_manifest(folder / "list.jsonl"),
        "layout": "list.jsonl",
        "label_set": "gender",
        "labels": {"f": "female", "m": "male"},
    }
    return Benchmark(**{**fields, **changes})


SPOKEN = benchmark(name="spoken", task="ASR", target="text", metric="wer", language="en", label_set=None, labels={})
TIMED = benchmark(name="timed", task="SRWT", target="words", metric="aas", language="en", label_set=None, labels={})
BENCHMARKS = {one.name: one for one in (benchmark(), SPOKEN, TIMED)}


def row(number: int) -> dict[str, Any]:
    """A clip of the list: its text is three words, its speaker one of six."""
    word = {"text": "one", "start": 0.1, "end": 0.4}
    return {
        "id": f"clip{number:02}",
        "path": f"{number}.wav",
        "duration": 2.0,
        "text": f"one two {number}",
        "labels": {"gender": "fm"[number % 2]},
        "speaker": f"s{number % 6}",
        "words": [word],
    }


def write_list(root: Path, rows: Iterable[Mapping[str, Any]], name: str = "voices") -> Path:
    """The folder of a benchmark; returns the data root."""
    (root / name).mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one) + "\n" for one in rows)
    (root / name / "list.jsonl").write_text(text, "utf8")
    return root


class Echo:
    """Says woman for the first clips of ten and man for the others, is surer the higher the number, fails for 13.

    Args:
        revision: what it says of itself.
        kill_at: the clip at which its process is killed.
        breaks_at: clips that it raises an exception for.
        note: called with the id of each clip that it is asked about.
    """

    name = "echo"
    tasks = frozenset({"SGC", "ASR", "SRWT"})

    def __init__(
        self,
        revision: str = "1",
        kill_at: str | None = None,
        breaks_at: Collection[str] = (),
        note: Callable[[str], object] = len,
    ) -> None:
        self.revision, self._kill_at, self._breaks_at, self._note = revision, kill_at, breaks_at, note

    def recognise(self, clips: Iterable[Any], question: Question) -> Iterator[Recognition]:
        for clip in clips:
            self._note(clip.id)
            if clip.id == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if clip.id in self._breaks_at:
                raise RuntimeError("CUDA out\nof memory")
            yield self._answer(int(clip.id.removeprefix("clip")), question)

    def _answer(self, number: int, question: Question) -> Recognition:
        if number == 13:
            return Recognition(error="clip13: broken")
        label = "female" if number % 10 < 5 else "male"
        sure = 0.5 + 0.04 * (number % 10)
        other = GENDERS[GENDERS.index(label) - 1]
        return Recognition(
            raw=f"one two {number}<{label}>",
            prompt=question.prompt or "who?",
            text=f"one two {number % 10}",
            words=(Word("one", 0.1, 0.45),),
            said=None if number == 4 else label,
            label=label,
            distribution={label: sure, other: 1 - sure},
        )

    def prompts(self, task: str) -> tuple[str, ...]:
        return (f"{task}?", f"please {task}", f"{task}!")

    def describe(self) -> Mapping[str, Any]:
        return {"revision": self.revision, "device": "cpu", "batch_size": 4}


def go(root: Path, out: Path, bench: Benchmark | None = None, echo: Echo | None = None, **options: Any) -> Ran:
    """One run of `Echo`, in batches of 4."""
    chosen = RunOptions(**{"batch_size": 4, **options})
    return Run(bench or benchmark(), root, echo or Echo(), out, chosen).go()


def untimed(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of predictions without the time that each took."""
    rows = [json.loads(line) for line in path.read_text("utf8").splitlines()]
    for one in rows:
        del one["seconds"]
    return rows
