"""The studio in a real browser, headless: label, record, compare, talk, review, download. Skips without chromium.

Every test also proves that the page asked nothing of any other host, and that nothing was written to the console.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn

import osum
from osum.audio import SAMPLE_RATE, load
from osum.corpus.manifest import read_manifest
from osum.server.app import create_app
from osum.server.models import Models
from osum.server.options import ServerOptions
from osum.server.service import Service

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'osum[dev]'")

pytestmark = pytest.mark.browser
SAMPLES = Path(__file__).parents[2] / "samples"
CLIP = SAMPLES / "en_word_times.flac"
MIC_RATE = 48_000
DESK, PHONE = (1280, 900), (390, 844)
READY = 60_000  # ms until an answer is there, on a slow machine
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


def chromium() -> str | None:
    """A browser of the system; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("OSUM_CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose microphone says a sample, over and over."""
    path = chromium()
    if path is None:
        pytest.skip("no chromium: apt install chromium, or name one in OSUM_CHROMIUM")
    mic = tmp_path_factory.mktemp("mic") / "mic.wav"
    soundfile.write(mic, load(SAMPLES / "en_jfk.flac", rate=MIC_RATE), MIC_RATE, subtype="PCM_16")
    with playwright.sync_playwright() as made:
        found = made.chromium.launch(executable_path=path, args=[*FLAGS, f"--use-file-for-fake-audio-capture={mic}"])
        yield found
        found.close()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve labelled rows and their recordings."""
    lines = []
    for number in range(12):
        name = f"r{number:02d}.flac"
        shutil.copy(SAMPLES / ("laugh_1.flac" if number % 2 else "en_word_times.flac"), tmp_path / name)
        labels = {"emotion": "happy" if number % 2 else "sad", "gender": "male"}
        lines.append(json.dumps({"id": name[:3], "path": name, "text": "a girl for it", "labels": labels}))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def studio(nano: osum.Recognizer, corpus: Path) -> Iterator[str]:
    """The address of a running studio."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        options = ServerOptions(port=port, studio=True, review=str(corpus))
        app = create_app(Models.holding({"nano": nano, "twin": nano}), options)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


class Watched:
    """A page, and all that it asked for and wrote to the console."""

    def __init__(self, page: Any, home: str) -> None:
        self.page, self.home = page, home
        self.strangers: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        page.on("console", lambda line: line.type in ("error", "warning") and self.faults.append(line.text))

    def _asked(self, url: str) -> None:
        if not url.startswith((f"{self.home}/studio", "blob:", "data:")):
            self.strangers.append(url)

    def check(self) -> None:
        assert (self.strangers, self.faults) == ([], [])


def opened(browser: Any, studio: str, size: tuple[int, int] = DESK, **options: Any) -> Watched:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="en-US", **options)
    watched = Watched(context.new_page(), studio)
    watched.page.goto(f"{studio}/studio")
    watched.page.wait_for_selector("body[data-ready]")
    return watched


@pytest.fixture
def page(browser: Any, studio: str) -> Iterator[Any]:
    """The page of a studio at 1280 pixels."""
    watched = opened(browser, studio)
    yield watched.page
    watched.page.context.close()
    watched.check()


def upload(page: Any, file: Any = CLIP) -> None:
    page.set_input_files("#file", file)
    page.wait_for_selector(".tasks", timeout=READY)


def until(page: Any, condition: str, arg: Any = None) -> None:
    """Wait until a JavaScript expression, or function of `arg`, is true; playwright's own wait would need `eval`."""
    end = time.monotonic() + READY / 1000
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"never true: {condition}"
        page.wait_for_timeout(30)


def visit(page: Any, view: str) -> None:
    page.click(f"nav a[href='#{view}']")


def playing(page: Any) -> bool:
    return bool(page.locator(".play").first.get_attribute("aria-label") == "Pause")


# Label


def test_an_uploaded_recording_shows_a_lane_for_every_label(page: Any) -> None:
    upload(page)
    lanes = page.locator(".lane").evaluate_all("lanes => lanes.map((lane) => lane.getAttribute('aria-label'))")
    assert lanes == ["words", "event", "emotion", "style", "gender", "age", "language"]


def test_a_click_on_a_word_plays_that_word(page: Any) -> None:
    upload(page)
    page.locator(".word").nth(1).click()
    until(
        page, "document.querySelector('.word.now')?.textContent === document.querySelectorAll('.word')[1].textContent"
    )
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


def test_a_recording_reaches_the_server_as_it_was_said(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    read = Service.read

    def listening(*given: Any) -> Any:
        sound = read(*given)
        heard.append(np.array(sound.samples))
        return sound

    monkeypatch.setattr(Service, "read", listening)
    page.click("#record")
    until(page, "document.getElementById('clock').textContent === '0:03'")
    page.click("#record-stop")
    page.wait_for_selector(".tasks", timeout=READY)
    assert str(page.locator("#h-sound").text_content()).startswith("recording-")
    assert 2.5 < len(heard[0]) / SAMPLE_RATE < 6
    assert np.abs(heard[0]).max() > 0.05  # echo cancellation changes the samples, so only their energy is held


def test_a_cancelled_recording_asks_nothing(page: Any) -> None:
    page.click("#record")
    until(page, "document.getElementById('clock').textContent === '0:01'")
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


def test_what_is_no_sound_is_refused_in_one_line_and_the_page_goes_on(page: Any, browser: Any, studio: str) -> None:
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
    until(page, "document.getElementById('clock').textContent === '0:02'")
    page.click("#record-stop")
    page.wait_for_selector(".turn.model .cue.gender", timeout=READY)
    assert page.locator(".turn.you audio").is_visible()
    assert page.locator("#composer input").is_disabled()  # nano answers clips alone, and the page says so
    assert "no dialogue model" in page.locator("#talk-note").text_content()


# Review


def reviewing(page: Any) -> None:
    visit(page, "review")
    page.wait_for_selector(".editor textarea")
    page.locator("input[autocomplete=name]").fill("anna")
    page.locator("input[autocomplete=name]").press("Tab")
    page.evaluate("document.activeElement.blur()")


CURRENT = """name => !document.querySelector('[aria-busy]')
  && document.querySelector('[aria-current=true] .id')?.textContent === name
  && document.querySelector('.editor h2')?.textContent === name"""


def until_current(page: Any, name: str) -> None:
    until(page, CURRENT, arg=name)


def test_ten_clips_a_minute_are_reviewed_by_keyboard_alone(page: Any, corpus: Path) -> None:
    reviewing(page)
    page.get_by_label("Labels to review").select_option("emotion")
    until_current(page, "r00")
    began = time.monotonic()
    for number in range(10):
        until_current(page, f"r{number:02d}")
        if number % 3 == 0:
            page.keyboard.press("6")  # fear
        page.keyboard.press("Enter")
    until_current(page, "r10")
    assert time.monotonic() - began < 60
    rows = list(read_manifest(corpus))
    assert [row.labels["emotion"] for row in rows[:4]] == ["fear", "happy", "sad", "fear"]
    assert all(row.extra["reviewed"]["emotion"]["by"] == "anna" for row in rows[:10])
    assert ["corrections" in row.extra for row in rows] == [number % 3 == 0 and number < 10 for number in range(12)]


def test_keys_in_a_hurry_confirm_only_rows_that_were_shown(page: Any, corpus: Path) -> None:
    reviewing(page)
    until_current(page, "r00")
    for _ in range(6):
        page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")
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


def test_space_plays_and_pauses(page: Any) -> None:
    reviewing(page)
    until_current(page, "r00")
    until(page, "document.querySelector('#review .time').textContent.endsWith('1.4')")
    was = playing(page)
    page.keyboard.press(" ")
    until(
        page, "was => (document.querySelector('#review .play').getAttribute('aria-label') === 'Pause') !== was", arg=was
    )


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
