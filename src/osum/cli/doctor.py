"""`osum doctor`: what this machine has, and the line that installs what it lacks."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from osum.cli.arguments import Subparsers

CORE = (
    "numpy",
    "torch",
    "transformers",
    "safetensors",
    "soundfile",
    "soxr",
    "tqdm",
    "pyyaml",
    "jinja2",
    "msgspec",
    "rich",
)
OPTIONAL = {
    "accelerate": ("train", "training"),
    "peft": ("train", "LoRA, and checkpoints with an adapter"),
    "pypinyin": ("speak", "the sounds of Chinese characters, to train on and to speak"),
    "bitsandbytes": ("qlora", "training on a language model in 4 bit"),
    "jiwer": ("eval", "error rates"),
    "rapidfuzz": ("eval", "error rates"),
    "sacrebleu": ("eval", "translations"),
    "wetext": ("eval", "Chinese numbers and characters in error rates"),
    "scikit-learn": ("eval", "classical baselines"),
    "openai": ("eval", "osum judge, and models behind an endpoint"),
    "pocketsphinx": ("peers", "English words and times to compare with"),
    "funasr": ("funasr", "SenseVoice and emotion2vec to compare with"),
    "kaldi-native-fbank": ("funasr", "SenseVoice and emotion2vec to compare with"),
    "av": ("media", "m4a, mp4 and webm"),
    "silero-vad": ("vad", "pauses of long recordings"),
    "onnxruntime": ("vad", "pauses of long recordings"),
    "pyarrow": ("parquet", "Parquet files"),
    "onnx": ("convert", "the originals' ONNX files"),
    "fastapi": ("serve", "osum serve"),
    "uvicorn": ("serve", "osum serve"),
    "websockets": ("serve", "live talk by osum serve"),
    "python-multipart": ("serve", "files sent to osum serve"),
    "prometheus-client": ("serve", "figures of osum serve"),
    "aiortc": ("webrtc", "live talk over WebRTC"),
    "matplotlib": ("plot", "figures"),
    "mkdocs-material": ("docs", "these docs as a site"),
    "kokoro-onnx": ("speak", "voices of a pipeline"),
    "misaki": ("speak", "the sounds of Chinese texts for these voices"),
    "ray": ("ray", "a pipeline on many machines"),
    "tensorboard": ("track", "runs on TensorBoard"),
    "trackio": ("track", "runs on Trackio"),
}
"""Package to its extra and what it is for; pyproject.toml says the same, and a test compares."""
SYSTEM = {"espeak-ng": ("apt install espeak-ng", "synthetic speech of recipes.nano.build")}


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    value: str
    remedy: str | None = None
    """The line that installs it, where it is missing."""
    needed: bool = False

    def __str__(self) -> str:
        mark = " " if self.remedy is None else "!" if self.needed else "-"
        return f"{mark} {self.name:14} {self.value}" + (f"  ->  {self.remedy}" if self.remedy else "")


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="what is installed and what is missing", description=run.__doc__)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Show versions, devices and threads, and for everything missing the line that installs it. Exit code 1 when
    osum itself cannot run."""
    del arguments
    findings = list(examine())
    for finding in findings:
        print(finding)
    return 1 if any(finding.needed and finding.remedy for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Look at everything."""
    from osum import __version__

    yield Finding("osum", __version__)
    yield Finding("python", f"{sys.version.split()[0]}, {sys.platform}")
    for package in CORE:
        yield _core(package)
    yield from _devices()
    yield _packaged_model()
    for package, (extra, purpose) in OPTIONAL.items():
        yield _optional(package, extra, purpose)
    for program, (remedy, purpose) in SYSTEM.items():
        found = shutil.which(program)
        yield Finding(program, found) if found else Finding(program, f"missing; for {purpose}", remedy)


def _core(package: str) -> Finding:
    found = _version(package)
    if found is None:
        return Finding(package, "missing", f"pip install '{package}'", needed=True)
    return Finding(package, found)


def _optional(package: str, extra: str, purpose: str) -> Finding:
    found = _version(package)
    if found is None:
        return Finding(package, f"missing; for {purpose}", f"pip install 'osum[{extra}]'")
    return Finding(package, found)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as fault:  # a broken build fails to load its libraries
        yield Finding("devices", f"torch does not load ({fault})", "pip install --force-reinstall torch", needed=True)
        return
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    ascend = getattr(torch, "npu", None)  # there once torch_npu is imported
    npu = ["npu"] if ascend is not None and ascend.is_available() else []
    yield Finding("devices", ", ".join(("cpu", *cuda, *mps, *npu)))
    yield Finding("threads", f"{torch.get_num_threads()} of torch, {os.cpu_count()} processors")
    yield Finding("cpu", torch.backends.cpu.get_cpu_capability())


def _packaged_model() -> Finding:
    import osum

    folder = Path(osum.__file__).parent / "assets" / "nano"
    weights = list(folder.glob("*.safetensors"))
    if not weights:
        return Finding("nano", "missing from this install", "pip install --force-reinstall osum", needed=True)
    return Finding("nano", f"{sum(path.stat().st_size for path in weights) / 1e6:.1f} MB, {folder}")
