"""The training loop: batches in, checkpoints out; what to read first is `Trainer.run`.

Several processes (torchrun) share the batches of a step: the run is one process's. Knows nothing of how data was
made or how answers are scored.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from osum.checkpoints.base import Base, write_apart
from osum.checkpoints.checkpoint import Checkpoint
from osum.checkpoints.folder import ADAPTER_FOLDER, STATE
from osum.checkpoints.locate import first_line
from osum.checkpoints.provenance import runs_behind
from osum.corpus.clips import ClipAudio
from osum.errors import AudioError, InputError
from osum.model import OsumForConditionalGeneration
from osum.model.encoder import OsumEncoder
from osum.model.letters import LetterHead
from osum.training import checkpoint, record
from osum.training.batch import BucketSampler, Collate, Collator, Pick
from osum.training.check import check
from osum.training.config import MixturePart, TrainConfig
from osum.training.distribute import add_up, add_up_gradients, shard, whole
from osum.training.kinds import KINDS, Collated
from osum.training.learn import changes_language_model, choose, count_learned, plain_state, with_lora
from osum.training.mixture import Mixture, parts_to_train
from osum.training.optim import SHARE, optimizers, rate
from osum.training.recorded import RecordedStates, pass_on
from osum.training.report import TITLES, TrainingReport, large
from osum.training.start import find, task_set
from osum.training.state import MODEL, optimizer_tensors, restore, restore_heads, tensors_of
from osum.training.validation import answered

log = logging.getLogger(__name__)
LOWER_IS_BETTER = (*TITLES, "wer", "cer")
MOST_SILENT = 20
"""Batches in a row of which no clip can be read, before a run stops."""


class Trainer:
    """One run: model, data, optimisers and where they stand."""

    def __init__(self, config: TrainConfig, after: Path | None = None) -> None:
        """
        Args:
            config: of the run.
            after: the last checkpoint of the stage before, which the run begins with.
        """
        self.config, self.kind = config, KINDS[config.kind]
        self.after = after
        self.processes = PartialState(cpu=config.device == "cpu" or not torch.accelerator.is_available())
        self.device = self.processes.device
        if config.batches_per_step % self.processes.num_processes:
            raise InputError(
                f"batches_per_step is {config.batches_per_step}: give a multiple of the "
                f"{self.processes.num_processes} processes that share them"
            )
        if config.shard and config.optimizer == "muon":
            raise InputError("optimizer is 'muon' with shard: it wants whole matrices; give optimizer=adamw")
        self.out = Path(config.out)
        self.step = 0
        self.best: float | None = None
        self.unread = self.silent = 0
        """Clips that could not be read, and batches in a row of which none could."""
        torch.manual_seed(config.seed)
        source = find(config)
        self.tasks = task_set(config, source)
        self.model, self.processor = self.kind.start(config, source, self.tasks)
        self.base = None if source is None or changes_language_model(config, source) else Base.read(source)
        """The language model that checkpoints of this run leave out."""
        self.adapter = with_lora(self.model, config, source)
        choose(self.model, config)
        self.kind.prepare(self.model, config)
        self.objective = self.kind.objective.of(self.model, self.tasks, config).to(self.device)
        if config.shard:
            shard(self.objective, self.model._no_split_modules, getattr(torch, config.dtype))
        self.learned = {
            name.removeprefix("model."): parameter
            for name, parameter in self.objective.named_parameters()
            if parameter.requires_grad
        }
        self.optimizers = optimizers(self.learned, config)
        self.clips = ClipAudio()
        rows, self.sampler, self.loader = self._training_batches()
        self.valid_rows, self.valid_batches, self.valid_loader = self._validation_batches()
        self.record_of_run = record.of_run(rows, self.valid_rows)
        self.before: list[dict[str, Any]] = []
        """What checkpoints record of this run next to its settings, and of the runs before it."""
        if source is not None and source.parent == self.out:
            self._resume(source)
        elif source is not None:
            self.before = runs_behind(source)
            if (source / STATE).is_file():  # another run's heads are as good as its weights
                restore_heads(self.objective, checkpoint.load(source)[0])

    def _training_batches(self) -> tuple[tuple[Any, ...], BucketSampler, DataLoader[Any]]:
        """Rows, and this process's batches with what draws them."""
        parts = parts_to_train(self.config)
        mixture = self._read(parts, self.config.sources)
        if not sum(mixture.weights):
            names = ", ".join(part.manifest for part in parts.values())
            raise InputError(f"{names} holds no row to train on: check labels, tasks and weights ({_summary(mixture)})")
        collator = self._collator(mixture, learns=True)
        if self.config.encoder_copies:
            self._record(collator, mixture, self.out / "encoder" / "train", self.config.encoder_copies)
        sampler = self._sampler(mixture, collator)
        return mixture.rows, sampler, self._loader(collator, sampler)

    def _validation_batches(self) -> tuple[tuple[Any, ...], int, DataLoader[Any] | tuple[()]]:
        """Rows, number of batches of all processes together, and this process's batches."""
        manifest = self.config.valid or str(Path(self.config.data) / "valid.jsonl")
        if not self.config.valid and not Path(manifest).is_file():
            return (), 0, ()
        mixture = self._read({"valid": MixturePart(manifest)})
        if not mixture.rows:
            raise InputError(
                f"{manifest} holds no row to validate on ({_summary(mixture)}): add some, or remove the file to train "
                "without validation"
            )
        mixture = replace(mixture, weights=(1.0,) * len(mixture.rows))
        collator = self._collator(mixture, learns=False)
        if self.config.encoder_copies:
            self._record(collator, mixture, self.out / "encoder" / "valid", 1)
        batches = self._sampler(mixture, collator).epoch(0)
        number = self.processes.num_processes
        # FSDP wants as many from every process; what is too much is not counted.
        shared = (batches + batches[: -len(batches) % number])[self.processes.process_index :: number]
        return mixture.rows, len(batches), self._loader(collator, shared)

    def _record(self, collator: Collate, mixture: Mixture[Any], folder: Path, copies: int) -> None:
        """Have the collator take stored states, once all are stored; the first process of a machine stores them.

        Raises:
            InputError: the encoder learns, or the folder holds other states.
        """
        assert isinstance(collator, Collator), "a kind that has recorded states"
        encoder = self.model.get_encoder()
        if any(parameter.requires_grad for parameter in encoder.parameters()) or not isinstance(encoder, OsumEncoder):
            raise InputError(
                f"encoder_copies is {self.config.encoder_copies}, but learn={self.config.learn} changes "
                f"the encoder of this {self.config.kind}: leave out encoder_copies, or the encoder"
            )
        recorded = RecordedStates(folder, copies)
        used = [index for index, weight in enumerate(mixture.weights) if weight > 0]
        used.sort(key=lambda index: (mixture.seconds[index], index))
        rows = [mixture.rows[index].with_(path="").to_dict() for index in used]
        changes = [self.config.seed, self.config.augmentation]
        made_from = json.dumps([rows, changes], ensure_ascii=False, sort_keys=True)
        frames = round(self.config.batch_seconds * 100)
        with self.processes.local_main_process_first():
            features = partial(collator.copy, seed=self.config.seed)
            recorded.fill(encoder.eval(), used, features, made_from, frames)
        pass_on(encoder)
        collator.recorded = recorded

    def _read(self, parts: Mapping[str, MixturePart], sources: Mapping[str, float] | None = None) -> Mixture[Any]:
        return self.kind.read(parts, self.config, self.tasks, self.processor, sources)

    def _collator(self, mixture: Mixture[Any], learns: bool) -> Collate:
        given = Collated(mixture.rows, self.clips, self.processor, self.tasks, self.config, learns)
        return self.kind.collator(given)

    def _sampler(self, mixture: Mixture[Any], collator: Collate) -> BucketSampler:
        return BucketSampler(
            mixture.seconds,
            mixture.weights,
            self.config.batch_seconds,
            self.config.seed,
            self.processes.process_index,
            self.processes.num_processes,
            self.config.batch_tokens,
            collator.rows,
            mixture.lengths,
            mixture.groups,
        )

    def _loader(self, collator: Collate, batches: Any) -> DataLoader[Any]:
        return DataLoader(
            _Index(),
            batch_sampler=batches,
            collate_fn=collator,
            num_workers=self.config.workers,
            prefetch_factor=4 if self.config.workers else None,
        )

    def run(self) -> Path:
        """Train to the last step; returns the last checkpoint.

        Raises:
            FloatingPointError: the loss is no number; the message names the clips.
            InputError: memory is used up; the message names the settings to lower.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        last = checkpoint.path(self.out, self.step)
        report = TrainingReport(
            self.out,
            self.config.steps,
            self.config.track,
            self.config.to_dict(),
            self.processes.is_main_process,
            self.kind.objective.shown(self.config),
        )
        if report.speaks:
            for line in self.summary():
                report.say(line)
        batches = iter(self.loader)
        while self.step < self.config.steps:
            share = self._share(batches)
            try:
                losses = self.train_step(share)
            except torch.OutOfMemoryError as fault:
                raise InputError(
                    f"memory is used up at step {self.step} ({first_line(fault)}): lower batch_seconds, "
                    "batch_tokens or questions_per_clip, or set activation_checkpointing=true"
                ) from fault
            self.step += 1
            masks = (batch["feature_attention_mask"] for batch in share if "feature_attention_mask" in batch)
            frames = sum(int(mask.sum()) for mask in masks)
            tokens = sum(int(batch["attention_mask"].sum()) for batch in share if "attention_mask" in batch)
            report.count(frames / 100 * self.processes.num_processes, tokens * self.processes.num_processes)
            if self.step % self.config.log_every == 0:
                report.step(self.step, losses)
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                valid = self.validate()
                report.row(self.step, {"valid": valid})
                better = self._better(valid)
                last = self.save(better)
                if better and self.processes.is_main_process:
                    checkpoint.save_best(self.out, last)
                report.validated(self.step, valid, better, self.config.best)
                report.pause()
        del batches  # its workers end now: left to the collection of garbage, it waits ten seconds for them
        report.close(last)
        return last

    def summary(self) -> Iterator[str]:
        """What a run is, for whoever starts it: what learns, on what, for how long, and what is validated."""
        config, durations, weights = self.config, self.sampler.durations, self.sampler.weights
        parts = count_learned(self.learned, config.learn)
        if self.kind.objective.shown(self.config) == ("loss",):  # heads are there, and nothing moves them
            parts.pop("heads", None)
        whole = sum(parameter.numel() for parameter in self.model.parameters())
        learns = ", ".join(f"{part} {large(number)}" for part, number in parts.items())
        yield f"{self.out}: step {self.step} of {config.steps}, on {self.device.type}, {config.dtype}"
        yield f"learns: {learns} parameters; the model has {large(whole)}"
        hours = sum(seconds * weight for seconds, weight in zip(durations, weights, strict=True)) / 3600
        steps = max(1, round(len(self.sampler.epoch(0)) / config.batches_per_step))
        yield (
            f"train: {len(durations)} rows, {hours:.2g} hours and {steps} steps per epoch, "
            f"{config.steps / steps:.2g} epochs in all"
        )
        if not self.valid_rows:
            yield (
                f"valid: none ({Path(config.data) / 'valid.jsonl'} is not there): nothing is validated, and no best/ "
                "is kept; osum data split makes one"
            )
            return
        lowest = "lowest" if config.best in LOWER_IS_BETTER else "highest"
        yield (
            f"valid: {len(self.valid_rows)} rows every {config.save_every} steps; best/ keeps the checkpoint with the "
            f"{lowest} {config.best}"
        )

    def _share(self, batches: Iterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The batches of a step; clips that cannot be read are left out and reported.

        Raises:
            AudioError: no clip of many batches in a row can be read, so that it is no matter of some clips.
        """
        share: list[Mapping[str, Any]] = []
        for _ in range(self.config.batches_per_step // self.processes.num_processes):
            batch = next(batches)
            share.append(batch)
            self.silent = 0 if batch["ids"] else self.silent + 1
            if self.silent == MOST_SILENT:
                raise AudioError(f"no clip of {MOST_SILENT} batches in a row can be read: {batch['unread'][0]}")
            for reason in batch["unread"]:
                self.unread += 1
                log.warning("left out: %s (%d clips so far)", reason, self.unread)
        return share

    def train_step(self, batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """One optimiser step on this process's share of the batches.

        The loss is the mean over all answers, letters and labels of the step, however they fall into batches.

        Raises:
            FloatingPointError: the loss is no number; the message names the clips.
        """
        self.model.train()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = rate(self.step, self.config) * group[SHARE]
        number = add_up(torch.stack([*map(self.kind.objective.counts, batches)]).sum(0).to(self.device)).clamp(min=1)
        shares = torch.tensor(self.kind.objective.weights(self.config), device=self.device)
        weights, sums = shares / number, torch.zeros_like(shares)
        for place, batch in enumerate(batches, self.step * len(batches)):
            # Dropout: the same in a resumed run, and whichever process works on the batch.
            torch.manual_seed(self.config.seed + place * self.processes.num_processes + self.processes.process_index)
            losses = self.losses(batch)
            if not torch.isfinite(losses).all():
                raise FloatingPointError(
                    f"loss is {losses.tolist()} at step {self.step}, clips {batch['ids']}: "
                    "look at them, or lower learning_rate"
                )
            torch.autograd.backward((losses * weights).sum())
            sums += losses.detach()
        add_up_gradients(self.learned.values())
        norm = nn.utils.clip_grad_norm_(list(self.learned.values()), self.config.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return {
            **dict(zip(self.kind.objective.names, (add_up(sums) / number).tolist(), strict=True)),
            "norm": whole(norm).item(),
            "rate": rate(self.step, self.config),
        }

    def losses(self, batch: Mapping[str, Any]) -> Tensor:
        """(K,): the summed losses of a batch, in the run's arithmetic."""
        placed = {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()}
        with self._arithmetic():
            return cast(Tensor, self.objective(placed))

    def _arithmetic(self) -> torch.autocast:
        half = self.config.dtype != "float32"
        return torch.autocast(self.device.type, getattr(torch, self.config.dtype), enabled=half)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses over the validation clips, not augmented, and scores of some that are answered."""
        if not self.valid_rows:
            return {}
        self.model.eval()
        names = self.kind.objective.names
        sums, number = (torch.zeros(len(names), device=self.device) for _ in range(2))
        for place, batch in enumerate(self.valid_loader):
            if not batch["ids"]:
                raise AudioError(f"no clip of a batch to validate on can be read: {batch['unread'][0]}")
            losses = self.losses(batch)
            if place * self.processes.num_processes + self.processes.process_index < self.valid_batches:
                sums += losses
                number += self.kind.objective.counts(batch).to(self.device)
        scores = dict(zip(names, (add_up(sums) / add_up(number).clamp(min=1)).tolist(), strict=True))
        if self.config.answered_clips and not self.config.shard and self.processes.is_main_process:
            opened = Checkpoint("training", f"step-{self.step}", self.model, self.processor, self.tasks)
            with self._arithmetic():  # what is frozen is held in half precision
                scores |= answered(opened, self.valid_rows[: self.config.answered_clips], self.clips.read)
        return scores

    def _better(self, valid: Mapping[str, float]) -> bool:
        """Whether the figure that `best` names is the best so far; it is remembered."""
        if self.config.best not in valid:
            if not valid or not self.processes.is_main_process:
                return False
            raise InputError(f"best is {self.config.best!r}: validation gives {', '.join(valid)}; see answered_clips")
        value = valid[self.config.best]
        lower = self.config.best in LOWER_IS_BETTER
        better = self.best is None or (value < self.best if lower else value > self.best)
        if better:
            self.best = value
        return better

    def save(self, better: bool = False) -> Path:
        """Write a checkpoint of the present step; of several processes the first writes.

        Args:
            better: it is the best so far; a run killed before it is kept as `best` keeps it when it resumes.
        """
        tensors = tensors_of(self.objective, self.config.shard)
        state = {name: value.cpu() for name, value in tensors.items() if not name.startswith(MODEL)}
        state |= optimizer_tensors(self.objective, self.optimizers)
        model = {name.removeprefix(MODEL): value for name, value in tensors.items() if name.startswith(MODEL)}
        weights = plain_state(self.model, model)
        progress = {
            "batches": self.step * self.config.batches_per_step,
            "best": self.best,
            "is_best": better,
            "config": self.config.to_dict(),
            **self.record_of_run,
            "before": self.before,
        }
        if not self.processes.is_main_process:
            return checkpoint.path(self.out, self.step)

        def write(folder: Path) -> None:
            self.write_model(folder, weights)
            letters = {name: value for name, value in state.items() if name.startswith("ctc.")}
            if letters and self.config.ctc_weight and isinstance(self.model, OsumForConditionalGeneration):
                LetterHead.of(letters).save(folder)

        return checkpoint.save(self.out, self.step, write, state, progress, self.config.keep)

    def write_model(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Model, processor and tasks, as `from_pretrained` and `osum label` read them; LoRA as an adapter."""
        if self.base is not None:
            write_apart(folder, self.model, weights, self.base, self.processor)
        else:
            self.model.save_pretrained(folder, state_dict=weights)
            self.processor.save_pretrained(folder)
        if self.adapter is not None:
            self.adapter.save_pretrained(folder / ADAPTER_FOLDER)
        self.kind.write_tasks(folder, self.tasks)

    def _resume(self, path: Path) -> None:
        """Stand where a checkpoint stood; its weights are loaded already.

        Raises:
            InputError: the recipe is not the one that the run began with, or its data are other.
        """
        state, progress = checkpoint.load(path)
        record.check_unchanged(progress["config"], self.config, self.out, () if self.after is None else ("model",))
        if self.after is not None:
            record.check_after(progress.get("before", []), self.after, self.out)
        record.check_data(progress.get("data", {}), self.record_of_run["data"], self.out)
        self.before = progress.get("before", [])
        restore(self.objective, self.optimizers, state, path)
        self.step, self.best = progress["step"], progress["best"]
        self.sampler.first = progress["batches"]
        if progress.get("is_best") and self.processes.is_main_process:
            checkpoint.save_best(self.out, path)


class _Index(Dataset[Pick]):
    """A data set that is its own index: the sampler's picks go to the collator as they are."""

    def __getitem__(self, pick: Any) -> Pick:
        return cast(Pick, pick)


def _summary(mixture: Mixture[Any]) -> str:
    return ", ".join(f"{reason}: {number}" for reason, number in mixture.dropped.items()) or "it is empty"


def train(stages: Sequence[TrainConfig]) -> Path:
    """Run after run, each on from the last checkpoint of the one before; returns the last checkpoint.

    A stage that is finished is opened, and has nothing to do.
    """
    check(stages)
    last: Path | None = None
    for stage in stages:
        last = Trainer(stage if last is None else replace(stage, model=str(last)), last).run()
        PartialState().wait_for_everyone()  # the first process writes what the others begin the next stage with
        hand_back_memory()
    assert last is not None, "no stage"
    return last


def hand_back_memory() -> None:
    """Give freed memory back to the system, where glibc keeps it: readers that are forked later would hold it too."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
