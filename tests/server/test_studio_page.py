"""The studio in a real browser, headless: label, record, compare, talk, review, download. Skips without chromium.

Every test also proves that the page asked nothing of any other host, and that nothing was written to the console.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osum.audio import SAMPLE_RATE
from osum.server.service import Service
from server.studio_browser import (
    CLIP,
    DESK,
    PHONE,
    READY,
    opened,
    reviewing,
    until,
    upload,
    visit,
)

pytestmark = pytest.mark.browser


# Label


def test_an_uploaded_recording_shows_a_lane_for_every_label(page: Any) -> None:
    upload(page)
    lanes = page.locator(".lane").evaluate_all("lanes => lanes.map((lane) => lane.getAttribute('aria-label'))")
    assert lanes == ["words", "event", "emotion", "style", "gender", "age", "language"]


# A word may be marked for less than a frame: the page keeps which were, whatever the test does meanwhile.
MARKED = """(() => {
  globalThis.marked = [];
  const number = (word) => [...document.querySelectorAll('.word')].indexOf(word);
  new MutationObserver((changes) => changes.map((change) => change.target)
    .forEach((word) => word.matches('.word.now') && globalThis.marked.push(number(word))))
    .observe(document.body, { subtree: true, attributeFilter: ['class'] });
})()"""
"""Keeps the numbers of the words that were marked as being played."""


def test_a_click_on_a_word_plays_that_word(page: Any) -> None:
    upload(page)
    page.evaluate(MARKED)
    page.locator(".word").nth(1).click()
    until(page, "globalThis.marked.includes(1)")
    until(page, "document.querySelector('.play').getAttribute('aria-label') === 'Play'")


def test_a_block_is_shaded_by_how_sure_the_model_is(page: Any) -> None:
    upload(page)
    shares = [
        float(page.locator(f".lane.{name} .block").evaluate("b => b.style.getPropertyValue('--share')"))
        for name in ("emotion", "age")
    ]
    fills = [
        page.locator(f".lane.{name} .block").evaluate(
            "b => Number(getComputedStyle(b).backgroundColor.match(/[\\d.]+\\)$/)[0].slice(0, -1))"
        )
        for name in ("emotion", "age")
    ]
    assert (shares[0] > shares[1]) == (fills[0] > fills[1])
    assert shares[0] != shares[1]


def test_the_prompt_and_the_raw_answer_are_one_click_away(page: Any) -> None:
    upload(page)
    page.click(".task.emotion summary")
    said = page.locator(".task.emotion code").all_text_contents()
    assert said[0] == "transcribe, emotion"
    assert said[1].endswith("<neutral>")


def test_fewer_tasks_are_asked_when_boxes_are_cleared(page: Any) -> None:
    page.click("#asked summary")
    for box in page.locator("#tasks input").all()[2:]:
        box.uncheck()
    upload(page)
    assert page.locator(".task .name").all_text_contents() == ["transcript", "transcript with word times~"]


MOVED = """bytes => {
  const moved = new DataTransfer();
  moved.items.add(new File([new Uint8Array(bytes)], 'dropped.flac'));
  return moved;
}"""


def test_a_dropped_file_is_labelled(page: Any) -> None:
    content = list(CLIP.read_bytes())
    data = page.evaluate_handle(MOVED, content)
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    page.wait_for_selector(".tasks", timeout=READY)
    assert page.locator("#h-sound").text_content() == "dropped.flac"


RECORDED = "least => document.getElementById('clock').textContent >= least"
"""Whether so much was recorded, or more: a slow machine may never see one second on the clock."""


def test_a_recording_reaches_the_server_as_it_was_said(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    read = Service.read

    def listening(*given: Any) -> Any:
        sound = read(*given)
        sent.append(np.array(sound.samples))
        return sound

    monkeypatch.setattr(Service, "read", listening)
    page.click("#record")
    until(page, RECORDED, "0:03")
    page.click("#record-stop")
    page.wait_for_selector(".tasks", timeout=READY)
    assert str(page.locator("#h-sound").text_content()).startswith("recording-")
    assert len(sent[0]) / SAMPLE_RATE > 2.5
    assert np.abs(sent[0]).max() > 0.05  # echo cancellation changes the samples, so only their energy is held


def test_a_cancelled_recording_asks_nothing(page: Any) -> None:
    page.click("#record")
    until(page, RECORDED, "0:01")
    page.click("#record-cancel")
    assert page.locator("#result").is_hidden()


def test_every_format_downloads(page: Any, tmp_path: Path) -> None:
    upload(page)
    found = {}
    for button in page.locator(".downloads button").all():
        with page.expect_download() as waited:
            button.click()
        found[waited.value.suggested_filename] = Path(waited.value.path()).read_bytes()
    assert set(found) == {
        f"en_word_times.{suffix}"
        for suffix in ("json", "jsonl", "txt", "srt", "vtt", "tsv", "TextGrid", "ctm", "labels.txt", "parquet")
    }
    assert json.loads(found["en_word_times.json"])["labels"]["emotion"] == "neutral"
    assert found["en_word_times.vtt"].startswith(b"WEBVTT")
    assert found["en_word_times.parquet"].startswith(b"PAR1")


def test_a_free_question_is_answered_below_it(page: Any) -> None:
    upload(page)
    page.fill("input[name=question]", "transcribe")
    page.press("input[name=question]", "Enter")
    page.wait_for_selector("ol.asked li", timeout=READY)
    assert page.locator("ol.asked .q").text_content() == "transcribe"
    assert "girl" in page.locator("ol.asked .a").text_content()


def test_what_is_no_sound_is_refused_in_one_line_and_the_page_continues(page: Any, browser: Any, studio: str) -> None:
    watched = opened(browser, studio)
    watched.page.set_input_files("#file", {"name": "notes.wav", "mimeType": "audio/wav", "buffer": b"no sound at all"})
    watched.page.wait_for_selector("#alert:not([hidden])", timeout=READY)
    assert "\n" not in watched.page.locator("#alert").text_content()
    upload(watched.page)
    assert watched.page.locator("#alert").is_hidden()
    watched.page.context.close()
    assert all("415" in fault for fault in watched.faults)


def test_a_file_name_is_never_markup(page: Any) -> None:
    name = "<img src=x onerror=alert(1)>.flac"
    upload(page, {"name": name, "mimeType": "audio/flac", "buffer": CLIP.read_bytes()})
    assert page.locator("#h-sound").text_content() == name
    assert page.locator("main img").count() == 0


# Compare and talk


def test_two_models_are_compared_on_one_recording(page: Any) -> None:
    upload(page)
    visit(page, "compare")
    page.click("#compare-form button")
    page.wait_for_selector(".facts", timeout=READY)
    until(page, "document.querySelectorAll('#view-compare .lane').length === 14")
    assert page.locator("#compare-result h2").first.text_content() == "6 of 6 labels are the same."


def test_a_spoken_turn_is_answered_with_what_was_recognised_of_the_speaker(page: Any) -> None:
    visit(page, "talk")
    page.click("#talk-record")
    until(page, RECORDED, "0:02")
    page.click("#record-stop")
    page.wait_for_selector(".turn.model .cue.gender", timeout=READY)
    assert page.locator(".turn.you audio").is_visible()
    assert page.locator("#composer input").is_disabled()  # nano answers clips alone, and the page says so
    assert "no dialogue model" in page.locator("#talk-note").text_content()


# The page itself


def test_language_and_theme_stay_after_a_reload(page: Any) -> None:
    page.click("#language")
    page.click("#theme")
    page.wait_for_selector("html[data-theme=dark][lang=zh]")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector("html[data-theme=dark][lang=zh]")
    assert page.locator("nav a").first.text_content() == "标注"


DRAWN = """view => {
  const canvas = document.querySelector(`${view} .wave div`)?.shadowRoot.querySelector('canvas');
  const blank = document.createElement('canvas');
  [blank.width, blank.height] = [canvas?.width, canvas?.height];
  return canvas?.width && canvas.toDataURL() !== blank.toDataURL();
}"""
"""Whether a waveform is not an empty canvas."""


def test_the_waveform_stays_drawn_whatever_is_shown_anew(page: Any) -> None:
    upload(page)
    until(page, DRAWN, "#view-label")
    page.click("#language")
    until(page, DRAWN, "#view-label")
    reviewing(page)
    until(page, DRAWN, "#view-review")
    page.keyboard.press("ArrowRight")
    until(page, DRAWN, "#view-review")
    visit(page, "label")
    until(page, DRAWN, "#view-label")


def test_a_result_is_shown_anew_in_the_other_language(page: Any) -> None:
    upload(page)
    page.click("#language")
    until(page, "document.querySelector('.lane.emotion .block span').textContent.startsWith('中性')")


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_nothing_is_wider_than_the_screen_and_every_control_has_a_name(
    browser: Any, studio: str, size: tuple[int, int]
) -> None:
    watched = opened(browser, studio, size)
    upload(watched.page)
    for view in ("label", "compare", "talk", "review"):
        visit(watched.page, view)
        until(watched.page, "view => !document.getElementById(`view-${view}`).hidden", arg=view)
        if view == "review":
            watched.page.wait_for_selector(".editor textarea")
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert watched.page.evaluate(NAMELESS) == []
    watched.page.context.close()
    watched.check()


NAMELESS = """[...document.querySelectorAll('button, select, input:not([type=hidden]), textarea, a, summary, audio')]
  .filter((one) => one.offsetParent)
  .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.closest('label')?.textContent.trim()))
  .filter((one) => !one.labels?.length)
  .map((one) => one.outerHTML)"""


FOCUSED = """(() => {
  const one = document.activeElement;
  const shown = one.matches('.sr') ? one.closest('label') : one;
  return [one.id || one.getAttribute('href') || one.tagName, getComputedStyle(shown).outlineStyle];
})()"""


def test_every_part_is_reached_by_tab_and_its_focus_is_visible(page: Any) -> None:
    reached = {}
    for _ in range(14):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(FOCUSED)
        reached[name] = outline
    assert {
        "#main",
        "#label",
        "#compare",
        "#talk",
        "tab-review",
        "model",
        "language",
        "theme",
        "file",
        "record",
    } <= set(reached)
    assert "none" not in [outline for name, outline in reached.items() if name != "BODY"]
