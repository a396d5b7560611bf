"""Sampled ids of a large table: those of the batch are always among them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from osum.training import objective
from osum.training.batch import CTC_PAD, CTC_UNKNOWN
from osum.training.objective import TokenHead, few_ids

TARGETS = torch.tensor([[7, 90, 7, CTC_PAD], [CTC_UNKNOWN, CTC_PAD, CTC_PAD, CTC_PAD]])


def test_a_small_table_is_taken_whole() -> None:
    ids, targets = few_ids(TARGETS, objective.MOST_IDS)
    assert ids is None and targets is TARGETS


def test_a_large_one_is_drawn_around_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "MOST_IDS", 10)
    ids, targets = few_ids(TARGETS, 100)
    assert ids is not None and len(ids.unique()) == 10
    assert ids[targets[0, :3]].tolist() == [7, 90, 7] and torch.equal(targets[TARGETS < 0], TARGETS[TARGETS < 0])


def test_with_every_id_drawn_the_loss_is_that_of_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head, table, states = TokenHead(8), nn.Linear(8, 100, bias=False), torch.randn(2, 6, 8)
    lengths = torch.tensor([6, 5])
    whole = head(states, lengths, TARGETS, table)
    monkeypatch.setattr(objective, "MOST_IDS", 99)
    ids, targets = few_ids(TARGETS, 100)
    assert ids is not None
    few = head(states, lengths, targets, lambda x: nn.functional.linear(x, table.weight[ids]))
    assert whole > few > 0.9 * whole  # one id of a hundred less in each frame's sum
