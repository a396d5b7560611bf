"""The classical baseline beside `nano`, on the same split: `osum.peers.classical` asked what `figures` asks.

    python benchmarks/classical.py --data DIR --out FILE.json [--ravdess DIR]

Fitted on the recordings of the training split (nothing synthetic), answered for every test clip; classifiers are
chosen on the validation split, or between training speakers where a source has no validation clips.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import (
    QUESTIONS,
    SOURCE,
    WORD_QUESTIONS,
    Labels,
    Question,
    is_recording,
    label_figures,
    label_tables,
    read_ravdess,
    read_split,
    source_only,
    write_json,
)
from tqdm import tqdm

from osum.audio import load
from osum.data.packed import PackedAudio
from osum.peers.classical import Examples, Features, features, fit, signature
from osum.peers.features import Floats
from osum.utterance import Utterance

STATISTICS, FRAMES = "classical", "classical, time-normalised"


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows of all splits with their features; `ravdess` counts as test."""

    rows: Mapping[str, Sequence[Utterance]]
    features: Mapping[str, Features]

    def examples(self, split: str, question: Question, predictor: str) -> Examples:
        """The recordings of a split whose answer is known."""
        rows = self.rows[split]
        chosen = [i for i, row in enumerate(rows) if is_recording(row) and question.truth(row) is not None]
        labels = [question.truth(rows[i]) or "" for i in chosen]
        speakers = [rows[i].speaker or rows[i].id for i in chosen]
        return Examples(self.inputs(split, predictor)[chosen], np.array(labels, str), np.array(speakers, str))

    def inputs(self, split: str, predictor: str) -> Floats:
        """(N, D) that a predictor sees of a split."""
        return self.features[split].frames if predictor == FRAMES else self.features[split].statistics


def read_splits(data: Path, folder: Path, ravdess: Path | None = None) -> Splits:
    """Rows and features of all splits; features are kept in `folder`."""
    packed = PackedAudio(data / "audio.i16")
    rows = {split: read_split(data, split) for split in ("train", "valid", "test")}
    rows |= {split: [row for row in rows[split] if is_recording(row)] for split in ("train", "valid")}
    found = {split: _features(split, part, packed.read, folder) for split, part in rows.items()}
    if ravdess:
        rows["ravdess"] = read_ravdess(ravdess)
        found["ravdess"] = _features("ravdess", rows["ravdess"], lambda row: load(row.path), folder)
    return Splits(rows, found)


def _features(split: str, rows: Sequence[Utterance], read: Callable[[Utterance], Floats], folder: Path) -> Features:
    with tqdm(total=len(rows), desc=f"features-{split}", unit="clip") as progress:

        def watched(row: Utterance) -> Floats:
            progress.update()
            return read(row)

        return features(rows, watched, folder / f"features-{split}.npz")


def answer(splits: Splits, question: Question, predictor: str) -> tuple[Labels, dict[str, Any]]:
    """Labels of all test clips whose answer is known, and what answered them."""
    train, valid = (splits.examples(split, question, predictor) for split in ("train", "valid"))
    fitted = fit(train, valid)
    labels: dict[str, str | None] = {}
    for split in splits.rows.keys() & {"test", "ravdess"}:
        asked = [i for i, row in enumerate(splits.rows[split]) if question.truth(row) is not None]
        if asked:
            named = fitted.model.predict(splits.inputs(split, predictor)[asked])
            labels |= {splits.features[split].ids[i]: str(label) for i, label in zip(asked, named, strict=True)}
    chosen: dict[str, Any] = {"question": question.name, "model": f"{predictor}: {fitted.name}"}
    chosen["chosen_at_accuracy"] = round(fitted.accuracy, 4)
    return labels, {**chosen, "train": len(train.labels), "valid": len(valid.labels)}


def answers(data: Path, folder: Path, ravdess: Path | None = None) -> dict[str, Any]:
    """Both predictors' labels and their models, read from `folder` where they are of the same clips."""
    cached = folder / "classical-answers.json"
    splits = read_splits(data, folder, ravdess)
    key = hashlib.sha256("".join(signature(rows) for rows in splits.rows.values()).encode()).hexdigest()
    if cached.exists() and (stored := json.loads(cached.read_text(encoding="utf-8")))["key"] == key:
        return stored
    found: dict[str, Any] = {"key": key, "labels": {STATISTICS: {}, FRAMES: {}}, "models": []}
    asked = [(question, STATISTICS) for question in QUESTIONS] + [(question, FRAMES) for question in WORD_QUESTIONS]
    for question, predictor in tqdm(asked, desc="fitting"):
        found["labels"][predictor][question.name], model = answer(splits, question, predictor)
        found["models"].append(model)
    write_json(cached, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the classical baseline on the test split.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train, valid, test.jsonl and audio.i16")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write; features are kept beside it")
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS (for measuring only)")
    arguments = parser.parse_args()
    started = time.monotonic()
    found = answers(arguments.data, arguments.out.parent, arguments.ravdess)
    test = read_split(arguments.data, "test") + (read_ravdess(arguments.ravdess) if arguments.ravdess else [])
    train = read_split(arguments.data, "train")
    predictors = {SOURCE: source_only(QUESTIONS, test, train), **found["labels"]}
    figures = label_figures(QUESTIONS, test, train, predictors)
    seconds = round(time.monotonic() - started, 1)
    write_json(arguments.out, {"models": found["models"], "figures": figures, "seconds": seconds})
    print(label_tables(figures, (SOURCE, FRAMES, STATISTICS)))
    print(f"\n{seconds} s; models: {json.dumps(found['models'], indent=1)}")


if __name__ == "__main__":
    main()
