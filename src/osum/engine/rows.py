"""Rows of the cache, and one pass of the language model over some of them.

A row is a tree of ids: what its questions share, then each question's own. A pass feeds every open question's next
ids side by side; a mask lets each see what stands before it and nothing of the others.
Shapes: N tokens of a pass or scored places, Q tokens of a row, W slots it reads, D width, V ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osum.engine.branch import Branch, Seen
from osum.engine.cache import CachePlace, TokenCache, View
from osum.engine.decoder import decode
from osum.model.interface import EngineModel

SCORES = 1 << 26
"""Logits held at once; bounds memory, never answers."""


@dataclass(eq=False)
class CacheRow:
    """A row of the cache: ids that all its questions share, and the questions."""

    prefix: list[int]
    audio: Tensor
    """What the placeholders of the prefix stand for, (sum T_i, D)."""
    branches: list[Branch]
    place: CachePlace | None = None
    """Where it stands in the cache; None while it is not there."""
    filled: bool = False
    """Whether the prefix is in the cache."""
    length: int = 0
    """Slots in use."""
    found: list[Seen] = field(default_factory=list)
    """What the last pass says of each open question's tree, until it is taken."""

    @property
    def open(self) -> list[Branch]:
        """The questions that have something to feed."""
        return [branch for branch in self.branches if branch.tree is not None]

    @property
    def num_tokens(self) -> int:
        """What the next pass feeds."""
        own = sum(len(branch.lost) + len(branch.tree or ()) for branch in self.open)
        return own if self.filled else len(self.prefix) + own

    @property
    def num_slots(self) -> int:
        """What it needs in the next pass."""
        return self.length + self.num_tokens

    @property
    def done(self) -> bool:
        """Whether every question is answered."""
        return all(branch.reply is not None for branch in self.branches)

    def take(self, cache: TokenCache) -> None:
        """Every open question takes what the last pass says of its tree; nothing where there was none."""
        if not self.found:
            return
        behind = self.length + (0 if self.filled else len(self.prefix))
        for branch, seen in zip(self.open, self.found, strict=True):
            assert branch.tree is not None
            first = behind + len(branch.lost)
            branch.slots += range(behind, first)
            behind = first + len(branch.tree)
            branch.take(seen, range(first, behind))
        self.filled, self.length, self.found = True, behind, []
        self.compact(cache)

    def compact(self, cache: TokenCache) -> None:
        """Give up the slots that nothing sees any more: wrong guesses and answered questions."""
        alive = [branch for branch in self.branches if branch.reply is None]
        kept = sorted([*range(len(self.prefix)), *(slot for branch in alive for slot in branch.slots)])
        if len(kept) == self.length or self.place is None:
            return
        cache.keep(self.place, kept)
        moved = {slot: place for place, slot in enumerate(kept)}
        for branch in alive:
            branch.slots = [moved[slot] for slot in branch.slots]
        self.length = len(kept)

    def leave(self, cache: TokenCache) -> None:
        """Give up the place in the cache; what stood there is fed again when the row comes back."""
        if self.place is None:
            return
        cache.free(self.place)
        self.place, self.filled, self.length = None, False, 0
        for branch in self.branches:
            branch.slots = []


@dataclass
class Feed:
    """What one row puts into a pass, Q tokens."""

    ids: list[int]
    positions: list[int]
    sees: NDArray[np.bool_]
    """(Q, W)"""
    first: list[int]
    """Where each open question's tree begins."""


def feed_of(row: CacheRow) -> Feed:
    """The next tokens of a row, and what each of them sees."""
    num_shared, number = len(row.prefix), row.num_tokens
    ids = [] if row.filled else list(row.prefix)
    positions = list(range(len(ids)))
    sees = np.zeros((number, row.length + number), dtype=bool)
    sees[: len(ids), : len(ids)] = np.tri(len(ids), dtype=bool)
    first = []
    for branch in row.open:
        tree = branch.tree
        assert tree is not None
        lost, begin = branch.lost, len(ids)
        at = begin + len(lost)
        mine = sees[begin : at + len(tree), row.length + begin : row.length + at + len(tree)]
        mine[: len(lost), : len(lost)] = np.tri(len(lost), dtype=bool)
        mine[len(lost) :, : len(lost)] = True
        mine[len(lost) :, len(lost) :] = tree.ancestors()
        sees[begin : at + len(tree), [*range(num_shared), *branch.slots]] = True
        ids += lost + tree.ids
        behind = num_shared + len(branch.cached)
        positions += range(behind - len(lost), behind)
        positions += [behind + depth for depth in tree.depths()]
        first.append(at)
    return Feed(ids, positions, sees, first)


def look(model: EngineModel, cache: TokenCache, rows: Sequence[CacheRow]) -> None:
    """One pass over what these rows feed. Changes no row but its `found`, so a pass that fails can be made again."""
    rows = sorted(rows, key=lambda row: (row.place.width if row.place else 0, row.num_tokens))
    feeds = [feed_of(row) for row in rows]
    cache.aim([View(row.place, feed.sees) for row, feed in zip(rows, feeds, strict=True) if row.place is not None])
    hidden = _hidden(model, cache, rows, feeds)
    seen = list(_seen(model, hidden, rows, feeds))
    for row in rows:
        row.found, seen = seen[: len(row.open)], seen[len(row.open) :]


def _hidden(model: EngineModel, cache: TokenCache, rows: Sequence[CacheRow], feeds: Sequence[Feed]) -> Tensor:
    """States (N, D) of what is fed, row by row, placeholders replaced by sound."""
    device = model.device
    ids = torch.tensor([token for feed in feeds for token in feed.ids], device=device)  # (N,)
    positions = torch.tensor([position for feed in feeds for position in feed.positions], device=device)
    embeds = model.embed_ids(ids)  # (N, D)
    audio = [row.audio for row in rows if not row.filled and len(row.audio)]
    if audio:
        holes = (ids == model.config.audio_token_id)[:, None]
        embeds = embeds.masked_scatter(holes, torch.cat(audio).to(embeds.dtype))
    return decode(model.model.language_model, cache, embeds, positions)


def _seen(model: EngineModel, hidden: Tensor, rows: Sequence[CacheRow], feeds: Sequence[Feed]) -> Iterator[Seen]:
    """What is said of each open question's tree, in order, from states (N, D)."""
    spans: list[tuple[int, int, bool] | None] = []  # first place, number of places, whether logits are needed
    places: list[int] = []  # token of each scored place
    spoken: list[int] = []  # token behind which the speech head says the next id; its span is None
    pairs: list[tuple[int, int]] = []  # (place, id) whose log-probability is wanted
    before = 0
    for row, feed in zip(rows, feeds, strict=True):
        for branch, first in zip(row.open, feed.first, strict=True):
            tree, base = branch.tree, len(places)
            assert tree is not None
            if branch.aloud:
                spoken.append(before + first + tree.root)
                spans.append(None)
                continue
            pairs.append((base, branch.end))
            guessed = range(tree.root + 1, len(tree))
            pairs += [(base + tree.parents[node] - tree.root, tree.ids[node]) for node in guessed]
            places += [before + first + node for node in range(tree.root, len(tree))]
            spans.append((base, len(tree) - tree.root, branch.pick is not None and not branch.complete))
        before += len(feed.ids)
    kept = [place for base, number, needed in filter(None, spans) if needed for place in range(base, base + number)]
    states = hidden[torch.tensor(places, dtype=torch.long, device=hidden.device)]
    best, best_log_probs, given, logits = _scored(model, states, pairs, kept)
    aloud = iter(model.speech_head(hidden[spoken]).float().cpu() if spoken else ())  # (S,) each
    next_pair = next_kept = 0
    for span in spans:
        if span is None:
            yield Seen([], [], [], -math.inf, next(aloud)[None])
            continue
        base, number, needed = span
        own = given[next_pair : next_pair + number]
        next_pair += number
        kept_rows = logits[next_kept : next_kept + number] if needed else None
        next_kept += number if needed else 0
        yield Seen(best[base : base + number], best_log_probs[base : base + number], own[1:], own[0], kept_rows)


def _scored(
    model: EngineModel, states: Tensor, pairs: Sequence[tuple[int, int]], kept: Sequence[int]
) -> tuple[list[int], list[float], list[float], Tensor]:
    """Likeliest id and its log-probability behind each state (N, D), log-probabilities of pairs, logits where kept.

    Over the text ids alone: what is said aloud is scored by the speech head (echat 1.6).
    """
    num_text = model.num_text_ids
    device = states.device
    if not len(states):
        return [], [], [], torch.empty(0, num_text)
    wanted = torch.tensor(pairs, device=device).T  # (2, P)
    given = torch.empty(len(pairs), device=device)
    best: list[Tensor] = []
    tops: list[Tensor] = []
    rows: list[Tensor] = []
    chosen = torch.zeros(len(states), dtype=torch.bool)
    chosen[list(kept)] = True
    size = max(1, SCORES // num_text)
    for start in range(0, len(states), size):
        logits = model.lm_head(states[start : start + size])[:, :num_text].float()  # (n, V)
        norm = logits.logsumexp(-1)
        top, token = logits.max(-1)
        best.append(token)
        tops.append(top - norm)
        inside = (wanted[0] >= start) & (wanted[0] < start + size)
        place, ids = wanted[0][inside] - start, wanted[1][inside]
        given[inside] = logits[place, ids] - norm[place]
        if kept:
            rows.append(logits[chosen[start : start + size].to(device)].cpu())
    return (
        torch.cat(best).tolist(),
        torch.cat(tops).tolist(),
        given.tolist(),
        torch.cat(rows) if rows else torch.empty(0, num_text),
    )
