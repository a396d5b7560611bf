"""The judges of a vocoder: who learns from which loss."""

from __future__ import annotations

import pytest
import torch

from osum.speech.adversary import Adversary, AdversaryConfig, AdversaryLosses


@pytest.fixture
def judges() -> Adversary:
    torch.manual_seed(0)
    return Adversary(AdversaryConfig(periods=(2, 3), fft_sizes=(64,), channels=2))


@pytest.fixture
def waves() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, 1001, generator=random), torch.randn(2, 1001, generator=random).requires_grad_()


def has_gradients(judges: Adversary) -> list[bool]:
    return [parameter.grad is not None for parameter in judges.parameters()]


@pytest.mark.parametrize("name", ["adversarial", "features"])
def test_the_vocoders_losses_move_its_wave_and_no_judge(
    judges: Adversary, waves: tuple[torch.Tensor, torch.Tensor], name: str
) -> None:
    getattr(judges(*waves), name).backward()
    assert waves[1].grad is not None and waves[1].grad.abs().sum() > 0
    assert not any(has_gradients(judges))


def test_the_judges_loss_moves_all_judges_and_no_wave(
    judges: Adversary, waves: tuple[torch.Tensor, torch.Tensor]
) -> None:
    judges(*waves).judges.backward()
    assert waves[1].grad is None
    assert all(has_gradients(judges))


def test_equal_waves_have_equal_features(judges: Adversary, waves: tuple[torch.Tensor, torch.Tensor]) -> None:
    verdict: AdversaryLosses = judges(waves[0], waves[0])
    assert verdict.features.item() == 0


def test_judges_learn_to_distinguish_noise_and_a_tone(judges: Adversary) -> None:
    tone, noise = torch.sin(torch.arange(2000) / 9.0)[None], torch.randn(1, 2000)
    optimizer = torch.optim.AdamW(judges.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = judges(tone, noise).judges
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
