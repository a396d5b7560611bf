"""TokenCache: keys and values of many rows, written by slot, and attention over them, so that nothing is padded but it.

The tokens of a pass stand one behind the other, whatever rows they belong to. Only attention looks at rows: those that
feed about as many tokens go together. Knows nothing of requests.
Shapes: R rows of a slab, C slots of a row, H heads, h key heads, d width of a head, N tokens of a pass, B rows that
attend together, Q tokens of one, W slots it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import Qwen2Config

from osum.model.configuration_osum import round_up

SLOTS, DOUBLED = 64, 1024
"""Slots of the narrowest slab, and width up to which each next one is twice as wide; then it is a quarter wider."""
FOLDED = 32
"""Up to so many tokens of a row, heads that share keys stand in as further tokens, and keys are read once."""
IDLE = 4
"""A slab with over so many times more rows than are used is made smaller."""


@dataclass(eq=False)
class CachePlace:
    """A row of the cache: `index` of the slab of that width. The cache may move it."""

    width: int
    """Slots it has."""
    index: int


class View(NamedTuple):
    """What a row feeds: its last tokens, and which of its slots, those of the tokens included, each of them sees."""

    place: CachePlace
    sees: NDArray[np.bool_]
    """(Q, W)"""


class _Group(NamedTuple):
    """Rows that attend together."""

    slab: _Slab
    rows: slice | Tensor
    width: int
    """Slots that are read."""
    tokens: Tensor
    """(B, Q): places in the pass; 0 where a row has none."""
    mask: Tensor
    """(B, 1, Q, W), added to the scores."""
    mine: Tensor
    """Places in (B Q) of the tokens, in the order of the pass."""


class _Slab:
    """Rows of one width. Layers may differ in how many rows they have, so that growth may fail at any of them."""

    def __init__(self, width: int, empty: Tensor, num_layers: int) -> None:
        self.width = width
        self.keys = [empty.new_empty(0, width, *empty.shape) for _ in range(num_layers)]  # (R, C, h, d) each
        self.values = [empty.new_empty(0, width, *empty.shape) for _ in range(num_layers)]
        self.num_rows = 0
        self.places: list[CachePlace] = []

    @property
    def num_slots(self) -> int:
        return self.num_rows * self.width

    def grow(self, num_rows: int) -> None:
        """Have so many rows. Where memory ends on the way, all stays as it was."""
        for stores in (self.keys, self.values):
            for layer, store in enumerate(stores):
                if len(store) < num_rows:
                    stores[layer] = store.new_zeros(num_rows, *store.shape[1:])
                    stores[layer][: len(store)] = store
        self.num_rows = num_rows

    def take(self) -> CachePlace:
        """The first row that nobody uses."""
        used = {place.index for place in self.places}
        self.places.append(CachePlace(self.width, next(index for index in range(self.num_rows) if index not in used)))
        return self.places[-1]

    def shrink(self) -> None:
        """Keep the rows that are used, one behind the other."""
        rows = torch.tensor([place.index for place in self.places], device=self.keys[0].device)
        keys, values = ([store[rows] for store in stores] for stores in (self.keys, self.values))
        self.keys, self.values, self.num_rows = keys, values, len(self.places)
        for index, place in enumerate(self.places):
            place.index = index


class TokenCache:
    """Rows of slots, in slabs of like width: a long row widens no other, and a slab that nobody uses is given back.

    1. A row gets a place in the slab of the narrowest width that holds it; a slab without a free row doubles its rows.
    2. A row that grows out of its width moves to a wider slab.
    3. All slabs together never have more than `limit` slots: `hold` gives no place then, and its caller says who waits.

    Example, limit 1024: rows of 50, 60 and 300 slots stand in slabs of 2 x 64 and 1 x 512. The second grows to 70 and
    moves to 1 x 128. A row of 500 finds no place (768 slots are taken) until the row of 300 is freed.
    """

    def __init__(self, config: Qwen2Config, device: torch.device, dtype: torch.dtype, max_bytes: int) -> None:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._empty = torch.empty(config.num_key_value_heads, width, device=device, dtype=dtype)  # (h, d)
        self._num_layers = config.num_hidden_layers
        self._slabs: dict[int, _Slab] = {}
        self.limit = max_bytes // (2 * self._num_layers * self._empty.nbytes)
        """Slots of all rows together."""

    @property
    def num_slots(self) -> int:
        """Slots that memory is taken for."""
        return sum(slab.num_slots for slab in self._slabs.values())

    def hold(self, place: CachePlace | None, num_slots: int) -> CachePlace | None:
        """A place of so many slots that begins with what stands in `place`, which is given up for it.

        None where the limit leaves no room; `place` stays as it was then, and also where memory ends.
        """
        width = _width_of(num_slots)
        if place is not None and place.width >= width:
            return place
        slab = self._slabs.get(width) or _Slab(width, self._empty, self._num_layers)
        if len(slab.places) == slab.num_rows:
            if self.num_slots + width > self.limit:
                self.trim(1)
            fitting = (self.limit - self.num_slots) // width
            if fitting < 1:
                return None
            slab.grow(slab.num_rows + min(fitting, max(1, slab.num_rows)))
        self._slabs[width] = slab
        found = slab.take()
        if place is not None:
            before = self._slabs[place.width]
            for old, new in zip((*before.keys, *before.values), (*slab.keys, *slab.values), strict=True):
                new[found.index, : place.width] = old[place.index]
            self.free(place)
        return found

    def free(self, place: CachePlace) -> None:
        """Give a place up, and its slab where it was the last one in it."""
        slab = self._slabs[place.width]
        slab.places.remove(place)
        if not slab.places:
            del self._slabs[place.width]

    def trim(self, idle: int = IDLE) -> None:
        """Give back the idle rows of every slab that has over `idle` times as many as are used."""
        for slab in self._slabs.values():
            if len(slab.places) * idle < slab.num_rows:
                slab.shrink()

    def aim(self, views: Sequence[View]) -> None:
        """Say where the next pass stands: its tokens, view by view, by width of the place, then the shortest first."""
        self._groups: list[_Group] = []
        self._writes: list[tuple[_Slab, slice, Tensor]] = []
        first = 0
        for width, same in groupby(views, key=lambda view: view.place.width):
            members, begin, slab = list(same), first, self._slabs[width]
            for _, alike in groupby(members, key=lambda view: len(view.sees).bit_length() // 2):
                group = list(alike)
                self._groups.append(self._group(slab, group, first))
                first += sum(len(view.sees) for view in group)
            slots = [
                view.place.index * width + np.arange(view.sees.shape[1] - len(view.sees), view.sees.shape[1])
                for view in members
            ]
            places = torch.from_numpy(np.concatenate(slots)).to(self._empty.device)
            self._writes.append((slab, slice(begin, first), places))

    def _group(self, slab: _Slab, views: Sequence[View], first: int) -> _Group:
        device, dtype = self._empty.device, self._empty.dtype
        rows = [view.place.index for view in views]
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
            slab,
            slice(low, low + size) if close else torch.tensor(rows, device=device),
            width,
            torch.from_numpy(tokens).to(device),
            mask,
            torch.from_numpy(np.concatenate(mine)).to(device),
        )

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keep keys and values (N, h, d) of the pass."""
        for slab, tokens, places in self._writes:
            for store, new in ((slab.keys[layer], keys[tokens]), (slab.values[layer], values[tokens])):
                store.view(-1, *store.shape[2:]).index_copy_(0, places, new)

    def attend(self, layer: int, queries: Tensor, scale: float) -> Tensor:
        """What the tokens of the pass see, (N, H d), from their queries (N, H, d)."""
        return torch.cat([self._attend(group, layer, queries, scale) for group in self._groups])

    def _attend(self, group: _Group, layer: int, queries: Tensor, scale: float) -> Tensor:
        keys, values = (
            store[layer][group.rows, : group.width].transpose(1, 2) for store in (group.slab.keys, group.slab.values)
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

    def keep(self, place: CachePlace, slots: Sequence[int]) -> None:
        """Move these slots of a row, in order, to its beginning."""
        same = next((at for at, slot in enumerate(slots) if at != slot), len(slots))
        if same == len(slots):
            return
        index = torch.tensor(slots[same:], device=self._empty.device)
        slab = self._slabs[place.width]
        for store in (*slab.keys, *slab.values):
            store[place.index, same : len(slots)] = store[place.index, index]


def _width_of(num_slots: int) -> int:
    """Of the narrowest slab that holds a row of so many slots."""
    octave = max(SLOTS, 1 << (num_slots - 1).bit_length())
    return octave if octave <= DOUBLED else round_up(num_slots, octave // 8)
