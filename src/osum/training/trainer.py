"""The training loop: batches in, checkpoints out; what to read first is `Trainer.run`.

Several processes (torchrun) share the batches of a step and add their gradients up: the run is one process's.

Knows nothing of how data was made or how answers are scored.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import AutoTokenizer

from osum.audio import SAMPLE_RATE
from osum.data.batch import CTC_UNKNOWN, Augmenter, BucketSampler, Collator, Pick, Questions
from osum.data.letters import BLANK, NUM_UNITS
from osum.data.manifest import read_manifest
from osum.data.packed import PackedAudio
from osum.errors import InputError
from osum.inference.locate import TASKS_FILE
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.model.configuration_osum import PRESETS, encoder_length
from osum.model.encoder import attend_nearby
from osum.tasks import OSUM, TaskSet
from osum.tasks.task import Evidence
from osum.training import checkpoint
from osum.training.config import TrainConfig
from osum.utterance import Utterance

log = logging.getLogger(__name__)


class CtcHead(nn.Module):
    """Auxiliary head from encoder frames to letters; part of training, never of the checkpoint's model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, NUM_UNITS)

    def forward(self, states: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """(B, T, D) encoder frames, their lengths (B,), targets (B, U) padded with -1: summed loss.

        Clips whose transcript is not known do not count.
        """
        log_probs = self.linear(states).float().log_softmax(-1).transpose(0, 1)  # (T, B, units)
        target_lengths = (targets >= 0).sum(1)
        losses = nn.functional.ctc_loss(
            log_probs,
            targets.clamp(min=0),
            lengths,
            target_lengths,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )
        return (losses * (targets[:, 0] != CTC_UNKNOWN)).sum()


class Trainer:
    """One run: model, data, optimiser and where they stand."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.processes = PartialState(cpu=True)
        if config.batches_per_step % self.processes.num_processes:
            raise InputError(
                f"batches_per_step is {config.batches_per_step}: give a multiple of the "
                f"{self.processes.num_processes} processes that share them"
            )
        self.out = Path(config.out)
        self.step = 0
        torch.manual_seed(config.seed)
        self.tasks = task_set(config)
        self.model, self.processor = start(config)
        self.model.set_attn_implementation(config.attention)
        self.ctc = CtcHead(self.model.config.audio_config.hidden_size)
        if (Path(config.model) / checkpoint.STATE).is_file():
            self._load_ctc(checkpoint.load(Path(config.model))[0])
        named = [*self.model.named_parameters(), *((f"ctc.{name}", p) for name, p in self.ctc.named_parameters())]
        for prefix in config.freeze:
            if not any(name.startswith(prefix) for name, _ in named):
                raise InputError(f"freeze: no parameter begins with {prefix!r}; one that does is {named[0][0]}")
        for name, parameter in named:
            frozen = name.startswith(tuple(config.freeze))
            parameter.requires_grad_(parameter.requires_grad and not frozen)
        self.learned = {name: parameter for name, parameter in named if parameter.requires_grad}
        self.optimizers = optimizers(self.learned, config)
        self.sampler, self.loader = self._loader("train.jsonl", training=True)
        _, self.valid_loader = self._loader("valid.jsonl", training=False)

    def _loader(self, name: str, training: bool) -> tuple[BucketSampler, DataLoader[Any]]:
        config, folder = self.config, Path(self.config.data)
        rows = [row for row in read_manifest(folder / name) if self.tasks.answerable(row)]
        if not rows:
            raise InputError(f"{folder / name} holds no row that a task of the recipe can ask about: check its labels")
        audio = PackedAudio(folder / "audio.i16")
        process, number = self.processes.process_index, self.processes.num_processes
        sampler = BucketSampler(
            [_seconds(row) for row in rows],
            [config.sources.get(row.source or "", 1.0) if training else 1.0 for row in rows],
            config.batch_seconds,
            config.seed,
            process,
            number,
        )
        collate = Collator(
            rows,
            audio,
            self.processor,
            self.tasks,
            Questions(config.questions_per_clip, config.tasks, config.timed_share),
            Augmenter.from_rows(rows, audio, config.augment) if training else None,
        )
        loader: DataLoader[Any] = DataLoader(
            _Index(),
            batch_sampler=sampler if training else sampler.epoch(0)[process::number],
            collate_fn=collate,
            num_workers=config.workers,
            prefetch_factor=4 if config.workers else None,
        )
        return sampler, loader

    def run(self) -> Path:
        """Train to the last step; returns the last checkpoint."""
        self.out.mkdir(parents=True, exist_ok=True)
        if found := checkpoint.steps(self.out):
            self.resume(found[-1])
        clock, seen, last = time.monotonic(), 0.0, found[-1] if found else self.out
        batches = iter(self.loader)
        while self.step < self.config.steps:
            share = list(islice(batches, self.config.batches_per_step // self.processes.num_processes))
            losses = self.train_step(share)
            self.step += 1
            seen += sum(batch["feature_attention_mask"].sum().item() for batch in share) / 100
            if self.step % self.config.log_every == 0:
                self._log(losses, seen * self.processes.num_processes / (time.monotonic() - clock))
                clock, seen = time.monotonic(), 0.0
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                last = self.save()
                self._record({"step": self.step, "valid": self.validate()})
                clock, seen = time.monotonic(), 0.0
        return last

    def losses(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Answer loss and CTC loss of a batch, summed, the encoder run once; no questions, no answer loss."""
        inputs = {key: value for key, value in batch.items() if key not in ("ids", "ctc_targets")}
        frames = batch["feature_attention_mask"].sum(-1)
        kept: list[Tensor] = []
        tower = self.model.model.audio_tower
        hook = tower.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        try:
            with torch.autocast("cpu", getattr(torch, self.config.dtype), enabled=self.config.dtype != "float32"):
                if "labels" in inputs:
                    answer = self.answer_loss(**inputs)
                else:
                    tower(batch["input_features"], frames)
                    answer = torch.zeros(())
                ctc = self.ctc(kept[0], encoder_length(frames), batch["ctc_targets"])
        finally:
            hook.remove()
        return answer, ctc

    def answer_loss(self, labels: Tensor, **inputs: Tensor) -> Tensor:
        """Cross-entropy, summed over answers of the mean over their tokens: a tag weighs as much as a sentence.

        The head sees the scored tokens alone, which saves most of its work.
        """
        hidden = self.model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]  # (R, L - 1, D)
        targets = labels[:, 1:]
        kept = targets != -100
        losses = nn.functional.cross_entropy(
            self.model.compute_logits(hidden[kept]).float(), targets[kept], reduction="none"
        )  # (N,)
        per_answer = kept.sum(1)  # (R,)
        return (losses / per_answer.repeat_interleave(per_answer)).sum()

    def train_step(self, batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """One optimiser step on this process's share of the batches.

        The loss is the mean over all answers and all letters of the step, however they fall into batches.

        Raises:
            FloatingPointError: the loss is no number; the message names the clips.
        """
        self.model.train()
        rate = self.config.learning_rate * schedule(self.step, self.config)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = rate
        answers, units = self._added_up(torch.stack([*map(_counts, batches)]).sum(0)).clamp(min=1)
        sums = torch.zeros(2)
        for number, batch in enumerate(batches):
            place = self.step * self.config.batches_per_step + number * self.processes.num_processes
            torch.manual_seed(self.config.seed + place + self.processes.process_index)  # dropout; resumed, the same
            answer, ctc = self.losses(batch)
            loss = answer / answers + self.config.ctc_weight * ctc / units
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"loss is {loss.item()} at step {self.step}, clips {batch['ids']}: lower the rate"
                )
            torch.autograd.backward(loss)
            sums += torch.stack([answer.detach(), ctc.detach()])
        self._add_up_gradients()
        norm = nn.utils.clip_grad_norm_(list(self.learned.values()), self.config.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        answer, ctc = self._added_up(sums) / torch.stack([answers, units])
        return {"loss": answer.item(), "ctc": ctc.item(), "norm": norm.item(), "rate": rate}

    def _added_up(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        if self.processes.num_processes > 1:
            torch.distributed.all_reduce(values)
        return values

    def _add_up_gradients(self) -> None:
        """Give every process the sum of all gradients."""
        if self.processes.num_processes == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.learned.values()]
        total = self._added_up(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(total, [gradient.numel() for gradient in gradients])
        for parameter, part in zip(self.learned.values(), parts, strict=True):
            parameter.grad = part.view_as(parameter)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses over the validation clips, asked as training asks them, not augmented."""
        self.model.eval()
        sums, counts = torch.zeros(2), torch.zeros(2)
        for batch in self.valid_loader:
            sums += torch.stack(self.losses(batch))
            counts += _counts(batch)
        answer, ctc = self._added_up(sums) / self._added_up(counts).clamp(min=1)
        return {"loss": answer.item(), "ctc": ctc.item()}

    def _log(self, losses: Mapping[str, float], speed: float) -> None:
        self._record({"step": self.step, **losses, "audio_seconds_per_second": speed})

    def _record(self, row: Mapping[str, Any]) -> None:
        if not self.processes.is_main_process:
            return
        log.info("%s", row)
        with (self.out / "log.jsonl").open("a", encoding="utf8") as file:
            file.write(json.dumps(row) + "\n")

    def save(self) -> Path:
        """Write a checkpoint of the present step; of several processes the first writes."""
        if not self.processes.is_main_process:
            return checkpoint.path(self.out, self.step)
        state = {f"ctc.{name}": value for name, value in self.ctc.state_dict().items()}
        for name, parameter in self.learned.items():
            for key, value in self._optimizer_of(parameter).state[parameter].items():
                state[f"{key}/{name}"] = torch.as_tensor(value)
        progress = {"batches": self.step * self.config.batches_per_step, "config": self.config.to_dict()}
        return checkpoint.save(self.out, self.step, self.write_model, state, progress)

    def write_model(self, folder: Path) -> None:
        """Model, processor and tasks, as `from_pretrained` and `osum label` read them."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        text = json.dumps(self.tasks.to_dict(), ensure_ascii=False, indent=1)
        (folder / TASKS_FILE).write_text(text + "\n", "utf8")

    def _optimizer_of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        """The one that updates a parameter."""
        return next(
            optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            if any(parameter is other for other in group["params"])
        )

    def _load_ctc(self, state: Mapping[str, Tensor]) -> None:
        found = {name.removeprefix("ctc."): value for name, value in state.items() if name.startswith("ctc.")}
        self.ctc.load_state_dict(found)

    def resume(self, path: Path) -> None:
        """Stand where a checkpoint stood: weights, optimiser, place in the data."""
        state, progress = checkpoint.load(path)
        self.model.load_state_dict(OsumForConditionalGeneration.from_pretrained(path).state_dict())
        self._load_ctc(state)
        for name, parameter in self.learned.items():
            found = {key.split("/")[0]: value for key, value in state.items() if key.endswith(f"/{name}")}
            self._optimizer_of(parameter).state[parameter] = found
        self.step = progress["step"]
        self.sampler.first = progress["batches"]


class _Index(Dataset[Pick]):
    """A data set that is its own index: the sampler's picks go to the collator as they are."""

    def __getitem__(self, pick: Any) -> Pick:
        return cast(Pick, pick)


def _counts(batch: Mapping[str, Any]) -> Tensor:
    """Answers and letters of a batch, (2,): what its summed losses are divided by."""
    answers = len(batch["labels"]) if "labels" in batch else 0
    return torch.tensor([answers, int((batch["ctc_targets"] >= 0).sum())], dtype=torch.float32)


def _seconds(row: Utterance) -> float:
    return row.extra["num_samples"] / SAMPLE_RATE if row.duration is None else row.duration


def task_set(config: TrainConfig) -> TaskSet:
    """The tasks of the recipe, each marked with what it is learned from."""
    tasks = replace(OSUM, prompt_sets=(config.prompt_set, *OSUM.prompt_sets)).keep(tuple(config.tasks))
    for name, evidence in config.evidence.items():
        tasks = tasks.with_task(replace(tasks.find(name), evidence=cast(Evidence, evidence)))
    return tasks


def start(config: TrainConfig) -> tuple[OsumForConditionalGeneration, OsumProcessor]:
    """A new model of a preset with the data's tokenizer, or a checkpoint to go on from."""
    if Path(config.model).is_dir():
        # A checkpoint in half precision learns in float32 all the same: small updates would round to nothing.
        model = OsumForConditionalGeneration.from_pretrained(config.model, dtype=torch.float32)
        return model, OsumProcessor.from_pretrained(config.model)
    tokenizer = AutoTokenizer.from_pretrained(Path(config.data) / "tokenizer")
    if config.model not in PRESETS:
        raise InputError(f"model {config.model!r} is neither a folder nor a preset: use one of {', '.join(PRESETS)}")
    architecture = OsumConfig.preset(config.model)
    # Rounded up to a multiple of 64: matrix products like it, and a few ids stay free.
    architecture.text_config.vocab_size = -(-len(tokenizer) // 64) * 64
    model = OsumForConditionalGeneration(architecture)
    attend_nearby(model.model.audio_tower)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, OsumProcessor.for_config(architecture, tokenizer, answer_end_token_id=end)


def optimizers(learned: Mapping[str, nn.Parameter], config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW over everything, or Muon over the matrices of layers and AdamW over the rest.

    Matrices decay, biases and norms do not. Muon's step is scaled to AdamW's size, so one rate serves both.
    """
    if config.optimizer not in ("adamw", "muon"):
        raise InputError(f"optimizer is {config.optimizer!r}: give adamw or muon")
    rest, made = dict(learned), list[torch.optim.Optimizer]()
    if config.optimizer == "muon":
        inner = {name: rest.pop(name) for name in learned if learned[name].dim() == 2 and ".layers." in name}
        if inner:
            made.append(torch.optim.Muon(inner.values(), weight_decay=config.weight_decay, adjust_lr_fn=_LIKE_ADAMW))
    matrices = [parameter for parameter in rest.values() if parameter.dim() > 1]
    others = [parameter for parameter in rest.values() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [*made, torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]


_LIKE_ADAMW = "match_rms_adamw"


def schedule(step: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at a step: linear up, flat, linear down to nothing."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = min(1.0, (config.steps - step) / max(1.0, config.decay_fraction * config.steps))
    return min(rise, fall)
