"""A released OSUM or OSUM-EChat state dict to a folder that `from_pretrained` reads.

Every key is used, or kept in `unused.safetensors`; `conversion.json` lists the keys, so that `to_original`
writes the same file again. Tensors stream from the mapped file to the shards, one at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig

from osum.checkpoints.convert.lora import (
    DEFAULT_ALPHA,
    DEFAULT_DROPOUT,
    adapter_name,
    merge,
    rank_of,
    target_modules,
    write_adapter,
)
from osum.checkpoints.convert.names import (
    ALIASES,
    EMBEDDING,
    LM_HEAD,
    POSITION_TABLES,
    KeyPlan,
    plan_keys,
    shorten,
    to_theirs,
)
from osum.checkpoints.convert.release import PAD_TOKEN_ID, Release, recognise
from osum.checkpoints.convert.shards import DEFAULT_SHARD_BYTES, write_shards
from osum.checkpoints.convert.sizes import infer_config
from osum.checkpoints.convert.source import Hints, read_hints, read_state_dict
from osum.checkpoints.convert.tokenizer import add_tokenizer
from osum.checkpoints.folder import ADAPTER_FOLDER, SIDECAR, UNUSED_FILE, new_folder, write_json
from osum.errors import ConversionError
from osum.model import OsumConfig, OsumForConditionalGeneration
from osum.model.encoder import interleaved_sinusoids, whisper_sinusoids

Lora = Literal["merge", "keep"]


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion made."""

    release: str
    folder: Path
    num_parameters: int
    num_files: int
    lora: Literal["none", "merged", "kept"]
    unused: tuple[str, ...] = ()
    """Keys of the original that the model does not use, kept for the way back."""
    computed: tuple[str, ...] = ()
    """Position tables that the file leaves out, from their formula."""
    notes: tuple[str, ...] = ()
    """What is left to do."""

    def __str__(self) -> str:
        """A few lines for a terminal."""
        lines = [
            f"{self.release}: {self.num_parameters / 1e6:,.1f} M parameters in {self.num_files} file(s), {self.folder}",
            f"LoRA: {self.lora}",
        ]
        lines += [f"kept for the way back: {shorten(self.unused)}"] if self.unused else []
        lines += [f"computed: {shorten(self.computed)}"] if self.computed else []
        return "\n".join([*lines, *self.notes])


def convert(
    source: Path,
    out: Path,
    *,
    lora: Lora = "merge",
    encoder_heads: int | None = None,
    llm_heads: int | None = None,
    llm_kv_heads: int | None = None,
    answer_end_token_id: int | None = None,
    tokenizer: str | Path | None = None,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    overwrite: bool = False,
) -> ConversionReport:
    """Convert one released file.

    Args:
        source: `infer.pt`, `osum_echat.pt`, or the same as safetensors.
        out: new folder.
        lora: fold the adapter into the weights, or keep it in `out/adapter`.
        encoder_heads, llm_heads, llm_kv_heads: where the release's rules do not hold.
        answer_end_token_id: where the vocabulary lacks the release's.
        tokenizer: folder or hub name; else the one next to the file.
        shard_bytes: largest shard.
        overwrite: replace `out`.

    Raises:
        ConversionError: keys or shapes that do not fit, or `out` exists.
    """
    source, out = Path(source), Path(out)
    said = Hints(
        encoder_heads=encoder_heads,
        llm_heads=llm_heads,
        llm_kv_heads=llm_kv_heads,
        answer_end_token_id=answer_end_token_id,
        tokenizer=str(tokenizer) if tokenizer else None,
    )
    original = Original.of(read_state_dict(source), said.over(read_hints(source)))
    original.check()
    answer_end = _answer_end(original, explicit=answer_end_token_id)
    with new_folder(out, overwrite) as folder:
        num_files = _write_weights(original, folder, lora, shard_bytes)
        _write_configs(original, folder, answer_end)
        _write_sidecars(original, folder, lora)
        notes = _write_tokenizer(original, folder, out)
    return ConversionReport(
        release=original.release.name,
        folder=out,
        num_parameters=sum(prod(shape) for shape in original.model_shapes().values()),
        num_files=num_files,
        lora=original.lora_state(lora),
        unused=original.plan.unused,
        computed=original.computed(),
        notes=notes,
    )


@dataclass(frozen=True)
class Original:
    """A released state dict, its keys sorted, its configuration inferred."""

    state: dict[str, Tensor]
    plan: KeyPlan
    release: Release
    hints: Hints
    config: OsumConfig

    @classmethod
    def of(cls, state: dict[str, Tensor], hints: Hints) -> Original:
        """Sort the keys and infer the sizes."""
        release = recognise(state)
        plan = plan_keys(state)
        tied = _is_tied(state, plan)
        shapes = {name: tuple(_value(state, key).shape) for name, key in plan.weights.items()}
        config = infer_config(shapes, release, hints, tied)
        config.dtype = _main_dtype(state)
        return cls(state, plan, release, hints, config)

    @property
    def num_text_ids(self) -> int:
        """Rows of the embedding."""
        return self.state[self.plan.weights[EMBEDDING]].shape[0]

    def model_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors that the model's files hold."""
        return expected_shapes(self.config)

    def computed(self) -> tuple[str, ...]:
        """Position tables to be computed."""
        return tuple(to_theirs(name) for name in POSITION_TABLES if name not in self.plan.weights)

    def lora_state(self, asked: Lora) -> Literal["none", "merged", "kept"]:
        """What becomes of the adapter."""
        if not self.plan.lora:
            return "none"
        return "merged" if asked == "merge" else "kept"

    def lora_scale(self) -> float:
        """alpha / r."""
        return (self.hints.lora_alpha or DEFAULT_ALPHA) / self.lora_rank()

    def lora_rank(self) -> int:
        """Rank of the adapter; see `lora.rank_of`."""
        return rank_of(self.plan, {key: tuple(tensor.shape) for key, tensor in self.state.items()})

    def weight(self, name: str, merged: bool) -> Tensor:
        """One tensor of the model, the adapter folded in where `merged`."""
        if name not in self.plan.weights:
            return self._position_table(name)
        base = _value(self.state, self.plan.weights[name])
        if not merged or name not in self.plan.lora:
            return base
        pair = self.plan.lora[name]
        return merge(base, self.state[pair["A"]], self.state[pair["B"]], self.lora_scale())

    def dtype_of(self, name: str) -> torch.dtype:
        """Element type of one tensor of the model."""
        key = self.plan.weights.get(name)
        return self.config.dtype if key is None else self.state[key].dtype

    def _position_table(self, name: str) -> Tensor:
        rows, width = self.model_shapes()[name]
        fill = interleaved_sinusoids if ".adaptor." in name else whisper_sinusoids
        return fill(rows, width).to(self.config.dtype)

    def check(self) -> None:
        """Hold every key against the model.

        Raises:
            ConversionError: tensors missing, unexpected, of another shape, or second names with other values.
        """
        expected = self.model_shapes()
        held = {name: tuple(_value(self.state, key).shape) for name, key in self.plan.weights.items()}
        allowed = {*expected, LM_HEAD}
        missing = [to_theirs(name) for name in expected if name not in held and name not in POSITION_TABLES]
        unexpected = [self.plan.weights[name] for name in held if name not in allowed]
        wrong = [
            f"{self.plan.weights[name]} {held[name]} instead of {shape}"
            for name, shape in expected.items()
            if name in held and held[name] != shape
        ]
        complaints = {"missing keys": missing, "unexpected keys": unexpected, "wrong shapes": wrong}
        if any(complaints.values()):
            listed = "; ".join(f"{what}: {shorten(keys)}" for what, keys in complaints.items() if keys)
            raise ConversionError(f"{listed}; the file is not a whole {self.release.name} state dict")
        self._check_aliases()
        if self.plan.lora:
            self.lora_rank()
            target_modules(self.plan)

    def _check_aliases(self) -> None:
        for alias, name in self.plan.aliases.items():
            key = self.plan.weights.get(name) or self.plan.weights[EMBEDDING]
            if not _same(self.state[alias], self.state[key]):
                raise ConversionError(f"{alias} differs from {key}: the original ties them; the file is damaged")


def expected_shapes(config: OsumConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a model of this configuration saves."""
    with torch.device("meta"):
        model = OsumForConditionalGeneration(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes[LM_HEAD]
    return shapes


def _value(state: Mapping[str, Tensor], key: str) -> Tensor:
    """The tensor as the model has it: position tables without their leading 1."""
    tensor = state[key]
    return tensor.squeeze(0) if key.endswith(".pe") and tensor.dim() == 3 else tensor


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() or torch.equal(a, b)


def _is_tied(state: Mapping[str, Tensor], plan: KeyPlan) -> bool:
    """Whether the head is the embedding: said by its absence, or by equal values."""
    if EMBEDDING not in plan.weights:
        return False
    key = plan.weights.get(LM_HEAD)
    return key is None or _same(state[key], state[plan.weights[EMBEDDING]])


def _main_dtype(state: Mapping[str, Tensor]) -> torch.dtype:
    """The type that most elements have."""
    count: Counter[torch.dtype] = Counter()
    for key, tensor in state.items():
        if key not in ALIASES:
            count[tensor.dtype] += tensor.numel()
    return count.most_common(1)[0][0]


def _answer_end(original: Original, explicit: int | None) -> int:
    """The id that ends an answer: the given one, the release's, or the one in the notes next to a small file."""
    vocab_size = original.num_text_ids
    for token_id in (explicit, original.release.answer_end_token_id, original.hints.answer_end_token_id):
        if token_id is not None and 0 <= token_id < vocab_size:
            return token_id
    raise ConversionError(
        f"a vocabulary of {vocab_size} has no id {original.release.answer_end_token_id}, which ends an answer of "
        f"{original.release.name}: give --answer-end-token-id"
    )


def _write_weights(original: Original, folder: Path, lora: Lora, limit: int) -> int:
    merged = lora == "merge"
    shapes = original.model_shapes()
    sizes = {name: prod(shape) * original.dtype_of(name).itemsize for name, shape in shapes.items()}
    num_files = write_shards(folder, sizes, lambda name: original.weight(name, merged), limit)
    if original.plan.lora and not merged:
        _write_adapter(original, folder / ADAPTER_FOLDER)
    return num_files


def _write_adapter(original: Original, folder: Path) -> None:
    tensors = {
        adapter_name(name, side): original.state[key]
        for name, pair in original.plan.lora.items()
        for side, key in pair.items()
    }
    alpha, dropout = original.hints.lora_alpha, original.hints.lora_dropout
    fields = {
        "r": original.lora_rank(),
        "lora_alpha": DEFAULT_ALPHA if alpha is None else alpha,
        "lora_dropout": DEFAULT_DROPOUT if dropout is None else dropout,
        "target_modules": target_modules(original.plan),
    }
    write_adapter(folder, tensors, fields)


def _write_configs(original: Original, folder: Path, answer_end: int) -> None:
    config = original.config
    config.architectures = [OsumForConditionalGeneration.__name__]
    config.save_pretrained(folder)
    pad = PAD_TOKEN_ID if original.num_text_ids > PAD_TOKEN_ID else answer_end
    GenerationConfig(eos_token_id=answer_end, pad_token_id=pad).save_pretrained(folder)
    write_json(folder / "tasks.json", original.release.tasks.to_dict())


def _write_sidecars(original: Original, folder: Path, lora: Lora) -> None:
    if original.plan.unused:
        save_file({key: original.state[key] for key in original.plan.unused}, folder / UNUSED_FILE)
    row = {"release": original.release.name, "lora": original.lora_state(lora), "keys": list(original.state)}
    write_json(folder / SIDECAR, row)


def _write_tokenizer(original: Original, folder: Path, out: Path) -> tuple[str, ...]:
    name = original.hints.tokenizer
    if name:
        add_tokenizer(folder, name)
        return ()
    hub = original.release.tokenizer
    return (
        "no tokenizer was found; add it with: "
        f"python -c \"from osum.checkpoints.convert import add_tokenizer; add_tokenizer('{out}', '{hub}')\"",
    )
