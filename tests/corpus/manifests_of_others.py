"""Manifests of other projects, and clips, made for the tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def noise(seconds: float = 0.25, seed: int = 0) -> np.ndarray:
    """A waveform (S,) of 16 bit values, so that storing it loses nothing."""
    drawn = np.random.default_rng(seed).integers(-9000, 9000, round(seconds * RATE))
    return (drawn / 32768).astype(np.float32)


def write_clip(path: Path, seconds: float = 0.25, seed: int = 0, rate: int = RATE) -> Path:
    """A wav file of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, seed), rate, subtype="PCM_16")
    return path


def write_lines(path: Path, rows: Iterable[Mapping[str, object] | str]) -> Path:
    """JSON lines; a text is written as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def wav_bytes(seconds: float = 0.25, seed: int = 0) -> bytes:
    """The bytes of a wav file of noise."""
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(seconds, seed), RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar as the release's shard maker writes it: members KEY.suffix, one after the other."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            item = tarfile.TarInfo(name)
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    return path


def original_members(key: str, txt: str, task: str = "<TRANSCRIBE>", **more: str) -> list[tuple[str, bytes]]:
    """The members of one utterance; its noise is seeded by the length of the key."""
    texts = {"txt": txt, "task": task, "lang": "<CN>", "speaker": "none", **more}
    fields = [(f"{key}.{suffix}", value.encode()) for suffix, value in texts.items()]
    return [fields[0], (f"{key}.wav", wav_bytes(seed=len(key))), *fields[1:]]
