"""Digits of a speaker who was never seen: the last stage of `nano`'s recipe in small, once without each speaker.

    python benchmarks/digits.py --data DIR --start DIR --out DIR [--steps N] [--only SPEAKER]

`--start` is a checkpoint of the stage before that has seen no recorded digit (`osum train recipes/nano/nano.yaml
sources.fsdd=0`). Each run continues from it by the settings of the last stage, but asks for transcripts alone; it reads
the digits of three speakers, whoever is held out of `nano`, and is scored on the single digits of the fourth. What is
finished in `--out` is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from answers import ask, text_of
from figures import interval, score_row, table, write_json

import osum
from osum.corpus.manifest import read_manifest, write_manifest
from osum.corpus.packed import AUDIO, PackedAudio
from osum.scoring import resampling_of, wer
from osum.training.config import TrainConfig, read_recipe
from osum.training.trainer import Trainer
from osum.utterance import Utterance

RECIPE = Path(__file__).parents[1] / "recipes" / "nano" / "nano.yaml"
DIGITS = "fsdd"
SOURCES = {
    **{DIGITS: 4, "espeak": 0.02, "speechocean762": 0.2, "dspspeech20": 0.3},
    **{"audio-cmn-words": 0.2, "picovoice-keywords": 0.2, "aishell1": 0, "librispeech": 0},
    **{"emogator": 0, "noise": 0, "donateacry": 0, "esc10": 0},
}
"""Passes over each source; words and sentences too, so that it does not become a reader of digits."""


def config_of(start: Path, out: Path, steps: int) -> TrainConfig:
    """The run without one speaker, whose clips are in `out`'s manifest."""
    return replace(
        read_recipe(RECIPE)[-1],
        mixture={"train": {"manifest": str(out / "train.jsonl")}},
        valid=str(out / "valid.jsonl"),
        model=str(start),
        out=str(out),
        sources=SOURCES,
        tasks={"ASR": 1.0},
        evidence={},
        questions_per_clip=1,
        timed_share=0.0,
        steps=steps,
        save_every=steps,
        keep=1,
    )


def single(rows: Sequence[Utterance], speaker: str) -> list[Utterance]:
    """The recordings of a speaker's digits as they are; none that were strung together."""
    return [row for row in rows if row.speaker == speaker and "parts" not in row.extra]


def measured(speaker: str, rows: Sequence[Utterance], arguments: argparse.Namespace) -> dict[str, Any]:
    """Word error rate on a speaker's digits after a run without them, from `--out` where it is already there."""
    out = arguments.out / speaker
    kept = out / "score.json"
    if not kept.is_file():
        out.mkdir(parents=True, exist_ok=True)
        tested = single(rows, speaker)
        write_manifest(out / "train.jsonl", [row for row in rows if row.speaker != speaker])
        write_manifest(out / "valid.jsonl", tested)
        folder = Trainer(config_of(arguments.start, out, arguments.steps)).run()
        read = PackedAudio(arguments.data / AUDIO).read
        answers = ask(osum.load(folder, device="cpu"), tested, read, lambda _: ("ASR",))
        answered = [text_of(answers[row.id]) for row in tested]
        score = wer([row.text or "" for row in tested], answered, resampling_of(tested)[0])
        write_json(kept, {**score_row(score), "count": score.count})
    return json.loads(kept.read_text(encoding="utf-8"))


def show(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a line for each speaker and their mean; percent with 95 % intervals over clips."""
    lines = [[speaker, str(score["count"]), interval(score)] for speaker, score in found.items()]
    mean = ["mean", "", f"{100 * fmean(score['value'] for score in found.values()):.1f}"]
    return table(["speaker left out", "n", "WER %"], [*lines, mean])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of `recipes.nano.build`")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint that has learned from no recorded digit")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and scores")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--only", help="this speaker alone, without the table")
    arguments = parser.parse_args()
    train, test = (list(read_manifest(arguments.data / f"{split}.jsonl")) for split in ("train", "test"))
    rows = [*train, *(row for row in test if row.source == DIGITS)]
    speakers = sorted({row.speaker or "" for row in rows if row.source == DIGITS})
    found = {speaker: measured(speaker, rows, arguments) for speaker in speakers if arguments.only in (None, speaker)}
    if not arguments.only:
        print(show(found))


if __name__ == "__main__":
    main()
