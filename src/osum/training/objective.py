"""What training minimises: the loss of answers and, for small models, losses of letters, labels and tokens on the way.

Losses are sums; the loop divides them by the counts of a whole step, so that neither how clips fall into batches
nor the number of processes changes a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from osum.model import OsumForConditionalGeneration
from osum.model.configuration_osum import IGNORED, audio_token_length, encoder_length
from osum.model.encoder import OsumEncoder, length_mask
from osum.model.letters import NUM_UNITS
from osum.model.modeling_osum import scored_columns
from osum.tasks import TaskSet
from osum.training.batch import CTC_UNKNOWN
from osum.training.config import TrainConfig

NOT_INPUTS = ("ids", "unread", "ctc_targets", "label_targets", "token_targets", "labels")
"""What a batch holds next to the model's inputs."""
CLIPS = ("input_features", "feature_attention_mask", "audio_index")
"""The inputs that are about clips; they are encoded once for all questions."""
MOST_IDS = 8192
"""Text ids that `TokenHead` distinguishes in one batch."""
LOSSES = ("loss", "ctc", "label", "token", "spelling")
"""What `Objective` gives, in its order: of answers, letters, labels, tokens, letters within the adaptor."""


def ctc_loss(logits: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
    """(B, T, N), whose last unit is the blank, their lengths (B,), targets (B, U) padded with -1: summed loss.

    Clips whose transcript is not known do not count, nor do those that have no room for it.
    """
    losses = nn.functional.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1),  # (T, B, N)
        targets.clamp(min=0),
        lengths,
        (targets >= 0).sum(1),
        blank=logits.shape[-1] - 1,
        reduction="none",
        zero_infinity=True,
    )
    return (losses * (targets[:, 0] != CTC_UNKNOWN)).sum()


class CtcHead(nn.Module):
    """Auxiliary head from encoder frames to letters; a checkpoint keeps it in a file of its own, for word times."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, NUM_UNITS)

    def forward(self, states: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """(B, T, D) encoder frames, their lengths (B,), targets (B, U) padded with -1: summed loss."""
        return ctc_loss(self.linear(states), lengths, targets)


class Encoded(NamedTuple):
    """What a model makes of the sound of A clips on the way to its answers."""

    frames: Tensor
    """(A, T, D): of the encoder."""
    halved: Tensor | None
    """(A, ceil(T / 2), D): of the adaptor before its last convolution; None where there is no adaptor."""
    embedded: Tensor
    """(A, T', D_llm): what the language model gets."""


class TokenHead(nn.Module):
    """Reads text tokens off the adaptor's output by the language model's own table; part of training alone.

    Sound so comes to a new language model in the terms of its words, which it learns to distinguish much sooner.

    Args:
        width: of the language model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.blank = nn.Linear(width, 1)

    def forward(self, states: Tensor, lengths: Tensor, targets: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, T', D) audio tokens, their lengths (B,), targets (B, U) padded with -1, the model's head: summed loss."""
        x = self.norm(states)
        return ctc_loss(torch.cat([logits(x), self.blank(x)], dim=-1), lengths, targets)


def few_ids(targets: Tensor, num_ids: int) -> tuple[Tensor | None, Tensor]:
    """Of a large table, the ids (K,) that a batch is scored on, and its targets (B, U) as places among them.

    All of 150,000 ids at every frame would cost as much as the language model: a batch takes its own, and others by
    chance up to `MOST_IDS`. None for a table that is no larger.
    """
    if num_ids <= MOST_IDS:
        return None, targets
    known = targets >= 0
    own = targets[known].unique()  # type: ignore[no-untyped-call]
    drawn = torch.randperm(num_ids, device=targets.device)[: MOST_IDS + len(own)]
    others = drawn[~torch.isin(drawn, own)][: max(0, MOST_IDS - len(own))]
    ids = torch.cat([own, others]).sort().values
    return ids, torch.where(known, torch.searchsorted(ids, targets.clamp(min=0)), targets)


class LabelHeads(nn.Module):
    """Auxiliary heads from the input of the language model to the labels of a clip, one per label set (K).

    Letters and tokens alone teach encoder and adaptor to forget who speaks and how. Each head looks at the places that
    it chooses; kept as `CtcHead` is.

    Args:
        width: of what they read.
        sizes: labels in each set.
    """

    def __init__(self, width: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.look = nn.Linear(width, len(sizes), bias=False)  # the same for every frame, it would change nothing
        self.name = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, states: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """(B, T', D), lengths (B,), targets (B, K), -100 where not known: summed cross-entropy."""
        padding = ~length_mask(lengths, states.shape[1])[..., None]  # (B, T', 1)
        x = self.norm(states)
        shares = self.look(x).float().masked_fill(padding, -torch.inf).softmax(1)  # (B, T', K)
        looked = torch.einsum("btk,btd->kbd", shares, x.float())  # (K, B, D)
        losses = [
            nn.functional.cross_entropy(name(embedded).float(), target, ignore_index=IGNORED, reduction="sum")
            for name, embedded, target in zip(self.name, looked, targets.T, strict=True)
        ]
        return torch.stack(losses).sum() if losses else states.new_zeros((), dtype=torch.float32)


class Losses(nn.Module):
    """A model with what it minimises: one forward is one batch."""

    names: ClassVar[tuple[str, ...]]
    """Of the losses that `forward` gives, in its order."""
    model: Any

    @classmethod
    def of(cls, model: Any, tasks: TaskSet, config: TrainConfig) -> Losses:
        """The losses of a run."""
        raise NotImplementedError

    @staticmethod
    def weights(config: TrainConfig) -> tuple[float, ...]:
        """How much each loss counts; 0 where it is only reported."""
        raise NotImplementedError

    @classmethod
    def shown(cls, config: TrainConfig) -> tuple[str, ...]:
        """The losses that lines for people have: those that count."""
        return tuple(name for name, weight in zip(cls.names, cls.weights(config), strict=True) if weight)

    @staticmethod
    def counts(batch: Mapping[str, Any]) -> Tensor:
        """What each loss of a batch is divided by."""
        raise NotImplementedError


class Objective(Losses):
    """The losses of answers, letters, labels, tokens, and letters within the adaptor.

    Args:
        model: what learns.
        labels: number of labels in each label set of the tasks; without any, none are named.
        tokens: whether text tokens are read off the adaptor's output.
        spelling: whether letters are read off the adaptor's convolutions too.
    """

    names = LOSSES

    def __init__(
        self,
        model: OsumForConditionalGeneration,
        labels: Sequence[int] = (),
        tokens: bool = False,
        spelling: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.ctc = CtcHead(self.tower.config.hidden_size)
        self.spelling = CtcHead(self.tower.config.hidden_size) if spelling else None
        self.label_heads = LabelHeads(self.embedding_width, labels) if labels else None
        self.tokens = TokenHead(self.embedding_width) if tokens else None

    @classmethod
    def of(cls, model: Any, tasks: TaskSet, config: TrainConfig) -> Objective:
        """The losses of a run. Without a weight, heads would give their inputs gradients of zero, and weight decay
        would move it."""
        sizes = [len(labels.labels) for labels in tasks.label_sets.values()] if config.label_weight else []
        return cls(model, sizes, config.token_weight > 0, config.spelling_weight > 0)

    @staticmethod
    def weights(config: TrainConfig) -> tuple[float, ...]:
        """Of answers 1, of the others as the recipe says."""
        others = config.ctc_weight, config.label_weight, config.token_weight, config.spelling_weight
        return float(config.questions_per_clip > 0), *others

    @staticmethod
    def counts(batch: Mapping[str, Any]) -> Tensor:
        """See `counts`."""
        return counts(batch)

    @property
    def tower(self) -> OsumEncoder:
        """The encoder of the model."""
        return self.model.model.audio_tower

    @property
    def embedding_width(self) -> int:
        """Width D of the input of the language model."""
        return int(self.model.config.get_text_config().hidden_size)

    def embedding_length(self, frames: Tensor) -> Tensor:
        """Feature frames (B,) to lengths (B,) of the input of the language model."""
        return audio_token_length(frames)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """(5,): the losses of a batch in the order of `LOSSES`, summed; the encoder runs once for all its questions.

        Without a question in the batch there is no answer loss.
        """
        encoded = self.encoded(batch["input_features"], batch["feature_attention_mask"])
        frames = batch["feature_attention_mask"].sum(-1)  # (A,)
        length = self.embedding_length(frames)
        answer = encoded.frames.new_zeros((), dtype=torch.float32)
        if "labels" in batch:
            answer = self.answer_loss(self.states(batch, encoded.embedded, length), batch["labels"])
        ctc = self.ctc(encoded.frames, encoder_length(frames), batch["ctc_targets"])
        label = token = spelling = answer.new_zeros(())
        if self.label_heads is not None:
            label = self.label_heads(encoded.embedded, length, batch["label_targets"])
        if self.tokens is not None:
            ids, targets = few_ids(batch["token_targets"], self.num_text_ids)
            logits = self.logits if ids is None else partial(self.few_logits, ids=ids)
            token = self.tokens(encoded.embedded, length, targets, logits)
        if self.spelling is not None and encoded.halved is not None:
            spelling = self.spelling(encoded.halved, encoder_length(encoder_length(frames)), batch["ctc_targets"])
        return torch.stack([answer, ctc, label, token, spelling])

    def encoded(self, features: Tensor, mask: Tensor) -> Encoded:
        """Log-mel (A, M, F) to what answers and heads are read from."""
        states, frames = self.model.model.encode_frames(features, mask)
        adaptor = self.model.model.adaptor
        halved = adaptor.halve(states)
        return Encoded(states, halved, adaptor.finish(halved, encoder_length(frames)))

    def answer_loss(self, states: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, summed over answers of the mean over their tokens: a tag weighs as much as a sentence.

        The head sees the scored tokens alone, which saves most of its work.
        """
        hidden = states[:, :-1]  # (R, L - 1, D)
        targets = labels[:, 1:]
        kept = targets != IGNORED
        scores = self.answer_scores(hidden[kept], targets)  # (N, V or V + S)
        losses = nn.functional.cross_entropy(scores, targets[kept], reduction="none")  # (N,)
        per_answer = kept.sum(1)  # (R,)
        return (losses / per_answer.repeat_interleave(per_answer)).sum()

    def states(self, batch: Mapping[str, Any], embedded: Tensor, lengths: Tensor) -> Tensor:
        """(R, L, D): what the head sees at each token of a batch, whose clips are (A, T', D) of lengths (A,)."""
        inputs = {name: value for name, value in batch.items() if name not in (*NOT_INPUTS, *CLIPS)}
        ids = inputs.pop("input_ids")
        embeddings = self.model.model.place_audio(ids, embedded, lengths, batch.get("audio_index"))
        return self.model.model(inputs_embeds=embeddings, **inputs, use_cache=False).last_hidden_state

    @property
    def num_text_ids(self) -> int:
        """Ids of the text head; speech ids follow."""
        return self.model.num_text_ids

    def answer_scores(self, states: Tensor, targets: Tensor) -> Tensor:
        """States (N, D) of the scored positions of targets (R, L) to (N, V), or (N, V + S) where a row says speech."""
        return scored_columns(self.logits(states).float(), targets, self.num_text_ids)

    def logits(self, states: Tensor) -> Tensor:
        """(N, D) to (N, V)."""
        return self.model.compute_logits(states)

    def few_logits(self, states: Tensor, ids: Tensor) -> Tensor:
        """(..., D) to (..., K), of the text ids (K,) alone."""
        return nn.functional.linear(states, self.model.lm_head.weight[ids])


def counts(batch: Mapping[str, Any]) -> Tensor:
    """(5,): answers, letters, labels, tokens and letters of a batch, what its losses are divided by."""
    answers = (batch["labels"] >= 0).any(1).sum().item() if "labels" in batch else 0
    letters, *known = ((batch[name] >= 0).sum().item() for name in ("ctc_targets", "label_targets", "token_targets"))
    return torch.tensor([answers, letters, *known, letters], dtype=torch.float32)


class DialogueObjective(Losses):
    """Cross-entropy over text and speech ids together, a token as much as another (echat 1.5).

    An answer that says nothing aloud is scored among text ids alone.
    """

    names = ("loss", "text", "speech")

    def __init__(self, model: OsumForConditionalGeneration) -> None:
        super().__init__()
        self.model = model

    @classmethod
    def of(cls, model: Any, _tasks: TaskSet, _config: TrainConfig) -> DialogueObjective:
        """The losses of a run."""
        return cls(model)

    @staticmethod
    def weights(_config: TrainConfig) -> tuple[float, ...]:
        """All tokens are learned; those of text and of speech are reported apart."""
        return 1.0, 0.0, 0.0

    @classmethod
    def shown(cls, _config: TrainConfig) -> tuple[str, ...]:
        """All of them."""
        return cls.names

    @staticmethod
    def counts(batch: Mapping[str, Any]) -> Tensor:
        """(3,): scored tokens of a batch, those of text, those of speech."""
        scored = (batch["labels"][:, 1:] != IGNORED).sum()
        speech = (batch["labels"][:, 1:] >= batch["num_text_ids"]).sum()
        return torch.stack([scored, scored - speech, speech]).float()

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """(3,): the summed losses of all tokens, of text and of speech."""
        inputs = {name: value for name, value in batch.items() if name not in (*NOT_INPUTS, "num_text_ids")}
        hidden = self.model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]  # (R, L - 1, D)
        targets = batch["labels"][:, 1:]
        kept = targets != IGNORED
        scores = scored_columns(self.model.compute_logits(hidden[kept]).float(), targets, self.model.num_text_ids)
        losses = nn.functional.cross_entropy(scores, targets[kept], reduction="none")  # (N,)
        speech = targets[kept] >= self.model.num_text_ids
        parts = losses.detach()
        return torch.stack([losses.sum(), parts[~speech].sum(), parts[speech].sum()])
