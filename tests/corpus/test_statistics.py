"""Clips, hours, speakers, labels and lengths of every source, as figures and as a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.manifests_of_others import write_clip
from osum.corpus.readers import Line
from osum.corpus.statistics import Statistics, plot, statistics
from osum.errors import MissingExtraError
from osum.utterance import Utterance

CLIP = Utterance("a", "a.wav", duration=3.6, speaker="s", source="x", labels={"style": "日常口语"}, language="zh")


def count(*rows: Utterance) -> Statistics:
    return statistics(Line(f"m:{n}", row) for n, row in enumerate(rows, 1))


def test_each_source_is_counted_alone_and_all_together() -> None:
    found = count(CLIP, CLIP.with_(speaker="t"), CLIP.with_(source="y"), CLIP.with_(source=None, speaker=None))
    assert {name: (len(part.lengths), len(part.speakers)) for name, part in found.sources.items()} == {
        "x": (2, 2),
        "y": (1, 1),
        "(no source)": (1, 0),
    }
    total = found.to_dict()["total"]
    assert (total["clips"], total["hours"], total["speakers"], total["clips_without_speaker"]) == (4, 0.004, 3, 1)
    assert total["labels"] == {"style": {"日常口语": 4}, "language": {"zh": 4}}


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1))
def test_quantiles_are_those_of_the_lengths(lengths: list[float]) -> None:
    (part,) = count(*(CLIP.with_(duration=length) for length in lengths)).sources.values()
    assert list(part.quantiles().values()) == pytest.approx(np.quantile(lengths, [0, 0.05, 0.5, 0.95, 1]), abs=1e-3)


@pytest.mark.parametrize("times", [(5.0, 2.0, None), (2.0, 2.0, None), (None, None, -3.0), (None, None, float("nan"))])
def test_a_clip_of_no_length_is_a_fault_and_no_figure(times: tuple[float | None, float | None, float | None]) -> None:
    start, end, duration = times
    found = count(CLIP, CLIP.with_(start=start, end=end, duration=duration))
    assert [line.place for line in found.failed] == ["m:2"] and "correct its duration" in (found.failed[0].fault or "")
    assert found.total.lengths == [3.6]


def test_a_length_that_is_not_reported_is_read(tmp_path: Path) -> None:
    path = str(write_clip(tmp_path / "a.wav", 0.5))
    rows = (CLIP.with_(path=path, duration=None), CLIP.with_(duration=None, start=1.0, end=2.0))
    assert count(*rows).sources["x"].lengths == [0.5, 1.0]


def test_what_cannot_be_counted_is_reported() -> None:
    found = statistics([Line("m:1", fault="not JSON"), Line("m:2", CLIP.with_(path="absent.wav", duration=None))])
    assert [line.place for line in found.failed] == ["m:1", "m:2"]
    assert json.loads(json.dumps(found.to_dict())) == {"total": {}, "sources": {}, "failed": 2}


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    plot(count(CLIP, CLIP.with_(source="y", duration=9.0)), tmp_path / f"stats.{suffix}")
    assert (tmp_path / f"stats.{suffix}").stat().st_size > 5_000


def test_without_matplotlib_the_pip_line_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"osum\[plot\]"):
        plot(count(CLIP), tmp_path / "stats.png")
