"""What the choices of the papers give at the size of `nano`: short runs that differ from one another in one thing.

    python benchmarks/ablations.py --data DIR --start DIR --out DIR [--steps N] [--only RUN]

base             speech before the prompt; a label task is answered as transcript and label; half of the clips augmented
X alone          a label task is answered with the label alone; transcripts are asked for as often as in base
prompt first     the prompt before the speech
no augmentation  clips as they are

All begin with the encoder of `--start`, see the same clips in the same order with the same questions, and are scored
on one part of the validation split; the pair about augmentation on copies with noise, echo and a limited band too.
The adaptor and the language model learn from nothing. What is finished in `--out` is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from answers import Answered, Read, ask, labels_of, text_of
from figures import QUESTIONS, Question, interval, score_row, table, write_json

import osum
from osum.corpus.manifest import read_manifest, unit_hash, write_manifest
from osum.corpus.packed import Float32, PackedAudio
from osum.model.configuration_osum import Layout
from osum.scoring import accuracy, mer, resampling_of
from osum.training.augment import Augmentation, augment
from osum.training.config import TrainConfig, read_recipe
from osum.training.trainer import Trainer
from osum.utterance import Utterance

RECIPE = Path(__file__).parents[1] / "recipes" / "nano" / "nano.yaml"
LABELS = {"VED": 1.0, "SGC": 1.0, "SAP": 1.0, "LID": 1.0}
"""Label tasks and how often they are asked; they are all that is asked in addition to the transcript."""
SHARED: Mapping[str, Any] = {
    "batch_seconds": 24.0,
    "batches_per_step": 3,
    "workers": 0,
    "questions_per_clip": 2,
    "timed_share": 0.0,
    "tasks": {"ASR": 3.0, **LABELS},
    "evidence": {},
    "learning_rate": 1e-3,
    "warmup_steps": 30,
    "decay_fraction": 0.5,
    "augment": 0.5,
    "ctc_weight": 0.5,
    "label_weight": 0.0,
    "token_weight": 0.0,
}
"""What all runs have in place of the recipe's settings: enough to learn something in minutes."""
SOURCES = {
    **{"espeak": 1, "speechocean762": 2, "dspspeech20": 3, "fsdd": 1, "emogator": 1, "donateacry": 1.5, "esc10": 4},
    **{"audio-cmn-words": 0.5, "aishell1": 0.5, "picovoice-keywords": 0.5},
}
"""Passes over each source that is learned from: short clips first."""
SYNTHETIC_SHARE = 0.04
"""Of the synthetic clips, this much is learned from."""
NOISY = Augmentation(
    speed_probability=0, silence_probability=0, echo_probability=1, noise_probability=1, snr=(5, 20), band_probability=1
)
"""The changes of the noisy copies."""
PER_GROUP = 65
"""Validation clips of each source and kind."""


@dataclass(frozen=True)
class Variant:
    """One run: what it changes."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout = "speech_first"
    suffix: str = ""
    """Behind the name of a label task."""
    noisy: bool = False
    """Whether it is asked about noisy copies too."""


VARIANTS = {
    "base": Variant(noisy=True),
    "X alone": Variant(
        {"tasks": {"ASR": 3.0, **{f"{name}-only": much for name, much in LABELS.items()}}}, suffix="-only"
    ),
    "prompt first": Variant(layout="prompt_first"),
    "no augmentation": Variant({"augment": 0.0}, noisy=True),
}


# Training


def with_layout(start: Path, layout: Layout, out: Path) -> Path:
    """A copy of a checkpoint whose requests have another order; its weights fit any."""
    shutil.copytree(start, out, ignore=shutil.ignore_patterns("chat_template.jinja"), dirs_exist_ok=True)
    for name in ("config.json", "processor_config.json"):
        content = json.loads((out / name).read_text(encoding="utf-8"))
        (out / name).write_text(json.dumps({**content, "layout": layout}, indent=2) + "\n", encoding="utf-8")
    return out


def is_heard(row: Utterance) -> bool:
    """Whether the runs learn from a training clip.

    What has no transcript could be asked for X alone only, and the runs would no longer hear the same clips.
    """
    share = SYNTHETIC_SHARE if row.source == "espeak" else 1
    return row.source in SOURCES and row.text is not None and unit_hash(row.id) < share


def config_of(variant: Variant, start: Path, out: Path, steps: int) -> TrainConfig:
    """The run of a variant."""
    shared = {**SHARED, "sources": SOURCES, "steps": steps, "save_every": -(-steps // 2), "keep": 1}
    mixture = {"train": {"manifest": str(out.parent / "train.jsonl")}}
    places = {"mixture": mixture, "valid": str(out.parent / "valid.jsonl"), "model": str(start), "out": str(out)}
    return replace(read_recipe(RECIPE)[-1], **{**shared, **places, **variant.overrides})


def trained(variant: Variant, arguments: argparse.Namespace, out: Path) -> Path:
    """The last checkpoint of a variant."""
    start = with_layout(arguments.start, variant.layout, out.parent / f"start-{variant.layout}")
    return Trainer(config_of(variant, start, out, arguments.steps)).run()


# Asking


def chosen(rows: Sequence[Utterance]) -> list[Utterance]:
    """At most `PER_GROUP` clips of each source and kind, the same in every run; none that nothing is asked of."""
    groups: dict[tuple[Any, ...], list[Utterance]] = {}
    for row in sorted(rows, key=lambda row: unit_hash(row.id)):
        if questions_of(row) or spells_words(row):
            groups.setdefault((row.source, row.extra.get("kind")), []).append(row)
    return [row for group in groups.values() for row in group[:PER_GROUP]]


def questions_of(row: Utterance) -> list[Question]:
    """The label questions whose answer is known, of real voices and sounds."""
    if row.extra.get("evidence") != "real" or row.extra.get("kind") == "string":
        return []
    return [question for question in QUESTIONS if question.task in LABELS and question.truth(row) is not None]


def spells_words(row: Utterance) -> bool:
    """Whether a clip holds synthetic digits or a recorded single word."""
    return bool(row.text) and (row.source, row.extra.get("kind")) in (("espeak", "digits"), ("dspspeech20", None))


def noisy(read: Read) -> Read:
    """Reads clips with changes that depend on the clip alone."""

    def changed(row: Utterance) -> Float32:
        return augment(read(row), np.random.default_rng(int(unit_hash(row.id) * 2**32)), options=NOISY)[0]

    return changed


def scores(rows: Sequence[Utterance], answers: Answered, suffix: str = "") -> dict[str, dict[str, Any]]:
    """Accuracy of each label and the error rate of digits and words, each with its number of clips."""
    found = {}
    for question in QUESTIONS:
        if known := [row for row in rows if question in questions_of(row)]:
            named = labels_of(replace(question, task=f"{question.task}{suffix}"), known, answers)
            truth = [question.truth(row) or "" for row in known]
            found[question.title] = accuracy(truth, [named[row.id] for row in known], resampling_of(known)[0])
    if spelled := [row for row in rows if spells_words(row)]:
        answered = [text_of(answers[row.id]) for row in spelled]
        found["digits and words, MER"] = mer([row.text or "" for row in spelled], answered, resampling_of(spelled)[0])
    return {title: {**score_row(score), "count": score.count} for title, score in found.items()}


def measured(variant: Variant, arguments: argparse.Namespace, out: Path, rows: Sequence[Utterance]) -> dict[str, Any]:
    """Scores of a variant and its losses, from `out` where they are already there."""
    kept = out / "scores.json"
    if not kept.is_file():
        folder = trained(variant, arguments, out)
        recognizer = osum.load(folder, device="cpu")
        read = PackedAudio(arguments.data / "audio.i16").read

        def tasks_of(row: Utterance) -> tuple[str, ...]:
            return ("ASR", *(f"{question.task}{variant.suffix}" for question in questions_of(row)))

        found = {
            name: scores(rows, ask(recognizer, rows, way, tasks_of), variant.suffix)
            for name, way in {"clean": read, **({"noisy": noisy(read)} if variant.noisy else {})}.items()
        }
        log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        write_json(kept, {**found, "losses": [row["valid"] for row in log if "valid" in row][-1]})
    return json.loads(kept.read_text(encoding="utf-8"))


# Showing


def show(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a line for each figure, a column for each run; percent with 95 % intervals over speakers."""
    lines = []
    first = next(iter(found.values()))
    for name in ("clean", "noisy"):
        for title, score in first[name].items():
            cells = [interval(results.get(name, {}).get(title)) for results in found.values()]
            lines.append([f"{title}, {name}", str(score["count"]), *cells])
    for title, loss in {"validation loss of answers": "loss", "validation loss of letters (CTC)": "ctc"}.items():
        lines.append([title, "", *(f"{results['losses'][loss]:.2f}" for results in found.values())])
    return table(["", "n", *found], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of `recipes.nano.build`")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint whose encoder has learned letters")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, scores and the table")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--only", choices=VARIANTS, help="this run alone, without the table")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = chosen(list(read_manifest(arguments.data / "valid.jsonl")))
    learned = [row for row in read_manifest(arguments.data / "train.jsonl") if is_heard(row)]
    for name, part in {"train": learned, "valid": rows}.items():
        write_manifest(arguments.out / f"{name}.jsonl", [row for row in part if row.text is not None])
    found = {
        name: measured(variant, arguments, arguments.out / name.replace(" ", "-"), rows)
        for name, variant in VARIANTS.items()
        if arguments.only in (None, name)
    }
    if not arguments.only:
        print(show(found))


if __name__ == "__main__":
    main()
