"""What voters agree on, and how often it is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.corpus.manifest import write_manifest
from osum.corpus.readers import Line
from osum.errors import InputError
from osum.pipeline.agreement import agreement
from osum.pipeline.run import run
from osum.utterance import Utterance
from pipeline.stage import plan


def given(told: str) -> list[dict[str, str]]:
    return [{"by": by, "value": value} for by, value in zip("xy", told.split(), strict=True)]


def test_pairs_of_voters_and_thresholds_are_told(tmp_path: Path) -> None:
    votes = {"a": "sad sad", "b": "sad anger", "c": "anger anger", "d": "anger anger"}
    truth = {"a": "sad", "b": "sad", "c": "anger", "d": "sad"}
    rows = [Utterance(name, "-", extra={"votes": {"emotion": given(told)}}) for name, told in votes.items()]
    write_manifest(tmp_path / "truth.jsonl", [Utterance(n, "/x", labels={"emotion": e}) for n, e in truth.items()])
    run(plan({"vote": {"of": "emotion", "keep": True}}), [Line(row.id, row) for row in rows], tmp_path / "out")
    lines = list(agreement(tmp_path / "out", "emotion", tmp_path / "truth.jsonl"))
    assert "| x, y | 4 | 75.0 % | 0.50 |" in lines
    assert "| 1.00 | 3 (75 %) | 66.7 % |" in lines and "| 0.50 | 4 (100 %) | 75.0 % |" in lines
    with pytest.raises(InputError, match="no votes on 'style'"):
        list(agreement(tmp_path / "out", "style"))
