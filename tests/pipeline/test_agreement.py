"""What voters agree on, and how often it is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from osum.corpus.manifest import write_manifest
from osum.corpus.readers import Line
from osum.errors import InputError
from osum.pipeline.agreement import agreement
from osum.pipeline.run import run
from osum.utterance import Utterance, Word
from pipeline.stage import plan


def given(reported: str) -> list[dict[str, str]]:
    return [{"by": by, "value": value} for by, value in zip("xy", reported.split(), strict=True)]


def test_pairs_of_voters_and_thresholds_are_reported(tmp_path: Path) -> None:
    votes = {"a": "sad sad", "b": "sad anger", "c": "anger anger", "d": "anger anger"}
    truth = {"a": "sad", "b": "sad", "c": "anger", "d": "sad"}
    rows = [Utterance(name, "-", extra={"votes": {"emotion": given(reported)}}) for name, reported in votes.items()]
    write_manifest(tmp_path / "truth.jsonl", [Utterance(n, "/x", labels={"emotion": e}) for n, e in truth.items()])
    run(plan({"vote": {"of": "emotion", "keep": True}}), [Line(row.id, row) for row in rows], tmp_path / "out")
    lines = list(agreement(tmp_path / "out", "emotion", tmp_path / "truth.jsonl"))
    assert "| x, y | 4 | 75.0 % | 0.50 |" in lines and "| y, truth | 4 | 50.0 % | 0.20 |" in lines
    assert "| 1.00 | 3 (75 %) | 66.7 % |" in lines and "| 0.50 | 4 (100 %) | 75.0 % |" in lines
    with pytest.raises(InputError, match="no votes on 'style'"):
        list(agreement(tmp_path / "out", "style"))


def test_texts_are_held_against_the_truth_by_tenths_of_agreement(tmp_path: Path) -> None:
    texts = {"a": ("one two", "one two"), "b": ("one two three four", "one two three for"), "c": ("no", "yes")}
    rows = [
        Utterance(
            name,
            "-",
            extra={"votes": {"text": [{"by": by, "value": text} for by, text in zip("xy", said, strict=True)]}},
        )
        for name, said in texts.items()
    ]
    write_manifest(
        tmp_path / "truth.jsonl", [Utterance(name, "/x", text=said[0].upper()) for name, said in texts.items()]
    )
    run(plan({"vote": {"keep": True}}), [Line(row.id, row) for row in rows], tmp_path / "out")
    lines = list(agreement(tmp_path / "out", "text", tmp_path / "truth.jsonl"))
    assert "| x, y | 3 | 58.3 % | |" in lines
    assert lines[-3:] == [
        "| 1.00 | 1 (33 %) | 100.0 % | 100.0 % |",
        "| 0.88 | 2 (67 %) | 100.0 % | 100.0 % |",
        "| 0.50 | 3 (100 %) | 100.0 % | 100.0 % |",
    ]


def test_times_of_words_are_held_against_the_truth(tmp_path: Path) -> None:
    def timed(name: str, start: float, **extra: float) -> Utterance:
        return Utterance(name, "-", text="hi", words=(Word("hi", start, start + 0.2),), extra=extra)

    rows = [timed("a", 0.1, aligners_apart=0.01), timed("b", 0.5, aligners_apart=0.2), timed("c", 1.0)]
    truth = [timed("a", 0.12).with_(path="/x"), timed("b", 0.6).with_(path="/x")]
    write_manifest(tmp_path / "truth.jsonl", truth)
    run(plan("text"), [Line(row.id, row.with_(duration=2.0)) for row in rows], tmp_path / "out")
    assert list(agreement(tmp_path / "out", "words", tmp_path / "truth.jsonl"))[2:] == [
        *(f"| {limit} ms | 1 | 20 ms | 100.0 % |" for limit in (20, 50, 100, 150)),
        *(f"| {limit} | 2 | 60 ms | 50.0 % |" for limit in ("300 ms", "any")),
    ]
    with pytest.raises(InputError, match="no row with words whose times --truth knows"):
        list(agreement(tmp_path / "out", "words"))
