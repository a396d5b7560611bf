"""A data set of a few tones and noises and a tiny model to train on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model.tiny import noise, tiny_model, tiny_processor
from safetensors.torch import load_file

from osum.checkpoints.folder import STATE
from osum.corpus.manifest import write_manifest
from osum.corpus.packed import PackedWriter, to_int16
from osum.training.config import TrainConfig
from osum.utterance import Utterance, Word

TASKS = {"ASR": 1.0, "SRWT": 1.0, "SGC": 1.0, "VED": 1.0}
MakeConfig = Callable[..., TrainConfig]
LOSSES = ("loss", "ctc", "label", "token", "norm", "rate")


def losses(out: str | Path) -> dict[int, list[float]]:
    """Step to what was logged of it."""
    rows = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return {row["step"]: [row[name] for name in LOSSES] for row in rows if "loss" in row}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors") | load_file(path / STATE)


def same(left: Path, right: Path) -> bool:
    one, other = weights(left), weights(right)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def clips() -> Iterator[tuple[Utterance, np.ndarray]]:
    """Low tones are male, high ones female; two noises hold nobody."""
    for index in range(6):
        seconds, text = 0.4 + 0.05 * index, f"tone {'abcdef'[index]}"
        tone = 0.2 * np.sin(2 * np.pi * (120 + 60 * index) * np.arange(int(seconds * 16_000)) / 16_000)
        words = (Word("tone", 0.0, 0.2), Word(text[-1], 0.2, 0.4))
        labels = {"gender": "male" if index < 3 else "female", "event": "none"}
        yield Utterance(f"tone-{index}", "a", text=text, words=words, labels=labels, source="tones"), tone
    for index in range(2):
        yield Utterance(f"noise-{index}", "a", text="", labels={"event": "none"}), noise(6_000, index)


def packed_clips(folder: Path) -> list[Utterance]:
    """The rows of `clips`, their waveforms in `audio.i16`."""
    with PackedWriter(folder / "audio.i16") as packed:
        return [
            row.with_(path=str(folder / "audio.i16"), extra=dict(packed.append(to_int16(samples))))
            for row, samples in clips()
        ]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = packed_clips(folder)
    write_manifest(folder / "train.jsonl", rows)
    write_manifest(folder / "valid.jsonl", rows[::3])
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint to start from; it has dropout, so a run draws numbers."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model("speech_first").save_pretrained(folder)
    tiny_processor("speech_first").save_pretrained(folder)
    return folder


def short_run(data: Path, tiny: Path, out: Path, /, **changes: Any) -> TrainConfig:
    """A run of four steps, with some fields changed."""
    fields: dict[str, Any] = {"data": str(data), "out": str(out), "model": str(tiny), "steps": 4}
    fields |= {"batch_seconds": 2.0, "questions_per_clip": 2, "tasks": TASKS, "warmup_steps": 1, "workers": 0}
    fields |= {"dtype": "float32", "save_every": 2, "log_every": 1, "timed_share": 0.3, "label_weight": 0.2}
    return TrainConfig(**{**fields, **changes})


@pytest.fixture
def config(data: Path, tiny: Path, tmp_path: Path) -> MakeConfig:
    """`short_run` of the data and the model here."""
    return lambda **changes: short_run(data, tiny, tmp_path / "run", **changes)
