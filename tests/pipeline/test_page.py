"""The page and the card of a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from osum.corpus.readers import Line
from osum.errors import InputError
from osum.pipeline.card import write_card
from osum.pipeline.page import hours, write_page
from osum.pipeline.run import run
from osum.utterance import Utterance
from pipeline.stage import WHOLE, plan, sounds, texts

NASTY = '<script>alert("1")</script> | a\nb'


def test_the_page_has_every_count_and_examples_that_play(tmp_path: Path) -> None:
    summary = run(plan(*WHOLE), sounds(tmp_path / "in", 23), tmp_path / "out")
    page = write_page(tmp_path / "out", summary).read_text("utf-8")
    for name, tally in summary.steps:
        assert name in page
        for reason, count in tally.dropped.items():
            assert f"{reason}: {count}</h3>" in page
    assert page.count("data:audio/ogg;base64,") >= 4


def test_nothing_that_a_row_says_is_read_as_html(tmp_path: Path) -> None:
    lines = [Line("a:1", Utterance(NASTY, "-", text=NASTY, labels={"x": NASTY}))]
    summary = run(plan("test-double", {"test-guess": {"name": NASTY}}), lines, tmp_path / "out")
    page = write_page(tmp_path / "out", summary).read_text("utf-8")
    assert "<script" not in page and "default-src 'none'" in page


def test_the_card_says_what_is_in_the_corpus_and_where_its_labels_come_from(tmp_path: Path) -> None:
    rows = (
        line.utterance.with_(speaker=f"s{at % 3}", licence="CC0", source="m", language="en", labels={"gender": "male"})
        for at, line in enumerate(texts(20))
        if line.utterance
    )
    summary = run(plan("test-guess", name="made"), (Line("a", row) for row in rows), tmp_path / "out")
    card = write_card(tmp_path / "out").read_text("utf-8")
    kept = summary.kept.rows_out
    assert f"{kept} rows, {kept} s, 3 named speakers" in card
    for row in (f"| licence CC0 | {kept} |", f"| gender | male {kept} | {kept} |", "| language en |"):
        assert row in card
    assert re.search(rf"\| guess \| .* \| 0 \| test-guess 1, guess: {kept} \| 0\.\d\d \|", card)
    assert "error: ValueError 1" in card and "- test-guess" in card


def test_no_text_breaks_a_table_of_the_card(tmp_path: Path) -> None:
    lines = [Line("a:1", Utterance("a", "-", source=NASTY, licence=NASTY))]
    run(plan("test-double"), lines, tmp_path / "out")
    card = write_card(tmp_path / "out").read_text("utf-8")
    assert '| source &lt;script>alert("1")&lt;/script> \\| a b | 2 |' in card


def test_a_folder_without_a_run_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished run"):
        write_card(tmp_path)


def test_lengths_are_written_as_people_read_them() -> None:
    assert [hours(8.4), hours(90), hours(7200)] == ["8 s", "1.5 min", "2.0 h"]
