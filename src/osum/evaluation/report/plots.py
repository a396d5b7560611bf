"""How figures are drawn, as PNG: radar, confusion, calibration, word times, intervals. Equal input, equal bytes.

Colours are Okabe and Ito's, which colour-blind readers can distinguish; lines also differ in marker and dash.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from osum.errors import MissingExtraError
from osum.evaluation.report.markup import one_line
from osum.evaluation.report.units import MetricUnit
from osum.scoring import HISTOGRAM_REACH, HISTOGRAM_STEP, Calibration, Confusion, Score, WordTimes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LOOK = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws alike
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "text.parse_math": False,  # a name may hold a dollar
    "legend.frameon": False,
    "legend.loc": "upper left",  # matplotlib's own search for a place warns on a slow machine
}
_WIDTH = 10.0  # inches of the widest figure, where its content lets it
_MAX_NUMBERED = 20
"""Classes up to which a confusion matrix shows its counts."""


Styles = Mapping[str, Mapping[str, Any]]
"""How the lines of each model look."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One spoke of the radar."""

    name: str
    unit: MetricUnit
    values: Mapping[str, float]
    """Of each model that has one, as the metric counts them."""


def _drawn(draw: Callable[..., Figure]) -> Callable[..., bytes]:
    """A function that makes a figure, made into one that gives its PNG."""

    def png(*args: Any, **options: Any) -> bytes:
        with _look():
            out = io.BytesIO()
            # The version of matplotlib in the file would make equal figures differ.
            draw(*args, **options).savefig(out, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        return out.getvalue()

    return png


@contextmanager
def _look() -> Iterator[None]:
    """matplotlib's defaults and ours, whatever the user's own settings are."""
    try:
        from matplotlib import style
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    with style.context(["default", _LOOK]):
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def drawable(text: str) -> str:
    """The text with a box for each character that the font has not: it has no Chinese ones."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(sign if ord(sign) in known else "□" for sign in one_line(text))


def styles(models: Iterable[str]) -> Styles:
    """One look for each model, the same in every figure of a report."""
    looks = (COLOURS, MARKERS, ("-", "--", "-.", ":"))
    return {
        model: dict(zip(("color", "marker", "linestyle"), (look[number % len(look)] for look in looks), strict=True))
        for number, model in enumerate(models)
    }


# Radar


@_drawn
def radar(axes: Sequence[Axis], dashed: frozenset[str], looks: Styles) -> Figure:
    """One spoke per task, further out is better; models in `dashed` are published, not measured.

    A spoke whose worst number is not fixed ends at the worst model's, rounded up.
    """
    models = list(dict.fromkeys(model for axis in axes for model in axis.values))
    figure = _figure(7.5, 6.5)
    polar: Any = figure.add_subplot(projection="polar")
    polar.set_theta_zero_location("N")
    polar.set_theta_direction(-1)
    angles = np.linspace(0, 2 * math.pi, len(axes), endpoint=False)
    spans = [_span(axis) for axis in axes]
    for model in models:
        places = [
            _place(axis.unit.factor * axis.values[model], *span) if model in axis.values else math.nan
            for axis, span in zip(axes, spans, strict=True)
        ]
        polar.plot(
            [*angles, angles[0]],
            [*places, places[0]],
            **{**looks[model], "linestyle": "--" if model in dashed else "-"},
            label=drawable(model),
            linewidth=1.8,
            clip_on=False,
        )
    polar.set_ylim(0, 1)
    polar.set_yticks([0.25, 0.5, 0.75, 1], labels=[])
    polar.set_xticks(angles, labels=[])
    for angle, axis, span in zip(angles, axes, spans, strict=True):
        side, height = round(math.sin(angle), 6), round(math.cos(angle), 6)
        ha = "left" if side > 0 else "right" if side < 0 else "center"
        va = "bottom" if height > 0 else "top" if height < 0 else "center"
        polar.text(angle, 1.06, _spoke(axis, span), ha=ha, va=va, fontsize=9)
    figure.legend(*polar.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _span(axis: Axis) -> tuple[float, float]:
    """The numbers at centre and rim."""
    if axis.unit.worst is not None:
        return axis.unit.worst, axis.unit.best
    return _rounded_up(max(axis.unit.factor * value for value in axis.values.values())), axis.unit.best


def _rounded_up(number: float) -> float:
    """To one digit of 1, 2, 5."""
    power = 10.0 ** math.floor(math.log10(number)) if number > 0 else 1.0
    return next((step * power for step in (1, 2, 5) if step * power > number), 10 * power)


def _place(number: float, centre: float, rim: float) -> float:
    return min(1.0, max(0.0, (number - centre) / (rim - centre)))


def _spoke(axis: Axis, span: tuple[float, float]) -> str:
    centre, rim = (f"{number:g}" for number in span)
    return drawable(f"{axis.name}") + "\n" + drawable(f"{axis.unit.title}, {centre} to {rim} {axis.unit.sign}".strip())


# Labels


@_drawn
def confusion_matrices(found: Mapping[str, Confusion], title: str, title_of: Callable[[str], str] = str) -> Figure:
    """Shares of each true label (rows) by shade, clips by number; a matrix for each model."""
    num_labels = max(len(one.labels) for one in found.values())
    cell = 0.4 if num_labels <= _MAX_NUMBERED else 0.25  # inches
    side = max(2.0, cell * (num_labels + 1))
    num_columns = max(1, min(len(found), int(_WIDTH / (side + 1.2))))
    num_lines = math.ceil(len(found) / num_columns)
    width = max(num_columns * (side + 1.2), 0.09 * len(title))
    figure = _figure(width, num_lines * (side + 1.3) + 0.3)
    places = figure.subplots(num_lines, num_columns, squeeze=False).ravel()
    for axes, (model, one) in zip(places, found.items(), strict=False):
        _matrix(axes, one, [drawable(title_of(label)) for label in one.labels])
        axes.set_title(drawable(model))
    for axes in places[len(found) :]:
        axes.set_visible(False)
    figure.suptitle(drawable(title), fontsize=11)
    return figure


def _matrix(axes: Axes, found: Confusion, names: list[str]) -> None:
    counts = np.array(found.counts, dtype=float)  # (L, L + 1)
    if not counts[:, -1].any():
        counts = counts[:, :-1]  # every answer held a label
    columns = names if counts.shape[1] == len(names) else [*names, "no label"]
    shares = np.divide(counts, counts.sum(axis=1, keepdims=True), out=np.zeros_like(counts), where=counts > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(columns)), labels=columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels=names)
    axes.set(xlabel="named", ylabel="true")
    axes.spines[:].set_visible(False)
    if len(names) > _MAX_NUMBERED:
        axes.tick_params(labelsize=7)
        return
    for (line, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[line, column] > 0.6 else "black"
            axes.text(column, line, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=8)


@_drawn
def reliability(found: Mapping[str, Calibration], title: str, looks: Styles) -> Figure:
    """Left: accuracy against probability, the diagonal is right. Right: share of wrong answers among the surest."""
    figure = _figure(9, 4.2)
    left, right = figure.subplots(1, 2)
    _against_probability(left, found, looks)
    for model, calibration in found.items():
        plain: dict[str, Any] = {**looks[model], "marker": ""}
        right.plot(*zip(*calibration.risk_coverage, strict=True), label=drawable(model), **plain)
    right.set(xlabel="share of clips answered, the surest first", ylabel="share that is wrong", xlim=(0, 1.02))
    right.set_ylim(0, max(0.05, right.get_ylim()[1]))
    right.grid(alpha=0.25)
    right.legend(fontsize=8)
    figure.suptitle(drawable(title), fontsize=11)
    return figure


@_drawn
def reliability_pair(before: Mapping[str, Calibration], after: Mapping[str, Calibration], title: str) -> Figure:
    """Accuracy against probability before and after temperatures were fitted, a line for each task."""
    figure = _figure(9, 4.4)
    looks = styles(dict.fromkeys([*before, *after]))
    for axes, found, name in zip(figure.subplots(1, 2), (before, after), ("before", "after"), strict=True):
        _against_probability(axes, found, looks)
        axes.set_title(name)
    figure.suptitle(drawable(title), fontsize=11)
    return figure


def _against_probability(axes: Axes, found: Mapping[str, Calibration], looks: Styles) -> None:
    """A line for each model or task; the diagonal is right."""
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="calibrated")
    for name, calibration in found.items():
        sure, hit, _ = zip(*calibration.bins, strict=True)
        axes.plot(sure, hit, label=drawable(f"{name}, ECE {100 * calibration.error.value:.1f} %"), **looks[name])
    axes.set(xlabel="probability of the named label", ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)


# Word times


@_drawn
def word_time_histogram(found: Mapping[str, WordTimes], title: str, looks: Styles) -> Figure:
    """Signed distances of starts and ends, a step for each model."""
    figure = _figure(8, 3.6)
    axes = figure.subplots()
    edges = np.arange(-HISTOGRAM_REACH, HISTOGRAM_REACH + HISTOGRAM_STEP, HISTOGRAM_STEP)
    for model, times in found.items():
        counts = np.array(times.histogram, dtype=float)
        label = drawable(f"{model}, median {times.median:.0f} ms")
        shares = 100 * counts / max(1.0, counts.sum())
        plain = {name: look for name, look in looks[model].items() if name != "marker"}
        axes.stairs(shares, edges, label=label, linewidth=1.8, **plain)
    axes.axvline(0, color="#999999", linewidth=1, linestyle=":")
    axes.set(xlabel="answer less truth in ms; the ends hold what is beyond", ylabel="% of starts and ends")
    axes.set_title(drawable(title))
    axes.legend(fontsize=8, loc="upper right")
    return figure


# Intervals


@_drawn
def intervals(found: Sequence[tuple[str, Mapping[str, Score]]], unit: MetricUnit, looks: Styles) -> Figure:
    """Values with their 95 % intervals: a line for each benchmark, in it the models below each other."""
    models = [model for model in looks if any(model in scores for _, scores in found)]
    figure = _figure(8, 1.3 + max(1.2, len(found) * (0.25 + 0.17 * len(models))))
    axes = figure.subplots()
    named: set[str] = set()
    for line, (_, scores) in enumerate(found):
        for model, score in scores.items():
            at = line + 0.7 * ((models.index(model) + 0.5) / len(models) - 0.5)
            value, low, high = (unit.factor * number for number in (score.value, score.low, score.high))
            label = None if model in named else drawable(model)
            style = {name: look for name, look in looks[model].items() if name != "linestyle"}
            axes.errorbar(
                value, at, xerr=[[value - low], [high - value]], label=label, capsize=2, markersize=5, **style
            )
            named.add(model)
    axes.set_yticks(range(len(found)), labels=[drawable(title) for title, _ in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(drawable(unit.head.replace("↓", "(lower is better)").replace("↑", "(higher is better)")))
    most = max(unit.factor * score.high for _, scores in found for score in scores.values()) or unit.factor
    axes.set_xlim(-0.015 * most, 1.04 * most)  # room for half a marker at 0
    axes.grid(axis="x", alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(models)))
    return figure
