"""Train one part of the small voice: `python -m recipes.voice.train recipes/voice/vocoder.yaml data=DIR out=DIR`.

A killed run continues at its last save; more clips or steps may be added in between. What is kept are the running
means of the weights, so there is no schedule that would have to know when the run ends.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from osum.files import atomic_file
from osum.model.encoder import length_mask
from osum.speech.features import log_magnitude_mel
from osum.speech.mel_decoder import MEL_SCALE, MelDecoder, MelDecoderConfig
from osum.speech.reader import Reader, ReaderConfig
from osum.speech.small_voice import MEL
from osum.speech.source_filter import SourceFilter, SourceFilterConfig
from recipes.voice.corpus import FRAMES_PER_CODE, Clip, read_clips, read_lines
from recipes.voice.speak import SPEAKERS, SPELLINGS

FFT_SIZES = (256, 512, 1024)
FLOOR = 1e-2
"""Of a magnitude before its logarithm: 70 dB below loud speech."""

log = logging.getLogger("voice")


@dataclass(frozen=True)
class Recipe:
    """The values of a YAML file."""

    part: str
    """`decoder`, `vocoder` or `reader`."""
    data: Path
    out: Path
    decoder: MelDecoderConfig = field(default_factory=MelDecoderConfig)
    vocoder: SourceFilterConfig = field(default_factory=SourceFilterConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    decoded: Path | None = None
    """Weights of a decoder whose mels the vocoder reads in half of the batches."""
    steps: int = 20_000
    batch_seconds: float = 40.0
    learning_rate: float = 5e-4
    warmup_steps: int = 100
    mean: float = 0.999
    """Share of the running mean that a step keeps."""
    save_every: int = 200
    seed: int = 1


def spectra(wave: Tensor) -> list[Tensor]:
    """Magnitudes of (B, S) at several resolutions."""
    found = []
    for size in FFT_SIZES:
        window = torch.hann_window(size, device=wave.device)
        spectrum = torch.stft(wave, size, size // 4, window=window, return_complex=True, pad_mode="constant")
        found.append((torch.view_as_real(spectrum).square().sum(-1) + 1e-7).sqrt())
    return found


def spectral_loss(made: Tensor, real: Tensor) -> Tensor:
    """Relative error and difference of logarithms of the magnitudes, mean over resolutions (arXiv 1910.11480)."""
    losses = []
    for mine, theirs in zip(spectra(made), spectra(real), strict=True):
        relative = torch.linalg.vector_norm(mine - theirs) / torch.linalg.vector_norm(theirs).clamp(min=1e-3)
        logs = functional.l1_loss(mine.clamp(min=FLOOR).log(), theirs.clamp(min=FLOOR).log())
        losses.append(relative + logs)
    return torch.stack(losses).mean()


class VocoderTask:
    """Pieces of clips: true mel and F0 to the waveform; or a decoder's mel, so that it learns to live with its blur."""

    piece = 128  # frames

    def __init__(self, recipe: Recipe) -> None:
        self.model: nn.Module = SourceFilter(recipe.vocoder, MEL)
        self.with_codes = recipe.decoded is not None
        self.decoder: MelDecoder | None = None
        if recipe.decoded is not None:
            self.decoder = MelDecoder(recipe.decoder, MEL).eval().requires_grad_(False)
            self.decoder.load_state_dict(load_file(recipe.decoded))

    def loss(self, clips: Sequence[Clip], rng: random.Random, seconds: float) -> dict[str, Tensor]:
        """Of one batch."""
        number = max(1, round(seconds * 100 / self.piece))
        chosen = [rng.choice(clips) for _ in range(number)]
        decoded = self.decoder is not None and rng.random() < 0.5
        mels, hz, waves = zip(*(self._piece(clip, rng, decoded) for clip in chosen), strict=True)
        wave = torch.stack(waves)
        turns = torch.tensor([rng.random() for _ in chosen], dtype=torch.float64)
        made = self.model(torch.stack(mels), torch.stack(hz), torch.randn_like(wave), turns)
        edge = 4 * MEL.hop_length  # the layers see nothing before the piece
        return {"loss": spectral_loss(made[:, edge:], wave[:, edge:])}

    def _piece(self, clip: Clip, rng: random.Random, decoded: bool) -> tuple[Tensor, Tensor, Tensor]:
        hop = MEL.hop_length
        frames = len(clip.hz)
        start = rng.randrange(max(1, frames - self.piece + 1))
        near = max(0, start - 4)
        wave = functional.pad(clip.samples, (0, max(0, self.piece - frames) * hop))
        if decoded and self.decoder is not None:
            speaker = functional.one_hot(torch.tensor([clip.speaker]), len(SPEAKERS)).float()
            mel = self.decoder(clip.codes[None], speaker)[0][0]
            mel = functional.pad(mel, (0, max(0, self.piece - mel.shape[1])), value=-11.0)[
                :, start : start + self.piece
            ]
        else:
            context = functional.pad(wave[near * hop : (start + self.piece + 4) * hop], (0, 4 * hop))
            mel = log_magnitude_mel(context[None], MEL)[0, :, start - near : start - near + self.piece]
        hz = functional.pad(clip.hz, (0, max(0, self.piece - frames)), value=150.0)
        return mel, hz[start : start + self.piece], wave[start * hop : (start + self.piece) * hop]


class DecoderTask:
    """Whole clips: codes and speaker to mel and F0."""

    with_codes = True

    def __init__(self, recipe: Recipe) -> None:
        self.model: nn.Module = MelDecoder(recipe.decoder, MEL)

    def loss(self, clips: Sequence[Clip], rng: random.Random, seconds: float) -> dict[str, Tensor]:
        """Of one batch."""
        chosen: list[Clip] = []
        while sum(len(clip.hz) for clip in chosen) < seconds * 100:
            chosen.append(rng.choice(clips))
        mels = [log_magnitude_mel(clip.samples[None], MEL)[0].T for clip in chosen]
        mel = nn.utils.rnn.pad_sequence(mels, batch_first=True, padding_value=-11.0).transpose(1, 2)
        hz, voiced = (
            nn.utils.rnn.pad_sequence([getattr(clip, name) for clip in chosen], batch_first=True, padding_value=value)
            for name, value in (("hz", 150.0), ("voiced", 0.0))
        )
        nothing = float(self.model.config.num_codes)
        codes = nn.utils.rnn.pad_sequence([clip.codes for clip in chosen], True, nothing)
        speaker = functional.one_hot(torch.tensor([clip.speaker for clip in chosen]), len(SPEAKERS)).float()
        made, pitch = self.model(codes, speaker)
        lengths = torch.tensor([len(clip.hz) + 2 * FRAMES_PER_CODE for clip in chosen])
        mask = length_mask(lengths, mel.shape[2]).float()
        error = (((made - mel) / MEL_SCALE).abs().mean(1) * mask).sum() / mask.sum()
        octaves = ((pitch.log2() - hz.log2()).abs() * voiced).sum() / voiced.sum()
        return {"loss": error + 0.5 * octaves, "mel": error.detach(), "octaves": octaves.detach()}


class ReaderTask:
    """The speech head: texts to phonemes (CTC), phonemes to durations, both to codes."""

    with_codes = True
    texts = 24  # of a batch of spellings

    def __init__(self, recipe: Recipe) -> None:
        self.model: nn.Module = Reader(recipe.reader)
        self.alphabet = {sign: number for number, sign in enumerate(recipe.reader.phonemes, 1)}
        self.spellings = [(row["text"], row["phonemes"]) for row in read_lines(recipe.data / SPELLINGS)]

    def loss(self, clips: Sequence[Clip], rng: random.Random, seconds: float) -> dict[str, Tensor]:
        """Of one batch: the three tasks learn side by side, each from its own true input."""
        chosen: list[Clip] = []
        while sum(len(clip.hz) for clip in chosen) < seconds * 100:
            chosen.append(rng.choice(clips))
        pairs = [(clip.text, clip.row["phonemes"]) for clip in chosen]
        pairs += [rng.choice(self.spellings) for _ in range(self.texts if self.spellings else 0)]
        spelling = self._spelling(pairs)
        timing, saying = self._speaking(chosen)
        total = spelling + timing + saying
        return {"loss": total, "spelling": spelling.detach(), "timing": timing.detach(), "saying": saying.detach()}

    def _spelling(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        letters = [torch.tensor(self.model.letters_of(text)) for text, _ in pairs]
        wanted = [torch.tensor([self.alphabet[sign] for sign in signs if sign in self.alphabet]) for _, signs in pairs]
        logits = self.model.spell(nn.utils.rnn.pad_sequence(letters, batch_first=True))
        lengths = torch.tensor([len(row) * self.model.config.places for row in letters])
        sizes = torch.tensor([len(row) for row in wanted])
        logs = logits.log_softmax(2).transpose(0, 1)
        return functional.ctc_loss(logs, torch.cat(wanted), lengths, sizes, zero_infinity=True)

    def _speaking(self, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
        lines = [self._line(clip) for clip in clips]
        phonemes, frames = (
            nn.utils.rnn.pad_sequence([torch.tensor(line[place]) for line in lines], batch_first=True)
            for place in range(2)
        )
        speaker = functional.one_hot(torch.tensor([clip.speaker for clip in clips]), len(SPEAKERS)).float()
        known, logarithms = self.model.time(phonemes, speaker)
        real = (frames > 0).float()
        timing = ((logarithms - frames.clamp(min=1).log()).abs() * real).sum() / real.sum()
        codes = nn.utils.rnn.pad_sequence([clip.codes for clip in clips], True, -1)
        logits = self.model.say(known, frames.float(), codes.shape[1])
        return timing, functional.cross_entropy(logits.transpose(1, 2), codes, ignore_index=-1, label_smoothing=0.05)

    def _line(self, clip: Clip) -> tuple[list[int], list[int]]:
        """Phonemes and frames of a clip; the frames of a sign that the alphabet lacks go to the one before it."""
        signs, frames = [0], [clip.row["frames"][0]]
        for sign, length in zip(clip.row["phonemes"], clip.row["frames"][1:-1], strict=True):
            if sign in self.alphabet:
                signs.append(self.alphabet[sign])
                frames.append(length)
            else:
                frames[-1] += length
        return [*signs, 0], [*frames, clip.row["frames"][-1]]


PARTS = ("decoder", "vocoder", "reader")
TASKS = {"vocoder": VocoderTask, "decoder": DecoderTask, "reader": ReaderTask}


def train(recipe: Recipe) -> None:
    """Train until `steps`; validation at every save."""
    torch.manual_seed(recipe.seed)
    task = TASKS[recipe.part](recipe)
    clips, valid = (read_clips(recipe.data, split, task.with_codes) for split in ("train", "valid"))
    log.info("%s: %d clips, %.2f h", recipe.part, len(clips), sum(len(clip.hz) for clip in clips) / 360_000)
    optimizer = torch.optim.AdamW(
        task.model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    mean = {name: value.clone() for name, value in task.model.state_dict().items()}
    recipe.out.mkdir(parents=True, exist_ok=True)
    saved, step = recipe.out / f"{recipe.part}.pt", 0
    if saved.is_file():
        held = torch.load(saved, weights_only=True)
        task.model.load_state_dict(held["model"])
        optimizer.load_state_dict(held["optimizer"])
        mean, step = held["mean"], held["step"]
    began, losses = time.process_time(), []
    while step < recipe.steps:
        rng = random.Random(f"{recipe.seed}/{step}")
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1, (step + 1) / recipe.warmup_steps)
        found = task.loss(clips, rng, recipe.batch_seconds)
        optimizer.zero_grad()
        found["loss"].backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimizer.step()
        step += 1
        keep = min(recipe.mean, step / (step + 10))
        for name, value in task.model.state_dict().items():
            mean[name].lerp_(value, 1 - keep) if value.is_floating_point() else mean[name].copy_(value)
        losses.append({name: float(value.detach()) for name, value in found.items()})
        if step % recipe.save_every == 0 or step == recipe.steps:
            state = {"model": task.model.state_dict(), "optimizer": optimizer.state_dict(), "mean": mean, "step": step}
            with atomic_file(saved) as file:
                torch.save(state, file)
            with atomic_file(recipe.out / f"{recipe.part}.safetensors") as file:
                file.write(_bytes(mean))
            report = {"step": step, "cpu": round(time.process_time() - began), **_mean(losses)}
            report |= {f"valid_{name}": value for name, value in validate(task, mean, valid).items()}
            with (recipe.out / f"{recipe.part}.jsonl").open("a") as lines:
                lines.write(json.dumps(report) + "\n")
            log.info("%s", report)
            losses = []


@torch.no_grad()
def validate(task: Any, mean: dict[str, Tensor], clips: Sequence[Clip]) -> dict[str, float]:
    """The losses of the mean weights on clips never trained on."""
    if not clips:
        return {}
    own = {name: value.clone() for name, value in task.model.state_dict().items()}
    task.model.load_state_dict(mean)
    torch.manual_seed(0)
    found = task.loss(clips, random.Random(0), 60.0)
    task.model.load_state_dict(own)
    return {name: round(float(value), 4) for name, value in found.items()}


def _mean(losses: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(one[name] for one in losses) / len(losses), 4) for name in losses[0]}


def _bytes(state: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save({name: value.contiguous() for name, value in state.items()})


def read_recipe(path: Path, changes: Sequence[str]) -> Recipe:
    """A YAML file and `key=value` changes."""
    row = yaml.safe_load(path.read_text(encoding="utf-8"))
    row |= {key: yaml.safe_load(value) for key, value in (change.split("=", 1) for change in changes)}
    row |= {key: Path(row[key]) for key in ("data", "out", "decoded") if row.get(key)}
    sizes = {"decoder": MelDecoderConfig, "vocoder": SourceFilterConfig, "reader": ReaderConfig}
    for key, kind in sizes.items():
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in row.get(key, {}).items()}
        row[key] = kind(**given)
    return Recipe(**row)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    train(read_recipe(Path(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()
