"""What Whisper reads: `python -m recipes.nano.transcribe --whisper W --kit DIR --kokoro DIR --out FILE`.

Clips of the kit with speech but without text get a transcript where two decodings agree (greedy, and a beam of five);
Kokoro's clips get the greedy one, which the builder holds against the text that was spoken. One line for each clip;
stopped or killed, the same command continues.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.corpus.transcript import transcript
from osum.errors import AudioError
from recipes.nano.recordings import FOREIGN, MAX_SECONDS, read_rows
from recipes.nano.speak import INDEX, spoken

BATCH = 16
BEAMS = 5
LANGUAGES = {"en": "english", "zh": "chinese"}

log = logging.getLogger("transcribe")


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to be read."""

    id: str
    path: Path
    language: str
    twice: bool
    """Whether two decodings must agree."""


def clips(kit: Path | None, kokoro: Path | None) -> Iterator[Clip]:
    """Everything that Whisper is asked to read, clips of one language and kind one after the other."""
    for manifest in sorted(kit.glob("real*/*/manifest.jsonl")) if kit else ():
        for row in read_rows(manifest):
            speech = row["language"] in LANGUAGES and row["source"] not in FOREIGN
            if speech and "text" not in row and row["duration_s"] <= MAX_SECONDS:
                yield Clip(row["id"], manifest.parent / row["audio"], row["language"], True)
    rows = spoken(kokoro / INDEX) if kokoro else []
    for language in LANGUAGES:
        for row in rows:
            if row["language"] == language:
                yield Clip(f"kokoro/{row['name']}", kokoro / "audio" / f"{row['name']}.ogg", language, False)


class Reader:
    """A Whisper of any size.

    Raises:
        SystemExit: the folder or name holds none.
    """

    def __init__(self, name: str) -> None:
        from transformers import AutoConfig, WhisperForConditionalGeneration, WhisperProcessor

        try:
            kind = AutoConfig.from_pretrained(name).model_type
        except (OSError, ValueError) as fault:
            reason = str(fault).strip().splitlines()[0]
            raise SystemExit(f"--whisper {name} holds no model ({reason}): give openai/whisper-base") from fault
        if kind != "whisper":
            raise SystemExit(f"--whisper {name} is a {kind} model: give openai/whisper-base")
        self._processor = WhisperProcessor.from_pretrained(name)
        self._model = WhisperForConditionalGeneration.from_pretrained(name, dtype=torch.bfloat16).eval()

    def read(self, batch: list[Clip]) -> list[str | None]:
        """The transcript of each; None where it cannot be read, or two decodings differ."""
        waves = [_wave(clip.path) for clip in batch]
        known = [wave for wave in waves if wave is not None]
        texts: list[str | None] = list(self.read_waves(known, batch[0].language))
        if known and batch[0].twice:
            others = self.read_waves(known, batch[0].language, BEAMS)
            texts = [
                one if transcript(one or "") == transcript(other) else None
                for one, other in zip(texts, others, strict=True)
            ]
        found = iter(texts)
        return [None if wave is None else next(found) for wave in waves]

    @torch.no_grad()
    def read_waves(self, waves: list[Any], language: str, beams: int = 1) -> list[str]:
        """The transcripts of waveforms (S,) at 16 kHz that are in one language."""
        if not waves:
            return []
        features = self._processor(waves, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        ids = self._model.generate(
            features.to(torch.bfloat16), language=LANGUAGES[language], task="transcribe", num_beams=beams,
            max_new_tokens=100,
        )  # fmt: skip
        return list(self._processor.batch_decode(ids, skip_special_tokens=True))


def _wave(path: Path) -> Any:
    try:
        return audio.load(path)
    except AudioError as fault:
        log.warning("left out: %s", fault)
        return None


def grouped(wanted: Iterable[Clip]) -> Iterator[list[Clip]]:
    """Batches of one language and kind."""
    batch: list[Clip] = []
    for clip in wanted:
        other = batch and (batch[0].language, batch[0].twice) != (clip.language, clip.twice)
        if other or len(batch) == BATCH:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def transcribe(reader: Reader, wanted: Iterable[Clip], out: Path) -> None:
    """Read what `out` has no line for."""
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {row["id"] for row in spoken(out)}
    with out.open("ab") as lines:
        for batch in grouped(clip for clip in wanted if clip.id not in done):
            for clip, text in zip(batch, reader.read(batch), strict=True):
                lines.write(json.dumps({"id": clip.id, "text": text}, ensure_ascii=False).encode() + b"\n")
            lines.flush()
            log.info("%s: %s", batch[-1].id, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Transcribe clips without text, and Kokoro's, by Whisper.")
    parser.add_argument("--whisper", required=True, help="folder or hub name: openai/whisper-base")
    parser.add_argument("--kit", type=Path, help="folder with real/, perhaps real2/")
    parser.add_argument("--kokoro", type=Path, help="cache that recipes.nano.speak filled")
    parser.add_argument("--out", type=Path, required=True, help="file to write, or to continue")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        transcribe(Reader(arguments.whisper), clips(arguments.kit, arguments.kokoro), arguments.out)
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
        raise SystemExit(f"{arguments.out}: the disk is full; free some space and run the same command") from fault


if __name__ == "__main__":
    main()
