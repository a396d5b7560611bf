"""Speech by Kokoro, in a cache that grows: `python -m recipes.nano.speak --texts DIR --kokoro DIR --out DIR`.

Each clip is an Ogg/Opus file named by its text and voice; `spoken.jsonl` has a line for each. Stopped or killed, the
same command continues; a full disk ends it and loses nothing. About one processor second for a second of speech.
Needs `pip install kokoro-onnx 'misaki[zh]'` beside this package; the files are those of kokoro-onnx's release page.
"""

from __future__ import annotations

import argparse
import errno
import io
import itertools
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from osum.audio import SAMPLE_RATE
from recipes.nano.texts import Job, jobs

MODEL, VOICES = "kokoro-v1.0.int8.onnx", "voices-v1.0.bin"
TIMBRE = 128  # numbers of a style row that are timbre; the rest is prosody
INDEX = "spoken.jsonl"

log = logging.getLogger("speak")


class Speaker:
    """Kokoro with one thread, English by espeak-ng's phonemes, Mandarin by those of misaki."""

    def __init__(self, folder: Path) -> None:
        for name in (MODEL, VOICES):
            if not (folder / name).is_file():
                raise SystemExit(f"{folder / name} is missing: take it from the release page of kokoro-onnx")
        import onnxruntime
        from kokoro_onnx import Kokoro
        from misaki.zh import ZHG2P

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        self._kokoro = Kokoro.from_session(session, str(folder / VOICES))
        self._mandarin = ZHG2P()

    def speak(self, job: Job) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The clip's waveform (S,) at 16 kHz, its peak between 0.3 and 0.9."""
        timbre, prosody = (self._kokoro.get_voice_style(name) for name in (job.timbre, job.prosody))
        voice = np.concatenate([timbre[..., :TIMBRE], prosody[..., TIMBRE:]], -1)
        if job.language == "zh":
            phonemes = self._mandarin(job.text)
            said = phonemes[0] if isinstance(phonemes, tuple) else phonemes
            samples, rate = self._kokoro.create(said, voice=voice, speed=job.speed, is_phonemes=True)
        else:
            accent = "en-gb" if job.prosody.startswith("b") else "en-us"
            samples, rate = self._kokoro.create(job.text, voice=voice, speed=job.speed, lang=accent)
        wave = soxr.resample(np.asarray(samples, np.float32).reshape(-1), rate, SAMPLE_RATE)
        peak = 0.3 + 0.6 * (int(job.name[:4], 16) / 0xFFFF)
        return (wave * (peak / max(float(np.abs(wave).max()), 1e-3))).astype(np.float32)


def fill(speaker: Speaker, texts: Path, out: Path, hours: float, seed: int) -> float:
    """Speak what the cache does not hold, until it holds `hours`; returns the hours it holds.

    Raises:
        SystemExit: the disk is full; what was spoken before is whole.
    """
    (out / "audio").mkdir(parents=True, exist_ok=True)
    index = out / INDEX
    done = {row["name"]: row["seconds"] for row in spoken(index)}
    held, said, failed = sum(done.values()), 0, 0
    with index.open("ab") as lines:
        for job in itertools.islice(jobs(texts, seed), 10_000_000):
            if held >= hours * 3600:
                break
            if job.name in done:
                continue
            try:
                samples = speaker.speak(job)
            except (ValueError, IndexError, RuntimeError, AssertionError) as fault:  # a text that Kokoro cannot say
                failed += 1
                log.warning("left out %r: %s", job.text, fault)
                continue
            seconds = samples.size / SAMPLE_RATE
            try:
                _store(out / "audio" / f"{job.name}.ogg", samples)
                row = {"name": job.name, "seconds": round(seconds, 3), **asdict(job)}
                lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                lines.flush()
            except OSError as fault:
                if fault.errno == errno.ENOSPC:
                    raise SystemExit(f"{out}: the disk is full; free some space and run the same command") from fault
                raise
            done[job.name] = seconds
            held += seconds
            said += 1
            if said % 100 == 0:
                log.info("%d clips, %.3f h, %d left out", len(done), held / 3600, failed)
    return held / 3600


def spoken(index: Path) -> list[dict[str, Any]]:
    """The lines of a cache's index; a last line that a kill cut off is removed from the file."""
    if not index.is_file():
        return []
    content = index.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with index.open("r+b") as file:
            file.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def _store(path: Path, samples: np.ndarray[Any, Any]) -> None:
    """Write Ogg/Opus under a hidden name, then rename: a file that is there is whole."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="OGG", subtype="OPUS")
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(buffer.getvalue())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description="Speak sentences by Kokoro into a cache.")
    parser.add_argument("--texts", type=Path, required=True, help="folder of texts: the kit's text/")
    parser.add_argument("--kokoro", type=Path, required=True, help=f"folder with {MODEL} and {VOICES}")
    parser.add_argument("--out", type=Path, required=True, help="the cache")
    parser.add_argument("--hours", type=float, default=10.0, help="speech to hold (10)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    held = fill(Speaker(arguments.kokoro), arguments.texts, arguments.out, arguments.hours, arguments.seed)
    log.info("%s holds %.2f h", arguments.out, held)


if __name__ == "__main__":
    main()
