"""The training loop: batches in, checkpoints out; what to read first is `Trainer.run`.

Several processes (torchrun) share the batches of a step: the run is one process's. Knows nothing of how data was
made or how answers are scored.
"""

from __future__ import annotations

import json
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
from osum.data.augment import Augmentation
from osum.data.batch import Augmenter, BucketSampler, Collator, Pick, Questions
from osum.data.manifest import read_manifest
from osum.data.packed import PackedAudio
from osum.errors import InputError
from osum.inference.checkpoint import Checkpoint
from osum.inference.locate import TASKS_FILE
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.model.configuration_osum import PRESETS
from osum.model.encoder import attend_nearby
from osum.tasks import OSUM, TaskSet
from osum.tasks.task import Evidence
from osum.training import checkpoint
from osum.training.config import TrainConfig
from osum.training.distribute import add_up, add_up_gradients, like, shard, whole
from osum.training.learn import ADAPTER_FOLDER, LORA, choose, parts_of, plain_state, with_lora
from osum.training.objective import Objective, counts
from osum.training.optim import optimizers, rate
from osum.training.report import Report
from osum.training.validation import answered
from osum.utterance import Utterance

LOWER_IS_BETTER = ("loss", "ctc", "wer", "cer")
FREE_TO_CHANGE = ("out", "steps", "decay_fraction", "device", "workers", "log_every", "save_every", "keep", "track")
"""What may differ when a run goes on; anything else would make it another run."""


class Trainer:
    """One run: model, data, optimisers and where they stand."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.processes = PartialState(cpu=config.device == "cpu" or not torch.accelerator.is_available())
        self.device = self.processes.device
        if config.batches_per_step % self.processes.num_processes:
            raise InputError(
                f"batches_per_step is {config.batches_per_step}: give a multiple of the "
                f"{self.processes.num_processes} processes that share them"
            )
        self.out = Path(config.out)
        self.step = 0
        self.best: float | None = None
        self.tasks = task_set(config)
        torch.manual_seed(config.seed)
        found = checkpoint.steps(self.out)
        source = found[-1] if found else Path(config.model)
        self.model, self.processor = start(replace(config, model=str(source)))
        self.adapter = with_lora(self.model, config, source) if LORA in parts_of(config.learn) else None
        choose(self.model, config)
        self.model.set_attn_implementation(config.attention)
        if config.activation_checkpointing:
            self.model.activation_checkpointing_enable()
        self.objective = Objective(self.model).to(self.device)
        if config.shard:
            shard(self.objective, self.model._no_split_modules, getattr(torch, config.dtype))
        self.learned = {
            name.removeprefix("model."): parameter
            for name, parameter in self.objective.named_parameters()
            if parameter.requires_grad
        }
        self.optimizers = optimizers(self.learned, config)
        self.rows, self.sampler, self.loader = self._loader("train.jsonl", training=True)
        self.valid_rows, _, self.valid_loader = self._loader("valid.jsonl", training=False)
        if found:
            self._resume(source)
        elif (source / checkpoint.STATE).is_file():  # another run's checkpoint: its letters are as good as its weights
            self._load_ctc(checkpoint.load(source)[0])

    def _loader(self, name: str, training: bool) -> tuple[list[Utterance], BucketSampler, DataLoader[Any]]:
        config, folder = self.config, Path(self.config.data)
        rows = [row for row in read_manifest(folder / name) if self.tasks.answerable(row)]
        if not rows:
            raise InputError(f"{folder / name} holds no row that a task of the recipe can ask about: check its labels")
        self.audio = PackedAudio(folder / "audio.i16")
        changes = Augmentation.from_mapping(config.augmentation)
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
            self.audio,
            self.processor,
            self.tasks,
            Questions(config.questions_per_clip, config.tasks, config.timed_share),
            Augmenter.from_rows(rows, self.audio, config.augment, changes) if training else None,
        )
        once = sampler.epoch(0)
        if not training:
            self.valid_batches = len(once)
            once += once[
                : -len(once) % number
            ]  # FSDP wants as many from every process; what is too much is not counted
        loader: DataLoader[Any] = DataLoader(
            _Index(),
            batch_sampler=sampler if training else once[process::number],
            collate_fn=collate,
            num_workers=config.workers,
            prefetch_factor=4 if config.workers else None,
        )
        return rows, sampler, loader

    def run(self) -> Path:
        """Train to the last step; returns the last checkpoint.

        Raises:
            FloatingPointError: the loss is no number; the message names the clips.
            InputError: memory is used up; the message names the settings to lower.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        last = checkpoint.path(self.out, self.step)
        report = Report(
            self.out, self.config.steps, tuple(self.config.track), self.config.to_dict(), self.processes.is_main_process
        )
        report.bar.update(self.step)
        batches = iter(self.loader)
        while self.step < self.config.steps:
            share = list(islice(batches, self.config.batches_per_step // self.processes.num_processes))
            try:
                losses = self.train_step(share)
            except torch.OutOfMemoryError as fault:
                raise InputError(
                    f"memory is used up at step {self.step} ({_first_line(fault)}): lower batch_seconds or "
                    "questions_per_clip, or set activation_checkpointing=true"
                ) from fault
            self.step += 1
            frames = sum(int(batch["feature_attention_mask"].sum()) for batch in share)
            tokens = sum(int(batch["attention_mask"].sum()) for batch in share if "attention_mask" in batch)
            report.count(frames / 100 * self.processes.num_processes, tokens * self.processes.num_processes)
            if self.step % self.config.log_every == 0:
                report.step(self.step, losses)
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                valid = self.validate()
                better = self._better(valid)
                last = self.save()
                if better and self.processes.is_main_process:
                    checkpoint.save_best(self.out, last)
                report.row(self.step, {"valid": valid})
                report.pause()
        report.close()
        return last

    def train_step(self, batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """One optimiser step on this process's share of the batches.

        The loss is the mean over all answers and all letters of the step, however they fall into batches.

        Raises:
            FloatingPointError: the loss is no number; the message names the clips.
        """
        self.model.train()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = rate(self.step, self.config)
        number = add_up(torch.stack([counts(batch) for batch in batches]).sum(0).to(self.device)).clamp(min=1)
        weights = torch.tensor([1.0, self.config.ctc_weight], device=self.device) / number  # (2,)
        sums = torch.zeros(2, device=self.device)
        for place, batch in enumerate(batches, self.step * len(batches)):
            # Dropout: the same in a resumed run, and whichever process works on the batch.
            torch.manual_seed(self.config.seed + place * self.processes.num_processes + self.processes.process_index)
            losses = self.losses(batch)
            if not torch.isfinite(losses).all():
                raise FloatingPointError(
                    f"loss is {losses.tolist()} at step {self.step}, clips {batch['ids']}: lower the rate"
                )
            torch.autograd.backward((losses * weights).sum())
            sums += losses.detach()
        add_up_gradients(self.learned.values())
        norm = nn.utils.clip_grad_norm_(list(self.learned.values()), self.config.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        answer, ctc = (add_up(sums) / number).tolist()
        return {"loss": answer, "ctc": ctc, "norm": whole(norm).item(), "rate": rate(self.step, self.config)}

    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """(2,): summed answer loss and CTC loss of a batch, in the run's arithmetic."""
        placed = {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()}
        half = self.config.dtype != "float32"
        with torch.autocast(self.device.type, getattr(torch, self.config.dtype), enabled=half):
            return cast(Tensor, self.objective(placed))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses over the validation clips, not augmented, and scores of some that are answered."""
        self.model.eval()
        sums, number = (torch.zeros(2, device=self.device) for _ in range(2))
        for place, batch in enumerate(self.valid_loader):
            losses = self.losses(batch)
            if place * self.processes.num_processes + self.processes.process_index < self.valid_batches:
                sums += losses
                number += counts(batch).to(self.device)
        answer, ctc = (add_up(sums) / add_up(number).clamp(min=1)).tolist()
        scores = {"loss": answer, "ctc": ctc}
        if self.config.answered_clips and not self.config.shard and self.processes.is_main_process:
            opened = Checkpoint("training", f"step-{self.step}", self.model, self.processor, self.tasks)
            scores |= answered(opened, self.valid_rows[: self.config.answered_clips], self.audio.read)
        return scores

    def _better(self, valid: Mapping[str, float]) -> bool:
        """Whether the figure that `best` names is the best so far; it is remembered."""
        if self.config.best not in valid:
            if not self.processes.is_main_process:
                return False
            raise InputError(f"best is {self.config.best!r}: validation gives {', '.join(valid)}; see answered_clips")
        value = valid[self.config.best]
        lower = self.config.best in LOWER_IS_BETTER
        better = self.best is None or (value < self.best if lower else value > self.best)
        if better:
            self.best = value
        return better

    def save(self) -> Path:
        """Write a checkpoint of the present step; of several processes the first writes."""
        state = {f"ctc.{name}": whole(value).cpu() for name, value in self.objective.ctc.state_dict().items()}
        for name, parameter in self.learned.items():
            for key, value in self._optimizer_of(parameter).state[parameter].items():
                state[f"{key}/{name}"] = whole(torch.as_tensor(value)).cpu()
        weights = {name: whole(value) for name, value in plain_state(self.model).items()}
        progress = {
            "batches": self.step * self.config.batches_per_step,
            "best": self.best,
            "config": self.config.to_dict(),
        }
        if not self.processes.is_main_process:
            return checkpoint.path(self.out, self.step)

        def write(folder: Path) -> None:
            self.write_model(folder, weights)

        return checkpoint.save(self.out, self.step, write, state, progress, self.config.keep)

    def write_model(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Model, processor and tasks, as `from_pretrained` and `osum label` read them; LoRA as an adapter beside."""
        self.model.save_pretrained(folder, state_dict=weights)
        self.processor.save_pretrained(folder)
        if self.adapter is not None:
            self.adapter.save_pretrained(folder / ADAPTER_FOLDER)
        text = json.dumps(self.tasks.to_dict(), ensure_ascii=False, indent=1)
        (folder / TASKS_FILE).write_text(text + "\n", "utf8")

    def _resume(self, path: Path) -> None:
        """Stand where a checkpoint stood; its weights are loaded already.

        Raises:
            InputError: the recipe is not the one that the run began with.
        """
        state, progress = checkpoint.load(path)
        _check_unchanged(progress["config"], self.config, self.out)
        self._load_ctc(state)
        for name, parameter in self.learned.items():
            found = {key.split("/")[0]: value for key, value in state.items() if key.endswith(f"/{name}")}
            moments = {key: like(value, parameter) for key, value in found.items()}
            self._optimizer_of(parameter).state[parameter] = moments
        self.step, self.best = progress["step"], progress["best"]
        self.sampler.first = progress["batches"]

    def _load_ctc(self, state: Mapping[str, Tensor]) -> None:
        own = dict(self.objective.ctc.named_parameters())
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(like(state[f"ctc.{name}"], parameter))

    def _optimizer_of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        """The one that updates a parameter."""
        return next(
            optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            if any(parameter is other for other in group["params"])
        )


class _Index(Dataset[Pick]):
    """A data set that is its own index: the sampler's picks go to the collator as they are."""

    def __getitem__(self, pick: Any) -> Pick:
        return cast(Pick, pick)


def _seconds(row: Utterance) -> float:
    return row.extra["num_samples"] / SAMPLE_RATE if row.duration is None else row.duration


def _first_line(fault: BaseException) -> str:
    return str(fault).partition("\n")[0][:120]


def _check_unchanged(then: Mapping[str, Any], now: TrainConfig, out: Path) -> None:
    given = json.loads(json.dumps(now.to_dict()))
    changed = [name for name in given if name not in FREE_TO_CHANGE and given[name] != then.get(name, given[name])]
    if changed:
        name = changed[0]
        raise InputError(
            f"{out} holds a run with {name}={then[name]!r}, the recipe says {given[name]!r}: "
            "go on with the same recipe, or give another out"
        )


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
