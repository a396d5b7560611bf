"""The live talk of the studio in a real browser with a fake microphone that plays a scripted conversation."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn

import osum
from osum.audio import load
from osum.dialogue.voiced import EspeakVoice
from osum.server.app import create_app
from osum.server.models import Models
from osum.server.options import ServerOptions
from osum.utterance import Word
from server.studio_browser import FLAGS, MIC_RATE, PHONE, READY, SAMPLES, Watched, chromium, opened

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'osum[dev]'")
pytestmark = pytest.mark.browser


class SlowVoice(EspeakVoice):
    """Speaks four times as slowly, so that there is time to interrupt it."""

    def speak(self, text: str) -> tuple[Any, tuple[Word, ...]]:
        samples, words = super().speak(text)
        return np.repeat(samples, 4), tuple(replace(word, start=4 * word.start, end=4 * word.end) for word in words)


def silence(seconds: float) -> Any:
    return np.zeros(round(seconds * MIC_RATE), np.float32)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose microphone asks a question, once, and then is silent for a while."""
    path = chromium()
    if path is None:
        pytest.skip("no chromium: apt install chromium, or name one in OSUM_CHROMIUM")
    mic = tmp_path_factory.mktemp("mic") / "mic.wav"
    question = load(SAMPLES / "en_child_girl.flac", rate=MIC_RATE)
    soundfile.write(mic, np.concatenate([silence(1.5), question, silence(60.0)]), MIC_RATE, subtype="PCM_16")
    with playwright.sync_playwright() as made:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={mic}%noloop"]
        found = made.chromium.launch(executable_path=path, args=flags)
        yield found
        found.close()


@pytest.fixture(scope="module")
def studio() -> Iterator[str]:
    """The address of a running studio."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        models = Models.holding({"nano": osum.load("nano", device="cpu", dtype="float32")})
        app = create_app(models, ServerOptions(port=port, studio=True))
        app.state.service.realtime.synthesizer = SlowVoice()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


# A state may last less than a frame: the page keeps each one that the talk has left, whatever the test does meanwhile.
RECORD = """
globalThis.left = [];
new MutationObserver((changes) => globalThis.left.push(...changes.map((change) => change.oldValue)))
  .observe(document.querySelector("#talk-live"), { attributeFilter: ["data-state"], attributeOldValue: true });
"""
STATES = "[...globalThis.left, document.querySelector('#talk-live').dataset.state]"


def talking(browser: Any, studio: str, **options: Any) -> Watched:
    """A page that has begun to talk live."""
    watched = opened(browser, studio, **options)
    watched.page.evaluate(RECORD)
    watched.page.click('a[href="#talk"]')
    watched.page.click("#live-toggle")
    return watched


def until(page: Any, *states: str) -> None:
    """Wait until the talk has been through these states, in this order."""
    end = time.monotonic() + READY / 1000
    while not in_order(states, passed := page.evaluate(STATES)):
        assert time.monotonic() < end, f"waited for {states}, the talk went through {passed}"
        page.wait_for_timeout(30)


def in_order(wanted: Sequence[str], passed: Sequence[str]) -> bool:
    rest = iter(passed)
    return all(state in rest for state in wanted)


@pytest.mark.parametrize("size", [(1280, 900), PHONE], ids=["desk", "phone"])
def test_a_question_is_answered_aloud(browser: Any, studio: str, size: tuple[int, int]) -> None:
    watched = talking(browser, studio, size=size)
    page = watched.page
    until(page, "hearing", "thinking", "speaking", "listening")
    page.wait_for_selector(".turn.you .cue", timeout=READY)
    said = [bubble.inner_text() for bubble in page.query_selector_all(".turn .bubble > p:last-child")]
    assert len(said) == 2 and all(said) and "…" not in said
    assert page.query_selector(".cut") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#live-toggle")
    until(page, "speaking", "off")
    page.context.close()
    watched.check()


def test_a_key_stops_the_reply_and_what_was_not_played_is_greyed(browser: Any, studio: str) -> None:
    watched = talking(browser, studio)
    page = watched.page
    until(page, "speaking")
    page.keyboard.press("Escape")
    until(page, "speaking", "listening")
    cut = page.wait_for_selector(".turn.model .cut", timeout=READY)
    whole = page.inner_text(".turn.model .bubble > p:last-child")
    assert cut.inner_text().strip() and whole.endswith(cut.inner_text())
    page.context.close()
    watched.check()


def test_leaving_the_view_ends_the_talk(browser: Any, studio: str) -> None:
    watched = talking(browser, studio)
    page = watched.page
    until(page, "listening")
    page.click('a[href="#label"]')
    until_off = page.wait_for_selector('#talk-live[data-state="off"]', state="attached", timeout=READY)
    assert until_off is not None
    page.context.close()
    watched.check()
