"""Measure a small voice on sentences never trained on: `python -m recipes.voice.evaluate --help`.

Whisper base reads five kinds of sound back, of the same sentences: Kokoro's own, Griffin-Lim on its mel, the vocoder on
its mel and F0, the voice on its codes, and the voice on codes that the speech head reads from the text. WER over all
words; DNSMOS where its file is given; first sound and real-time factor of codes to speech on this machine. A JSON
object on standard output.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from osum.scoring.metrics import wer
from osum.speech.checkpoint import load_reader, load_synthesizer, weights_file
from osum.speech.features import log_magnitude_mel, slaney_filters
from osum.speech.small_voice import MEL, SmallVoice
from osum.speech.synthesizer import stream
from osum.speech.voice import Voice, load_voice
from recipes.voice.corpus import Clip, read_clips
from recipes.voice.speak import SPEAKERS

Speak = Callable[[Clip], Tensor]


def griffin_lim(mel: Tensor, rounds: int = 32) -> Tensor:
    """A log-mel (M, F) to a waveform (S,), its phases found in rounds: the plainest vocoder, without any learning."""
    filters = slaney_filters(MEL.sampling_rate, MEL.fft_size, MEL.num_bins, MEL.max_frequency)
    magnitude = (torch.linalg.pinv(filters) @ mel.exp()).clamp(min=0)
    window = torch.hann_window(MEL.window)
    shape = {"n_fft": MEL.fft_size, "hop_length": MEL.hop_length, "win_length": MEL.window, "window": window}
    angles = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    for _ in range(rounds):
        wave = torch.istft(torch.polar(magnitude, angles), **shape)
        angles = torch.stft(wave, **shape, return_complex=True, pad_mode="constant").angle()[:, : magnitude.shape[1]]
    return torch.istft(torch.polar(magnitude, angles), **shape)


class Whisper:
    """Whisper base, greedy."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self._processor = WhisperProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> str:
        """The words of a waveform (S,) at 16 kHz."""
        features = self._processor(wave.numpy(), sampling_rate=MEL.sampling_rate, return_tensors="pt").input_features
        ids = self._model.generate(features, language="en", task="transcribe", max_new_tokens=100)
        return self._processor.batch_decode(ids, skip_special_tokens=True)[0].strip()


def kinds_of(speech: SmallVoice, voices: Sequence[Voice], folder: Path) -> Mapping[str, Speak]:
    """What is measured."""
    found: dict[str, Speak] = {
        "kokoro": lambda clip: clip.samples,
        "griffin-lim": lambda clip: griffin_lim(log_magnitude_mel(clip.samples[None], MEL)[0]),
        "vocoder": lambda clip: vocoded(speech, clip),
        "codes": lambda clip: speech.synthesize(clip.codes.tolist(), voices[clip.speaker]),
    }
    if (folder / weights_file("reader")).is_file():
        reader = load_reader(folder)
        found["text"] = lambda clip: speech.synthesize(
            reader.codes_of(clip.text, voices[clip.speaker].embedding), voices[clip.speaker]
        )
    return found


@torch.inference_mode()
def vocoded(speech: SmallVoice, clip: Clip) -> Tensor:
    """A clip's own mel and F0 through the vocoder: what no decoder can be better than."""
    mel, noise = log_magnitude_mel(clip.samples[None], MEL), speech.noise(0)(0, len(clip.wave))[0]
    return speech.vocoder(mel, clip.hz[None], noise)[0]


def quality(path: Path) -> Callable[[Tensor], float]:
    """DNSMOS (overall) of a waveform, repeated to 9.01 s as its authors do."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    size, name = 144_160, session.get_inputs()[0].name
    return lambda wave: float(session.run(None, {name: np.resize(wave.numpy(), size)[None]})[0][0, 2])


def speed(speech: SmallVoice, voice: Voice, codes: Sequence[int]) -> dict[str, float]:
    """Seconds to the first sound of 18 codes, and the real-time factor of codes that come six at a time."""
    firsts, factors = [], []
    for _ in range(3):
        began = time.perf_counter()
        speech.feed(speech.start(voice), codes[:18])
        firsts.append(time.perf_counter() - began)
        began = time.perf_counter()
        waves = list(stream(speech, (codes[at : at + 6] for at in range(0, len(codes), 6)), voice))
        factors.append((time.perf_counter() - began) / (sum(map(len, waves)) / speech.sampling_rate))
    return {"first_sound_s": round(median(firsts), 3), "real_time_factor": round(median(factors), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a small voice.")
    parser.add_argument("--voice", type=Path, required=True, help="folder of recipes.voice.pack")
    parser.add_argument("--data", type=Path, required=True, help="folder of recipes.voice.speak")
    parser.add_argument("--whisper", type=Path, required=True, help="folder of openai/whisper-base")
    parser.add_argument("--dnsmos", type=Path, help="sig_bak_ovr.onnx")
    parser.add_argument("--split", choices=("valid", "test"), default="valid", help="test once, for the final figures")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--kinds", nargs="*", help="kokoro griffin-lim vocoder codes text (all that there are)")
    parser.add_argument("--out", type=Path, help="folder for the sounds")
    arguments = parser.parse_args()
    speech = load_synthesizer(arguments.voice)
    assert isinstance(speech, SmallVoice), "a folder of recipes.voice.pack"
    voices = [load_voice(arguments.voice / f"{name}.safetensors") for name in SPEAKERS]
    clips = read_clips(arguments.data, arguments.split, with_codes=True)[: arguments.clips]
    whisper, rate = Whisper(arguments.whisper), quality(arguments.dnsmos) if arguments.dnsmos else None
    report: dict[str, Any] = {"clips": len(clips), "split": arguments.split}
    for kind, speak in kinds_of(speech, voices, arguments.voice).items():
        if arguments.kinds and kind not in arguments.kinds:
            continue
        pairs, scores = [], []
        for clip in clips:
            wave = speak(clip)
            pairs.append((clip.text, whisper(wave)))
            scores += [rate(wave)] if rate else []
            if arguments.out:
                import soundfile

                arguments.out.mkdir(parents=True, exist_ok=True)
                soundfile.write(arguments.out / f"{clip.name}-{kind}.wav", wave.numpy(), MEL.sampling_rate)
        report[kind] = {"wer": round(100 * wer(*zip(*pairs, strict=True)).value, 1)}
        report[kind] |= {"dnsmos": round(fmean(scores), 2)} if scores else {}
    report["speed"] = speed(speech, voices[0], clips[0].codes.tolist())
    print(json.dumps(report))


if __name__ == "__main__":
    main()
