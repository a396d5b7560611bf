"""Processor seconds of speech out, to the first sound and by stage, and a picture of a joint.

    python benchmarks/speech.py [--codes 30] [--prompt 3] [--threads 1] [--png joint.png]

Networks of the released sizes with random weights: the time is that of the release, the sound is none. Each figure is
one run, after one that warms up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from osum.speech import CosyVoice, CosyVoiceConfig, StreamFm, StreamFmConfig, Voice
from osum.speech.noise import Noise
from osum.speech.vocoder import fold_weight_norms
from osum.speech.vocoder_stream import VocoderStream

T = TypeVar("T")
PIECE = 41  # mel frames of a piece in the picture, 0.48 s


def timed(act: Callable[[], T]) -> tuple[T, float]:
    """What `act` gives, and its processor seconds, which other work on the machine changes little."""
    start = time.process_time()
    result = act()
    return result, time.process_time() - start


def cosyvoice(prompt: float) -> tuple[CosyVoice, Voice]:
    """Flow and vocoder of CosyVoice, and a voice with a prompt of so many seconds."""
    model = CosyVoice(CosyVoiceConfig()).eval()
    fold_weight_norms(model)
    codes = torch.randint(0, model.num_codes, (round(25 * prompt),))
    return model, Voice(model.name, codes, torch.randn(80, model.flow.num_frames(len(codes))), torch.randn(192))


def streamfm() -> tuple[StreamFm, Voice]:
    """DiT and HiFi-GAN of the real-time baseline, and a voice."""
    model = StreamFm(StreamFmConfig()).eval()
    fold_weight_norms(model)
    return model, Voice(model.name, torch.zeros(0, dtype=torch.long), torch.randn(80, 300), torch.randn(192))


@torch.inference_mode()
def stages(model: CosyVoice, voice: Voice, codes: list[int]) -> list[tuple[str, float]]:
    """Seconds of each stage over all codes at once."""
    num_frames = model.flow.num_frames(len(codes))
    prompt, noise = voice.mel.shape[1], torch.randn(1, 80, voice.mel.shape[1] + num_frames)
    given = torch.tensor([codes])
    mu, encoder = timed(lambda: model.flow.condition(given, voice.codes[None], prompt))
    speaker = model.flow.speaker(voice.embedding[None])
    mel, solver = timed(lambda: model.flow.decoder(noise, mu, speaker, torch.zeros_like(mu))[..., prompt:])
    hiss = torch.randn(1, 9, num_frames * model.config.mel.hop_length)
    _, vocoder = timed(lambda: model.wave_of(mel, torch.zeros(1, 9), hiss))
    return [("encoder and regulator", encoder), ("flow, 10 steps", solver), ("vocoder", vocoder)]


def pieces(model: CosyVoice | StreamFm, voice: Voice, codes: list[int]) -> list[float]:
    """The seconds of each piece of the waveform once its codes were there."""
    state, took = model.start(voice), []
    for code in codes:
        (state, wave), seconds = timed(lambda state=state, code=code: model.feed(state, [code]))
        took += [seconds] if len(wave) else []
    return [*took, timed(lambda: model.feed(state, (), last=True))[1]]


@torch.inference_mode()
def draw(model: CosyVoice, path: Path) -> None:
    """How far the vocoder in pieces is from the vocoder of the whole mel: its stream, and each piece by itself."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    hop, mel = model.config.mel.hop_length, torch.randn(1, 80, 4 * PIECE).cumsum(-1) / 8 - 4
    phases, noise = torch.zeros(1, 9), Noise(0, 1, 9)
    whole = model.wave_of(mel, phases, noise(0, mel.shape[-1] * hop))
    stream = VocoderStream(model.vocoder)
    state, waves, alone = stream.start(80, mel.device), [], []
    for place, part in enumerate(mel.split(PIECE, dim=-1)):
        state, wave = stream.feed(state, part, phases, noise, last=place == 3)
        waves.append(wave)
        alone.append(model.wave_of(part, phases, noise(place * PIECE * hop, (place + 1) * PIECE * hop)))
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    seconds = torch.arange(whole.shape[1]) / model.sampling_rate
    for made, label in ((alone, "each piece by itself"), (waves, "in pieces")):
        error = (torch.cat(made, dim=1) - whole)[0].abs().clamp(min=1e-9)
        axes.semilogy(seconds, error, linewidth=0.5, label=label)
    for joint in range(1, 4):
        axes.axvline(joint * PIECE * hop / model.sampling_rate, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="seconds; dashes: joints", ylabel="distance from the whole")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=30, help="speech codes, 25 a second")
    parser.add_argument("--prompt", type=float, default=3.0, help="seconds of the voice's recording")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--png", type=Path, help="only draw the vocoder's joints there")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if options.png:
        draw(cosyvoice(0)[0], options.png)
        return
    codes = torch.randint(0, 4096, (options.codes,)).tolist()
    length = options.codes / 25
    print(f"{length:.1f} s of speech, a prompt of {options.prompt:g} s, torch {torch.__version__}\n")
    print("| model | stage | processor seconds | times the length |\n|---|---|---:|---:|")
    model, voice = cosyvoice(options.prompt)
    stages(model, voice, codes[:2])
    for stage, seconds in stages(model, voice, codes):
        print(f"| CosyVoice | {stage} | {seconds:.2f} | {seconds / length:.2f} |")
    for name, (speaking, spoken) in (("CosyVoice", (model, voice)), ("real-time baseline", streamfm())):
        seconds = pieces(speaking, spoken, codes)
        print(f"| {name} | first sound, after 18 codes | {seconds[0]:.2f} | |")
        print(f"| {name} | in pieces, all | {sum(seconds):.2f} | {sum(seconds) / length:.2f} |")


if __name__ == "__main__":
    main()
