"""An end-of-turn network that is a file, with the input and output of Smart Turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def network(path: Path, shape: tuple[int | str, ...] = (1, 80, 200), name: str = "input_features") -> Path:
    """A network whose probability is the sigmoid of the mean of the newest frame: loud ends are complete."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    given = helper.make_tensor_value_info(name, kind, list(shape))
    out = helper.make_tensor_value_info("logits", kind, [1, 1])
    last = [onnx.numpy_helper.from_array(np.array(value, np.int64), key) for key, value in
            {"from": [-1], "to": [2**31], "axis": [len(shape) - 1]}.items()]  # fmt: skip
    nodes = [
        helper.make_node("Slice", [name, "from", "to", "axis"], ["end"]),
        helper.make_node("ReduceMean", ["end"], ["mean"], keepdims=1),
        helper.make_node("Squeeze", ["mean"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["odds"]),
        helper.make_node("Reshape", ["odds", "one"], ["logits"]),
    ]
    last.append(onnx.numpy_helper.from_array(np.array([1, 1], np.int64), "one"))
    graph = helper.make_graph(nodes, "end_of_turn", [given], [out], last)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
