"""Reviewing rows of a corpus in a real browser, by keyboard and mouse. Skips without chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osum.corpus.manifest import read_manifest
from server.studio_browser import (
    opened,
    reviewing,
    until,
    until_current,
    visit,
)

pytestmark = pytest.mark.browser


def test_ten_clips_are_reviewed_by_keyboard_alone_with_a_key_each_and_one_more_where_they_are_wrong(
    page: Any, corpus: Path
) -> None:
    reviewing(page)
    page.get_by_label("Labels to review").select_option("emotion")
    for number in range(10):
        until_current(page, f"r{number:02d}")
        if number % 3 == 0:
            page.keyboard.press("6")  # fear
        page.keyboard.press("Enter")
    until_current(page, "r10")
    rows = list(read_manifest(corpus))
    assert [row.labels["emotion"] for row in rows[:4]] == ["fear", "happy", "sad", "fear"]
    assert all(row.extra["reviewed"]["emotion"]["by"] == "anna" for row in rows[:10])
    assert ["corrections" in row.extra for row in rows] == [number % 3 == 0 and number < 10 for number in range(12)]


def test_keys_in_a_hurry_confirm_only_rows_that_were_shown(page: Any, corpus: Path) -> None:
    reviewing(page)
    until_current(page, "r00")
    for _ in range(6):
        page.keyboard.press("Enter")
    until(page, "!document.querySelector('[aria-busy]') && document.querySelectorAll('.rows li.done').length > 0")
    done = page.locator(".rows li.done .id").all_text_contents()
    assert page.locator("#alert").is_hidden()
    assert [row.id for row in read_manifest(corpus) if "reviewed" in row.extra] == done
    assert page.locator("[aria-current=true] .id").text_content() == f"r{len(done):02d}"


def test_a_click_on_another_row_saves_what_was_chosen(page: Any, corpus: Path) -> None:
    reviewing(page)
    until_current(page, "r00")
    page.get_by_role("group", name="emotion").get_by_text("fear").click()
    page.click(".rows li:nth-child(4) button")
    until_current(page, "r03")
    assert next(read_manifest(corpus)).labels["emotion"] == "fear"


def test_the_digits_choose_in_the_group_that_the_arrows_mark(page: Any, corpus: Path) -> None:
    reviewing(page)
    until_current(page, "r00")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "1", "Enter"):  # event, emotion, style, gender
        page.keyboard.press(key)
    until_current(page, "r01")
    assert next(read_manifest(corpus)).labels["gender"] == "female"


def test_a_transcript_is_corrected_by_keyboard_and_taken_back(page: Any, corpus: Path) -> None:
    reviewing(page)
    until_current(page, "r00")
    page.keyboard.press("e")
    page.keyboard.type(" now")
    page.keyboard.press("Enter")
    until_current(page, "r01")
    assert next(read_manifest(corpus)).text == "a girl for it now"
    page.keyboard.press("u")
    until_current(page, "r00")
    until(page, "document.querySelector('.editor textarea').value === 'a girl for it'")
    assert [each["new"] for each in next(read_manifest(corpus)).extra["corrections"]] == [
        "a girl for it now",
        "a girl for it",
    ]


def test_what_was_reviewed_is_there_after_a_reload(page: Any) -> None:
    reviewing(page)
    until_current(page, "r00")
    page.keyboard.press("Enter")
    until_current(page, "r01")
    page.reload()
    page.wait_for_selector(".rows li.done")
    assert page.locator(".rows li.done .id").all_text_contents() == ["r00"]
    assert page.locator("input[autocomplete=name]").input_value() == "anna"
    assert "1 of 12 rows reviewed" in page.locator("#review-file").text_content()


PLAYED = """(() => {
  globalThis.played = [];
  const button = document.querySelector('#review .play');
  new MutationObserver(() => globalThis.played.push(button.ariaLabel))
    .observe(button, { attributeFilter: ['aria-label'] });
})()"""
"""Keeps what the button of a row under review offered, however short."""


def test_space_plays_and_pauses(page: Any) -> None:
    reviewing(page)
    until_current(page, "r00")
    page.get_by_label("Play each row").uncheck()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowDown")
    until_current(page, "r01")
    until(page, "document.querySelector('#review .time').textContent.endsWith('1.9')")
    page.evaluate(PLAYED)
    page.keyboard.press(" ")
    until(page, "globalThis.played[0] === 'Pause'")
    page.keyboard.press(" ")
    until(page, "globalThis.played[1] === 'Play'")


def test_a_row_that_was_changed_elsewhere_is_shown_anew_and_not_overwritten(
    browser: Any, studio: str, corpus: Path
) -> None:
    watched = opened(browser, studio)
    page = watched.page
    reviewing(page)
    until_current(page, "r00")
    corpus.write_text(corpus.read_text().replace('"sad"', '"anger"', 1))
    page.keyboard.press("Enter")
    until(page, "document.getElementById('alert').textContent.startsWith('Somebody else')")
    assert page.locator(".set.emotion [aria-pressed=true] span").text_content() == "anger"
    assert "reviewed" not in next(read_manifest(corpus)).extra
    page.context.close()
    assert all("409" in fault for fault in watched.faults)


def test_nothing_is_written_without_a_name(page: Any, corpus: Path) -> None:
    visit(page, "review")
    page.wait_for_selector(".editor textarea")
    before = corpus.read_bytes()
    page.keyboard.press("Enter")
    page.wait_for_selector("#alert:not([hidden])")
    assert corpus.read_bytes() == before
    assert page.evaluate("document.activeElement.autocomplete") == "name"


def test_the_model_is_asked_about_all_rows_and_doubt_sorts_them(page: Any, corpus: Path) -> None:
    reviewing(page)
    page.click("text=Ask nano about 12 rows")
    until(page, "document.querySelector('.rows .bar').style.getPropertyValue('--share') > 0.5")
    assert len(corpus.with_name("rows.answers.jsonl").read_text().splitlines()) == 12
    shares = page.locator(".rows .bar").evaluate_all(
        "bars => bars.map((bar) => Number(bar.style.getPropertyValue('--share')))"
    )
    assert shares == sorted(shares, reverse=True)


def test_the_reviewed_rows_are_exported_for_training(page: Any, corpus: Path) -> None:
    reviewing(page)
    until_current(page, "r00")
    page.keyboard.press("Enter")
    until_current(page, "r01")
    page.click("text=Export reviewed")
    page.wait_for_selector("text=1 rows in")
    (row,) = read_manifest(corpus.with_name("rows.reviewed.jsonl"))
    assert (row.id, dict(row.labels)) == ("r00", {"emotion": "sad", "gender": "male"})
