"""A plan over a corpus: which units there are, which are missing, and what is kept when all are done.

1. The rows of the source are stored in shards of `rows_per_shard`; the key of a shard is a hash of its rows and of the
   size and time of their files.
2. The key of a unit is a hash of its step and of the key of the unit before, so a changed step, option, model or row
   gives other keys to what depends on it and to nothing else. Units whose files are there are not done again.
3. When all are done, `corpus/` gets the rows of the last step, and units that no key names go away.

Knows nothing of what steps do, nor of Ray.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from osum.corpus.readers import Line
from osum.errors import InputError
from osum.files import atomic_file, locked
from osum.pipeline.folder import BROKEN, RunFolder, Tally, Unit
from osum.pipeline.plan import Plan
from osum.pipeline.row import NO_SOUND, DropError, Row
from osum.pipeline.step import Placed, digest
from osum.pipeline.work import Became, Done, Worker, across
from osum.results.parts import stamp_of
from osum.text import to_json

INPUT = "00-input"
SUMMARY, CORPUS, ANSWERS = "run.json", "corpus", "answers"


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: str
    done: int
    """Units, those that were there before among them."""
    total: int
    rows: int
    """That came into the units of this run."""
    remaining: float | None
    """Seconds, guessed from the units of this run; None before the first."""


@dataclass(frozen=True)
class Summary:
    """What a run has kept and left out."""

    name: str
    about: str
    steps: tuple[tuple[str, Tally], ...]
    """The input first."""
    plan: dict[str, Any]

    @property
    def kept(self) -> Tally:
        """Of the last step."""
        return self.steps[-1][1]

    def faulty(self, max_faults: float) -> list[str]:
        """Steps at which more than a share of the rows failed with an error."""
        return [name for name, tally in self.steps[1:] if tally.faults > max_faults * max(tally.rows_in, 1)]


class Runner(Protocol):
    """Something that does the units of steps that look at a row alone."""

    def run(
        self, root: Path, answers: Path, segment: Sequence[tuple[Placed, Sequence[Unit]]], before: Sequence[Unit]
    ) -> Iterator[Done]:
        """Do every unit of a segment of steps; yields each as it is done.

        Args:
            root: the run's folder, the same for every process.
            answers: where answers of models are kept.
            segment: each step with its units, shard by shard.
            before: the units that the first step reads.
        """
        ...


class Loop:
    """One step after the other, in this process: one model at a time is in memory."""

    def run(
        self, root: Path, answers: Path, segment: Sequence[tuple[Placed, Sequence[Unit]]], before: Sequence[Unit]
    ) -> Iterator[Done]:
        """See `Runner`."""
        for placed, units in segment:
            worker = Worker(root, placed, answers)
            yield from map(worker, before, units)
            before = units


def run(
    plan: Plan,
    lines: Iterable[Line],
    out: Path,
    runner: Runner | None = None,
    notice: Callable[[Progress], None] = lambda _: None,
    answers: Path | None = None,
) -> Summary:
    """Run a plan, or resume it: what is there with the same keys is not done again.

    Args:
        plan: the steps.
        lines: the corpus; broken lines are counted.
        out: the run's folder.
        runner: `Loop` without it.
        notice: called after each unit.
        answers: where answers of models are kept; `out/answers` without it.

    Raises:
        InputError: another run is writing the folder, or there are no rows.
        OSError: the disk is full; what is there is kept.
        EndpointUnusableError: an endpoint answers nothing; what is there is kept.
    """
    folder = RunFolder(out.absolute())
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        units: list[Sequence[Unit]] = [list(_take(lines, folder, plan.rows_per_shard))]
        if not units[0]:
            raise InputError("the corpus has no rows: name a manifest or a folder with recordings")
        units += _keyed(plan.steps, units[0])
        clock = _Clock(notice, units[1:])
        for first, last in _segments(plan.steps):
            segment = list(zip(plan.steps[first:last], units[first + 1 : last + 1], strict=True))
            if plan.steps[first].step.across:
                done = across(folder, plan.steps[first], units[first], units[last])
            else:
                done = (runner or Loop()).run(folder.root, (answers or out / ANSWERS).absolute(), segment, units[first])
            for one in done:
                clock.count(one)
        return _finish(plan, folder, units)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    try:
        with locked(out / ".lock", wait=False):
            yield
    except BlockingIOError as fault:
        raise InputError(f"another run is writing {out}: wait until it has ended, or give another --out") from fault


def _take(lines: Iterable[Line], folder: RunFolder, size: int) -> Iterator[Unit]:
    """Store the source in shards; flat memory, however many rows there are."""
    given = iter(lines)
    for number, part in enumerate(iter(lambda: list(islice(given, size)), [])):
        digest = hashlib.sha256()
        for line in part:
            digest.update(_content(line).encode("utf-8", "surrogateescape"))
        unit = Unit(INPUT, number, digest.hexdigest()[:16])
        if folder.tally(unit) is None:
            folder.write(unit, map(_as_row, part))
        yield unit


def _content(line: Line) -> str:
    if line.utterance is None:
        return f"{line.fault}\n"
    path = line.utterance.path
    return f"{to_json(line.utterance.to_dict())} {b'' if path == NO_SOUND else stamp_of(path)!r}\n"


def _as_row(line: Line) -> Became:
    if line.utterance is None:
        return None, DropError(BROKEN, f"{line.place}: {line.fault}")
    row = Row(line.utterance)
    return row, [row]


def _keyed(steps: Sequence[Placed], before: Sequence[Unit]) -> Iterator[Sequence[Unit]]:
    """The units of each step."""
    for placed in steps:
        before = _StepUnits(placed, before)
        yield before


class _StepUnits(Sequence[Unit]):
    """The units of a step, each made when it is asked for: lists of all of them would grow with rows times steps."""

    def __init__(self, placed: Placed, before: Sequence[Unit]) -> None:
        self._step, self._key, self._before = placed.name, placed.key(), before
        self._whole = digest(" ".join([self._key, *(unit.key for unit in before)])) if placed.step.across else ""

    def __len__(self) -> int:
        return len(self._before)

    def __getitem__(self, at: Any) -> Any:
        unit = self._before[at]
        return Unit(self._step, unit.number, self._whole or digest(f"{self._key} {unit.key}"))


def _segments(steps: Sequence[Placed]) -> Iterator[tuple[int, int]]:
    """First and last of steps that follow one another shard by shard; a step across the corpus is one alone."""
    first = 0
    for at, placed in enumerate(steps):
        if placed.step.across:
            if first < at:
                yield first, at
            yield at, at + 1
            first = at + 1
    if first < len(steps):
        yield first, len(steps)


class _Clock:
    """Counts units, and guesses how long the rest takes.

    A unit that is missing takes the mean of its step in this run, or of all steps where the step has none yet; as many
    run at once as have until now.
    """

    def __init__(self, notice: Callable[[Progress], None], units: Sequence[Sequence[Unit]]) -> None:
        self._notice, self._total = notice, sum(map(len, units))
        self._pending = {of_step[0].step: len(of_step) for of_step in units}
        self._worked: dict[str, tuple[float, int]] = {}
        """Step to seconds and units."""
        self._rows = 0
        self._began = time.monotonic()

    def count(self, done: Done) -> None:
        """One more unit."""
        step = done.unit.step
        self._pending[step] -= 1
        self._rows += done.tally.rows_in
        if done.seconds is not None:
            seconds, count = self._worked.get(step, (0.0, 0))
            self._worked[step] = seconds + done.seconds, count + 1
        left = sum(self._pending.values())
        self._notice(Progress(step, self._total - left, self._total, self._rows, self._remaining()))

    def _remaining(self) -> float | None:
        worked, count = (sum(values) for values in zip((0.0, 0), *self._worked.values(), strict=True))
        if not count:
            return None
        each = {step: seconds / of_step for step, (seconds, of_step) in self._worked.items()}
        left = sum(pending * each.get(step, worked / count) for step, pending in self._pending.items())
        return left * (time.monotonic() - self._began) / max(worked, 1e-9)


# When all is done


def _finish(plan: Plan, folder: RunFolder, units: Sequence[Sequence[Unit]]) -> Summary:
    tallies = []
    for of_step in units:
        whole = Tally()
        for unit in of_step:
            whole.add(folder.tally(unit) or Tally())
        tallies.append((of_step[0].step, whole))
    summary = Summary(plan.name, plan.about, tuple(tallies), dict(plan.source))
    _write_corpus(folder, units[-1])
    _clear(folder, units)
    with atomic_file(folder.root / SUMMARY) as file:
        file.write(to_json(asdict(summary), indent=1).encode())
    return summary


def _write_corpus(folder: RunFolder, units: Sequence[Unit]) -> None:
    """The rows of the last step as a folder of manifests, which every command of osum reads."""
    corpus = folder.root / CORPUS
    wanted = set()
    for unit in units:
        lines = folder.rows_file(unit).read_bytes().splitlines()
        if lines:
            path = corpus / f"shard-{unit.number:06d}.jsonl"
            wanted.add(path.name)
            with atomic_file(path) as file:
                file.writelines(_from_corpus(line) for line in lines)
    for path in corpus.glob("*") if corpus.is_dir() else ():
        if path.name not in wanted:
            path.unlink()


def _from_corpus(line: bytes) -> bytes:
    row = json.loads(line)
    if row["path"] != NO_SOUND and not Path(row["path"]).is_absolute():
        row["path"] = f"../{row['path']}"
    return (to_json(row) + "\n").encode()


def _clear(folder: RunFolder, units: Sequence[Sequence[Unit]]) -> None:
    """Take away what no key names: units of changed steps, and what kills left."""
    named = {of_step[0].step: {unit.name for unit in of_step} for of_step in units}
    for step in list((folder.root / "steps").iterdir()):
        if step.name not in named:
            shutil.rmtree(step)
            continue
        for item in step.iterdir():
            if item.name.partition(".")[0] not in named[step.name]:
                item.unlink()


def read_summary(out: Path) -> Summary:
    """What a finished run has written.

    Raises:
        InputError: there is none, since no run has ended here.
    """
    try:
        found = json.loads((out / SUMMARY).read_text("utf-8"))
        steps = tuple((name, Tally(**tally)) for name, tally in found["steps"])
        return Summary(found["name"], found["about"], steps, found["plan"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(f"{out} holds no finished run ({fault}): run osum pipeline run first") from fault


def units_of(folder: RunFolder, step: str) -> Iterator[Unit]:
    """The units of a step of a finished run, in order."""
    for path in sorted(folder.folder(step).glob("*.jsonl")):
        number, _, key = path.stem.partition("-")
        yield Unit(step, int(number), key)
