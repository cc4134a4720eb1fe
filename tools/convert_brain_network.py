"""Convert the two networks of deepbet (MIT) from TorchScript to ONNX with half-precision weights.

Run once, in an environment with torch and onnx, on an unpacked deepbet 1.0.2 wheel:
``python tools/convert_brain_network.py DEEPBET_MODELS_DIR bids_qsmthal/data/weights``.
The published weights are exact in half precision, so storing them so loses nothing; the network
computes in single precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

NETWORKS = {"bbox_model.pt": "deepbet_box.onnx", "model.pt": "deepbet_mask.onnx"}
AXES = {2: "x", 3: "y", 4: "z"}


def convert(source: Path, target: Path) -> None:
    """Write one network as ONNX."""
    model = torch.jit.load(source).eval()
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 64, 64, 64),),
        target,
        opset_version=17,
        dynamo=False,
        input_names=["image"],
        output_names=["probability"],
        dynamic_axes={"image": AXES, "probability": AXES},
    )
    onnx.save(_with_half_weights(onnx.load(target)), target)


def _with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store each large weight as float16 behind a cast that onnxruntime folds when it loads."""
    stored, casts = [], []
    for tensor in model.graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if weight.dtype != np.float32 or weight.size <= 64:
            stored.append(tensor)
            continue
        half = weight.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), weight):
            raise ValueError(f"{tensor.name}: not exact in half precision")
        stored.append(numpy_helper.from_array(half, f"{tensor.name}_half"))
        casts.append(
            helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT)
        )
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(stored)
    model.graph.node.extend(casts + nodes)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Convert both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, help="folder data/models of the deepbet package")
    parser.add_argument("weights", type=Path, help="bids_qsmthal/data/weights")
    folders = parser.parse_args()
    for source, target in NETWORKS.items():
        convert(folders.models / source, folders.weights / target)


if __name__ == "__main__":
    main()
