"""The whole tiny OSUM-EChat against the golden values of the original: `python benchmarks/echat_parity.py PARITY/echat`.

The tests hold a part of the state dict and of these values; this script holds all of them, gradient norms included.
It prints the largest difference of each file, and exits with 1 where one is over its bar.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from model.golden import echat_config
from model.tiny import QWEN_CONTROL_IDS, byte_tokenizer

from osum.checkpoints.convert.names import to_ours
from osum.checkpoints.convert.release import ECHAT
from osum.dialogue import modes
from osum.dialogue.modes import Mode
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.model.spoken_answer import SpokenAnswer
from osum.model.templates import ECHAT_TRAINING_HISTORY

UNKNOWN_ID = 7672
BARS = {"inputs": 1e-5, "hidden": 1e-4, "text_lse": 1e-3, "speech_lse": 1e-3, "loss": 1e-5, "gradients": 1e-3}
LAYOUTS: dict[str, Mode] = {
    "text": modes.UNDERSTAND,
    "s2t_chat": modes.SPEECH_TO_TEXT,
    "s2t_chat_think": modes.SPEECH_TO_TEXT_THINK,
    "s2t_chat_fake": modes.TALK_THINK,
    "text2text": modes.TEXT_TO_TEXT,
    "text2token": modes.SPEAK,
    "text2token_streaming": modes.SPEAK_IN_TURNS,
    "speech2text_token": modes.TALK,
    "speech2text_token_think": modes.TALK_THINK,
    "speech2text_token_history": modes.TALK,
    "speech2text_token_streaming": modes.TALK_IN_TURNS,
}


def whole_model(parity: Path) -> OsumForConditionalGeneration:
    state = load_file(parity / "state_dict.safetensors")
    units = len(state["speech_transformer.encoders.0.feed_forward.w_1.bias"])
    model = OsumForConditionalGeneration(echat_config(units, vocab_size=151_936)).eval()
    ours = {name: value for key, value in state.items() if (name := to_ours(key))}
    missing = model.load_state_dict(ours, strict=False)
    assert not missing.unexpected_keys, missing
    return model


def processor_of(model: OsumForConditionalGeneration) -> OsumProcessor:
    tokenizer = byte_tokenizer(QWEN_CONTROL_IDS, words={"&&": UNKNOWN_ID})
    processor = OsumProcessor.for_config(model.config, tokenizer, ECHAT.answer_end_token_id)
    processor.unknown_token_id = UNKNOWN_ID
    return processor


def text_of(ids: Sequence[int]) -> str:
    """Bytes, and `&&`."""
    return "".join("&&" if token == UNKNOWN_ID else chr(token) for token in ids if token >= 0 and token != 151_645)


class Forward:
    """One golden batch as our processor lays it out."""

    def __init__(self, layout: str, golden: Mapping[str, Any], processor: OsumProcessor) -> None:
        self.layout, self.mode, self.golden, self.processor = layout, LAYOUTS[layout], golden, processor
        self.meta = json.loads(str(golden["meta"]))

    def batch(self) -> Any:
        rows = range(len(self.golden["batch_target"]))
        processor = self.processor
        default = processor.chat_template
        if self.layout.endswith("history"):
            processor.chat_template = ECHAT_TRAINING_HISTORY
        conversations = [self.conversation(row) for row in rows]
        texts = [processor.render(conversation) for conversation in conversations]
        processor.chat_template = default
        given = [ids for turns in conversations for turn in turns for ids in processor._given(turn)]
        features = [clip for row in rows for clip in self.clips(row)]
        answers = [self.answer(row) for row in rows]
        return processor.batch(texts, features, answers, "right", given=given, text_padding_quirk=True)

    def conversation(self, row: int) -> list[dict[str, Any]]:
        past = [turn for number in self.turns(row) for turn in self.past(row, number)]
        system = {"role": "system", "content": self.mode.system_prompt}
        return [system, *past, {"role": "user", "content": self.question(row)}]

    def question(self, row: int) -> list[dict[str, Any]]:
        if self.layout.startswith("text2token"):
            return [{"type": "text", "text": self.target(row)}]
        prompt = [{"type": "text", "text": text_of(self.golden["batch_prompt"][row])}] if self.reads else []
        return prompt + ([{"type": "audio"}] if self.clips(row) else [])

    @property
    def reads(self) -> bool:
        return self.layout in ("text", "text2text")

    def target(self, row: int) -> str:
        return text_of(self.golden["batch_target"][row])

    def answer(self, row: int) -> SpokenAnswer:
        says = self.mode.says if "s2t" not in self.layout else "text"
        codes = [code for code in self.golden["batch_speech_tokens"][row].tolist() if 0 <= code < 4096]
        return SpokenAnswer(
            None if says == "speech" else self.target(row), None if says == "text" else codes, says == "in_turns"
        )

    def turns(self, row: int) -> list[int]:
        return sorted({turn for of, turn, *_ in self.meta.get("history", ()) if of == row})

    def past(self, row: int, number: int) -> Iterable[dict[str, Any]]:
        said = {field: value for of, turn, field, value in self.meta["history"] if (of, turn) == (row, number)}
        speech = [{"type": "speech", "codes": said["speech_token"][1:-1]}] if said["speech_token"] else []
        yield {"role": "user", "content": [{"type": "audio"}]}
        yield {"role": "assistant", "content": [{"type": "text", "text": said["txt"]}, *speech]}

    def clips(self, row: int) -> list[Tensor]:
        if self.layout == "text2text" or self.layout.startswith("text2token"):
            return []
        past = [torch.from_numpy(self.golden[f"history_{row}_{number}_wav"]).T for number in self.turns(row)]
        length = self.golden["batch_feats_lengths"][row]
        return [*past, torch.from_numpy(self.golden["batch_feats"][row, :length]).T]


def forward_differences(forward: Forward, model: OsumForConditionalGeneration) -> dict[str, float]:
    """Largest differences at attended positions, of the loss and of the gradient norms."""
    golden, batch = forward.golden, forward.batch()
    model.zero_grad()
    audio = {name: batch.get(name) for name in ("input_features", "feature_attention_mask")}
    embeddings = model.model.embed_inputs(batch["input_ids"], **audio)
    mask = batch["attention_mask"]
    hidden = model.model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    logits = model.compute_logits(hidden)
    text, speech = logits.detach().split([model.num_text_ids, 4097], dim=-1)
    loss = model(**batch).loss
    loss.backward()
    mine, theirs = mask.bool(), torch.from_numpy(golden["attention_mask"])

    def apart(ours: Tensor, name: str) -> float:
        return float((ours.detach()[mine] - torch.from_numpy(golden[name])[theirs]).abs().max())

    return {
        "inputs": apart(embeddings, "inputs_embeds"),
        "hidden": apart(hidden, "hidden_last"),
        "text_lse": apart(text.logsumexp(-1), "text_logits_logsumexp"),
        "speech_lse": apart(speech.logsumexp(-1), "speech_logits_logsumexp"),
        "loss": abs(loss.item() - float(golden["loss"])) / float(golden["loss"]),
        "gradients": gradient_difference(model, json.loads(str(golden["grad_norms"]))),
    }


def gradient_difference(model: OsumForConditionalGeneration, golden: Mapping[str, float]) -> float:
    """Largest relative difference of a gradient norm."""
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    pairs = [(norms.get(str(to_ours(name)), 0.0), norm) for name, norm in golden.items() if norm > 1e-9]
    return max(abs(ours - theirs) / theirs for ours, theirs in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parity", type=Path, help="the folder with state_dict.safetensors and the .npz files")
    parity = parser.parse_args().parity
    model = whole_model(parity)
    processor = processor_of(model)
    over = False
    for layout in LAYOUTS:
        golden = dict(np.load(parity / f"forward_{layout}.npz"))
        found = forward_differences(Forward(layout, golden, processor), model)
        over |= any(value > BARS[name] for name, value in found.items())
        print(f"{layout:28}", *(f"{name} {value:.1e}" for name, value in found.items()))
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())
