"""Training speed: ours next to the naive way and to `transformers.Trainer`, turn by turn on the same clips.

    python benchmarks/training.py --data DIR [--model NAME] [--steps N] [--turns N] [--out FILE.json]

ours      batches of like length, true lengths, the arithmetic of the recipe
naive     batches as they come, every clip padded to the longest the model hears, float32
Trainer   transformers.Trainer with our batches, our arithmetic, the model's own loss

Each turn makes `steps` optimiser steps of each on the same rows; the medians over turns count. Utilisation is the
model's own work (6 FLOPs a parameter and position, forwards and backwards) against the largest product of matrices that
the machine does in the same arithmetic.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import Trainer as StockTrainer
from transformers import TrainingArguments

from osum.corpus.clips import ClipAudio
from osum.corpus.manifest import read_manifest
from osum.tasks import OSUM
from osum.training.batch import Collator, Pick, QuestionDraw
from osum.training.config import TrainConfig
from osum.training.objective import NOT_INPUTS
from osum.training.trainer import Trainer
from osum.utterance import Utterance

TASKS = {"ASR": 2.0, "SGC": 1.0, "SAP": 1.0, "VED": 1.0}
SECONDS = 40.0
"""Padded audio of a batch, of either kind."""
Batch = Mapping[str, Any]


def ceiling(dtype: torch.dtype, size: int = 2048, turns: int = 20) -> float:
    """FLOP/s of a product of two square matrices, the fastest of `turns`."""
    left, right = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def work(model: torch.nn.Module, batches: Sequence[Batch]) -> float:
    """FLOPs of training on the batches: encoder and adaptor by frame, language model by token, without padding."""
    size = {name: sum(p.numel() for p in part.parameters()) for name, part in model.model.named_children()}
    frames = sum(float(batch["feature_attention_mask"].sum()) for batch in batches)
    tokens = sum(float(batch["attention_mask"].sum()) for batch in batches)
    return 6 * (size["audio_tower"] * frames / 2 + size["adaptor"] * frames / 8 + size["language_model"] * tokens)


def padded_to_longest(batches: Sequence[Batch], frames: int) -> list[Batch]:
    """The same batches with every clip padded to `frames`."""
    made = []
    for batch in batches:
        missing = frames - batch["input_features"].shape[-1]
        pad = {
            name: torch.nn.functional.pad(batch[name], (0, missing))
            for name in ("input_features", "feature_attention_mask")
        }
        made.append({**batch, **pad})
    return made


def collated(rows: Sequence[Utterance], trainer: Trainer, picks: Sequence[Sequence[Pick]]) -> list[Batch]:
    """The batches of some picks."""
    collate = Collator(rows, ClipAudio(), trainer.processor, OSUM.keep(tuple(TASKS)), QuestionDraw(1, TASKS))
    return [collate(pick) for pick in picks]


class Given(Dataset[Any]):
    """Batches that are ready."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return {name: value for name, value in self.batches[index].items() if name not in NOT_INPUTS[:3]}


def stock(trainer: Trainer, batches: Sequence[Batch], folder: str) -> Callable[[], None]:
    """`transformers.Trainer` over the batches, AdamW, bfloat16 autocast."""
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=1,
        max_steps=len(batches),
        bf16=trainer.config.dtype == "bfloat16",
        use_cpu=trainer.device.type == "cpu",
        learning_rate=1e-5,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    made = StockTrainer(trainer.model, arguments, train_dataset=Given(batches), data_collator=lambda items: items[0])
    return lambda: made.train() and None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of `recipes.nano.build`")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measured(arguments, folder)
    text = json.dumps(report, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measured(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The report."""
    base = TrainConfig(
        data=str(arguments.data),
        out=folder,
        model=arguments.model,
        tasks=TASKS,
        batch_seconds=SECONDS,
        questions_per_clip=1,
        timed_share=0.0,
        ctc_weight=0.0,
        learning_rate=1e-5,
        augment=0.0,
        workers=0,
    )
    ours = Trainer(base)
    naive = Trainer(replace(base, dtype="float32"))
    rows = list(read_manifest(arguments.data / "train.jsonl"))
    rows = [row for row in rows if row.source != "espeak" and ours.tasks.answerable(row)]
    grouped = list(islice(ours.loader, arguments.steps))
    longest = ours.processor.max_samples // 160
    size = max(1, int(SECONDS * 100 / longest))
    random_picks = [
        [Pick(int(i), int(i)) for i in torch.randint(len(rows), (size,), generator=torch.Generator().manual_seed(turn))]
        for turn in range(arguments.steps)
    ]
    padded = padded_to_longest(collated(rows, naive, random_picks), longest)
    ways: dict[str, tuple[Callable[[], Any], Sequence[Batch]]] = {
        "ours": (lambda: [ours.train_step([batch]) for batch in grouped], grouped),
        "naive": (lambda: [naive.train_step([batch]) for batch in padded], padded),
        "Trainer": (stock(ours, grouped, folder), grouped),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(1 + arguments.turns):
        for name, (train, _) in ways.items():
            start = time.perf_counter()
            train()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    top = ceiling(getattr(torch, base.dtype))
    found = {}
    for name, (_, batches) in ways.items():
        audio = sum(float(batch["feature_attention_mask"].sum()) for batch in batches) / 100
        tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        middle = median(seconds[name])
        found[name] = {
            "audio_seconds_per_second": round(audio / middle, 1),
            "tokens_per_second": round(tokens / middle),
            "utilisation": round(work(ours.model, batches) / middle / top, 3),
            "seconds": [round(value, 3) for value in seconds[name]],
        }
    ratio = {
        name: round(found["ours"]["audio_seconds_per_second"] / found[name]["audio_seconds_per_second"], 2)
        for name in ("naive", "Trainer")
    }
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    return {
        "ways": found,
        "ours_over": ratio,
        "matmul_tflops": round(top / 1e12, 2),
        "machine": machine,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
