"""`osum codes`: recordings to speech codes, and speech codes to sound."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from osum.cli.arguments import Subparsers


def register(commands: Subparsers) -> None:
    """Add the command and its two ways."""
    parser = commands.add_parser("codes", help="speech codes of sound, and sound of speech codes", description=__doc__)
    ways = parser.add_subparsers(title="ways", metavar="WAY", required=True)
    encode = ways.add_parser("encode", help="recordings to codes", description=run_encode.__doc__)
    encode.add_argument("paths", nargs="+", metavar="CLIP", help="audio files, folders, globs")
    encode.add_argument("-o", "--output", metavar="FILE", help="JSON lines; standard output without it")
    encode.set_defaults(run=run_encode)
    decode = ways.add_parser("decode", help="codes to sound", description=run_decode.__doc__)
    decode.add_argument("codes", metavar="CODES", help="file with one row of encode, or numbers; - for stdin")
    decode.add_argument("-o", "--output", metavar="FILE", required=True, help="wav file")
    decode.add_argument("--voice", metavar="FILE", required=True, help="a voice of the same model, by osum voice make")
    decode.add_argument("--speed", type=float, default=1.0, help="2 takes half the time (default 1)")
    decode.add_argument("--seed", type=int, default=0, help="equal seeds give equal sound (default 0)")
    decode.set_defaults(run=run_decode)
    for way in (encode, decode):
        add_speech_model(way)


def add_speech_model(parser: argparse.ArgumentParser) -> None:
    """Which speech model, and where it runs."""
    parser.add_argument("--model", metavar="DIR", required=True, help="speech model, by osum convert COSYVOICE DIR")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default cpu)")


def run_encode(arguments: Namespace) -> int:
    """Write the speech codes of recordings, one JSON row each: path, codes a second, codes."""
    from contextlib import nullcontext

    from osum.audio import find_audio
    from osum.errors import InputError
    from osum.files import atomic_file
    from osum.speech.checkpoint import load_voice_encoder
    from osum.speech.voice_encoder import VoiceEncoder

    clips = find_audio(arguments.paths)
    encoder = load_voice_encoder(arguments.model, arguments.device)
    if not isinstance(encoder, VoiceEncoder):
        raise InputError(f"{encoder.config.name} has no tokenizer: its codes are CosyVoice's, take that folder")
    with atomic_file(arguments.output) if arguments.output else nullcontext() as file:
        for clip in clips:
            row = {"path": str(clip), "rate": encoder.config.flow.code_rate, "codes": encoder.codes(clip)}
            line = json.dumps(row, ensure_ascii=False)
            if file is None:
                print(line)
            else:
                file.write(f"{line}\n".encode())
    return 0


def run_decode(arguments: Namespace) -> int:
    """Speak codes in a voice, to a wav file."""
    from osum.errors import UsageError
    from osum.speech.checkpoint import load_synthesizer
    from osum.speech.cosyvoice import CosyVoice
    from osum.speech.voice import load_voice

    if not 0.25 <= arguments.speed <= 4:
        raise UsageError(f"--speed {arguments.speed:g}: 0.25 to 4 is needed")
    codes, voice = _codes(arguments.codes), load_voice(arguments.voice)
    model = load_synthesizer(arguments.model, arguments.device)
    if isinstance(model, CosyVoice):
        wave = model.synthesize(codes, voice, seed=arguments.seed, speed=arguments.speed)
    elif arguments.speed == 1:
        wave = model.synthesize(codes, voice, seed=arguments.seed)
    else:
        raise UsageError(f"--speed {arguments.speed:g}: {model.name} speaks at its own speed alone; leave it out")
    write_wav(arguments.output, wave.cpu().numpy(), model.sampling_rate)
    return 0


def write_wav(path: str, samples: Any, rate: int) -> None:
    """Samples (S,) as a wav file of 16 bit, whole or not at all."""
    from osum.corpus.sound_file import wav
    from osum.files import atomic_file

    with atomic_file(path) as file:
        file.write(wav(samples, rate))


def _codes(name: str) -> list[int]:
    """The codes of a file: one JSON row with `codes`, a JSON list, or numbers."""
    from osum.cli.inputs import STDIN, read_stdin
    from osum.errors import InputError

    try:
        text = (read_stdin() if name == STDIN else Path(name).read_bytes()).decode("utf-8").strip()
        if text.startswith(("{", "[")):
            row = json.loads(text)
            codes = row["codes"] if isinstance(row, dict) else row
        else:
            codes = [int(word) for word in text.split()]
        if not isinstance(codes, list) or not all(type(code) is int for code in codes):
            raise ValueError(f"codes are {str(codes)[:40]!r}")
    except (OSError, ValueError, KeyError) as fault:
        raise InputError(
            f"{name}: holds no speech codes ({fault}); give one row of osum codes encode, or numbers"
        ) from fault
    return codes
