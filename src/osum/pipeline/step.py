"""Steps: named functions over rows with a version and typed options, registered in one place.

Three kinds. A function `(row, options)` looks at one row at a time. A class that is a `ModelStep` asks a model about
many rows at once, and its answers are kept. A function with `across=True` sees the whole corpus, `(rows, options)`,
because what becomes of a row depends on the others. Raise the version when the same options give other rows.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from osum.errors import OsumError, RecipeError
from osum.pipeline.row import DropError, Row
from osum.records import RecordError, from_row, unknown

Outcome = Row | DropError
"""What becomes of a row."""
Rows = Callable[[], Iterator[Row]]
"""The rows of a corpus, gone through as often as needed."""
S = TypeVar("S")


class ModelStep(ABC):
    """A step that asks a model. Its answers are JSON values, kept under what the model was given and its hash.

    Args:
        options: of the plan.
    """

    batch: ClassVar[int] = 16
    """Rows of one question; after a fault each of them is asked alone."""

    @property
    def local(self) -> bool:
        """Whether the model runs in this process, so that it can use an accelerator."""
        return True

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def identity(self) -> str:
        """What distinguishes the model from any other, with everything that decides its answers; must not load it."""

    @abstractmethod
    def given(self, row: Row) -> str:
        """What the answer about a row depends on, or a hash of it.

        Raises:
            DropError: the row cannot be asked about.
        """

    @abstractmethod
    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """A JSON value for each row, or the OsumError that it failed with."""

    @abstractmethod
    def apply(self, row: Row, answer: Any) -> Row | Iterable[Row]:
        """The row, or the rows, that an answer makes of it.

        Raises:
            DropError: the row is left out.
        """


@dataclass(frozen=True)
class Step:
    """A registered step."""

    name: str
    version: int
    options: type[Any]
    """A frozen dataclass."""
    run: Any
    """A function, or a subclass of `ModelStep`."""
    across: bool = False

    @property
    def asks(self) -> bool:
        """Whether it asks a model."""
        return isinstance(self.run, type)

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


STEPS: dict[str, Step] = {}
"""Name to step, of all modules that were imported; `osum.pipeline.steps` imports ours."""


@dataclass(frozen=True)
class NoOptions:
    """Of a step that has none."""


def step(name: str, version: int, across: bool = False) -> Callable[[S], S]:
    """Register a function `(row, options)`, a function `(rows, options)` with `across`, or a `ModelStep`.

    The type of `options` is read from the annotation: of the function's second parameter, or of the class attribute.
    """

    def register(run: S) -> S:
        if name in STEPS:
            raise ValueError(f"there are two steps {name!r}: rename one")
        hints = get_type_hints(run)
        STEPS[name] = Step(name, version, hints.get("options", NoOptions), run, across)
        return run

    return register


@dataclass(frozen=True)
class Placed:
    """A step in a plan."""

    step: Step
    options: Any
    number: int
    """From 1."""

    @property
    def name(self) -> str:
        """Of its folder: `02-cut`."""
        return f"{self.number:02d}-{self.step.name}"

    def __call__(self, given: Any) -> Any:
        """What a function makes of a row, or of all rows."""
        run, options = self.step.run, self.step.options
        return run(given) if options is NoOptions else run(given, self.options)

    def key(self) -> str:
        """A hash of all that decides what it does: name, version, options, model, content of the files it is given."""
        options = asdict(self.options)
        for name in file_options(self.step.options):
            options[name] = stamp(Path(options[name])) if options[name] else ""
        made = {"step": self.step.name, "version": self.step.version, "options": options}
        if self.step.asks:
            made["model"] = self.step.run(self.options).identity()
        return digest(json.dumps(made, sort_keys=True))


def a_file(default: str = "") -> Any:
    """A field of options that names a file or a folder; what is in it decides, not where it is located."""
    return field(default=default, metadata={"file": True})


def file_options(options: type[Any]) -> list[str]:
    """The fields of options that name files."""
    return [item.name for item in fields(options) if item.metadata.get("file")]


def digest(text: str) -> str:
    """16 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def stamp(path: Path) -> str:
    """What changes when a file or anything below a folder does: hash of a small file, else sizes and times.

    Raises:
        RecipeError: there is nothing.
    """
    if not path.exists():
        raise RecipeError(f"{path} does not exist: correct the path in the plan, which is seen from where osum runs")
    if path.is_file() and path.stat().st_size < 1 << 24:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    told = [(str(item.relative_to(path)), item.stat().st_size, item.stat().st_mtime_ns) for item in files]
    return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogateescape")).hexdigest()


def place(named: Mapping[str, Any] | str, number: int, where: str) -> Placed:
    """A step as a plan names it: `decode`, or `cut: {longest: 20}`.

    Raises:
        RecipeError: there is no such step or option, with the nearest name.
    """
    pairs: list[tuple[str, Any]] = [(named, None)] if isinstance(named, str) else list(named.items())
    if len(pairs) != 1:
        raise RecipeError(f"{where} is {named!r}: a step is one name with its options, as in `- cut: {{longest: 20}}`")
    name, options = pairs[0]
    if name not in STEPS:
        raise RecipeError(f"{where}: there is no step {name!r}: {unknown(name, sorted(STEPS), 'steps')}")
    found = STEPS[name]
    try:
        return Placed(found, from_row(found.options, options or {}), number)
    except RecordError as fault:
        raise RecipeError(f"{where}.{name}: {fault.place or 'the options'} {fault.why}") from fault
    except OsumError as fault:  # two options that do not go together
        raise RecipeError(f"{where}.{name}: {fault}") from fault
