"""Speech of two Kokoro voices: `python -m recipes.voice.speak --texts DIR --kokoro DIR --out DIR --hours H`.

Each clip is a FLAC file at 24 kHz; `spoken.jsonl` has a line for each with its phonemes, how many frames of 25 ms each
of them lasts, and the fundamental frequency: Kokoro computes both on its way to the sound, so no aligner is needed.
Stopped or killed, the same command continues. About 1.1 processor seconds for a second of speech on one thread.
Needs `pip install kokoro-onnx onnx`; the files are those of kokoro-onnx's release page (Apache-2.0).
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from osum.files import atomic_file
from recipes.nano.speak import INDEX, MODEL, VOICES, spoken
from recipes.nano.texts import sentences

SPELLINGS = "spellings.jsonl"
"""Texts with their phonemes, spoken or not."""
SPEAKERS = {"woman": "af_heart", "man": "am_michael"}
SAMPLE_RATE = 24_000
LONGEST = 130
"""Characters of a clip."""
DURATIONS, FUNDAMENTAL = "/encoder/Clip_output_0", "/encoder/Reshape_output_0"
"""Values inside of the graph: frames of 600 samples for each token, and Hz at every half frame."""

log = logging.getLogger("speak")


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to be spoken."""

    text: str
    speaker: str
    split: str

    @property
    def name(self) -> str:
        """The clip's name: the same text by the same speaker has the same name."""
        return sha256(f"{self.text}|{self.speaker}".encode()).hexdigest()[:20]


def jobs(texts: Path, seed: int = 1) -> Iterator[Job]:
    """Clips without end, of both speakers in turn; one in 24 is of the test sentences, one in 24 of the valid ones."""
    rng = random.Random(seed)
    for place in itertools.count():
        split = {5: "test", 17: "valid"}.get(place // 2 % 24, "train")
        pool = sentences(texts, "en", split)
        text = rng.choice(pool)
        while len(text) < LONGEST and split == "train" and rng.random() < 0.8:
            text = f"{text} {rng.choice(pool)}"
        yield Job(
            text[: text.rfind(" ", 0, LONGEST)] if len(text) > LONGEST else text, list(SPEAKERS)[place % 2], split
        )


class Speaker:
    """Kokoro on one thread, whose graph also returns its durations and its fundamental frequency."""

    def __init__(self, folder: Path) -> None:
        for name in (MODEL, VOICES):
            if not (folder / name).is_file():
                raise SystemExit(f"{folder / name} is missing: take it from the release page of kokoro-onnx")
        import onnx
        import onnxruntime
        from kokoro_onnx.tokenizer import Tokenizer

        graph = onnx.load(str(folder / MODEL))
        for name in (DURATIONS, FUNDAMENTAL):
            graph.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])
        self._voices = np.load(folder / VOICES)
        self._tokenizer = Tokenizer()

    def phonemes(self, text: str) -> str:
        """espeak-ng's phonemes, those that Kokoro knows."""
        return self._tokenizer.known(self._tokenizer.phonemize(text, "en-us"))

    def speak(self, job: Job) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """The waveform (S,) at 24 kHz, and phonemes, durations (the pads at both ends with them) and Hz of it."""
        phonemes = self.phonemes(job.text)
        tokens = self._tokenizer.tokenize(phonemes)
        if not tokens:
            raise ValueError("no phonemes")
        style = self._voices[SPEAKERS[job.speaker]][len(tokens) - 1]
        given = {"tokens": [[0, *tokens, 0]], "style": style, "speed": np.ones(1, np.float32)}
        wave, frames, hz = (np.asarray(value).ravel() for value in self._session.run(None, given))
        facts = {"phonemes": phonemes, "frames": frames.astype(int).tolist(), "hz": np.round(hz, 1).tolist()}
        return wave, facts


def fill(speaker: Speaker, texts: Path, out: Path, hours: float, seed: int) -> float:
    """Speak what the folder does not hold, until it holds `hours`; returns the hours it holds."""
    (out / "audio").mkdir(parents=True, exist_ok=True)
    done = {row["name"]: row["seconds"] for row in spoken(out / INDEX)}
    held = sum(done.values())
    with (out / INDEX).open("ab") as lines:
        for job in jobs(texts, seed):
            if held >= hours * 3600:
                break
            if job.name in done:
                continue
            try:
                wave, facts = speaker.speak(job)
            except (ValueError, IndexError, RuntimeError) as fault:  # a text that Kokoro cannot say
                log.warning("left out %r: %s", job.text, fault)
                continue
            path = out / "audio" / f"{job.name}.flac"
            partial = path.with_suffix(".partial")
            soundfile.write(partial, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            partial.replace(path)
            row = {"name": job.name, "seconds": round(wave.size / SAMPLE_RATE, 3), **asdict(job), **facts}
            lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            lines.flush()
            done[job.name] = row["seconds"]
            held += row["seconds"]
            if len(done) % 50 == 0:
                log.info("%d clips, %.3f h", len(done), held / 3600)
    return held / 3600


def spell(speaker: Speaker, texts: Path, out: Path, number: int) -> None:
    """Write the phonemes of training sentences, spoken or not: what the speech head learns to spell by."""
    with atomic_file(out / SPELLINGS) as file:
        for text in sentences(texts, "en", "train")[:number]:
            row = {"text": text, "phonemes": speaker.phonemes(text)}
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speak sentences by two Kokoro voices into a folder.")
    parser.add_argument("--texts", type=Path, required=True, help="folder of texts: the kit's text/")
    parser.add_argument("--kokoro", type=Path, required=True, help=f"folder with {MODEL} and {VOICES}")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    parser.add_argument("--hours", type=float, default=4.0, help="speech to hold (4)")
    parser.add_argument("--spellings", type=int, default=20_000, help="sentences to spell (20000)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    speaker = Speaker(arguments.kokoro)
    if not (arguments.out / SPELLINGS).is_file():
        arguments.out.mkdir(parents=True, exist_ok=True)
        spell(speaker, arguments.texts, arguments.out, arguments.spellings)
    held = fill(speaker, arguments.texts, arguments.out, arguments.hours, arguments.seed)
    log.info("%s holds %.2f h", arguments.out, held)


if __name__ == "__main__":
    main()
