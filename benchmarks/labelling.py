"""Labelling speed: the original's way, the stock `generate`, and ours in one pass, turn by turn on the same clips.

    python benchmarks/labelling.py [--config nano|mid|full] [--clips N] [--turns N] [--out FILE.json]

original  one clip, one task at a time: features, encoder and prompt anew for each, beams of 4 with sampling, float32
          without SDPA, LoRA next to the weights where the model is random (specification 1.4, 1.7, 7)
stock     `generate` of transformers, greedy, one task at a time over batches of clips
ours      the engine: every task in one pass
given     the engine, behind transcripts that are given (those it decodes itself): nothing is decoded; not of L8

L6 is ASR, VED, SER, SSR, SGC and SAP; L8 adds SRWT and STTC, whose answers are their own. Clips are stretches of the
recordings in a folder laid end to end, drawn with a seed. Random models (`mid`, `full`) answer with as many ids as
they may (`--tokens`); they have nothing to agree on, so `--one-prompt` gives all tasks one prompt, as if every draft
held, and without it none does. The floor is what the FLOPs and the bytes of our passes take at the measured ceilings.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import label
import numpy as np
import torch
from device import ceilings, fastest, peak
from numpy.typing import NDArray

import osum
from osum.audio import SAMPLE_RATE, find_audio, load
from osum.checkpoints.checkpoint import Checkpoint
from osum.engine.branch import TextIds
from osum.engine.engine import Engine, EngineCounts
from osum.engine.options import GenerationOptions
from osum.engine.request import Ask, Request
from osum.model import OsumConfig, OsumForConditionalGeneration, OsumProcessor
from osum.tasks import TaskSet

ROOT = Path(__file__).parents[1]
L6 = ("ASR", "VED", "SER", "SSR", "SGC", "SAP")
SETS = {"ASR": ("ASR",), "L6": L6, "L8": (*L6, "SRWT", "STTC")}
RELEASE = GenerationOptions.release()
MID: dict[str, Any] = {
    "audio_config": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "dropout": 0.0,
    },
    "adaptor_config": {"dropout": 0.0},
    "text_config": {
        "vocab_size": 151_936,
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "tie_word_embeddings": True,
    },
    "num_speech_ids": 0,
    "tie_word_embeddings": True,
}
"""A 12-layer, 768-wide encoder and the shapes of Qwen2-0.5B."""
LORA = {"r": 8, "lora_alpha": 32, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]}
"""Of the release (specification 1.4)."""
TINY: dict[str, Any] = {
    **MID,
    "audio_config": {**MID["audio_config"], "hidden_size": 96, "num_hidden_layers": 2, "intermediate_size": 128},
    "text_config": {**MID["text_config"], "hidden_size": 112, "num_hidden_layers": 2, "intermediate_size": 256},
}
"""What stands in for the full size where there is no accelerator, to show that the script runs."""
PROMPT, DECODED = 2048, 41
"""Tokens of the prompt and of the answer that `phases` times."""
Samples = NDArray[np.float32]
Answers = dict[tuple[int, str], str]


def stretches(folder: Path, count: int, seconds: float) -> list[Samples]:
    """Clips of equal length from the recordings of a folder laid end to end."""
    whole = np.concatenate([load(path) for path in find_audio([folder])])
    size = int(seconds * SAMPLE_RATE)
    starts = np.random.default_rng(0).integers(0, len(whole) - size, count)
    return [whole[start : start + size] for start in starts]


def checkpoint_of(config: str, layout: str, device: str, dtype: torch.dtype) -> Checkpoint:
    """The packaged model, or a random one with its tokenizer and tasks."""
    nano = osum.load("nano", device=device, dtype=str(dtype).removeprefix("torch."))
    engine, tasks = nano.engine, nano.tasks
    if config == "nano":
        return Checkpoint("nano", "", engine.model, engine.processor, tasks)
    sizes = {"mid": MID, "full": {"audio_config": {}, "adaptor_config": {}}}[config]
    if config == "full" and device == "cpu":
        sizes = TINY
    elif config == "full":
        sizes = {**sizes, "text_config": OsumConfig.preset("osum").text_config.to_dict()}
    shape = OsumConfig(**sizes, layout=layout)
    torch.manual_seed(0)
    with torch.device(device):
        model = OsumForConditionalGeneration(shape).to(dtype).eval()
    processor = OsumProcessor.for_config(shape, engine.processor.tokenizer, engine.processor.answer_end_token_id)
    with torch.no_grad():  # no id that the tokenizer lacks is likeliest, nor is the end, so that lengths are forced
        model.lm_head.weight[len(processor.tokenizer) :] = 0
        model.lm_head.weight[processor.answer_end_token_id] = 0
    return Checkpoint(config, "", model, processor, tasks)


@dataclass(frozen=True)
class Work:
    """What is asked about which clips."""

    clips: Sequence[Samples]
    tasks: Sequence[str]
    prompts: Mapping[str, str]
    known: TaskSet
    tokens: int | None
    """Length of every answer; None for the model's own."""
    texts: Sequence[str] = ()
    """Transcript of each clip, for the way that is given them."""

    def limit(self, task: str, clip: int) -> int:
        """Longest answer."""
        options, seconds = GenerationOptions(), len(self.clips[clip]) / SAMPLE_RATE
        return self.tokens or Engine.token_limit(self.known[task], seconds, options)


Way = Callable[[Work], Iterator[tuple[int, str, str]]]
"""Yields (clip, task, raw answer)."""


def original(checkpoint: Checkpoint) -> Way:
    """The original's way, on a copy of its own."""
    model: Any = copy.deepcopy(checkpoint.model).float()
    model.set_attn_implementation("eager")
    if checkpoint.name != "nano":
        from peft import LoraConfig, inject_adapter_in_model

        inject_adapter_in_model(LoraConfig(**LORA), model.model.language_model)
    processor = checkpoint.processor

    def run(work: Work) -> Iterator[tuple[int, str, str]]:
        for clip, samples in enumerate(work.clips):
            for task in work.tasks:
                inputs = processor(text=[processor.request(work.prompts[task])], audio=[samples]).to(model.device)
                settings = {**RELEASE.to_generate(), "max_new_tokens": work.tokens or RELEASE.max_new_tokens}
                yield clip, task, generated(model, processor, inputs, settings)[0]

    return run


def stock(checkpoint: Checkpoint, batch: int) -> Way:
    """`generate` over batches of clips, one task after the other."""
    model, processor = checkpoint.model, checkpoint.processor

    def run(work: Work) -> Iterator[tuple[int, str, str]]:
        for first in range(0, len(work.clips), batch):
            clips = work.clips[first : first + batch]
            for task in work.tasks:
                texts = [processor.request(work.prompts[task])] * len(clips)
                inputs = processor(text=texts, audio=list(clips)).to(model.device)
                found = generated(model, processor, inputs, {"max_new_tokens": work.limit(task, first)})
                yield from ((first + place, task, raw) for place, raw in enumerate(found))

    return run


def generated(model: Any, processor: OsumProcessor, inputs: Any, settings: Mapping[str, Any]) -> list[str]:
    """Raw answers of the stock loop."""
    end = processor.answer_end_token_id
    with torch.inference_mode():
        ids = model.generate(**inputs, **settings, eos_token_id=end, pad_token_id=end)
    return processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :])


def ours(engine: Engine, batch: int, apart: bool = False, given: bool = False) -> Way:
    """The engine; with `apart` each task as a request of its own, which no other helps; with `given` behind texts."""

    def run(work: Work) -> Iterator[tuple[int, str, str]]:
        engine.counts = EngineCounts()
        places: list[tuple[int, tuple[str, ...]]] = []

        def requests() -> Iterator[Request]:
            for clip, samples in enumerate(work.clips):
                features = (engine.processor.log_mel(samples),)
                for group in [(task,) for task in work.tasks] if apart else [tuple(work.tasks)]:
                    places.append((clip, group))
                    asks = (question(engine, work, task, clip) for task in group)
                    text = work.texts[clip] if given else None
                    yield Request(len(places), features, tuple(replace(ask, given=text) for ask in asks))

        for number, result in enumerate(engine.run(requests(), ahead=batch)):
            clip, group = places[number]
            yield from ((clip, task, reply.text) for task, reply in zip(group, result.replies, strict=True))

    return run


def question(engine: Engine, work: Work, task: str, clip: int) -> Ask:
    """A task's question about a clip."""
    return Ask(engine.processor.request(work.prompts[task]), work.limit(task, clip), work.known[task])


@dataclass
class Measured:
    """One turn of one way."""

    seconds: float
    first: float
    """Seconds until the first clip had all its answers."""
    peak_mb: float
    answers: Answers


def measure(way: Way, work: Work, device: str) -> Measured:
    """Run a way once."""
    answers: Answers = {}
    first: float | None = None
    with peak(device) as memory:
        start = time.perf_counter()
        for clip, task, raw in way(work):
            answers[clip, task] = raw
            if first is None and all((clip, each) in answers for each in work.tasks):
                first = time.perf_counter() - start
        seconds = time.perf_counter() - start
    assert first is not None
    return Measured(seconds, first, memory.megabytes, answers)


def floor(
    checkpoint: Checkpoint, work: Work, counts: EngineCounts, limits: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Seconds that the arithmetic and the reading of weights take at the ceilings, and their share of what we took.

    Two FLOPs for each weight and position; attention over positions is left out, so the floor is below the truth.
    """
    inner = checkpoint.model.model
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in inner.named_children()}
    width = next(checkpoint.model.parameters()).element_size()
    language, table = language_sizes(checkpoint.model)
    frames = sum(len(clip) // checkpoint.model.config.audio_config.hop_length for clip in work.clips)
    encode = 2 * (parts["audio_tower"] * frames / 2 + parts["adaptor"] * frames / 8)
    tokens = 2 * language * counts.tokens
    read = (language + table) * width * counts.passes
    least = encode / limits["flops"] + max(tokens / limits["flops"], read / limits["bytes"])
    return {
        "encode_seconds": encode / limits["flops"],
        "tokens_seconds": tokens / limits["flops"],
        "weights_seconds": read / limits["bytes"],
        "floor_seconds": least,
        "share_of_floor": least / seconds,
    }


def language_sizes(model: OsumForConditionalGeneration) -> tuple[int, int]:
    """Parameters that every token of a pass is multiplied with, and those that every id is chosen by."""
    inner = model.model.language_model
    table = inner.embed_tokens.weight.numel()
    return sum(parameter.numel() for parameter in inner.parameters()) - table, table


def phases(checkpoint: Checkpoint, limits: Mapping[str, float], device: str) -> dict[str, float]:
    """How near the ceilings one text comes: reading its prompt (FLOP/s), and saying one id at a time (bytes/s).

    A text alone, so that neither the encoder nor another row is in it; what is said is random and does not end.
    """
    language, table = language_sizes(checkpoint.model)
    width = next(checkpoint.model.parameters()).element_size()
    engine = Engine(checkpoint)
    most = checkpoint.model.config.text_config.max_position_embeddings
    long = checkpoint.processor.tokenizer.decode([1000] * min(PROMPT, most - 64))

    def seconds(text: str, tokens: int) -> float:
        engine.counts = EngineCounts()
        return fastest(lambda: list(engine.run([Request(0, (), (Ask(text, tokens),))])), device, turns=4)

    prompt = seconds(long, 1)
    read = engine.counts.tokens / 4
    first, all_ids = seconds("a", 1), seconds("a", DECODED)
    passes = engine.counts.passes / 4 - 1
    return {
        "prompt_tokens": read,
        "prefill_share_of_flops": 2 * language * read / limits["flops"] / prompt,
        "decoded_ids": passes,
        "decode_share_of_bandwidth": (language + table) * width * passes / limits["bytes"] / (all_ids - first),
    }


def share_equal(one: Answers, other: Answers) -> float:
    """Share of the answers both have that are the same text."""
    both = one.keys() & other.keys()
    return sum(one[key] == other[key] for key in both) / len(both) if both else float("nan")


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, set by set."""
    dtype, device = getattr(torch, arguments.dtype), arguments.device
    checkpoint = checkpoint_of(arguments.config, arguments.layout, device, dtype)
    clips = stretches(arguments.audio, arguments.clips, arguments.seconds)
    limits = ceilings(device, dtype)
    forced = arguments.tokens if arguments.config != "nano" else None
    prompts = {name: checkpoint.tasks.prompt("ASR" if arguments.one_prompt else name, "en") for name in SETS["L8"]}
    engine = Engine(checkpoint)
    makers: dict[str, Callable[[], Way]] = {
        "original": lambda: original(checkpoint),
        "stock": lambda: stock(checkpoint, arguments.batch),
        "ours": lambda: ours(engine, arguments.batch),
        "given": lambda: ours(Engine(checkpoint), arguments.batch, given=True),
    }
    ways = {name: makers[name]() for name in arguments.ways}
    reading = Work(clips, SETS["ASR"], prompts, checkpoint.tasks, forced)
    said = measure(ours(engine, arguments.batch), reading, device).answers if "given" in ways else {}
    texts = [checkpoint.tasks["ASR"].transcript_of(said.get((clip, "ASR"), "")) for clip in range(len(clips))]
    sets = {}
    for name in arguments.sets:
        work = Work(clips, SETS[name], prompts, checkpoint.tasks, forced, texts)
        these = {way: run for way, run in ways.items() if way != "given" or name != "L8"}
        sets[name] = one_set(these, work, arguments, checkpoint.processor.text_ids)
        if "ours" in ways:
            spent = len(clips) / sets[name]["ways"]["ours"]["clips_per_second"]
            sets[name]["floor"] = floor(checkpoint, work, engine.counts, limits, spent)
            sets[name]["counts"] = vars(engine.counts)
        if "ours" in ways and forced is None:
            alone = measure(ours(Engine(checkpoint), arguments.batch, apart=True), work, device).answers
            together = measure(ways["ours"], work, device).answers
            sets[name]["one_pass_equals_separate"] = share_equal(together, alone)
    return {
        "config": arguments.config,
        "layout": checkpoint.processor.layout,
        "dtype": arguments.dtype,
        "clips": len(clips),
        "seconds_per_clip": arguments.seconds,
        "batch": arguments.batch,
        "forced_tokens": forced,
        "one_prompt": arguments.one_prompt,
        "ceilings": {"tflops": limits["flops"] / 1e12, "gbytes_per_second": limits["bytes"] / 1e9},
        "machine": machine(device),
        "sets": sets,
        "phases": phases(checkpoint, limits, device) if arguments.phases else {},
        "measured": arguments.config != "full" or device != "cpu",
    }


def one_set(ways: Mapping[str, Way], work: Work, arguments: argparse.Namespace, text_ids: TextIds) -> dict[str, Any]:
    """Every way, turn by turn; before that each warms up on one question about one clip."""
    few = replace(work, clips=work.clips[: arguments.original_clips])
    works = {name: few if name == "original" else work for name in ways}
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    for way in ways.values():
        measure(way, replace(work, clips=work.clips[:1], tasks=work.tasks[:1], tokens=2), arguments.device)
    for _ in range(arguments.turns):
        for name, way in ways.items():
            found[name].append(measure(way, works[name], arguments.device))
            print(f"{len(work.tasks)} tasks, {name}: {found[name][-1].seconds:.2f} s", file=sys.stderr, flush=True)
    rows: dict[str, Any] = {}
    for name, turns in found.items():
        seconds = median(turn.seconds for turn in turns)
        number = len(works[name].clips)
        rows[name] = {
            "clips_per_second": number / seconds,
            "times_real_time": sum(map(len, works[name].clips)) / SAMPLE_RATE / seconds,
            "first_result_seconds": median(turn.first for turn in turns),
            "peak_mb": max(turn.peak_mb for turn in turns),
            "tokens_per_clip": sum(len(text_ids(raw)) for raw in turns[0].answers.values()) / number,
            "seconds": [round(turn.seconds, 3) for turn in turns],
        }
        if "ours" in found:
            rows[name]["equal_to_ours"] = share_equal(turns[0].answers, found["ours"][0].answers)
    for row in rows.values():
        if "ours" in rows:
            row["ours_over"] = rows["ours"]["clips_per_second"] / row["clips_per_second"]
    return {"ways": rows}


def machine(device: str) -> dict[str, Any]:
    """What it ran on."""
    name = torch.cuda.get_device_name() if device == "cuda" else label.machine()["cpu"]
    load = round(os.getloadavg()[0], 2)
    return {"device": name, "threads": torch.get_num_threads(), "load": load, "torch": torch.__version__}


def markdown(found: Mapping[str, Any]) -> str:
    """The report as a table."""
    lines = [
        f"{found['config']}, {found['layout']}, {found['dtype']}; {found['clips']} clips of "
        f"{found['seconds_per_clip']:g} s, batches of {found['batch']}; {found['machine']['device']}, "
        f"{found['machine']['threads']} threads, load {found['machine']['load']}; medians.",
        "",
        "| asked | way | x real time | clips/s | first result, s | peak MB | tokens | ours over it | same as ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in found["sets"].items():
        for way, row in rows["ways"].items():
            lines.append(
                f"| {name} | {way} | {row['times_real_time']:.1f} | {row['clips_per_second']:.2f} | "
                f"{row['first_result_seconds']:.2f} | {row['peak_mb']:.0f} | {row['tokens_per_clip']:.0f} | "
                f"{row.get('ours_over', 1):.1f} | {row.get('equal_to_ours', float('nan')):.0%} |"
            )
    if not found["measured"]:
        lines.insert(0, "Full size: not measured, as there is no accelerator. A tiny model, to show that this runs:\n")
    if found["phases"]:
        phases = ", ".join(f"{key} {value:.3g}" for key, value in found["phases"].items())
        lines += ["", f"One text alone: {phases}."]
    seconds = {name: rows["ways"].get("ours", {}).get("clips_per_second") for name, rows in found["sets"].items()}
    if seconds.get("ASR") and seconds.get("L6"):
        lines += ["", f"Six labels take {seconds['ASR'] / seconds['L6']:.2f} times the time of ASR alone."]
    for name, rows in found["sets"].items():
        if "floor" in rows:
            parts = ", ".join(f"{key} {value:.3g}" for key, value in rows["floor"].items())
            lines += ["", f"{name}: {parts}."]
        if "one_pass_equals_separate" in rows:
            lines += [f"One pass equals separate in {rows['one_pass_equals_separate']:.1%}."]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=("nano", "mid", "full"), default="nano")
    layouts = ("speech_first", "prompt_first")
    parser.add_argument("--layout", choices=layouts, default=layouts[0], help="of random models")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples", help="folder of recordings")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip")
    parser.add_argument("--original-clips", type=int, help="fewer for the original's way")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=["ASR", "L6"])
    ways = ("original", "stock", "ours", "given")
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways)
    parser.add_argument("--tokens", type=int, default=40, help="length of each answer of a random model")
    parser.add_argument("--phases", action="store_true", help="one text alone as well: its prompt, its ids one by one")
    parser.add_argument("--one-prompt", action="store_true", help="one prompt for all tasks")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    found = report(arguments)
    text = json.dumps(found, indent=1)
    print(f"{markdown(found)}\n\n{text}")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
