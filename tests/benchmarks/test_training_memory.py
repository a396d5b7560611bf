"""The memory of a recipe is computed from sizes, without weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from training_memory import needed

from osum.model import OsumConfig
from osum.training.config import TrainConfig, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def recipe(name: str) -> TrainConfig:
    (config,) = read_recipe(RECIPES / f"dialogue_{name}.yaml")
    return config


def test_what_learns_takes_sixteen_bytes_and_the_rest_two() -> None:
    nano = OsumConfig.preset("nano")
    found, parts = needed(TrainConfig(learn="adaptor"), nano)
    whole, all_parts = needed(TrainConfig(), nano)
    assert found.learned == 16 * sum(parts.values())
    assert whole.learned == 16 * sum(all_parts.values())
    assert found.frozen == 2 * (sum(all_parts.values()) - sum(parts.values()))


@pytest.mark.parametrize(("name", "gigabytes"), [("empathy", 62), ("talker", 14)])
def test_the_figures_of_the_guide_are_the_commands(name: str, gigabytes: int) -> None:
    found, _ = needed(recipe(name), OsumConfig.preset("echat"))
    assert round(found.total / 1e9) == gigabytes
    guide = (RECIPES.parent / "docs/dialogue.md").read_text("utf-8")
    rows = [line for line in guide.splitlines() if line.startswith(f"| `dialogue_{name}` |")]
    assert any(row.endswith(f"| {gigabytes} |") for row in rows)


def test_a_smaller_batch_takes_less() -> None:
    config, echat = recipe("talker"), OsumConfig.preset("echat")
    small = replace(config, batch_tokens=config.batch_tokens // 2)
    assert needed(small, echat)[0].activations < needed(config, echat)[0].activations
