"""G.711: 8 bit mu-law and A-law, as telephones have it (ITU-T G.711). Shapes: S samples at 8 kHz."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def _mu_law() -> NDArray[np.int32]:
    """What each of the 256 bytes means, on a 16 bit scale."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -size, size)


def _a_law() -> NDArray[np.int32]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
    size = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, size, -size)


TABLES = {"audio/pcmu": _mu_law(), "audio/pcma": _a_law()}


def decode(content: bytes, kind: str) -> Samples:
    """Bytes to samples (S,)."""
    return (TABLES[kind][np.frombuffer(content, np.uint8)] / 32768).astype(np.float32)


def encode(samples: Samples, kind: str) -> bytes:
    """Samples (S,) to bytes, each the nearest that there is."""
    table = TABLES[kind]
    order = np.argsort(table, kind="stable")
    levels = table[order]
    wanted = np.clip(samples, -1, 1) * 32767
    edges = (levels[1:] + levels[:-1]) / 2
    return order[np.searchsorted(edges, wanted)].astype(np.uint8).tobytes()
