"""A file of 16-bit numbers holds the nearest of each sample, and reads back as the same."""

from __future__ import annotations

import numpy as np
import pytest

from osum import audio
from osum.corpus.packed import to_int16
from osum.corpus.sound_file import flac, wav


@pytest.mark.parametrize("write", [wav, flac])
def test_every_sixteen_bit_number_reads_back_as_itself(write):
    numbers = np.arange(-32_768, 32_768)
    assert np.array_equal(to_int16(audio.load(write(numbers / 32_768))), numbers)


@pytest.mark.parametrize("write", [wav, flac])
def test_what_is_too_loud_is_clipped(write):
    assert audio.load(write(np.array([-2.0, 2.0] * 800))).tolist() == [-1.0, 32_767 / 32_768] * 800


def test_the_rate_is_kept():
    assert audio.probe(wav(np.zeros(2_400), 24_000)).rate == 24_000
