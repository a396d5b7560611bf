"""What a run reports: lines for people, a log of JSON lines for programs, trackers, and a plot at the end."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch

from osum.errors import InputError, MissingExtraError
from osum.training.objective import LOSSES

log = logging.getLogger(__name__)
LOG_FILE = "log.jsonl"
PLOT_FILE = "loss.png"
TITLES = dict(zip(LOSSES, ("answers", "letters", "labels", "tokens", "spelling"), strict=True)) | {
    name: name for name in ("text", "speech", "flow", "mel", "adversarial", "features", "judges")
}
"""What a loss is of, as lines for people name it; the losses of every kind of run."""
TRACKERS = ("tensorboard", "trackio")
"""What `track` may name."""
Tracker = Callable[[Mapping[str, float], int], None]


class TrainingReport:
    """What a run did, a line for each step that is logged; of several processes the first reports.

    Args:
        out: folder of `log.jsonl`, which has every figure.
        steps: of the whole run.
        trackers: names of `TRACKERS`.
        config: of the run, for trackers.
        speaks: whether this process reports.
        trained: the losses that are trained; lines for people leave the others out.
    """

    def __init__(
        self,
        out: Path,
        steps: int,
        trackers: tuple[str, ...],
        config: Mapping[str, Any],
        speaks: bool,
        trained: Sequence[str] = LOSSES,
    ) -> None:
        self.out, self.steps, self.speaks, self.trained = out, steps, speaks, trained
        self.trackers = [_tracker(name, out, config) for name in trackers] if speaks else []
        path = out / LOG_FILE
        if speaks and path.is_file() and not path.read_bytes().endswith(b"\n"):  # half a line of a run that was cut off
            path.write_bytes(path.read_bytes() + b"\n")
        self.headed = False
        self._start()

    def _start(self) -> None:
        self.clock, self.seconds, self.tokens, self.made = time.monotonic(), 0.0, 0, 0

    def say(self, line: str) -> None:
        """A line for whoever started the run."""
        if self.speaks:
            log.info("%s", line)

    def count(self, seconds: float, tokens: int) -> None:
        """One step was made on this much audio and text."""
        self.seconds += seconds
        self.tokens += tokens
        self.made += 1

    def pause(self) -> None:
        """What follows (a checkpoint, validation) is not training; speeds leave it out."""
        self._start()

    def step(self, step: int, losses: Mapping[str, float]) -> None:
        """Report the losses of a step, with speed and memory since the last time."""
        passed = time.monotonic() - self.clock
        speed = {
            "audio_seconds_per_second": self.seconds / passed,
            "tokens_per_second": self.tokens / passed,
            "memory_gb": peak_memory() / 1e9,
        }
        self.row(step, {**losses, **speed})
        cells = {
            "step": f"{step}/{self.steps}",
            **{TITLES[name]: f"{losses[name]:.3f}" for name in self.trained},
            "rate": f"{losses['rate']:.1e}",
            "audio s/s": f"{speed['audio_seconds_per_second']:.0f}",
            "memory": f"{speed['memory_gb']:.1f} GB",
            "left": span((self.steps - step) * passed / max(1, self.made)),
        }
        if not self.headed:
            self.say("".join(f"{title:>11}" for title in cells))
            self.headed = True
        self.say("".join(f"{cell:>11}" for cell in cells.values()))
        self._start()

    def validated(self, step: int, valid: Mapping[str, float], better: bool, best: str) -> None:
        """Report the figures of validation, after the checkpoint of the step is written."""
        shown = {TITLES[name]: f"{valid[name]:.3f}" for name in self.trained if name in valid}
        shown |= {name: f"{100 * value:.1f} %" for name, value in valid.items() if name not in TITLES}
        figures = ", ".join(f"{name} {value}" for name, value in shown.items())
        kept = f"; the best {best} so far, kept as best/" if better else ""
        self.say(f"step-{step} is written{f'; validation: {figures}' if figures else ''}{kept}")

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        """Log something of a step, all digits, for programs."""
        if not self.speaks:
            return
        row = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "step": step, **values}
        path = self.out / LOG_FILE
        try:
            with path.open("a", encoding="utf8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as fault:
            raise InputError(
                f"{path} cannot be written ({fault}): make room and start again, finished checkpoints are whole"
            ) from fault
        flat = {f"valid/{name}": value for name, value in values.get("valid", {}).items()}
        flat |= {name: value for name, value in values.items() if isinstance(value, float)}
        for tracker in self.trackers:
            tracker(flat, step)

    def close(self, last: Path) -> None:
        """Draw what was logged, where matplotlib is installed."""
        if not self.speaks:
            return
        try:
            plot(self.out)
        except MissingExtraError as fault:
            log.info("no %s: %s", PLOT_FILE, fault)
        self.say(f"done: {last}")


def span(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


def large(number: int) -> str:
    """A count of parameters: 9.8 M."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def plot(out: Path) -> Path:
    """Draw the losses of `log.jsonl` over the steps as a PNG next to it.

    Raises:
        MissingExtraError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as fault:
        raise MissingExtraError("matplotlib", "plot") from fault
    rows = list(logged(out))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(TITLES):
        for label, found in (
            (f"{name}, training", [(row["step"], row[name]) for row in rows if name in row]),
            (
                f"{name}, validation",
                [(row["step"], row["valid"][name]) for row in rows if name in row.get("valid", {})],
            ),
        ):
            if any(value for _, value in found):
                valid = label.endswith("validation")
                axes.plot(
                    *zip(*found, strict=True),
                    f"C{number}",
                    label=label,
                    lw=2 if valid else 0.8,
                    marker="o" if valid else "",
                )
    axes.set(xlabel="step", ylabel="nats per answer, letter, label", yscale="log")
    figure.legend(loc="outside right upper")
    axes.grid(alpha=0.3)
    figure.savefig(out / PLOT_FILE, dpi=120)
    return out / PLOT_FILE


def logged(out: Path) -> Iterator[dict[str, Any]]:
    """The rows of `log.jsonl`; a line that a full disk or a power cut left half written is passed over."""
    for line in (out / LOG_FILE).read_text("utf8", errors="replace").splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def peak_memory() -> int:
    """Bytes: the most that this process took on its accelerator, or of the machine without one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _tracker(name: str, out: Path, config: Mapping[str, Any]) -> Tracker:
    if name == "tensorboard":
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as fault:
            raise MissingExtraError("tensorboard", "track") from fault
        writer = SummaryWriter(str(out))

        def to_tensorboard(values: Mapping[str, float], step: int) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, step)
            writer.flush()

        return to_tensorboard
    if name == "trackio":
        try:
            import trackio
        except ImportError as fault:
            raise MissingExtraError("trackio", "track") from fault
        trackio.init(project="osum", name=out.name, config=dict(config), resume="allow")
        return lambda values, step: trackio.log(dict(values), step=step)
    raise InputError(f"track: {name!r} is unknown: give tensorboard or trackio")
