"""TokenCache: keys and values of many rows, written by slot, and attention over them, so that nothing is padded but it.

The tokens of a pass stand one behind the other, whatever rows they belong to. Only attention looks at rows: those that
feed about as many tokens go together. Knows nothing of requests.
Shapes: R rows, C slots of a row, H heads, h key heads, d width of a head, N tokens of a pass, B rows that attend
together, Q tokens of one, W slots it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import Qwen2Config

from osum.model.configuration_osum import round_up

SLOTS = 64
"""Rows grow by at least this many slots."""
FOLDED = 32
"""Up to so many tokens of a row, heads that share keys stand in as further tokens, and keys are read once."""


class View(NamedTuple):
    """What a row feeds: its last tokens, and which of its slots, those of the tokens included, each of them sees."""

    row: int
    sees: NDArray[np.bool_]
    """(Q, W)"""


class _Group(NamedTuple):
    """Rows that attend together."""

    rows: slice | Tensor
    width: int
    tokens: Tensor
    """(B, Q): places in the pass; 0 where a row has none."""
    mask: Tensor
    """(B, 1, Q, W), added to the scores."""
    mine: Tensor
    """Places in (B Q) of the tokens, in the order of the pass."""


class TokenCache:
    """Rows of slots that grow as they are needed."""

    def __init__(self, config: Qwen2Config, device: torch.device, dtype: torch.dtype) -> None:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (0, 0, config.num_key_value_heads, width)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]  # (R, C, h, d) each
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.num_rows = 0
        self.num_slots = 0

    def reserve(self, num_rows: int, num_slots: int) -> None:
        """Make room for so many rows of so many slots. Where memory ends on the way, all stays as it was."""
        if num_rows <= self.num_rows and num_slots <= self.num_slots:
            return
        rows = self.num_rows if num_rows <= self.num_rows else max(num_rows, 2 * self.num_rows)
        slots = self.num_slots
        if num_slots > slots:
            slots = round_up(max(num_slots, slots + slots // 4), SLOTS)
        # A layer that has grown while others have not would be written to and read from different places.
        grown = [[_grown(layer, rows, slots) for layer in store] for store in (self.keys, self.values)]
        self.keys, self.values = grown
        self.num_rows, self.num_slots = rows, slots

    def aim(self, views: Sequence[View]) -> None:
        """Say where the next pass stands: its tokens, view by view, those that feed few first."""
        places = [
            view.row * self.num_slots + np.arange(*(view.sees.shape[1] - len(view.sees), view.sees.shape[1]))
            for view in views
        ]
        self._places = torch.from_numpy(np.concatenate(places)).to(self.keys[0].device)  # (N,)
        first = 0
        self._groups = []
        for _, alike in groupby(views, key=lambda view: len(view.sees).bit_length() // 2):
            group = list(alike)
            self._groups.append(self._group(group, first))
            first += sum(len(view.sees) for view in group)

    def _group(self, views: Sequence[View], first: int) -> _Group:
        device, dtype = self.keys[0].device, self.keys[0].dtype
        rows = [view.row for view in views]
        low, size = min(rows), max(rows) + 1 - min(rows)
        # Rows that stand close are read where they are, idle ones between them too; others are copied.
        close = size <= 2 * len(rows)
        at = [row - low for row in rows] if close else list(range(len(rows)))
        num, width = max(len(view.sees) for view in views), max(view.sees.shape[1] for view in views)
        tokens = np.zeros((size if close else len(rows), num), dtype=np.int64)
        sees = np.zeros((len(tokens), 1, num, width), dtype=bool)
        sees[..., 0] = True  # what is no token sees something, or its softmax has nothing to divide by
        mine = []
        for place, view in zip(at, views, strict=True):
            own = len(view.sees)
            tokens[place, :own] = np.arange(first, first + own)
            sees[place, 0, :own] = False
            sees[place, 0, :own, : view.sees.shape[1]] = view.sees
            mine.append(place * num + np.arange(own))
            first += own
        mask = torch.zeros(sees.shape, dtype=dtype, device=device)
        mask.masked_fill_(torch.from_numpy(~sees).to(device), torch.finfo(dtype).min)
        return _Group(
            slice(low, low + size) if close else torch.tensor(rows, device=device),
            width,
            torch.from_numpy(tokens).to(device),
            mask,
            torch.from_numpy(np.concatenate(mine)).to(device),
        )

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values (N, h, d) of the pass."""
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            store.view(-1, *store.shape[2:]).index_copy_(0, self._places, new)

    def attend(self, layer: int, queries: Tensor, scale: float) -> Tensor:
        """What the tokens of the pass see, (N, H d), from their queries (N, H, d)."""
        return torch.cat([self._attend(group, layer, queries, scale) for group in self._groups])

    def _attend(self, group: _Group, layer: int, queries: Tensor, scale: float) -> Tensor:
        keys, values = (
            store[layer][group.rows, : group.width].transpose(1, 2) for store in (self.keys, self.values)
        )  # (B, h, W, d)
        batch, num = group.tokens.shape
        shared = queries.shape[1] // keys.shape[1]
        asked = queries[group.tokens].view(batch, num, -1, shared, queries.shape[-1])  # (B, Q, h, H / h, d)
        asked = asked.permute(0, 2, 3, 1, 4)  # (B, h, H / h, Q, d)
        mask = group.mask
        if num <= FOLDED:
            asked, mask = asked.flatten(2, 3), mask.repeat(1, 1, shared, 1)
        else:
            asked = asked.flatten(1, 2)
            keys, values = (part.repeat_interleave(shared, dim=1) for part in (keys, values))
        seen = scaled_dot_product_attention(asked, keys, values, attn_mask=mask, scale=scale)
        seen = seen.reshape(batch, queries.shape[1], num, -1).transpose(1, 2)  # (B, Q, H, d)
        return seen.reshape(batch * num, -1)[group.mine]

    def keep(self, row: int, slots: Sequence[int]) -> None:
        """Move these slots of a row, in order, to its beginning."""
        same = next((place for place, slot in enumerate(slots) if place != slot), len(slots))
        if same == len(slots):
            return
        index = torch.tensor(slots[same:], device=self.keys[0].device)
        for store in (*self.keys, *self.values):
            store[row, same : len(slots)] = store[row, index]


def _grown(store: Tensor, num_rows: int, num_slots: int) -> Tensor:
    new = store.new_zeros(num_rows, num_slots, *store.shape[2:])
    new[: store.shape[0], : store.shape[1]] = store
    return new
