"""G.711 against values of the standard, and there and back."""

import numpy as np
import pytest

from osum.server import g711

KNOWN = {
    "audio/pcmu": {0xFF: 0, 0x7F: 0, 0x00: -32124, 0x80: 32124, 0xE7: 260, 0x67: -260},
    "audio/pcma": {0xD5: 8, 0x55: -8, 0x2A: -32256, 0xAA: 32256, 0xD4: 24},
}


@pytest.mark.parametrize("kind", KNOWN)
def test_bytes_mean_what_the_standard_says(kind):
    values = g711.decode(bytes(KNOWN[kind]), kind) * 32768
    assert values.tolist() == list(KNOWN[kind].values())


@pytest.mark.parametrize("kind", KNOWN)
def test_every_byte_survives_the_way_there_and_back(kind):
    values = g711.decode(bytes(range(256)), kind)
    np.testing.assert_array_equal(g711.decode(g711.encode(values, kind), kind), values)


@pytest.mark.parametrize("kind", KNOWN)
def test_sound_keeps_its_form(kind):
    tone = (0.5 * np.sin(np.arange(8_000) * 0.3)).astype(np.float32)
    error = g711.decode(g711.encode(tone, kind), kind) - tone
    assert 10 * np.log10(np.mean(tone**2) / np.mean(error**2)) > 35  # dB
    assert np.abs(g711.decode(g711.encode(4 * tone, kind), kind)).max() <= 1.0
