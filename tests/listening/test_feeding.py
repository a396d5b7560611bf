"""Files become windows of features, here or in workers; what breaks a reader costs no other file anything."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from model.tiny import noise, tiny_processor

from listening.faulty import Deadly, Endless, Odd
from osum.listening.cutting import Failure, SoundSource, stretches
from osum.listening.feeding import News, Piece, read

LIMIT = 16_000


def gathered(sources: list[SoundSource], **options: float) -> dict[int, list[News]]:
    """What each source brought, in order."""
    found: dict[int, list[News]] = {number: [] for number in range(len(sources))}
    for number, news in read(iter(sources), tiny_processor("speech_first"), LIMIT, **options):  # type: ignore[arg-type]
        found[number].append(news)
    return found


def arrays(*sizes: int) -> list[SoundSource]:
    return [SoundSource((noise(size, seed), LIMIT)) for seed, size in enumerate(sizes)]


def test_what_is_suspicious_about_a_source_comes_with_its_last_window() -> None:
    loud = SoundSource((np.clip(noise(56_000, 0) * 1e6, -100, 100), LIMIT))
    for workers in (0, 1):
        *first, last = [news.notes for news in gathered([loud], num_workers=workers)[0] if isinstance(news, Piece)]
        assert first and not any(first)
        assert [note.startswith("samples up to 100 times full scale") for note in last] == [True]


def test_every_source_ends_with_a_last_window_or_a_failure(tmp_path: Path) -> None:
    found = gathered([*arrays(8_000, 56_000), SoundSource(tmp_path / "absent.wav"), *arrays(300)])
    assert [isinstance(news[-1], Failure) for news in found.values()] == [False, False, True, False]
    for news in (found[0], found[1], found[3]):
        assert [isinstance(piece, Piece) and piece.last for piece in news] == [False] * (len(news) - 1) + [True]
    whole = [piece for piece in found[1] if isinstance(piece, Piece)]
    assert len(whole) > 3 and whole[-1].start + whole[-1].num_samples == 56_000
    assert all(piece.features is not None and piece.features.shape[0] == 80 for piece in whole)


def test_windows_are_read_as_they_are_needed() -> None:
    taken: list[int] = []

    def sources():  # type: ignore[no-untyped-def]
        for number, source in enumerate(arrays(8_000, 8_000)):
            taken.append(number)
            yield source

    next(read(sources(), tiny_processor("speech_first"), LIMIT))
    assert taken == [0]


def test_workers_read_what_is_read_here_and_outlive_faults_and_hangs() -> None:
    good = arrays(8_000, 56_000)
    sources = [
        good[0],
        SoundSource(Deadly()),
        SoundSource(Endless()),
        good[1],
        SoundSource((np.zeros(0, np.float32), LIMIT)),
    ]
    found = gathered([*sources, SoundSource(Odd())], num_workers=1, deadline=5.0)
    here = gathered(good)
    for one, other in ((found[0], here[0]), (found[3], here[1])):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert isinstance(left, Piece) and isinstance(right, Piece)
            assert (left.start, left.num_samples, left.last) == (right.start, right.num_samples, right.last)
            assert left.features is not None and right.features is not None
            assert torch.equal(left.features, right.features)
    messages = [found[number][-1].message for number in (1, 2, 4, 5) if isinstance(found[number][-1], Failure)]
    assert messages == [
        "the given audio: its reader died (exit code -9): fetch it again",
        "the given audio: nothing could be read for 5 s: fetch it again",
        "the given array: 0 samples in it; give a recording that holds sound",
        "the given audio: could not be read (RuntimeError: quiet: True); if the file is in order, please report it",
    ]


def test_a_long_silence_is_reported_to_be_alive_though_it_brings_no_window() -> None:
    signs: list[None] = []
    silence = SoundSource((np.zeros(100 * LIMIT, np.float32), LIMIT))
    first = next(stretches(15 * LIMIT, "auto", silence, lambda: signs.append(None)))
    assert (first.samples, len(signs)) == (None, 10)


def test_a_worker_loads_nothing_that_takes_seconds() -> None:
    code = "import osum.listening.cutting, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "osum.audio" in loaded and not {"torch", "transformers", "scipy"} & set(loaded)


def test_workers_given_up_end() -> None:
    feed = read(iter(arrays(*[8_000] * 40)), tiny_processor("speech_first"), LIMIT, num_workers=1)
    assert next(feed)[0] == 0
    start = time.monotonic()
    feed.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 60


def test_an_error_of_the_list_of_sources_is_raised_where_it_is_read() -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield from arrays(300)
        raise RuntimeError("the list broke off")

    with pytest.raises(RuntimeError, match="the list broke off"):
        list(read(broken(), tiny_processor("speech_first"), LIMIT, num_workers=1))
