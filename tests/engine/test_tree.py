"""Guesses that share beginnings are fed once, and each node sees what it stands behind."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from osum.engine.tree import Tree, common

IDS = st.lists(st.integers(0, 3), max_size=6)


@given(trunk=st.lists(st.integers(0, 3), min_size=1, max_size=5), guesses=st.lists(IDS, max_size=6))
def test_every_guess_is_a_path_and_every_node_sees_its_own_way_alone(
    trunk: list[int], guesses: list[list[int]]
) -> None:
    tree = Tree(trunk)
    for guess in guesses:
        tree.add(guess)
    seen, depths = tree.ancestors(), tree.depths()
    for guess in guesses:
        path = tree.path(guess)
        assert path is not None and [tree.ids[node] for node in path] == guess
        for number, node in enumerate(path):
            assert np.flatnonzero(seen[node]).tolist() == [*range(len(trunk)), *path[: number + 1]]
            assert depths[node] == len(trunk) + number
    different = {tuple(guess[: number + 1]) for guess in guesses for number in range(len(guess))}
    assert len(tree) == len(trunk) + len(different)


def test_what_was_not_guessed_has_no_path() -> None:
    tree = Tree([9])
    tree.add([1, 2])
    assert tree.path([1, 3]) is None and tree.path([1, 2, 3]) is None and tree.child(tree.root, 2) is None


def test_what_rows_share_is_counted() -> None:
    assert [common(rows) for rows in ([[1, 2, 3], [1, 2, 4]], [[1], [1, 2]], [[], [1]], [[5, 6]])] == [2, 1, 0, 2]
