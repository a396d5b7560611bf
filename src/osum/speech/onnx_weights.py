"""Weights out of the two ONNX files of CosyVoice, under the names of their torch forms.

The tokenizer's nodes carry the names of its modules (specification of token2wav 8). CAM++'s names were never seen, so
its operations are read in their order and held to the shapes: never tried on the released `campplus.onnx`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from osum.errors import ConversionError, MissingExtraError
from osum.speech.campplus import SpeakerEncoder

_LAYER = re.compile(r"/(?:encoder/)?blocks\.(\d+)/(.+)/(MatMul|Add|Mul|Add_1)")
_CODEBOOK = "/quantizer/rq/model/layers.0/_codebook/Pow_1"
_UNIT_VARIANCE = 1 - 1e-5  # with BatchNorm's epsilon, a deviation of 1


def _load(path: Path) -> Any:
    """The graph of an ONNX file."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingExtraError(f"{path}: onnx, which reads this file,", "convert") from None
    try:
        return onnx.load(str(path)).graph
    except (OSError, DecodeError) as fault:
        raise ConversionError(f"{path} cannot be read as ONNX ({fault}); fetch it again") from fault


def _initializers(graph: Any) -> dict[str, Tensor]:
    from onnx import numpy_helper

    constants = {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    tensors = {item.name: item for item in graph.initializer} | constants
    return {name: torch.from_numpy(numpy_helper.to_array(item).copy()) for name, item in tensors.items()}


def tokenizer_state(path: Path) -> tuple[dict[str, Tensor], int]:
    """The S3 tokenizer's state dict, and the stride of its first convolution: 2 at 25 codes a second, 1 at 50.

    Raises:
        ConversionError: the file cannot be read, or has no such convolution.
    """
    graph = _load(path)
    held = _initializers(graph)
    state = {name.replace("encoders.", "encoder.", 1): held[name] for name in held if name.startswith("encoders.")}
    for node in graph.node:
        name = _tokenizer_name(node.name)
        weights = [held[given] for given in node.input if given in held and held[given].dim()]
        if name and weights:
            transposed = node.op_type == "MatMul" or node.name == _CODEBOOK
            state[name] = weights[0].T.contiguous() if transposed else weights[0]
    return state, _first_stride(graph, path)


def _tokenizer_name(node: str) -> str | None:
    """Where a node's weight belongs: `/blocks.0/attn/query/MatMul` to `encoder.blocks.0.attn.query.weight`."""
    if node == _CODEBOOK:
        return "quantizer._codebook.embed"
    found = _LAYER.fullmatch(node)
    if not found:
        return None
    number, path, operation = found.groups()
    layer = path.replace("/", ".").replace("mlp.mlp.", "mlp.")
    parts = {"Mul": "weight", "Add_1": "bias"} if layer.endswith("_ln") else {"MatMul": "weight", "Add": "bias"}
    return f"encoder.blocks.{number}.{layer}.{parts[operation]}" if operation in parts else None


def _first_stride(graph: Any, path: Path) -> int:
    for node in graph.node:
        if node.op_type == "Conv":
            strides = [attribute.ints for attribute in node.attribute if attribute.name == "strides"]
            return int(strides[0][0]) if strides else 1
    raise ConversionError(f"{path} has no convolution in it: give speech_tokenizer_v1.onnx of CosyVoice-300M-25Hz")


@dataclass(frozen=True)
class _Operation:
    """A node with weights: a convolution or linear layer and its bias, or a BatchNorm's four."""

    is_norm: bool
    tensors: tuple[Tensor, ...]

    def fits(self, layer: Any, is_norm: bool) -> bool:
        """Whether it can be a layer: of its kind, with as many tensors, and of its shape but for sizes of 1."""
        wanted = (layer.num_features,) if is_norm else layer.weight.shape
        fewest = 4 if is_norm else 1 if layer.bias is None else 2
        enough = self.is_norm == is_norm and len(self.tensors) >= fewest
        return enough and _wide(self.tensors[0].shape) == _wide(wanted)


def _wide(shape: Iterable[int]) -> list[int]:
    return [size for size in shape if size != 1]


def speaker_state(path: Path, model: SpeakerEncoder) -> dict[str, Tensor]:
    """CAM++'s state dict, for a model of the right sizes.

    1. The file's convolutions and BatchNorms are listed in their order, and so are those of `model` as it runs them.
    2. Both lists are walked together; shapes have to agree.
    3. A BatchNorm that the exporter folded into the convolution before it left a bias there, which becomes the
       bias of a BatchNorm that does nothing else.

    Raises:
        ConversionError: the file cannot be read, or the two lists do not agree.
    """
    operations = list(_operations(_load(path)))[::-1]
    state: dict[str, Tensor] = {}
    folded: Tensor | None = None
    for name, layer in _layers_in_order(model):
        is_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        if is_norm and folded is not None:
            ones = torch.ones_like(folded)
            state |= _norm(name, layer, (ones, folded, torch.zeros_like(folded), ones * _UNIT_VARIANCE))
            folded = None
        elif not operations or not operations[-1].fits(layer, is_norm):
            raise _unlike(path, name, operations[-1] if operations else None)
        elif is_norm:
            state |= _norm(name, layer, operations.pop().tensors)
        else:
            weight, *biases = operations.pop().tensors
            state[f"{name}.weight"] = weight.reshape(layer.weight.shape)
            if layer.bias is None:
                folded = biases[0] if biases else None
            else:
                state[f"{name}.bias"] = biases[0]
    if operations:
        raise ConversionError(f"{path}: {len(operations)} layers are left over; it is not CAM++ of these sizes")
    return state


def _unlike(path: Path, name: str, found: _Operation | None) -> ConversionError:
    held = f"a layer of shape {tuple(found.tensors[0].shape)}" if found else "nothing"
    return ConversionError(f"{path}: {held} where CAM++ has {name}; give the torch form, campplus.pt, in its place")


def _norm(name: str, layer: Any, tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """The tensors of a BatchNorm; one without weights has its scale and bias moved into its statistics."""
    scale, bias, mean, variance = tensors
    if not layer.affine:
        deviation = (variance + layer.eps).sqrt() / scale
        return {f"{name}.running_mean": mean - bias * deviation, f"{name}.running_var": deviation.square() - layer.eps}
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": value for part, value in zip(names, (scale, bias, mean, variance), strict=True)}


def _operations(graph: Any) -> Iterator[_Operation]:
    held = _initializers(graph)
    for node in graph.node:
        tensors = tuple(held[given] for given in node.input if given in held)
        if node.op_type == "BatchNormalization":
            yield _Operation(True, tensors)
        elif node.op_type in ("Conv", "Gemm", "MatMul") and tensors:
            yield _Operation(False, tensors)


def _layers_in_order(model: SpeakerEncoder) -> list[tuple[str, Any]]:
    """Convolutions and BatchNorms with their names, in the order in which they run."""
    seen: list[tuple[str, Any]] = []
    kinds = (nn.Conv1d, nn.Conv2d, nn.modules.batchnorm._BatchNorm)
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _given, name=name: seen.append((name, layer)))
        for name, layer in model.named_modules()
        if isinstance(layer, kinds)
    ]
    was_training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, 128, model.config.num_mel_bins))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return seen
