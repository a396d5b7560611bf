"""TokenCache: keys and values of many rows, written and read by slot, so that rows need no padding and may be trees.

Stands where `transformers` expects a cache: attention calls `update`. Knows nothing of requests.
Shapes: R rows, C slots of a row, H key heads, d width of a head, B rows of a pass, Q tokens, W slots read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Qwen2Config

SLOTS = 64
"""Rows grow by at least this many slots."""


class TokenCache:
    """Rows of slots that grow as they are needed; one more row takes what padding writes."""

    def __init__(self, config: Qwen2Config, device: torch.device, dtype: torch.dtype) -> None:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (1, 0, config.num_key_value_heads, width)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]  # (R + 1, C, H, d) each
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.num_rows = 0
        self.num_slots = 0

    def reserve(self, num_rows: int, num_slots: int) -> None:
        """Make room for so many rows of so many slots."""
        if num_rows <= self.num_rows and num_slots <= self.num_slots:
            return
        rows = self.num_rows if num_rows <= self.num_rows else max(num_rows, 2 * self.num_rows)
        slots = self.num_slots
        if num_slots > slots:
            slots = -(-max(num_slots, slots + slots // 4) // SLOTS) * SLOTS
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                new = old.new_zeros(rows + 1, slots, *old.shape[2:])
                new[: self.num_rows, : self.num_slots] = old[: self.num_rows]
                tensors[layer] = new
        self.num_rows, self.num_slots = rows, slots

    def aim(self, rows: Sequence[int], slots: Tensor, width: int) -> None:
        """Say where the next pass stands: its rows, the slot of each token (B, Q), and how many slots it reads.

        A slot of -1 is padding, written to the row that nobody reads.
        """
        device = self.keys[0].device
        index = torch.tensor(rows)
        trash = self.num_rows * self.num_slots
        places = torch.where(slots < 0, trash, index[:, None] * self.num_slots + slots)
        self._places = places.flatten().to(device)  # (B Q)
        # Rows that stand first and in order are read where they are; others are copied for the pass.
        self._rows = None if list(rows) == list(range(len(rows))) else index.to(device)
        self._count, self._width = len(rows), width

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Write (B, H, Q, d) and give back what the pass reads, (B, H, W, d)."""
        return self._update(self.keys[layer], keys), self._update(self.values[layer], values)

    def _update(self, store: Tensor, new: Tensor) -> Tensor:
        store.view(-1, *store.shape[2:]).index_copy_(0, self._places, new.transpose(1, 2).flatten(0, 1))
        seen = store[:, : self._width]
        found = seen[: self._count] if self._rows is None else seen.index_select(0, self._rows)
        return found.transpose(1, 2)

    def swap(self, one: int, other: int) -> None:
        """Let two rows change places."""
        for store in (*self.keys, *self.values):
            store[[one, other]] = store[[other, one]]

    def keep(self, row: int, slots: Sequence[int]) -> None:
        """Move these slots of a row, in order, to its beginning."""
        same = next((place for place, slot in enumerate(slots) if place != slot), len(slots))
        if same == len(slots):
            return
        index = torch.tensor(slots[same:], device=self.keys[0].device)
        for store in (*self.keys, *self.values):
            store[row, same : len(slots)] = store[row, index]
