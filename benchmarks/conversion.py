"""Peak anonymous memory and time of `osum convert` on a synthetic file the shape of OSUM.

    python benchmarks/conversion.py [--gigabytes 4] [--folder DIR] [--keep-lora]

The file (bf16 language model and float32 LoRA under the release's names, zeros) is written to a temporary
folder and deleted. The conversion runs in its own process, whose RssAnon is read every few milliseconds;
pages of the mapped file are not anonymous and can be dropped by the kernel at any time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

WIDTH, FFN, KV, VOCAB, RANK = 3584, 18_944, 512, 152_064, 8
"""Of Qwen2-7B and its LoRA; the number of layers follows from the size asked for."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj")


def synthetic_state(folder: Path, gigabytes: float) -> dict[str, torch.Tensor]:
    """Names and shapes of OSUM with fewer layers, every value in a sparse file of `folder`."""
    from osum.checkpoints.convert.convert import expected_shapes
    from osum.checkpoints.convert.names import to_theirs
    from osum.model import OsumConfig

    config = OsumConfig.preset("osum")
    config.audio_config.num_hidden_layers = 2
    per_layer = 2 * (2 * WIDTH * WIDTH + 2 * KV * WIDTH + 3 * FFN * WIDTH)
    config.text_config.num_hidden_layers = max(1, round((gigabytes * 1e9 - 4 * VOCAB * WIDTH) / per_layer))

    def hollow(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        file = folder / f"{len(list(folder.iterdir()))}.bin"
        size = torch.Size(shape).numel()
        return torch.from_file(str(file), shared=True, size=size, dtype=dtype).view(shape)

    state: dict[str, torch.Tensor] = {}
    for name, shape in expected_shapes(config).items():
        key = to_theirs(name).replace("llama_model.", "llama_model.base_model.model.")
        module, _, last = key.rpartition(".")
        adapted = ".layers." in module and module.endswith(TARGETS)
        value = hollow((1, *shape) if key.endswith(".pe") else shape, torch.bfloat16)
        state[f"{module}.base_layer.{last}" if adapted else key] = value
        if adapted and last == "weight":
            state[f"{module}.lora_A.default.weight"] = hollow((RANK, shape[1]), torch.float32)
            state[f"{module}.lora_B.default.weight"] = hollow((shape[0], RANK), torch.float32)
    prefix = "llama_model.base_model.model."
    state["embed_tokens.weight"] = state[f"{prefix}model.embed_tokens.weight"]
    state["lm_head.weight"] = state[f"{prefix}lm_head.weight"]
    state["lm_head.weight"][0, 0] = 1  # differs from the embedding: the head is not tied
    state["speaker_head.weight"] = hollow((4097, WIDTH), torch.bfloat16)
    return state


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def measure(source: Path, out: Path, lora: str) -> None:
    """Convert, and print the peak and the time as one JSON line."""
    from osum.checkpoints.convert import convert

    before, peak, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    report = convert(source, out, lora=lora)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    files = [file.stat().st_size for file in out.glob("model*.safetensors")]
    print(
        json.dumps(
            {
                "lora": report.lora,
                "input_gb": round(source.stat().st_size / 1e9, 2),
                "largest_shard_gb": round(max(files) / 1e9, 2),
                "files": len(files),
                "anonymous_before_gb": round(before / 1e9, 2),
                "peak_anonymous_gb": round(peak[0] / 1e9, 2),
                "seconds": round(seconds, 1),
            }
        )
    )


def main() -> None:
    """Write the file, convert it in a process of its own, delete everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--keep-lora", action="store_true")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        source, out, lora = arguments.measure
        measure(Path(source), Path(out), lora)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "hollow").mkdir()
        torch.save(synthetic_state(folder / "hollow", arguments.gigabytes), folder / "infer.pt")
        lora = "keep" if arguments.keep_lora else "merge"
        command = [sys.executable, __file__, "--measure", str(folder / "infer.pt"), str(folder / "out"), lora]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
