"""What training minimises: the loss of answers and, for a small encoder, the CTC loss of letters.

Losses are sums; the loop divides them by the counts of a whole step, so that neither how clips fall into batches
nor the number of processes changes a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from osum.data.batch import CTC_UNKNOWN
from osum.data.letters import BLANK, NUM_UNITS
from osum.model import OsumForConditionalGeneration
from osum.model.configuration_osum import encoder_length
from osum.model.encoder import OsumEncoder

NOT_INPUTS = ("ids", "unread", "ctc_targets", "labels")
"""What a batch holds beside the model's inputs."""


class CtcHead(nn.Module):
    """Auxiliary head from encoder frames to letters; part of training, never of the checkpoint's model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, NUM_UNITS)

    def forward(self, states: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """(B, T, D) encoder frames, their lengths (B,), targets (B, U) padded with -1: summed loss.

        Clips whose transcript is not known do not count.
        """
        log_probs = self.linear(states).float().log_softmax(-1).transpose(0, 1)  # (T, B, units)
        losses = nn.functional.ctc_loss(
            log_probs,
            targets.clamp(min=0),
            lengths,
            (targets >= 0).sum(1),
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )
        return (losses * (targets[:, 0] != CTC_UNKNOWN)).sum()


class Objective(nn.Module):
    """The model with its losses: one forward is one batch."""

    def __init__(self, model: OsumForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        self.ctc = CtcHead(self.tower.config.hidden_size)

    @property
    def tower(self) -> OsumEncoder:
        """The encoder of the model."""
        return self.model.model.audio_tower

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """(2,): answer loss and CTC loss of a batch, summed; the encoder runs once for all its questions.

        Without a question in the batch there is no answer loss.
        """
        inputs = {name: value for name, value in batch.items() if name not in NOT_INPUTS}
        frames = batch["feature_attention_mask"].sum(-1)  # (A,)
        kept: list[Tensor] = []
        tower = self.tower
        hook = tower.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        try:
            if "labels" in batch:
                answer = self.answer_loss(batch["labels"], **inputs)
            else:
                tower(batch["input_features"], frames)
                answer = kept[0].new_zeros((), dtype=torch.float32)
        finally:
            hook.remove()
        return torch.stack([answer, self.ctc(kept[0], encoder_length(frames), batch["ctc_targets"])])

    def answer_loss(self, labels: Tensor, **inputs: Tensor) -> Tensor:
        """Cross-entropy, summed over answers of the mean over their tokens: a tag weighs as much as a sentence.

        The head sees the scored tokens alone, which saves most of its work.
        """
        hidden = self.states(**inputs)[:, :-1]  # (R, L - 1, D)
        targets = labels[:, 1:]
        kept = targets != -100
        losses = nn.functional.cross_entropy(self.logits(hidden[kept]).float(), targets[kept], reduction="none")  # (N,)
        per_answer = kept.sum(1)  # (R,)
        return (losses / per_answer.repeat_interleave(per_answer)).sum()

    def states(self, **inputs: Tensor) -> Tensor:
        """(R, L, D): what the model's head sees at each token of a batch."""
        return self.model.model(**inputs, use_cache=False).last_hidden_state

    def logits(self, states: Tensor) -> Tensor:
        """(N, D) to (N, V)."""
        return self.model.compute_logits(states)


def counts(batch: Mapping[str, Any]) -> Tensor:
    """(2,): answers and letters of a batch, what its losses are divided by."""
    answers = len(batch["labels"]) if "labels" in batch else 0
    return torch.tensor([answers, int((batch["ctc_targets"] >= 0).sum())], dtype=torch.float32)
