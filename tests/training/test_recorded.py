"""A frozen encoder's output, stored: the same losses, whatever stops the storing, and no other encoder's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from osum.errors import AudioError, InputError
from osum.training import recorded
from osum.training.batch import Pick
from osum.training.recorded import RecordedStates
from osum.training.trainer import Trainer
from training.conftest import MakeConfig

FROZEN = {"learn": "adaptor+llm", "dtype": "float32", "augment": 0.0, "questions_per_clip": 1, "timed_share": 0.0}


def batch_losses(trainer: Trainer) -> torch.Tensor:
    trainer.model.eval()
    with torch.no_grad():
        return torch.stack([trainer.losses(batch) for batch in trainer.valid_loader]).sum(0)


def states(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.bf16")}


def test_stored_states_give_the_losses_of_the_running_encoder(config: MakeConfig, tmp_path: Path) -> None:
    running = batch_losses(Trainer(config(**FROZEN)))
    stored = batch_losses(Trainer(config(**FROZEN, encoder_copies=2, out=str(tmp_path / "other"))))
    torch.testing.assert_close(stored, running, rtol=0.01, atol=0.02)  # bfloat16


def test_a_run_on_stored_states_trains(config: MakeConfig) -> None:
    last = Trainer(config(**FROZEN, encoder_copies=2)).run()
    assert (last / "model.safetensors").is_file()


def test_half_precision_is_held_to_the_running_encoder_too(config: MakeConfig, tmp_path: Path) -> None:
    half = FROZEN | {"dtype": "bfloat16"}
    running = batch_losses(Trainer(config(**half)))
    stored = batch_losses(Trainer(config(**half, encoder_copies=1, out=str(tmp_path / "other"))))
    torch.testing.assert_close(stored, running, rtol=0.05, atol=0.1)


def test_copies_but_the_first_are_changed(config: MakeConfig) -> None:
    trainer = Trainer(config(**FROZEN | {"augment": 1.0}, encoder_copies=3))
    kept = trainer.loader.collate_fn.recorded  # type: ignore[attr-defined]
    plain, one, two = (kept.read(0, copy)[1] for copy in range(3))
    assert not (plain.shape == one.shape and torch.equal(plain, one))
    assert not (one.shape == two.shape and torch.equal(one, two))


def test_storing_that_was_stopped_continues(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recorded, "PER_FILE", 3)
    Trainer(config(**FROZEN, encoder_copies=1, out=str(tmp_path / "whole")))
    make = RecordedStates._make

    def stopped(self: RecordedStates, name: str, *rest: object) -> None:
        if name == "0-00001":
            raise OSError(errno.ENOSPC, "No space left on device")
        make(self, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordedStates, "_make", stopped)
    with pytest.raises(OSError, match="No space"):
        Trainer(config(**FROZEN, encoder_copies=1))
    monkeypatch.setattr(RecordedStates, "_make", make)
    Trainer(config(**FROZEN, encoder_copies=1))
    assert states(tmp_path / "run") == states(tmp_path / "whole") != {}


def test_a_full_disk_leaves_no_half_file(config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded, "pad_features", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        Trainer(config(**FROZEN, encoder_copies=1))
    assert [path.name for path in (tmp_path / "run/encoder/train").iterdir()] == ["made_from"]


def test_more_copies_are_added_to_those_that_are_stored(config: MakeConfig, tmp_path: Path) -> None:
    Trainer(config(**FROZEN, encoder_copies=1))
    before = states(tmp_path / "run")
    Trainer(config(**FROZEN, encoder_copies=2))
    after = states(tmp_path / "run")
    assert before.items() < after.items()


def test_states_of_other_clips_are_refused(config: MakeConfig) -> None:
    Trainer(config(**FROZEN, encoder_copies=1))
    with pytest.raises(InputError, match="another encoder or of other clips: delete it"):
        Trainer(config(**FROZEN | {"seed": 2}, encoder_copies=1))


def test_a_copy_is_masked_anew_each_time_it_is_read(config: MakeConfig) -> None:
    collator = Trainer(config(**FROZEN | {"augment": 1.0}, encoder_copies=1)).loader.collate_fn
    kept = collator.recorded  # type: ignore[attr-defined]
    plain = kept.read(0, 0)[1]
    one, again, two = (collator._recorded(kept, Pick(0, seed))[1] for seed in (1, 1, 2))  # type: ignore[attr-defined]
    assert torch.equal(one, again) and not torch.equal(one, two)
    assert (one[one != plain] == 0).all() and (one == plain).float().mean() > 0.5


def test_an_encoder_that_learns_has_no_stored_states(config: MakeConfig) -> None:
    with pytest.raises(InputError, match="encoder_copies is 1, but learn=full"):
        Trainer(config(**FROZEN | {"learn": "full"}, encoder_copies=1))


def test_a_clip_that_cannot_be_read_is_left_out(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from osum.training.batch import Collator

    copy = Collator.copy

    def broken(self: Collator, index: int, number: int, seed: int):  # type: ignore[no-untyped-def]
        if index == 2:
            raise AudioError("a.wav: is cut off")
        return copy(self, index, number, seed)

    monkeypatch.setattr(Collator, "copy", broken)
    trainer = Trainer(config(**FROZEN, encoder_copies=1))
    kept = trainer.loader.collate_fn.recorded  # type: ignore[attr-defined]
    with pytest.raises(AudioError, match="row 2"):
        kept.read(2, 0)
    trainer.run()
    assert trainer.unread > 0
