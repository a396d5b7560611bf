"""Heads and optimisers stand again where they stood, on whatever device their parameters are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from osum.errors import CheckpointError
from osum.training.state import optimizer_tensors, restore, restore_heads, tensors_of
from osum.training.trainer import Trainer
from training.conftest import MakeConfig, losses


class Small(nn.Module):
    """An objective: a model of one layer that never has a gradient and one that has, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"still": nn.Linear(2, 3), "moving": nn.Linear(2, 3)})
        self.ctc = nn.Linear(3, 4)


def adamw(objective: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(objective.parameters(), fused=True)


def stepped() -> tuple[Small, torch.optim.Optimizer]:
    """An objective after three steps."""
    objective = Small()
    optimizer = adamw(objective)
    for _ in range(3):
        optimizer.zero_grad()
        objective.ctc(objective.model["moving"](torch.randn(5, 2))).square().sum().backward()
        optimizer.step()
    return objective, optimizer


def test_what_is_kept_has_the_names_that_checkpoints_have_always_had() -> None:
    objective, optimizer = stepped()
    kept = optimizer_tensors(objective, [optimizer])
    names = {f"{key}/{layer}.{part}" for key in ("step", "exp_avg", "exp_avg_sq") for layer in ("moving", "ctc")
             for part in ("weight", "bias")}  # fmt: skip
    assert set(kept) == names and kept["step/ctc.bias"] == 3
    assert set(tensors_of(objective)) == set(objective.state_dict())


def test_an_optimiser_stands_where_it_stood_and_what_had_no_gradient_has_no_state() -> None:
    objective, optimizer = stepped()
    kept = optimizer_tensors(objective, [optimizer])
    optimizer.zero_grad()
    fresh = adamw(objective)
    restore(objective, [fresh], kept, "step-3")
    again = optimizer_tensors(objective, [fresh])
    assert again.keys() == kept.keys() and all(torch.equal(again[name], kept[name]) for name in kept)
    assert not any(parameter in fresh.state for parameter in objective.model["still"].parameters())


def test_everything_restored_is_on_the_device_of_its_parameter() -> None:
    """A fused optimiser refuses a counter of steps that is not; `meta` stands for a GPU, the file is on the CPU."""
    objective, optimizer = stepped()
    kept = optimizer_tensors(objective, [optimizer])
    elsewhere = Small().to("meta")
    fresh = adamw(elsewhere)
    for parameter in elsewhere.parameters():  # meta runs no step, with which torch would make the first state
        fresh.state[parameter] = {"step": torch.zeros((), device="meta")}
        fresh.state[parameter] |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    restore(elsewhere, [fresh], kept, "step-3")
    placed = {name: value.device.type for values in fresh.state.values() for name, value in values.items()}
    assert placed == dict.fromkeys(("step", "exp_avg", "exp_avg_sq"), "meta") and len(fresh.state) == 4


def test_a_state_of_another_shape_is_refused_in_one_line() -> None:
    objective, optimizer = stepped()
    kept = optimizer_tensors(objective, [optimizer]) | {"exp_avg/ctc.weight": torch.zeros(7, 3)}
    with pytest.raises(CheckpointError, match=r"step-3 holds exp_avg of ctc.weight as \(7, 3\), this run needs \(4, 3"):
        restore(objective, [optimizer], kept, "step-3")


def test_heads_of_another_shape_begin_anew_and_the_others_are_taken() -> None:
    objective, own = Small(), Small().state_dict()
    before = objective.ctc.bias.clone()
    restore_heads(objective, {"ctc.weight": own["ctc.weight"], "ctc.bias": torch.ones(9), "model.still.bias": before})
    assert torch.equal(objective.ctc.weight, own["ctc.weight"]) and torch.equal(objective.ctc.bias, before)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_on_an_accelerator_continues(config: MakeConfig, tmp_path: Path, optimizer: str) -> None:
    settings = {"optimizer": optimizer, "batches_per_step": 2, "device": "auto", "learn": "adaptor+encoder+lora"}
    done = Trainer(config(**settings)).run()
    shutil.copytree(done.parent / "step-2", tmp_path / "other" / "step-2")
    trainer = Trainer(config(out=str(tmp_path / "other"), **settings))
    assert trainer.device.type != "cpu"
    placed = {
        value.device.type for one in trainer.optimizers for values in one.state.values() for value in values.values()
    }
    assert placed == {trainer.device.type}
    found, whole = losses(trainer.run().parent), losses(done.parent)
    assert [found[step] for step in (3, 4)] == pytest.approx([whole[step] for step in (3, 4)], rel=1e-3)
