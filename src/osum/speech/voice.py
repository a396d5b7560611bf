"""A voice is a file: what the flow needs of a few seconds of somebody's speech, with licence and consent.

Made by `voice_encoder`, read by every `Token2Wav`. Shapes: N codes, M mel bins, F mel frames, E speaker vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from osum.errors import CheckpointError
from osum.files import atomic_file

FORMAT = "osum-voice-1"
TENSORS = ("codes", "mel", "embedding")


@dataclass(frozen=True)
class Voice:
    """A prompt, as the model named in it reads it."""

    model: str
    """Name of the speech model that it was made by and is for."""
    codes: Tensor
    """(N,) int64 speech codes of the prompt; none for a model that reads no prompt codes."""
    mel: Tensor
    """(M, F) of the prompt."""
    embedding: Tensor
    """(E,) of the speaker."""
    licence: str = ""
    """Of the recording."""
    consent: str = ""
    """Who agreed to what: the speaker's word that their voice may be used."""

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all. Synthetic speech is not watermarked, and the file says so.

        Raises:
            OSError: the place cannot be written.
        """
        notes = {"format": FORMAT, "model": self.model, "licence": self.licence, "consent": self.consent}
        tensors = {name: getattr(self, name).contiguous().cpu() for name in TENSORS}
        with atomic_file(path) as file:
            file.write(save(tensors, {**notes, "watermark": "off"}))

    def to(self, device: torch.device) -> Voice:
        """On another device."""
        tensors = {name: getattr(self, name).to(device) for name in TENSORS}
        return Voice(self.model, **tensors, licence=self.licence, consent=self.consent)


def load_voice(path: str | Path) -> Voice:
    """Read what `Voice.save` wrote.

    Raises:
        CheckpointError: no such file, or no voice in it.
    """
    make = "make one with: osum voice make prompt.wav voice.safetensors"
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such voice file; {make}")
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as fault:
        raise CheckpointError(f"{path}: cannot be read as a voice file ({fault}); {make}") from fault
    if notes.get("format") != FORMAT or set(tensors) != set(TENSORS):
        raise CheckpointError(f"{path}: holds {sorted(tensors)[:4]} and no voice of format {FORMAT}; {make}")
    return Voice(notes["model"], **tensors, licence=notes.get("licence", ""), consent=notes.get("consent", ""))


def check_voice(voice: Voice, model: str, num_codes: int, num_bins: int, embedding_size: int) -> None:
    """Hold a voice against the model that is to speak with it.

    Raises:
        CheckpointError: made for another model, or of other sizes.
    """
    if voice.model != model:
        raise CheckpointError(f"a voice of {voice.model!r}, the model is {model!r}; make it again with osum voice make")
    sizes = (voice.mel.shape[0], voice.embedding.shape[0])
    if sizes != (num_bins, embedding_size):
        wanted = (num_bins, embedding_size)
        raise CheckpointError(f"a voice of {sizes} mel bins and values, the model has {wanted}; make it again")
    if voice.codes.numel() and not 0 <= int(voice.codes.min()) <= int(voice.codes.max()) < num_codes:
        worst = int(voice.codes.max())
        raise CheckpointError(f"a voice with code {worst}, the model has codes 0 to {num_codes - 1}; make it again")
