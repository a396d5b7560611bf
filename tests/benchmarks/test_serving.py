"""Clients of a server together get what one process gets, in the same run."""

from __future__ import annotations

import logging
import statistics
from pathlib import Path

import pytest
import serving
from server.conftest import SAMPLES, running

import osum
from osum.audio import duration

LOG = logging.getLogger(__name__)


@pytest.mark.slow
def test_eight_clients_get_most_of_the_throughput_of_one_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "httpx2")  # a line for each request
    nano, once = osum.load("nano"), sorted(SAMPLES.glob("*.flac"))
    clips = once * 4
    with running(tmp_path, "--model", "model=nano", key=None) as (url, _):
        serving.direct(nano, once, "ASR"), serving.served(url, once, "ASR", 8)
        rounds = [(serving.direct(nano, clips, "ASR"), serving.served(url, clips, "ASR", 8)[0]) for _ in range(3)]
    seconds = sum(map(duration, clips))
    for alone, together in rounds:
        LOG.info(f"audio seconds a second: {seconds / alone:.1f} in one process, {seconds / together:.1f} served to 8")
    assert statistics.median(alone / together for alone, together in rounds) >= 0.85
