"""Checkpoints that leave their language model out: they name it, and know it again by a fingerprint.

Next to the weights of encoder and adaptor, and the LoRA, `base.json` holds the hub's name of the language model and
what it looked like while the rest learned: shapes, sampled values, ids of some texts. The language model is opened at
one scale (`one_scale`), so that another form of the same one fits. Knows nothing of training.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GenerationConfig

from osum.checkpoints.folder import ACCOUNTS, BASE_FILE
from osum.checkpoints.locate import fetch, first_line
from osum.checkpoints.one_scale import at_one_scale
from osum.checkpoints.tokenizer import PROBES, load_tokenizer
from osum.errors import CheckpointError, ConversionError
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor, int8
from osum.model.letters import FILE as LETTERS_FILE
from osum.records import RecordError, from_row, to_row

WITHIN_VECTORS, WITHIN_MATRICES = 0.01, 0.2
"""Largest distance from the sampled values, relative to their length. Quantisers keep biases and norms; matrices in 4
bits are off by 0.08 to 0.15, and another model's by 0.5 and more."""
SAMPLES = 16
"""Values of each tensor that are compared, at places that no row or column explains."""
_PREFIX, _HEAD = "model.language_model.", "lm_head."


@dataclass(frozen=True)
class Base:
    """The language model that a checkpoint leaves out."""

    name: str
    """Of the hub, `owner/name`."""
    shapes: Mapping[str, tuple[int, ...]]
    samples: Mapping[str, tuple[float, ...]]
    """Tensor to some of its values, at one scale."""
    probes: tuple[tuple[int, ...], ...]
    """The ids that its tokenizer gives to `PROBES`."""
    revision: str | None = None
    """Of the hub; the newest one where it is open."""

    @classmethod
    def of(cls, model: OsumForConditionalGeneration, tokenizer: Any, name: str) -> Base:
        """The base of a model whose language model is at one scale."""
        held = {key: value for key, value in model.state_dict().items() if is_of_base(key)}
        if model.config.tie_word_embeddings:
            held = {key: value for key, value in held.items() if not key.startswith(_HEAD)}
        return cls(
            name,
            {key: tuple(value.shape) for key, value in held.items()},
            {key: tuple(float(f"{number:.4g}") for number in sampled(value)) for key, value in held.items()},
            _ids(tokenizer),
        )

    @classmethod
    def read(cls, folder: Path) -> Base | None:
        """What a checkpoint leaves out; None for a whole one.

        Raises:
            CheckpointError: the file cannot be read.
        """
        if not (folder / BASE_FILE).is_file():
            return None
        try:
            return from_row(cls, json.loads((folder / BASE_FILE).read_text("utf8")))
        except (OSError, ValueError, RecordError) as fault:
            raise CheckpointError(f"{folder / BASE_FILE} cannot be read ({first_line(fault)}): get it again") from fault

    def write(self, folder: Path) -> None:
        """Write `base.json`; `revision` stands there also where it is open, to be filled in."""
        row = {"name": self.name, "revision": self.revision, **to_row(self)}
        (folder / BASE_FILE).write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf8")

    def find(self, folder: Path, given: str | Path | None, offline: bool, notice: Callable[[str], None] | None) -> Path:
        """The folder of the language model: the one that is given, or the hub's, fetched where it is not here.

        Raises:
            CheckpointError: it is not here and cannot be fetched, or there is no such folder.
        """
        if given:
            if not (path := Path(given).expanduser()).is_dir():
                raise CheckpointError(f"--base {given}: there is no such folder; give that of {self.name}")
            return path
        try:
            return fetch(self.name, offline, notice, self.revision)
        except CheckpointError as fault:
            raise CheckpointError(
                f"{folder} leaves its language model out, {self.name}: {fault}; or give its folder by --base DIR "
                "(base= in Python and in recipes)"
            ) from fault

    def state(self, folder: Path) -> dict[str, Tensor]:
        """The tensors of the language model in a folder, at one scale, by our names.

        Raises:
            CheckpointError: there is none, or another one.
        """
        held = {_PREFIX + key.removeprefix("model."): value for key, value in tensors_in(folder).items()}
        held = {key.replace(_PREFIX + _HEAD, _HEAD): value for key, value in held.items()}
        for key, shape in self.shapes.items():
            if key not in held or tuple(held[key].shape) != shape:
                has = tuple(held[key].shape) if key in held else "missing"
                raise self._other(folder, f"{key.removeprefix(_PREFIX)} is {has} and {shape} is needed")
        held = at_one_scale({key: held[key] for key in self.shapes})
        for kind, distance, within in self.distances(held):
            if not distance <= within:
                raise self._other(folder, f"its {kind} differ by {distance:.0%}, and quantising explains {within:.0%}")
        return held

    def distances(self, state: Mapping[str, Tensor]) -> list[tuple[str, float, float]]:
        """Of each kind of tensor, the layers together: its name, how far off it is, and what is allowed."""
        kinds: dict[tuple[str, float], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for key, values in self.samples.items():
            kind = re.sub(r"\.\d+\.", ".*.", key.removeprefix(_PREFIX))
            within = WITHIN_MATRICES if len(self.shapes[key]) > 1 else WITHIN_VECTORS
            kinds[kind, within].append((torch.tensor(sampled(state[key])), torch.tensor(values)))
        found = []
        for (kind, within), pairs in kinds.items():
            one, other = (torch.cat(side) for side in zip(*pairs, strict=True))
            found.append((kind, ((one - other).norm() / other.norm().clamp(min=1e-12)).item(), within))
        return found

    def tokenizer(self, folder: Path, config: OsumConfig) -> Any:
        """The tokenizer in the folder of the language model.

        Raises:
            CheckpointError: there is none, or another one.
        """
        try:
            found = load_tokenizer(folder, config)
        except ConversionError as fault:
            raise CheckpointError(str(fault)) from fault
        if _ids(found) != self.probes:
            raise self._other(folder, "its tokenizer gives other ids")
        return found

    def _other(self, folder: Path, why: str) -> CheckpointError:
        return CheckpointError(
            f"{folder} is not {self.name}, with which the checkpoint was trained: {why}; give its folder by --base DIR"
        )


def is_of_base(name: str) -> bool:
    """Whether a tensor of ours, by its name, is one of the language model."""
    return name.startswith((_PREFIX, _HEAD))


def sampled(tensor: Tensor) -> list[float]:
    """`SAMPLES` values of a tensor; the golden section spreads their places evenly."""
    places = (torch.arange(SAMPLES, dtype=torch.float64) * 0.6180339887498949 % 1 * tensor.numel()).long()
    return [float(number) for number in tensor.detach().flatten()[places].float()]


def tensors_in(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's files of weights.

    Raises:
        CheckpointError: there are none, or one cannot be read.
    """
    if (packed := int8.read(folder)) is not None:
        return packed
    found: dict[str, Tensor] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            if path.name not in {*ACCOUNTS, LETTERS_FILE}:
                found |= load_file(path)
    except (OSError, SafetensorError) as fault:
        raise CheckpointError(f"{folder} cannot be loaded ({first_line(fault)}): get it again") from fault
    if not found:
        raise CheckpointError(f"{folder} has no weights (*.safetensors): give the folder of the model")
    return found


def model_of(folder: Path, base: Base | None, language_model: Path | None, **options: Any) -> Any:
    """What `from_pretrained` gives of a checkpoint; one without its language model is put together with that.

    Raises:
        CheckpointError: the language model is another one.
    """
    if base is None or language_model is None:
        return OsumForConditionalGeneration.from_pretrained(folder, **options)
    state = tensors_in(folder) | base.state(language_model)
    config = OsumConfig.from_pretrained(folder)
    made = OsumForConditionalGeneration.from_pretrained(None, config=config, state_dict=state, **options)
    model = made[0] if isinstance(made, tuple) else made  # with what did not fit
    model.generation_config = GenerationConfig.from_pretrained(folder)
    model.config.name_or_path = model.name_or_path = str(folder)  # PEFT looks the vocabulary up there, else at the hub
    return made


def processor_of(folder: Path, base: Base | None, language_model: Path | None, config: OsumConfig) -> OsumProcessor:
    """The processor of a checkpoint, with the tokenizer of its language model.

    Raises:
        CheckpointError: the tokenizer is another one.
    """
    if base is None or language_model is None:
        return OsumProcessor.from_pretrained(folder)
    return OsumProcessor.with_tokenizer(folder, base.tokenizer(language_model, config))


def write_apart(
    folder: Path,
    model: OsumForConditionalGeneration,
    state: Mapping[str, Tensor],
    base: Base,
    processor: OsumProcessor,
) -> None:
    """Write a checkpoint without its language model and tokenizer.

    Args:
        folder: to write into.
        model: gives the configuration.
        state: its tensors; those of the language model are left out.
        base: what is left out.
        processor: gives layout and ids.
    """
    own = {name: value.contiguous() for name, value in state.items() if not is_of_base(name)}
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    processor.save_without_tokenizer(folder)
    base.write(folder)
    save_file(own, folder / "model.safetensors", {"format": "pt"})


def _ids(tokenizer: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tokenizer.encode(text, add_special_tokens=False)) for text in PROBES)
