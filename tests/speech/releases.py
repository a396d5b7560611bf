"""Made releases: the folder of a CosyVoice with tiny weights, its files in torch form or as ONNX."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from osum.speech.checkpoint import write_config

from .golden import COSYVOICE, STREAMFM, speaker, weights

FILES = {
    "flow": "flow.pt",
    "hift": "hift.pt",
    "s3tok": "speech_tokenizer_v1.pt",
    "campplus": "campplus.pt",
}


def write_release(folder: Path) -> Path:
    """All parts in torch form, and the sizes, since they are not the release's."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(COSYVOICE, folder)
    for name, file in FILES.items():
        torch.save(weights(name), folder / file)
    return folder


def write_baseline(folder: Path) -> Path:
    """The real-time baseline as its training checkpoints keep it, and the sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(STREAMFM, folder)
    flow = {f"ema_model.{name}": value for name, value in weights("streamfm").items()}
    flow |= {"initted": torch.ones(()), "step": torch.ones(())}
    flow["ema_model.transformer.input_embed.conv_pos_embed.conv1d.0.bias"] = torch.ones(32)
    torch.save({"ema_model_state_dict": flow, "step": 900_000}, folder / "fm_model_900000.pt")
    torch.save({"generator": weights("hifigan")}, folder / "hifigan_g_00400000")
    torch.save(weights("campplus"), folder / "campplus.pt")
    return folder


def write_tokenizer(path: Path, stride: int = 2) -> None:
    """The S3 tokenizer with the node names of the release: weights under numbers, as the exporter leaves them."""
    nodes, tensors = [], []

    def node(operation: str, name: str, weight: Tensor, **attributes: object) -> None:
        held = f"onnx::{operation}_{len(tensors)}"
        tensors.append(numpy_helper.from_array(weight.contiguous().numpy(), held))
        nodes.append(helper.make_node(operation, ["x", held], ["x"], name, **attributes))

    for key, weight in weights("s3tok").items():
        parts = key.removeprefix("encoder.").split(".")
        if key == "quantizer._codebook.embed":
            node("Pow", "/quantizer/rq/model/layers.0/_codebook/Pow_1", weight.T)
        elif parts[0] != "blocks":
            tensors.append(numpy_helper.from_array(weight.numpy(), key.replace("encoder.", "encoders.")))
        else:
            layer = "/".join(parts[2:-1]).replace("mlp/", "mlp/mlp.")
            path_of = f"/blocks.{parts[1]}/{layer}/"
            if parts[-2].endswith("_ln"):
                node(*(("Mul", path_of + "Mul") if parts[-1] == "weight" else ("Add", path_of + "Add_1")), weight)
            elif parts[-1] == "weight":
                node("MatMul", path_of + "MatMul", weight.T)
            else:
                node("Add", path_of + "Add", weight)
    conv = helper.make_node("Conv", ["x", "encoders.conv1.weight", "encoders.conv1.bias"], ["x"], strides=[stride])
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph([conv, *nodes], "g", [shape], [shape], tensors)), str(path))


def write_speaker(path: Path) -> None:
    """CAM++ by torch's exporter, which folds BatchNorms into the convolutions before them."""
    torch.onnx.export(speaker(), (torch.randn(1, 200, 80),), str(path), dynamo=False, input_names=["feats"])
