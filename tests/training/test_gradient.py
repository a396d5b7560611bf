"""What a step learns from: the gradients of the golden batch are those of a plain float64 model of our own.

The plain model is one function after another on one clip at a time: no module, padding, mask or fused kernel of ours.
Its own gradients are held to central differences, so no autograd is taken on trust.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from model.golden import osum_meta, tensors, write_osum
from model.test_golden_osum import ANSWER_END, CLIPS, batched, inputs_of
from model.tiny import byte_tokenizer
from peft import LoraConfig
from torch import Tensor, nn

from osum.checkpoints.convert import convert
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.training.batch import CTC_PAD, CTC_UNKNOWN, LABEL_UNKNOWN
from osum.training.config import TrainConfig
from osum.training.learn import with_lora
from osum.training.objective import NOT_INPUTS, Objective, counts
from osum.training.trainer import Trainer
from training.conftest import MakeConfig

LETTERS = ((7, 4, 11, 11, 14), (2,), ())
"""Transcripts of the golden clips, one with a doubled letter; the last one is not known."""
TOKENS = ((9, 9), (40,), ())
"""The same transcripts in text ids."""
LABEL_SIZES = (2, 3)
LABELS = ((1, 2), (LABEL_UNKNOWN, 0), (0, LABEL_UNKNOWN))
"""Of the golden clips, in two label sets; two are not known."""
SHARES = {"ctc": 0.5, "label": 0.3, "token": 0.2, "spelling": 0.4}
"""Weights of the losses next to the answers'."""
HEADS, KEY_HEADS, LORA_SCALE, ROPE_BASE = 4, 2, 32 / 8, 1e6
RELATIVE = 2e-4
"""Of each parameter's gradient, in float32. A test below holds it to what the plain model loses in float32, 1.3e-4."""
ABSOLUTE = 1e-9
"""As a share of the whole gradient: the biases of the adaptor's keys have none at all, but for rounding."""


class Plain:
    """The training objective of one clip after another, in float64, from the parameters by name."""

    def __init__(self, objective: Objective, dtype: torch.dtype = torch.float64) -> None:
        self.dtype = dtype
        held = {**dict(objective.named_parameters()), **dict(objective.named_buffers())}
        self.weights = {
            name.removeprefix("model.").replace(".base_layer.", "."): value.detach().to(dtype, copy=True)
            for name, value in held.items()
        }
        self.learned = {
            name.removeprefix("model.").replace(".base_layer.", "."): value
            for name, value in objective.named_parameters()
        }

    def gradients(self, clips: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        leaves = [self.weights[name].requires_grad_() for name in self.learned]
        return dict(zip(self.learned, torch.autograd.grad(self.loss(clips), leaves, allow_unused=False), strict=True))

    def loss(self, clips: list[dict[str, Tensor]]) -> Tensor:
        """The mean over answers of the mean over tokens; letters, labels and tokens by their weights."""
        answers, labels, letters, tokens, spelling = zip(*map(self.losses, clips, LABELS, LETTERS, TOKENS), strict=True)
        named = [loss for part in labels for loss in part]
        return (
            sum(answers) / len(answers)
            + SHARES["ctc"] * sum(letters) / sum(map(len, LETTERS))
            + SHARES["label"] * sum(named) / len(named)
            + SHARES["token"] * sum(tokens) / sum(map(len, TOKENS))
            + SHARES["spelling"] * sum(spelling) / sum(map(len, LETTERS))
        )

    def losses(
        self, clip: Mapping[str, Tensor], labels: tuple[int, ...], letters: tuple[int, ...], tokens: tuple[int, ...]
    ) -> tuple[Tensor, list[Tensor], Tensor | int, Tensor | int, Tensor | int]:
        frames = self.encode(clip["input_features"][0].to(self.dtype))  # (T, D)
        halved = self.halve(frames)  # (T / 2, D)
        embedded = self.adapt(halved)  # (T', D_llm)
        scores = self.decode(self.embed(clip["input_ids"][0], embedded))  # (L, V)
        places = (clip["labels"][0] != -100).nonzero()[:, 0]
        spoken = scores.log_softmax(-1)[places - 1, clip["labels"][0, places]]  # (N,)
        spelled = self.ctc(self.linear("ctc.linear", frames), letters) if letters else 0
        x = self.layer_norm("tokens.norm", embedded)
        read = (
            self.ctc(torch.cat([self.linear("lm_head", x), self.linear("tokens.blank", x)], 1), tokens) if tokens else 0
        )
        named = [self.named(embedded, n, at) for n, at in enumerate(labels) if at >= 0]
        halfway = self.ctc(self.linear("spelling.linear", halved), letters) if letters else 0
        return -spoken.mean(), named, spelled, read, halfway

    def named(self, embedded: Tensor, number: int, label: int) -> Tensor:
        """What a label of one set costs, from (T', D_llm)."""
        x = self.layer_norm("label_heads.norm", embedded)
        shares = (x @ self.weights["label_heads.look.weight"][number]).exp()  # (T',)
        return -self.linear(f"label_heads.name.{number}", shares @ x / shares.sum()).log_softmax(-1)[label]

    def encode(self, mel: Tensor) -> Tensor:
        """(M, F) to (T, D)."""
        x = gelu(self.conv("model.audio_tower.conv1", mel, (1, 1), 1))
        x = gelu(self.conv("model.audio_tower.conv2", x, (1, 1), 2)).T
        x = x + self.weights["model.audio_tower.embed_positions.weight"][: len(x)]
        for number in range(2):
            x = self.speech_layer(f"model.audio_tower.layers.{number}", x, gelu)
        return self.layer_norm("model.audio_tower.layer_norm", x)

    def halve(self, frames: Tensor) -> Tensor:
        """(T, D) to (T / 2, D)."""
        x = gelu(self.conv("model.adaptor.convs.0", frames.T, (2, 0), 1))
        return gelu(self.conv("model.adaptor.convs.1", x, (2, 0), 2)).T

    def adapt(self, halved: Tensor) -> Tensor:
        """(T / 2, D) to (T', D_llm)."""
        x = gelu(self.conv("model.adaptor.convs.2", halved.T, (2, 0), 2))
        x = self.layer_norm("model.adaptor.input_layer_norm", self.linear("model.adaptor.input_linear", x.T))
        x = x * x.shape[1] ** 0.5 + self.weights["model.adaptor.embed_positions.weight"][: len(x)]
        for number in range(sum(name.endswith("fc2.bias") and "adaptor" in name for name in self.learned)):
            x = self.speech_layer(f"model.adaptor.layers.{number}", x, lambda value: value.clamp(min=0))
        return self.linear("model.adaptor.output_linear", self.layer_norm("model.adaptor.layer_norm", x))

    def embed(self, ids: Tensor, audio: Tensor) -> Tensor:
        """(L, D): rows of the text's table, of the speech table, and the audio in its place."""
        text, speech = (self.weights[f"model.{name}.weight"] for name in TABLES)
        begin = len(text) + len(speech) - 2
        embedded = iter(audio)
        rows = {begin: speech[-2], begin + 1: speech[-1]}
        found = [
            next(embedded) if token == begin + 2 else rows.get(token, text[token % begin]) for token in ids.tolist()
        ]
        assert next(embedded, None) is None
        return torch.stack(found)

    def decode(self, x: Tensor) -> Tensor:
        """(L, D) to (L, V): Qwen2."""
        for number in range(2):
            name = f"model.language_model.layers.{number}"
            x = x + self.causal_attention(f"{name}.self_attn", self.rms_norm(f"{name}.input_layernorm", x))
            inner = self.rms_norm(f"{name}.post_attention_layernorm", x)
            gate = self.linear(f"{name}.mlp.gate_proj", inner)
            inner = gate * gate.sigmoid() * self.linear(f"{name}.mlp.up_proj", inner)
            x = x + self.linear(f"{name}.mlp.down_proj", inner)
        return self.linear("lm_head", self.rms_norm("model.language_model.norm", x))

    def speech_layer(self, name: str, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        inner = self.layer_norm(f"{name}.self_attn_layer_norm", x)
        query, key, value = (heads(self.linear(f"{name}.self_attn.{part}_proj", inner), HEADS) for part in "qkv")
        x = x + self.linear(f"{name}.self_attn.out_proj", attend(query, key, value))
        return x + self.linear(
            f"{name}.fc2", activation(self.linear(f"{name}.fc1", self.layer_norm(f"{name}.final_layer_norm", x)))
        )

    def causal_attention(self, name: str, x: Tensor) -> Tensor:
        query = turn(heads(self.linear(f"{name}.q_proj", x), HEADS))
        key = turn(heads(self.linear(f"{name}.k_proj", x), KEY_HEADS)).repeat_interleave(HEADS // KEY_HEADS, dim=0)
        value = heads(self.linear(f"{name}.v_proj", x), KEY_HEADS).repeat_interleave(HEADS // KEY_HEADS, dim=0)
        return self.linear(f"{name}.o_proj", attend(query, key, value, torch.ones(len(x), len(x)).triu(1) > 0))

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)
        if f"{name}.lora_A.default.weight" not in self.weights:
            return y
        down, up = (self.weights[f"{name}.lora_{part}.default.weight"] for part in "AB")
        return y + LORA_SCALE * (x @ down.T) @ up.T

    def conv(self, name: str, x: Tensor, padding: tuple[int, int], stride: int) -> Tensor:
        """(C, T) to (D, T'): three products, one for each tap."""
        x = nn.functional.pad(x, padding)
        size = (x.shape[1] - 3) // stride + 1
        taps = [x[:, tap : tap + stride * (size - 1) + 1 : stride] for tap in range(3)]
        weight = self.weights[f"{name}.weight"]
        return sum(weight[:, :, tap] @ seen for tap, seen in enumerate(taps)) + self.weights[f"{name}.bias"][:, None]

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def rms_norm(self, name: str, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.weights[f"{name}.weight"]

    @staticmethod
    def ctc(scores: Tensor, target: tuple[int, ...]) -> Tensor:
        """Forward recursion over (T, units), the last of them the blank, scaled at every frame."""
        shares, blank = scores.softmax(-1), scores.shape[1] - 1
        units = torch.tensor([blank, *(unit for letter in target for unit in (letter, blank))])
        skips = torch.tensor([n % 2 == 1 and n > 1 and units[n] != units[n - 2] for n in range(len(units))]).float()
        alpha = (torch.arange(len(units)) < 2).float()
        loss = torch.zeros(())
        for number, row in enumerate(shares):
            if number:
                one, two = (nn.functional.pad(alpha, (by, 0))[: len(alpha)] for by in (1, 2))
                alpha = alpha + one + two * skips
            alpha = alpha * row[units]
            loss = loss - alpha.sum().log()
            alpha = alpha / alpha.sum()
        return loss - alpha[-2:].sum().log()


TABLES = ("language_model.embed_tokens", "speech_embedding")


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def heads(x: Tensor, number: int) -> Tensor:
    """(T, D) to (H, T, D / H)."""
    return x.view(len(x), number, -1).transpose(0, 1)


def attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None) -> Tensor:
    """(H, T, d) each to (T, H * d); `hidden` (T, T) is what may not be seen."""
    scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    scores = scores if hidden is None else scores.masked_fill(hidden, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)


def turn(x: Tensor) -> Tensor:
    """Rotary positions on (H, T, d)."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1])[:, None] * ROPE_BASE ** (-torch.arange(half).to(x) / half)
    one, other = x[..., :half], x[..., half:]
    return torch.cat([one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], dim=-1)


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    """The tiny OSUM with its LoRA as an adapter, all of it learning, dropout off."""
    folder: Path = tmp_path_factory.mktemp("osum")
    convert(write_osum(folder / "original"), folder / "ours", lora="keep")
    model = OsumForConditionalGeneration.from_pretrained(folder / "ours")
    held = LoraConfig.from_pretrained(folder / "ours" / "adapter")
    with_lora(model, TrainConfig(learn="lora", lora_rank=held.r), folder / "ours")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Objective(model, LABEL_SIZES, tokens=True, spelling=True).eval()
    return made.requires_grad_()


@pytest.fixture(scope="module")
def processor(objective: Objective) -> OsumProcessor:
    tokenizer = byte_tokenizer({"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258})
    return OsumProcessor.for_config(objective.model.config, tokenizer, answer_end_token_id=ANSWER_END)


@pytest.fixture(scope="module")
def clips(processor: OsumProcessor) -> list[dict[str, Tensor]]:
    return [inputs_of(processor, tensors("osum"), clip, answered=True) for clip in CLIPS]


@pytest.fixture(scope="module")
def batch(processor: OsumProcessor, clips: list[dict[str, Tensor]]) -> dict[str, Any]:
    """The golden clips as one padded batch of training."""
    letters, tokens = (
        torch.tensor([[*row, *[CTC_PAD] * (5 - len(row))] if row else [CTC_UNKNOWN, *[CTC_PAD] * 4] for row in rows])
        for rows in (LETTERS, TOKENS)
    )
    targets = {"ctc_targets": letters, "token_targets": tokens, "label_targets": torch.tensor(LABELS)}
    return {**batched(clips, processor), **targets, "ids": ["0", "1", "2"]}


@pytest.fixture(scope="module")
def plain(objective: Objective) -> Plain:
    return Plain(objective)


@pytest.fixture(scope="module")
def expected(plain: Plain, clips: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return plain.gradients(clips)


def loss_of(objective: Objective, batch: dict[str, Any]) -> Tensor:
    """What a step of this one batch minimises."""
    return (objective(batch) / counts(batch) * torch.tensor([1.0, *SHARES.values()])).sum()


def check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], relative: float = RELATIVE) -> None:
    """Every gradient is the expected one, as far as float32 goes."""
    assert found.keys() == expected.keys()
    whole = math.sqrt(sum(value.double().square().sum().item() for value in expected.values()))
    for name, value in expected.items():
        error = (found[name].double() - value).norm().item()
        assert error <= relative * value.norm().item() + ABSOLUTE * whole, name


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in peft


@torch.no_grad()
def test_the_answer_loss_of_the_golden_batch_is_that_of_the_originals_logits(
    objective: Objective, batch: dict[str, Any]
) -> None:
    golden, labels = tensors("osum"), osum_meta()["labels"]
    by_hand = [
        -golden[f"single{clip}_logits"][0, -len(labels[clip]) - 1 : -1].double().log_softmax(-1)[row, labels[clip]]
        for clip in CLIPS
        for row in [torch.arange(len(labels[clip]))]
    ]
    mean = sum(losses.mean() for losses in by_hand) / len(by_hand)
    answers, *others = counts(batch).tolist()
    assert (answers, others) == (3, [6, 4, 3, 6])
    assert (objective(batch)[0] / answers).item() == pytest.approx(mean.item(), rel=1e-5)


@torch.no_grad()
def test_the_loss_of_the_golden_batch_is_the_plain_models(
    objective: Objective, batch: dict[str, Any], plain: Plain, clips: list[dict[str, Tensor]]
) -> None:
    assert loss_of(objective, batch).item() == pytest.approx(plain.loss(clips).item(), rel=1e-6)


def test_the_gradient_of_the_golden_batch_is_the_plain_models(
    objective: Objective, batch: dict[str, Any], plain: Plain, expected: dict[str, Tensor]
) -> None:
    """Every parameter: encoder, adaptor, tables, Qwen2, both matrices of each LoRA, and the other losses' heads."""
    found = torch.autograd.grad(loss_of(objective, batch), list(plain.learned.values()))
    check(dict(zip(expected, found, strict=True)), expected)


def test_the_bound_is_what_float32_costs_the_plain_model(
    objective: Objective, clips: list[dict[str, Tensor]], expected: dict[str, Tensor]
) -> None:
    rounded = Plain(objective, torch.float32).gradients(clips)
    check(rounded, expected)
    with pytest.raises(AssertionError):
        check(rounded, expected, RELATIVE / 8)


PROBED = (
    "model.audio_tower.conv1.weight",
    "model.audio_tower.layers.0.self_attn.q_proj.weight",
    "model.adaptor.convs.1.weight",
    "model.adaptor.output_linear.weight",
    "model.speech_embedding.weight",
    "model.language_model.embed_tokens.weight",
    "model.language_model.layers.0.self_attn.k_proj.weight",
    "model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight",
    "model.language_model.layers.0.self_attn.q_proj.lora_B.default.weight",
    "model.language_model.layers.1.mlp.up_proj.weight",
    "ctc.linear.weight",
    "spelling.linear.weight",
    "label_heads.look.weight",
    "label_heads.name.1.weight",
    "tokens.norm.weight",
    "tokens.blank.weight",
    "lm_head.weight",
)


@torch.no_grad()
@pytest.mark.parametrize("name", PROBED)
def test_the_plain_models_gradient_is_a_central_difference(
    plain: Plain, clips: list[dict[str, Tensor]], expected: dict[str, Tensor], name: str
) -> None:
    """Along the gradient itself, where the difference is largest against its rounding."""
    start, along = plain.weights[name], expected[name] / expected[name].norm()
    heights = []
    for step in (1e-6, -1e-6):
        plain.weights[name] = start + step * along
        heights.append(plain.loss(clips).item())
    plain.weights[name] = start
    assert (heights[0] - heights[1]) / 2e-6 == pytest.approx(expected[name].norm().item(), rel=2e-6)


# Steps of several batches


@pytest.fixture
def trainer(config: MakeConfig) -> Trainer:
    """Nothing is drawn and nothing moves, so that steps can be compared."""
    made = Trainer(
        config(learning_rate=1e-30, max_grad_norm=1e9, batch_seconds=1.0, batches_per_step=3, timed_share=0.0)
    )
    for module in made.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made


def batches_of(trainer: Trainer) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Three batches, and the clips of all three in one."""
    picks = trainer.sampler.epoch(0)[:3]
    collate = trainer.loader.collate_fn
    return [collate(part) for part in picks], collate([pick for part in picks for pick in part])


def test_three_batches_of_a_step_give_the_gradient_of_all_their_clips(trainer: Trainer) -> None:
    parts, whole = batches_of(trainer)
    assert len({len(part["labels"]) for part in parts}) > 1  # a mean of means would differ
    found = []
    for batches in (parts, [whole]):
        trainer.train_step(batches)
        found.append({name: value.grad.double().clone() for name, value in trainer.learned.items()})
    check(*found)


@torch.no_grad()
def by_hand(trainer: Trainer, batch: dict[str, Any]) -> list[float]:
    """The mean over tokens of each answer of a batch, token by token."""
    inputs = {name: value for name, value in batch.items() if name not in NOT_INPUTS}
    scores = trainer.model.eval()(**inputs).logits.double().log_softmax(-1)
    found = []
    for row, labels in enumerate(batch["labels"].tolist()):
        spoken = [-scores[row, place - 1, token].item() for place, token in enumerate(labels) if token != -100]
        found.append(sum(spoken) / len(spoken))
    return found


def test_the_loss_of_a_step_is_the_mean_over_all_its_answers(trainer: Trainer) -> None:
    parts, _ = batches_of(trainer)
    answers = [loss for part in parts for loss in by_hand(trainer, part)]
    assert len(answers) > len(parts)
    assert trainer.train_step(parts)["loss"] == pytest.approx(sum(answers) / len(answers), rel=1e-5)
