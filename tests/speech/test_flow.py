"""The flow computes what CosyVoice's computes (golden), and learns from clips as they are alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from osum.speech.conformer import by_distance
from osum.speech.features import MelConfig
from osum.speech.flow import Flow, FlowBatch, FlowConfig, FlowDraws, warped

from .golden import arrays, far, flow, full_shapes, shapes_of

CASES = ("a", "b", "c")
"""A short clip, a long one, and one without a prompt."""


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return arrays("flow_stages")


def conditions(golden: dict[str, Tensor], case: str) -> tuple[Tensor, Tensor, Tensor]:
    """What the solver is given: mu, speaker, prompt."""
    prompt_mel = golden[f"{case}_prompt_feat"].transpose(1, 2)
    frames = prompt_mel.shape[-1]
    mu = flow().condition(golden[f"{case}_token"], golden[f"{case}_prompt_token"], frames)
    prompt = torch.nn.functional.pad(prompt_mel, (0, mu.shape[-1] - frames))
    return mu, flow().speaker(golden[f"{case}_embedding"]), prompt


@pytest.mark.parametrize("case", CASES)
def test_the_encoder_is_the_originals(golden: dict[str, Tensor], case: str) -> None:
    codes = torch.cat([golden[f"{case}_prompt_token"], golden[f"{case}_token"]], dim=1)
    hidden = flow().encoder(flow().input_embedding(codes), torch.ones_like(codes).bool())
    assert far(hidden, golden[f"{case}_enc_out"]) < 2e-5


@pytest.mark.parametrize("case", ["a", "b"])
def test_regulator_and_speaker_are_the_originals(golden: dict[str, Tensor], case: str) -> None:
    mu, speaker, _ = conditions(golden, case)
    assert far(mu, golden[f"{case}_mu"]) < 5e-5
    assert far(speaker, golden[f"{case}_spk"]) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_the_mel_is_the_originals(golden: dict[str, Tensor], case: str) -> None:
    mel = flow().decoder(golden[f"{case}_z"], *conditions(golden, case))
    assert far(mel[..., -golden[f"{case}_feat"].shape[-1] :], golden[f"{case}_feat"]) < 3e-4


def test_the_first_velocities_are_the_originals(golden: dict[str, Tensor]) -> None:
    mu, speaker, prompt = conditions(golden, "a")
    given, free = golden["a_vel0"].chunk(2)
    found = flow().decoder.velocity(golden["a_z"], torch.zeros(()), mu, speaker, prompt)
    assert far(found, 1.7 * given - 0.7 * free) < 1e-4


def test_the_times_are_the_originals(golden: dict[str, Tensor]) -> None:
    assert far(flow().decoder.grid(), golden["t_span"]) == 0


def test_the_estimator_is_the_originals_stage_by_stage() -> None:
    golden = arrays("estimator")
    estimator, seen = flow().decoder.estimator, {}
    watched = {
        "time_emb": estimator.time_mlp,
        "down0_resnet": estimator.down_blocks[0][0],
        "down0_tfm0_attn": estimator.down_blocks[0][1][0].attn1,
        "down0_tfm0_ff": estimator.down_blocks[0][1][0].ff,
        "down0_resample": estimator.down_blocks[0][2],
        "mid0_resnet": estimator.mid_blocks[0][0],
        "up0_resnet": estimator.up_blocks[0][0],
        "up0_resample": estimator.up_blocks[0][2],
        "final_block": estimator.final_block,
    }
    hooks = [
        part.register_forward_hook(lambda _part, _given, out, name=name: seen.__setitem__(name, out))
        for name, part in watched.items()
    ]
    out = estimator(*(golden[name] for name in ("x", "mask", "mu", "t", "spks", "cond")))
    for hook in hooks:
        hook.remove()
    assert far(out, golden["out"]) < 1e-4
    assert max(far(seen[name], golden[name]) for name in watched) < 1e-4


def test_the_training_loss_is_the_originals() -> None:
    golden = arrays("flow_train")
    draws = FlowDraws(golden["z"], golden["t_uniform"], golden["cfg_uniform"], prompt=torch.zeros(2))
    given = (golden[name] for name in ("x1", "mask", "mu", "spks", "cond"))
    loss, noisy = flow().decoder.loss(*given, draws)
    assert loss.item() == pytest.approx(golden["loss"].item(), rel=1e-5)
    assert far(noisy, golden["y"]) < 1e-6
    assert far(warped(golden["t_uniform"]), golden["est_t"]) < 1e-7


def test_the_regulators_training_form_is_the_originals() -> None:
    golden = arrays("flow_train")
    found = flow().length_regulator.whole(golden["lr_x"].transpose(1, 2), golden["lr_ylens"])
    assert far(found.transpose(1, 2), golden["lr_out"]) < 5e-5


def training_batch(*code_counts: int) -> tuple[FlowBatch, FlowDraws]:
    """Random clips, and draws under which all keep their condition and have a prompt."""
    random = torch.Generator().manual_seed(0)
    codes, frames = torch.tensor(code_counts), torch.tensor([flow().num_frames(count) for count in code_counts])
    size, longest = len(code_counts), int(frames.max())
    batch = FlowBatch(
        torch.randint(0, flow().config.num_codes, (size, int(codes.max())), generator=random),
        codes,
        torch.randn(size, 80, longest, generator=random),
        frames,
        torch.randn(size, 192, generator=random),
    )
    draws = FlowDraws.sample(batch.mel, random)
    return batch, FlowDraws(draws.noise, draws.time, torch.ones(size), torch.ones(size) * 0.9)


def test_encoder_and_regulator_see_each_training_clip_alone() -> None:
    batch, _ = training_batch(25, 12)
    together = flow().encode(batch.codes, batch.code_lengths)
    assert far(together[1:, :, :12], flow().encode(batch.codes[1:, :12])) < 1e-5


def test_the_training_loss_learns() -> None:
    model = Flow(flow().config, flow().mel)
    model.load_state_dict(flow().state_dict())
    batch, draws = training_batch(20, 12)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = model.loss(batch, draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_every_weight_of_the_flow_learns() -> None:
    model = Flow(flow().config, flow().mel)
    model.loss(*training_batch(20, 12)).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_frames_of_codes_follow_the_originals_order_of_operations() -> None:
    assert [flow().num_frames(count) for count in (1, 20, 25, 70, 135)] == [3, 68, 86, 241, 465]


@given(length=st.integers(1, 9))
def test_scores_by_distance_become_scores_by_key(length: int) -> None:
    scores = torch.randn(1, 2, length, 2 * length - 1)
    found = by_distance(scores)
    rows, columns = torch.meshgrid(torch.arange(length), torch.arange(length), indexing="ij")
    assert torch.equal(found, scores[:, :, rows, length - 1 - (rows - columns)])


@pytest.mark.parametrize("count", [39, 40, 41, 42])
def test_clips_around_the_length_that_is_cut_are_whole(count: int) -> None:
    codes = torch.arange(count)[None]
    mu = flow().condition(codes, codes[:, :0], 0)
    assert mu.shape == (1, 80, flow().num_frames(count))


def test_the_full_size_has_the_released_keys_and_shapes() -> None:
    with torch.device("meta"):
        assert shapes_of(Flow(FlowConfig(), MelConfig())) == full_shapes("flow")
