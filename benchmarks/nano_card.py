"""Writes what is said of the embedded checkpoint `nano`: its card, its figures in small, and two of README's blocks.

    python benchmarks/nano_card.py --model src/osum/assets/nano --data DIR --figures nano.json --run DIR [DIR ...] \
        [--machine TEXT] [--timing label.json] [--readme README.md]

1. `figures.json` beside the weights: every figure of nano_figures.py without what no table shows.
2. `README.md` beside the weights: the card, in Hugging Face form.
3. In README.md: the times, made from `figures.json` alone, and the real output of its six lines of Python.

The results in the README are of `osum report`.

Every figure comes from the files; `nano_sources.yaml` holds what the card says of a source in words.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml
from card_facts import ModelFacts, RunFacts, SourceFacts, read_model, read_run, read_sources
from figures import RAVDESS, RECORDINGS, SEEN, SOURCE, SYNTHETIC, data_name, interval, percent, table
from label import markdown as timing_markdown
from slices import NANO, slice_table

from osum.evaluation.report import replace_block
from osum.tasks import OSUM

ROOT = Path(__file__).parents[1]
WORDS = yaml.safe_load((Path(__file__).parent / "nano_sources.yaml").read_text(encoding="utf-8"))
FIGURES = "figures.json"
METRICS = ("accuracy", "macro_f1")
WIDTH = 118  # columns of running text
SHOWN_BATCH = 8
"""The one batch size that README shows."""
ASSET = "src/osum/assets/nano"
SPLITS = ("train", "valid", "test")
SETTINGS = (
    *("seed", "steps", "batch_seconds", "batches_per_step", "questions_per_clip", "optimizer", "learning_rate"),
    *("warmup_steps", "decay_fraction", "weight_decay", "ctc_weight", "augment", "prompt_set", "dtype"),
)
"""What the card shows of a run's settings."""
ASKS_FOR_NAMES = re.compile(r"CC[ -]BY|ODbL")
LANGUAGES = {"en": "English", "zh": "Mandarin"}

SECTIONS = {
    "unseen": "Recordings of speakers that were not heard",
    "one class": "The same, sources that hold one class only",
    "seen": "Recordings of speakers that were heard, other texts",
    "synthetic": "Synthetic speech, voices and texts that were not heard",
    "made": "Clips made of others: words strung together, voices with an event, silence",
    "foreign": "Another domain: RAVDESS, acted sentences; its licence allows measuring only, none of it was trained on",
}
HEAD = ["task", "test data", "n", "majority", SOURCE, "classical", "nano [95 % CI]", "macro F1: classical, nano"]


# Figures


def compact(report: Mapping[str, Any], timing: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What tables show of a report of nano_figures.py.

    Raises:
        SystemExit: the report is of a part of the clips, or some were not answered.
    """
    if report.get("limit") or report.get("failed"):
        raise SystemExit(f"figures with limit {report.get('limit')}, failed {report.get('failed')}: measure all clips")
    labels = [
        {**row, "scores": {name: _small(scores) for name, scores in row["scores"].items()}} for row in report["labels"]
    ]
    slices = [
        {**row, "scores": {name: _bounds(score, "coverage") for name, score in row["scores"].items()}}
        for row in report["slices"]
    ]
    found: dict[str, Any] = {"clips": report["clips"], "seconds": report["seconds"], "slices": slices, "labels": labels}
    for kind in ("transcripts", "times"):
        found[kind] = [{**row, NANO: _bounds(row[NANO], "coverage")} for row in report[kind]]
    return found | ({"timing": timing} if timing else {})


def figures_json(figures: Mapping[str, Any]) -> str:
    """One line per figure: small, and changes are seen."""
    text = {name: json.dumps(value, ensure_ascii=False) for name, value in figures.items()}
    for name in ("slices", "labels", "transcripts", "times"):
        rows = [json.dumps(row, ensure_ascii=False) for row in figures[name]]
        text[name] = "[\n  " + ",\n  ".join(rows) + "\n ]" if rows else "[]"
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {value}" for name, value in text.items()) + "\n}\n"


def _small(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {metric: _bounds(scores[metric]) for metric in METRICS if metric in scores}


def _bounds(score: Mapping[str, Any], *more: str) -> dict[str, Any]:
    return {name: score[name] for name in ("value", "low", "high", *more) if name in score}


def section(row: Mapping[str, Any]) -> str:
    """The table that a figure stands in."""
    data = str(row["data"])
    if data == RAVDESS:
        return "foreign"
    if data.startswith("made"):
        return "made"
    if data.endswith(SEEN):
        return "seen"
    if data.startswith(SYNTHETIC):
        return "synthetic"
    return "one class" if len(row.get("labels", "..")) == 1 else "unseen"


def lines(figures: Mapping[str, Any], name: str) -> list[list[str]]:
    """The rows of a section's table: labels, then transcripts, then word times."""
    parts = (("labels", label_line), ("transcripts", text_line), ("times", time_line))
    return [line(row) for kind, line in parts for row in figures[kind] if section(row) == name]


def label_line(row: Mapping[str, Any]) -> list[str]:
    """Accuracy of one label in percent."""
    known = f" ({row['question']})" if row["question"] in OSUM else ""
    majority = f"{100 * row['majority']:.1f}"
    best, own = rival(row), row["scores"].get(NANO, {})
    means = ", ".join(percent(scores.get("macro_f1")) for scores in (best, own)) if len(row["labels"]) > 1 else "–"
    source = percent(row["scores"].get(SOURCE, {}).get("accuracy"))
    return [f"{row['title']}{known}", data_name(row), str(row["count"]), majority, source,
            interval(best.get("accuracy")), interval(own.get("accuracy")), means]  # fmt: skip


def text_line(row: Mapping[str, Any]) -> list[str]:
    """Error rate of transcripts in percent."""
    unit = "characters" if row["metric"] == "cer" else "words"
    task = f"wrong {unit}, {LANGUAGES[row['language']]} ({row['metric'].upper()}, lower is better)"
    return [task, row["data"], str(row["count"]), *["–"] * 3, interval(row[NANO]), "–"]


def time_line(row: Mapping[str, Any]) -> list[str]:
    """Shift of word times in ms."""
    coverage = percent({"value": row[NANO].get("coverage")})
    task = f"shift of word times in ms (AAS, lower is better), of {coverage} % of the words; times from {row['times']}"
    return [task, row["data"], str(row["count"]), *["–"] * 3, interval(row[NANO], 1), "–"]


def rival(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Scores of the classical baseline with the better accuracy: the harder one to beat."""
    found = [scores for name, scores in row["scores"].items() if name not in (NANO, SOURCE)]
    return max(found, key=_accuracy, default={})


def _accuracy(scores: Mapping[str, Any], bound: str = "value") -> float:
    return float(scores.get("accuracy", {}).get(bound) or 0)


def verdict(figures: Mapping[str, Any]) -> str:
    """On which questions the interval of nano lies above majority class, source alone, and classical baseline."""
    rows = [row for row in figures["labels"] if row["data"] == RECORDINGS and NANO in row["scores"]]
    majority = _sides(rows, [row["majority"] for row in rows])
    source = _sides(rows, [_accuracy(row["scores"][SOURCE]) for row in rows])
    classical = _sides(rows, [_accuracy(rival(row)) for row in rows])
    said = f"The whole interval of nano lies above the majority class for {majority}. "
    said += f"It lies above a guess from the source alone for {source}. "
    return textwrap.fill(f"{said}It lies above the better classical baseline for {classical}.", WIDTH)


def _sides(rows: Sequence[Mapping[str, Any]], bars: Sequence[float]) -> str:
    sides: dict[bool, list[str]] = {True: [], False: []}
    for row, bar in zip(rows, bars, strict=True):
        sides[_accuracy(row["scores"][NANO], "low") > bar].append(_short(row["title"]))
    above, others = (", ".join(sides[side]) for side in (True, False))
    return f"{above or 'nothing'}; not for {others}" if others else "all of them"


def _short(title: str) -> str:
    return title.split(",", maxsplit=1)[0].split(" (", maxsplit=1)[0]


# README


def timing_block(timing: Mapping[str, Any]) -> str:
    """README's table of times."""
    return f"{timing_markdown(timing, SHOWN_BATCH)} Measured by `python benchmarks/label.py`."


def example_output(readme: str) -> str:
    """What README's Python example prints when it is run."""
    found = re.search(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    if not found:
        raise SystemExit("the page has no Python example")
    run = subprocess.run([sys.executable, "-c", found[1]], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"the example does not run: {run.stderr.strip().splitlines()[-1]}")
    return f"```\n{run.stdout.rstrip()}\n```"


def update_readme(path: Path, figures: Mapping[str, Any], parameters: int, example: str | None) -> None:
    """Write both blocks of a README, and the parameters in its table of models.

    Raises:
        InputError: the page has no markers for a block.
    """
    text = path.read_text(encoding="utf-8")
    if "timing" in figures:
        text = replace_block(text, "timing", lambda _: timing_block(figures["timing"]))
    if example is not None:
        text = replace_block(text, "output", lambda _: example)
    text = re.sub(r"^(\| `nano` \| )[^|]+", rf"\g<1>{_millions(parameters, 1)} ", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


# The card


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a card is made from."""

    model: ModelFacts
    sources: Mapping[str, SourceFacts]
    stats: Mapping[str, Any]
    runs: Sequence[RunFacts]
    figures: Mapping[str, Any]
    machine: str | None = None


def card(facts: Facts) -> str:
    """The whole card: the template with everything filled in."""
    template = Template((Path(__file__).parent / "nano_card.template.md").read_text(encoding="utf-8"))
    model, stats = facts.model, facts.stats
    return template.substitute(
        sizes=sizes(model),
        layout=model.config["layout"],
        max_seconds=f"{model.max_seconds:g}",
        evidence=table(["task", "gives", "evidence"], [[t.name, t.title, t.evidence or "–"] for t in model.tasks.main]),
        unheard=unheard(facts),
        labels=table(["label set", "training clips, real + synthetic"], label_rows(facts)),
        clips=facts.figures["clips"],
        verdict=verdict(facts.figures),
        figures=figure_tables(facts.figures),
        data=data_table(facts),
        texts=", ".join(f"[{text['title']}]({text['url']}) ({text['licence']})" for text in WORDS["texts"]),
        seed=stats["seed"],
        splits=", ".join(f"{split.capitalize()}: {stats[split]['clips']} clips" for split in SPLITS),
        machine=f" on {facts.machine}" if facts.machine else "",
        training=training(facts.runs),
        commands=commands(facts.runs),
        attribution=attribution(facts.sources),
    )


def sizes(model: ModelFacts) -> str:
    """Parts with their parameters and shapes, and what lies on disk."""
    audio, adaptor, text = (model.config[f"{name}_config"] for name in ("audio", "adaptor", "text"))
    shapes = {
        "encoder": ("audio_tower", f"Whisper style, {_layers(audio)}, {audio['num_mel_bins']} mel bands"),
        "adaptor": ("adaptor", f"strided convolutions, {_layers(adaptor)}"),
        "language model": ("language_model", f"Qwen2 style, {_layers(text)}, {text['vocab_size']} tokens"),
    }
    rows = [[part, _millions(model.parameters.get(name, 0)), shape] for part, (name, shape) in shapes.items()]
    files = f"weights {model.weight_megabytes:.1f} MB in {model.num_files} file(s), {model.dtype}"
    whole = ["all", _millions(sum(model.parameters.values())), f"{files}; the folder {model.megabytes:.1f} MB"]
    return table(["part", "parameters", "sizes"], [*rows, whole])


def _layers(part: Mapping[str, Any]) -> str:
    width = f"width {part['hidden_size']}, " if "hidden_size" in part else ""
    return f"{width}{part['num_hidden_layers']} layers of {part['num_attention_heads']} heads"


def _millions(count: int, digits: int = 2) -> str:
    return f"{count / 1e6:.{digits}f} M"


def label_counts(facts: Facts, name: str) -> dict[str, tuple[int, int]]:
    """English name of each label of a set to its training clips, real and synthetic."""
    counted = facts.stats["train"]["labels"].get(name, {})
    labels = facts.model.tasks.label_sets[name]
    return {
        labels.title(label): (counted.get(f"{label} (real)", 0), counted.get(f"{label} (synthetic)", 0))
        for label in labels.labels
    }


def unheard(facts: Facts) -> str:
    """Labels without a training clip."""
    found = {
        name: [label for label, counts in label_counts(facts, name).items() if not sum(counts)]
        for name in facts.model.tasks.label_sets
    }
    return "; ".join(f"{name}: {', '.join(labels)}" for name, labels in found.items() if labels) or "none"


def label_rows(facts: Facts) -> list[list[str]]:
    """Every label set with the training clips of each label."""
    return [
        [name, ", ".join(f"{label} {real} + {said}" for label, (real, said) in label_counts(facts, name).items())]
        for name in facts.model.tasks.label_sets
    ]


def figure_tables(figures: Mapping[str, Any]) -> str:
    """All figures, a table for each section that has any."""
    filled = {title: rows for name, title in SECTIONS.items() if (rows := lines(figures, name))}
    tables = {"In short": slice_table(figures["slices"])} | {title: table(HEAD, rows) for title, rows in filled.items()}
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in tables.items())


def data_table(facts: Facts) -> str:
    """Sources of the training split, with their hours in every split."""
    head = ["source", "what", "training clips", f"hours {' / '.join(SPLITS)}", "known of it", "kind", "licence"]
    train = facts.stats["train"]
    rows = [_source_row(name, clips, facts) for name, clips in train["clips_by_source"].items()]
    return table(head, [*rows, ["all", "", str(train["clips"]), _hours(facts.stats, None), "", "", ""]])


def _source_row(name: str, clips: int, facts: Facts) -> list[str]:
    words, source = WORDS.get(name, {}), facts.sources[name]
    title = f"[{words['title']}]({words['url']})" if "url" in words else words.get("title", name)
    hours = _hours(facts.stats, name)
    return [title, words.get("about", ""), str(clips), hours, source.known, source.kind, source.licence or "made here"]


def _hours(stats: Mapping[str, Any], source: str | None) -> str:
    hours = [stats[split]["hours_by_source"].get(source, 0) if source else stats[split]["hours"] for split in SPLITS]
    return " / ".join(f"{value:.2f}" for value in hours)


def training(runs: Sequence[RunFacts]) -> str:
    """The settings of each run and what it took."""
    names = [name for name in SETTINGS if any(name in run.config for run in runs)]
    rows = [[f"`{name}`", *(str(run.config.get(name, "–")) for run in runs)] for name in names]
    rows += [
        ["starts from", *(run.start for run in runs)],
        ["steps done", *(str(run.step) for run in runs)],
        ["last training / validation loss", *(run.losses for run in runs)],
        ["audio heard, hours", *(_or_dash(run.hours) for run in runs)],
        ["wall time, hours", *(_or_dash(run.wall_hours) for run in runs)],
    ]
    return table(["", *(run.name for run in runs)], rows)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def commands(runs: Sequence[RunFacts]) -> str:
    """From nothing to this card."""
    folders = " ".join(f"runs/{run.name}" for run in runs)
    rows = [
        "osum data nano --kit DIR --out data/nano",
        *(run.command for run in runs),
        f"python benchmarks/nano_figures.py --data data/nano --model {ASSET} --ravdess DIR --out nano.json",
        f"python benchmarks/nano_card.py --model {ASSET} --data data/nano --figures nano.json --run {folders}",
    ]
    return "\n".join(f"    {row}" for row in rows)


def attribution(sources: Mapping[str, SourceFacts]) -> str:
    """A line for each source whose licence asks for one.

    Raises:
        SystemExit: a source asks for attribution and has no line.
    """
    asking = [name for name, source in sources.items() if ASKS_FOR_NAMES.search(source.licence)]
    missing = [name for name in asking if "attribution" not in WORDS.get(name, {})]
    if missing:
        raise SystemExit(f"{missing[0]!r} is {sources[missing[0]].licence}: name its authors in nano_sources.yaml")
    named = [text for text in WORDS["texts"] if "attribution" in text]
    said = [WORDS[name]["attribution"] for name in asking]
    said += [f"{text['attribution']} ({text['title']}), {text['licence']}" for text in named]
    return "\n".join(f"- {line}." for line in said)


# The command


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the card of nano, its small figures and README's blocks.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint; card and figures go there")
    parser.add_argument("--data", type=Path, required=True, help="data folder: stats.json and the manifests")
    parser.add_argument("--figures", type=Path, required=True, help="JSON of nano_figures.py")
    parser.add_argument(
        "--run", type=Path, required=True, nargs="+", help="run folders, in the order they were trained"
    )
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "nano.yaml", help="what the runs were given")
    parser.add_argument("--machine", help="what it was trained on, in words")
    parser.add_argument("--timing", type=Path, help="JSON of label.py")
    parser.add_argument("--readme", type=Path, help="README to bring up to date")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    timing = json.loads(arguments.timing.read_text(encoding="utf-8")) if arguments.timing else None
    figures = compact(json.loads(arguments.figures.read_text(encoding="utf-8")), timing)
    facts = Facts(
        model=read_model(arguments.model),
        sources=read_sources(arguments.data / "train.jsonl"),
        stats=json.loads((arguments.data / "stats.json").read_text(encoding="utf-8")),
        runs=[read_run(run, arguments.recipe) for run in arguments.run],
        figures=figures,
        machine=arguments.machine,
    )
    (arguments.model / FIGURES).write_text(figures_json(figures), encoding="utf-8")
    (arguments.model / "README.md").write_text(card(facts), encoding="utf-8")
    if arguments.readme:
        packaged = (ROOT / ASSET / "config.json").is_file()
        example = example_output(arguments.readme.read_text(encoding="utf-8")) if packaged else None
        update_readme(arguments.readme, figures, sum(facts.model.parameters.values()), example)
    print(verdict(figures))


if __name__ == "__main__":
    main()
