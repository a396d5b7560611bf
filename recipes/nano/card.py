"""Writes what is said of the embedded checkpoint `nano`: its card, and blocks of README and docs.

    PYTHONPATH=benchmarks python -m recipes.nano.card --model src/osum/assets/nano --data DIR
        [--run DIR ... [--machine TEXT]] [--results docs/results/nano.json]
        [--timing docs/results/label.json] [--readme README.md README.zh-CN.md README.ja.md] [--times docs/labelling.md]

1. `docs/results/nano_runs.json`: what the stages that were made anew took; those of before stay.
2. `README.md` next to the weights: the card, in Hugging Face form, with the results that `osum report --keep` wrote.
3. In README.md and its translations: the parameters of `nano`, and the real output of its six lines of Python.
4. In docs/labelling.md: the times, from what `label.py` wrote.

Every figure comes from the files; `sources.yaml` holds what the card says of a source in words.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml
from figures import table
from label import markdown as timing_markdown

from osum.evaluation.report import read_results, replace_block, results_block
from osum.evaluation.sets.catalogue import BENCHMARKS
from osum.training.config import TrainConfig, read_recipe
from recipes.nano.card_facts import ModelFacts, RunFacts, SourceFacts, keep_runs, read_model, read_run, read_sources

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORDS = yaml.safe_load((HERE / "sources.yaml").read_text(encoding="utf-8"))
RESULTS, TIMING, RUNS = (ROOT / "docs" / "results" / f"{name}.json" for name in ("nano", "label", "nano_runs"))
SHOWN_BATCH = 8
"""The one batch size that the docs show."""
ASSET = "src/osum/assets/nano"
SPLITS = ("train", "valid", "test")
SETTINGS = (
    *("seed", "steps", "batch_seconds", "batches_per_step", "questions_per_clip", "optimizer", "learning_rate"),
    *("warmup_steps", "decay_fraction", "weight_decay", "ctc_weight", "label_weight", "token_weight", "augment"),
    *("prompt_set", "dtype"),
)
"""What the card shows of a stage's settings."""
ASKS_FOR_NAMES = re.compile(r"CC[ -]BY|ODbL")


# Figures


def figures(results: Path) -> str:
    """All test sets in one table, and on how many of them nano is better than each other model.

    Raises:
        SystemExit: the results are of a part of the clips, or some were not answered.
    """
    found = read_results([results], BENCHMARKS, ())
    for one in found.results:
        if one.failed or one.run.get("limit"):
            raise SystemExit(f"{one.model} on {one.benchmark}: limit {one.run.get('limit')}, {one.failed} failed: "
                             "measure all clips")  # fmt: skip
    return results_block(found)


# README


def timing_block(timing: Mapping[str, Any]) -> str:
    """The table of times in docs/labelling.md."""
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


def update_times(path: Path, timing: Mapping[str, Any]) -> None:
    """Write the table of times of a page.

    Raises:
        InputError: the page has no markers for it.
    """
    text = replace_block(path.read_text(encoding="utf-8"), "timing", lambda _: timing_block(timing))
    path.write_text(text, encoding="utf-8")


def update_readme(path: Path, parameters: int, example: str | None) -> None:
    """Write the example's output of a README, and the parameters in its table of models.

    Raises:
        InputError: the page has no markers for the output.
    """
    text = path.read_text(encoding="utf-8")
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
    stages: Sequence[TrainConfig]
    runs: Mapping[str, RunFacts]
    """Stage to what it took."""
    figures: str
    """The table of results."""


def card(facts: Facts) -> str:
    """The whole card: the template with everything filled in."""
    template = Template((HERE / "card.template.md").read_text(encoding="utf-8"))
    model, stats = facts.model, facts.stats
    return template.substitute(
        sizes=sizes(model),
        layout=model.config["layout"],
        max_seconds=f"{model.max_seconds:g}",
        evidence=table(["task", "gives", "evidence"], [[t.name, t.title, t.evidence or "–"] for t in model.tasks.main]),
        unheard=unheard(facts),
        labels=table(["label set", "training clips, real + synthetic"], label_rows(facts)),
        figures=facts.figures,
        data=data_table(facts),
        texts=", ".join(f"[{text['title']}]({text['url']}) ({text['licence']})" for text in WORDS["texts"]),
        seed=stats["seed"],
        splits=", ".join(f"{split.capitalize()}: {stats[split]['clips']} clips" for split in SPLITS),
        training=training(facts.stages, facts.runs),
        commands=commands(facts.stages),
        attribution=attribution(facts.sources),
    )


def sizes(model: ModelFacts) -> str:
    """Parts with their parameters and shapes, and what is stored on disk."""
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


def training(stages: Sequence[TrainConfig], runs: Mapping[str, RunFacts]) -> str:
    """The settings of each stage and what it took.

    Raises:
        SystemExit: a stage was never made.
    """
    names = [stage_name(stage) for stage in stages]
    if missing := [name for name in names if name not in runs]:
        raise SystemExit(f"nothing is known of stage {missing[0]!r}: give its folder with --run")
    made = [runs[name] for name in names]
    rows = [[f"`{name}`", *(str(getattr(stage, name)) for stage in stages)] for name in SETTINGS]
    rows += [
        ["last training / validation loss", *(run.losses for run in made)],
        ["audio heard, hours", *(_or_dash(run.hours) for run in made)],
        ["wall time, hours", *(_or_dash(run.wall_hours) for run in made)],
        ["machine", *(run.machine or "–" for run in made)],
    ]
    return table(["", *names], rows)


def stage_name(stage: TrainConfig) -> str:
    """A stage is called as its folder."""
    return Path(stage.out).name


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def commands(stages: Sequence[TrainConfig]) -> str:
    """From nothing to this card."""
    folders = " ".join(f"runs/nano/{stage_name(stage)}" for stage in stages)
    last = f"runs/nano/{stage_name(stages[-1])}/step-{stages[-1].steps}"
    rows = [
        "python -m recipes.nano.build --kit DIR --out data/nano",
        "osum train recipes/nano/nano.yaml data=data/nano out=runs/nano",
        f"osum export {last} {ASSET} --dtype bfloat16",
        f"python benchmarks/calibration.py --data data/nano --model {ASSET} --write",
        "make results DATA=data",
        f"PYTHONPATH=benchmarks python -m recipes.nano.card --model {ASSET} --data data/nano --run {folders}",
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
        raise SystemExit(
            f"{missing[0]!r} is {sources[missing[0]].licence}: name its authors in recipes/nano/sources.yaml"
        )
    named = [text for text in WORDS["texts"] if "attribution" in text]
    said = [WORDS[name]["attribution"] for name in asking]
    said += [f"{text['attribution']} ({text['title']}), {text['licence']}" for text in named]
    return "\n".join(f"- {line}." for line in said)


# The command


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the card of nano and README's blocks.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint; the card goes there")
    parser.add_argument("--data", type=Path, required=True, help="data folder: stats.json and the manifests")
    parser.add_argument("--results", type=Path, default=RESULTS, help="what osum report --keep wrote")
    parser.add_argument("--run", type=Path, default=[], nargs="+", help="folders of stages that were made anew")
    parser.add_argument("--machine", help="what they were made on, in words")
    parser.add_argument("--recipe", type=Path, default=HERE / "nano.yaml", help="what it was trained by")
    parser.add_argument("--timing", type=Path, default=TIMING, help="JSON of label.py")
    parser.add_argument("--readme", type=Path, default=[], nargs="+", help="READMEs to bring up to date")
    parser.add_argument("--times", type=Path, help="page whose table of times to bring up to date")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    facts = Facts(
        model=read_model(arguments.model),
        sources=read_sources(arguments.data / "train.jsonl"),
        stats=json.loads((arguments.data / "stats.json").read_text(encoding="utf-8")),
        stages=read_recipe(arguments.recipe),
        runs=keep_runs(RUNS, [read_run(run, arguments.machine) for run in arguments.run]),
        figures=figures(arguments.results),
    )
    (arguments.model / "README.md").write_text(card(facts), encoding="utf-8")
    packaged = (ROOT / ASSET / "config.json").is_file()
    for readme in arguments.readme:
        example = example_output(readme.read_text(encoding="utf-8")) if packaged else None
        update_readme(readme, sum(facts.model.parameters.values()), example)
    if arguments.times:
        update_times(arguments.times, json.loads(arguments.timing.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
