"""What rounding a language model does to answers: nothing at many bits, and it is measured at few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from checkpoints.apart import write_apart
from model.tiny import noise

from osum.checkpoints.base import tensors_in
from osum.utterance import Utterance
from recipes.mini.perturb import compare, perturb, rounded


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_apart(tmp_path_factory.mktemp("apart"))


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", noise(4_000, number).astype(np.float32), 16_000)
    return [Utterance(str(number), str(tmp_path / f"{number}.wav"), text="a") for number in range(2)]


def test_rounding_keeps_vectors_and_is_within_a_step(folders: tuple[Path, Path]) -> None:
    state = tensors_in(folders[0])
    found = rounded(state, 4)
    assert all((found[name] == value).all() for name, value in state.items() if value.dim() == 1)
    name = "model.layers.0.mlp.up_proj.weight"
    off = (found[name] - state[name]).abs().max() / state[name].abs().max()
    assert 0.01 < off <= 0.5 / 7 + 1e-6


def test_a_difference_is_measured(folders: tuple[Path, Path], rows: list[Utterance], tmp_path: Path) -> None:
    base, apart = folders
    perturb(base, tmp_path / "four", 4)
    perturb(base, tmp_path / "sixteen", 16)
    four, sixteen = (compare(str(apart), base, tmp_path / name, rows) for name in ("four", "sixteen"))
    assert (sixteen.same_text, sixteen.character_error) == (1.0, 0.0) and set(sixteen.same_label.values()) == {1.0}
    assert 0.03 < four.distance < 0.15 and sixteen.distance < 1e-3 and four.clips == 2
