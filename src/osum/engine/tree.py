"""Tree: what is fed after an answer in one pass. A trunk that is certain, then guesses that share beginnings.

1. The trunk is the ids that are known; each guess is a sequence of ids that may follow it.
2. Guesses with equal first ids share those nodes, so each different beginning is fed once.
3. A node attends to the trunk and to the nodes on its own way, so it scores as if it were fed alone.

Example, trunk `good` and the guesses `morning <low>` and `morning <high>`: four nodes are fed, `good morning <low>
<high>`. Both tags have the parent `morning`, and neither attends to the other; scored alone, six would be fed.

Pure values: knows neither the model nor tasks. Shapes: N nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Tree:
    """Nodes with an id each, parents before their children; the trunk's last node is the root of all guesses.

    Example:
        >>> tree = Tree([7, 8])
        >>> tree.add([1, 2])
        >>> tree.add([1, 3])
        >>> tree.ids, tree.parents
        ([7, 8, 1, 2, 3], [-1, 0, 1, 2, 2])
    """

    def __init__(self, trunk: Sequence[int]) -> None:
        self.ids = list(trunk)
        self.parents = list(range(-1, len(self.ids) - 1))
        self.root = len(self.ids) - 1
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[int]) -> None:
        """Guess that `ids` follow the trunk."""
        node = self.root
        for token in ids:
            found = self._children.get((node, token))
            if found is None:
                found = len(self.ids)
                self._children[node, token] = found
                self.ids.append(token)
                self.parents.append(node)
            node = found

    def child(self, node: int, token: int) -> int | None:
        """The node that guesses `token` after `node`."""
        return self._children.get((node, token))

    def path(self, ids: Sequence[int]) -> list[int] | None:
        """The nodes of a guessed sequence, or None where it was not guessed whole."""
        nodes, node = [], self.root
        for token in ids:
            found = self._children.get((node, token))
            if found is None:
                return None
            nodes.append(node := found)
        return nodes

    def ancestors(self) -> NDArray[np.bool_]:
        """(N, N): whether a node (row) sees another (column): itself and all nodes before it on its way."""
        seen = np.tri(len(self.ids), dtype=bool)
        for node in range(self.root + 1, len(self.ids)):
            seen[node, :node] = seen[self.parents[node], :node]
        return seen

    def depths(self) -> list[int]:
        """How many nodes each node is after the trunk's first."""
        found = list(range(self.root + 1))
        for node in range(self.root + 1, len(self.ids)):
            found.append(found[self.parents[node]] + 1)
        return found


def common(rows: Sequence[Sequence[int]]) -> int:
    """How many leading ids all rows share."""
    shortest = min(map(len, rows))
    return next((place for place in range(shortest) if len({row[place] for row in rows}) > 1), shortest)
