"""Rows keep what stands in them wherever they move, and the cache never grows over its limit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2Config

from osum.engine.cache import SLOTS, CachePlace, TokenCache

CONFIG = Qwen2Config(
    hidden_size=8, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=2, intermediate_size=8, vocab_size=8
)
SLOT_BYTES = 2 * 2 * 4 * 4
"""Keys and values, two layers, one head of width 4, float32."""


def cache_of(num_slots: int) -> TokenCache:
    return TokenCache(CONFIG, torch.device("cpu"), torch.float32, num_slots * SLOT_BYTES)


def write(cache: TokenCache, place: CachePlace, value: float) -> None:
    """Fill a row, keys and values of both layers, with a number of its own."""
    slab = cache._slabs[place.width]
    for stored, store in enumerate((*slab.keys, *slab.values)):
        store[place.index] = value + stored / 8


def read(cache: TokenCache, place: CachePlace) -> set[float]:
    slab = cache._slabs[place.width]
    return {
        (store[place.index, slot] - stored / 8).unique().item()
        for stored, store in enumerate((*slab.keys, *slab.values))
        for slot in (0, SLOTS - 1)
    }


@given(
    acts=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 400)), max_size=40),
    limit=st.sampled_from([0, 64, 300, 700, 3_000]),
)
def test_rows_come_grow_and_go_within_the_limit(acts: list[tuple[int, int]], limit: int) -> None:
    """An act names a row and how many slots it wants; 0 frees it."""
    cache = cache_of(limit)
    places: dict[int, CachePlace] = {}
    for row, num_slots in acts:
        if num_slots == 0:
            if row in places:
                cache.free(places.pop(row))
        elif (place := cache.hold(places.get(row), num_slots)) is not None:
            if row not in places:
                write(cache, place, row)
            places[row] = place
        cache.trim()
        assert cache.num_slots <= limit
        for other, place in places.items():
            assert read(cache, place) == {other}
        assert len({(place.width, place.index) for place in places.values()}) == len(places)
        assert bool(cache.num_slots) == bool(places)


def test_a_long_row_widens_no_other() -> None:
    cache = cache_of(10_000)
    places = [cache.hold(None, 60) for _ in range(4)]
    long = cache.hold(None, 5_000)
    assert long is not None and all(place is not None and place.width == SLOTS for place in places)
    assert cache.num_slots == 4 * SLOTS + long.width
    cache.free(long)
    assert cache.num_slots == 4 * SLOTS


def test_rows_that_nobody_uses_are_given_back() -> None:
    cache = cache_of(100_000)
    places = [cache.hold(None, 60) for _ in range(64)]
    kept = places.pop(40)
    assert kept is not None
    write(cache, kept, 7)
    for place in places:
        assert place is not None
        cache.free(place)
    assert cache.num_slots == 64 * SLOTS
    cache.trim()
    assert (cache.num_slots, kept.index, read(cache, kept)) == (SLOTS, 0, {7})


@pytest.mark.parametrize(("num_slots", "width"), [(1, 64), (64, 64), (65, 128), (1_024, 1_024), (1_025, 1_280)])
def test_a_place_is_at_most_twice_as_wide_as_the_row(num_slots: int, width: int) -> None:
    place = cache_of(10_000).hold(None, num_slots)
    assert place is not None and place.width == width
