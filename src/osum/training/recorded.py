"""What a frozen encoder gives for each clip, computed once and stored, so that it runs once for all epochs.

Of each clip there are several copies: the clip as it is, and augmented ones. States are kept in bfloat16, 51 kB for a
second of Whisper base. Knows nothing of the loop.

1. Clips are taken in the order of their length, `PER_FILE` to a file, so that batches have few shapes.
2. A file is written under a hidden name and renamed with its list: a run that was stopped continues with the next, and
   a run that wants more copies than there are adds them.
3. A batch gets the states in place of log-mel features, in every second column, since two frames make one state:
   of the states `a b c` of 5 or 6 frames it gets `a 0 b 0 c` or `a 0 b 0 c 0`, and the encoder passes them on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from osum.errors import AudioError, InputError
from osum.files import atomic_file
from osum.model.encoder import OsumEncoder
from osum.model.processing_osum import pad_features
from osum.utterance import Utterance

PER_FILE = 256
FRAMES = 20
"""Batches are padded to multiples of so many frames (0.2 s)."""
log = logging.getLogger(__name__)
Features = Callable[[int, int], tuple[Utterance, Tensor]]
"""Of a row's number and a copy's: its utterance and log-mel features (M, F)."""


class RecordedStates:
    """The stored states of a set of clips.

    Args:
        folder: where they are stored.
        copies: of each clip; copy 0 is the clip as it is.
    """

    def __init__(self, folder: Path, copies: int) -> None:
        self.folder, self.copies = folder, copies
        self._places: dict[tuple[int, int], tuple[str, int, int]] = {}
        self._rows: dict[tuple[int, int], Utterance] = {}
        self._width = 0

    def fill(
        self, encoder: OsumEncoder, indices: Sequence[int], features: Features, made_from: str, batch_frames: int
    ) -> None:
        """Compute and store what is not there yet, then read the list of all.

        Args:
            encoder: frozen.
            indices: rows by length, the shortest first.
            features: of a row and a copy.
            made_from: what else decides the states: rows, augmentation, seed.
            batch_frames: padded mel frames of one batch.

        Raises:
            InputError: the folder holds states of another encoder or other clips.
        """
        self._width = encoder.config.hidden_size
        self._check(hashlib.sha256(f"{made_from} {digest(encoder)}".encode()).hexdigest()[:16])
        # What is frozen is held in half precision but for its vectors; all of it in one dtype is quickest.
        encoder = deepcopy(encoder).to(encoder.conv1.weight.dtype)
        encoder.__dict__.pop("forward", None)  # of `pass_on`: it would encode with the weights of before
        starts = range(0, len(indices), PER_FILE)
        files = [(copy, first) for copy in range(self.copies) for first in starts]
        for number, (copy, first) in enumerate(files, 1):
            name = f"{copy}-{first // PER_FILE:05d}"
            if not (self.folder / f"{name}.jsonl").is_file():
                keys = [(index, copy) for index in indices[first : first + PER_FILE]]
                self._make(name, encoder, keys, features, batch_frames)
                log.info("encoder output: file %d of %d", number, len(files))
            self._list(name)

    def __contains__(self, index: int) -> bool:
        return (index, 0) in self._places

    def read(self, index: int, copy: int) -> tuple[Utterance, Tensor]:
        """The row of a copy, and its states in place of features (D, F), bfloat16.

        Raises:
            AudioError: the clip could not be read when the states were computed.
        """
        key = (index, copy) if (index, copy) in self._places else (index, 0)
        if key not in self._places:
            raise AudioError(f"row {index}: was left out of {self.folder}")
        name, first, frames = self._places[key]
        states = np.memmap(self.folder / f"{name}.bf16", dtype=np.uint16, mode="r").reshape(-1, self._width)
        part = torch.from_numpy(states[first : first + (frames + 1) // 2].view(np.int16).copy())
        features = torch.zeros(self._width, frames, dtype=torch.bfloat16)
        features[:, ::2] = part.view(torch.bfloat16).T
        return self._rows[key], features

    def nothing(self, frames: int) -> Tensor:
        """Zeros in place of the features (D, F) of a clip that cannot be read."""
        return torch.zeros(self._width, frames, dtype=torch.bfloat16)

    def _check(self, made_from: str) -> None:
        path = self.folder / "made_from"
        if path.is_file() and path.read_text(encoding="utf-8") != made_from:
            raise InputError(f"{self.folder} holds the output of another encoder or of other clips: delete it")
        if not path.is_file():
            with atomic_file(path) as file:
                file.write(made_from.encode())

    @torch.no_grad()
    def _make(
        self, name: str, encoder: OsumEncoder, keys: Sequence[tuple[int, int]], features: Features, batch_frames: int
    ) -> None:
        lines: list[bytes] = []
        first = 0
        with atomic_file(self.folder / f"{name}.bf16") as file:
            for batch in _batches(keys, features, batch_frames):
                padded, mask = pad_features([mel for _, _, mel in batch], FRAMES)
                lengths = mask.sum(1)
                states = encoder(padded.to(encoder.conv1.weight.dtype), lengths).to(torch.bfloat16)  # (B, T, D)
                for (key, row, _), kept, frames in zip(batch, states, lengths.tolist(), strict=True):
                    size = (frames + 1) // 2
                    file.write(kept[:size].contiguous().view(torch.int16).numpy().tobytes())
                    place = {"index": key[0], "copy": key[1], "first": first, "frames": frames}
                    lines.append(json.dumps({**place, "row": row.to_dict()}, ensure_ascii=False).encode() + b"\n")
                    first += size
        with atomic_file(self.folder / f"{name}.jsonl") as listed:
            listed.writelines(lines)

    def _list(self, name: str) -> None:
        for line in (self.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            place = json.loads(line)
            key = place["index"], place["copy"]
            self._places[key] = name, place["first"], place["frames"]
            self._rows[key] = Utterance.from_dict(place["row"])


def _batches(
    keys: Sequence[tuple[int, int]], features: Features, frames: int
) -> Iterator[list[tuple[tuple[int, int], Utterance, Tensor]]]:
    """Clips that can be read, at most so many padded frames at a time."""
    batch: list[tuple[tuple[int, int], Utterance, Tensor]] = []
    longest = 0
    for key in keys:
        try:
            row, mel = features(*key)
        except AudioError as fault:
            log.warning("left out: %s", fault)
            continue
        longest = max(longest, mel.shape[-1])
        if batch and longest * (len(batch) + 1) > frames:
            yield batch
            batch, longest = [], mel.shape[-1]
        batch.append((key, row, mel))
    if batch:
        yield batch


def pass_on(encoder: OsumEncoder) -> None:
    """Have an encoder give back states that come in place of features; features are encoded as before."""
    if "forward" in vars(encoder):
        return  # it does already
    encode, bins = encoder.forward, encoder.config.num_mel_bins
    assert encoder.config.hidden_size != bins, "states and features could not be distinguished"

    def forward(input_features: Tensor, feature_lengths: Tensor) -> Tensor:
        if input_features.shape[1] == bins:
            return encode(input_features, feature_lengths)
        return input_features[:, :, ::2].transpose(1, 2)  # (B, T, D)

    encoder.forward = forward  # type: ignore[method-assign]


def digest(module: nn.Module) -> str:
    """A hash of a module's weights as they are in bfloat16."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(value.detach().to(torch.bfloat16).contiguous().view(torch.int16).cpu().numpy().tobytes())
    return found.hexdigest()
