"""Optimisers: what each part's learning rate is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from osum.training.config import TrainConfig
from osum.training.optim import SHARE, optimizers
from osum.training.trainer import Trainer
from training.conftest import MakeConfig, same


def parameters() -> dict[str, torch.nn.Parameter]:
    names = (
        "model.audio_tower.layers.0.fc1.weight",
        "model.audio_tower.conv1.bias",
        "model.adaptor.layers.0.fc1.weight",
    )
    return {name: torch.nn.Parameter(torch.ones(4, 4) if "weight" in name else torch.ones(4)) for name in names}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_encoder_has_its_share_of_the_rate(optimizer: str) -> None:
    learned = parameters()
    shares = {
        id(parameter): group[SHARE]
        for made in optimizers(learned, TrainConfig(optimizer=optimizer, encoder_rate=0.1))  # type: ignore[arg-type]
        for group in made.param_groups
        for parameter in group["params"]
    }
    assert [shares[id(parameter)] for parameter in learned.values()] == [0.1, 0.1, 1.0]


def test_a_small_share_moves_the_encoder_less(config: MakeConfig, tmp_path: Path) -> None:
    moved = []
    for share in (1.0, 0.01):
        trainer = Trainer(config(encoder_rate=share, steps=1, out=str(tmp_path / f"{share}")))
        before = trainer.model.get_encoder().conv1.weight.detach().clone()
        trainer.run()
        moved.append((trainer.model.get_encoder().conv1.weight - before).abs().mean().item())
    assert moved[1] == pytest.approx(moved[0] / 100, rel=0.05)


def test_a_run_with_a_share_that_was_stopped_ends_as_it_would_have(config: MakeConfig, tmp_path: Path) -> None:
    whole = Trainer(config(encoder_rate=0.1, optimizer="muon", out=str(tmp_path / "whole"))).run()
    Trainer(config(encoder_rate=0.1, optimizer="muon", steps=2)).run()
    assert same(whole, Trainer(config(encoder_rate=0.1, optimizer="muon")).run())
