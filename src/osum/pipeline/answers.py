"""Answers of models, kept by what the model was given and by its hash, so that nobody asks the same thing twice.

A file of JSON lines for each shard, appended to as answers come: what a killed run paid for is not lost. A line that
was cut by the kill is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osum.text import to_json


class Answers:
    """The answers of one model about the rows of one shard.

    Args:
        folder: of all models.
        model: hash of the model, and of what it is asked.
        number: of the shard.
    """

    def __init__(self, folder: Path, model: str, number: int) -> None:
        self._path = folder / model / f"{number:06d}.jsonl"
        self._known: dict[str, Any] = {}
        if self._path.exists():
            for line in self._path.read_bytes().splitlines():
                try:
                    found = json.loads(line)
                    self._known[found["given"]] = found["answer"]
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, given: str) -> Any:
        """The answer to what a model is given; None where it was not asked."""
        return self._known.get(given)

    def keep(self, answers: Mapping[str, Any]) -> None:
        """Add answers and hand them to the system."""
        if not answers:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = [to_json({"given": given, "answer": answer}) + "\n" for given, answer in answers.items()]
        with self._path.open("ab+") as file:
            if file.seek(0, 2):
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # cut by a kill
                    lines.insert(0, "\n")
            file.write("".join(lines).encode())
        self._known |= {given: json.loads(json.dumps(answer)) for given, answer in answers.items()}
