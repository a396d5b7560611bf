"""The golden batches and decodings of OSUM-EChat as our processor lays them out (specification echat 1.5, 1.6, 2).

Shared by the tests, which hold a part of the original's values, and by benchmarks/echat_parity.py, which holds all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from osum.checkpoints.convert.release import ECHAT
from osum.dialogue import modes
from osum.dialogue.modes import RELEASED, Mode
from osum.model import OsumForConditionalGeneration, OsumProcessor
from osum.model.answer_plan import AnswerPlan, Limits
from osum.model.spoken_answer import SpokenAnswer
from osum.model.templates import ECHAT_TRAINING_HISTORY

from .tiny import QWEN_CONTROL_IDS, byte_tokenizer

UNKNOWN_ID, TEXT_END = 7672, 151_645
EDGE = 151_936 + 4096
TALKED = {8: TEXT_END, 9: EDGE, 30: EDGE}
AUDIO_TOKENS = 9
"""Audio tokens of the clip that most golden prompts hold."""
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
        template = ECHAT_TRAINING_HISTORY if self.layout.endswith("history") else None
        conversations = [self.conversation(row) for row in rows]
        texts = [processor.render(conversation, template=template) for conversation in conversations]
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


GENERATIONS: dict[str, tuple[Mode, dict[int, int]]] = {
    "t2t": (RELEASED["text_to_text"], {10: TEXT_END}),
    "s2t_understanding": (RELEASED["understand"], {10: TEXT_END}),
    "s2t_chat": (RELEASED["speech_to_text"], {10: TEXT_END}),
    "s2t_chat_think": (RELEASED["speech_to_text_think"], {10: TEXT_END}),
    "tts": (RELEASED["speak"], {20: EDGE}),
    "s2s": (RELEASED["talk"], TALKED),
    "s2s_think": (RELEASED["talk_think"], TALKED),
    "s2s_turn1": (RELEASED["talk"], TALKED),
    "s2s_turn2": (RELEASED["talk"], TALKED),
}
"""Mode, and the ids that the golden decoding forced at which steps."""


def plan_of(name: str, processor: OsumProcessor) -> AnswerPlan:
    """The plan of a golden decoding, with the ids that it forced as a rule."""
    mode, forced = GENERATIONS[name]

    def rule(answer: Sequence[int]) -> Limits | None:
        token = forced.get(len(answer))
        return None if token is None else Limits(only=frozenset((token,)))

    return AnswerPlan(
        processor.speech_ids, TEXT_END, mode.says != "speech", mode.says != "text", begin_forced=False, rules=(rule,)
    )


def prompt_of(name: str, length: int, first_turn: Sequence[int], processor: OsumProcessor) -> Tensor:
    """Joint ids (1, length) of a golden prompt; its last clip is as long as makes the length right.

    `first_turn` are the ids of `s2s_turn1`, as the release returns them.
    """
    mode, _ = GENERATIONS[name]
    audio = [{"type": "audio"}]
    question = [] if mode.says == "speech" or name == "t2t" else audio
    written = {"s2t_understanding": "transcribe this", "t2t": "hello", "tts": "hello"}.get(name)
    parts = ([{"type": "text", "text": written}] if written else []) + question
    turns: list[dict[str, Any]] = [{"role": "system", "content": mode.system_prompt}]
    given = []
    if name == "s2s_turn2":
        end = list(first_turn).index(TEXT_END)
        # The release leaves out the last text id too (echat 2.4).
        given = [first_turn[: end - 1], [processor.speech_ids.first + code for code in first_turn[end + 1 :]]]
        turns += [
            {"role": "user", "content": audio},
            {"role": "assistant", "content": [{"type": "ids", "ids": given[0]}, {"type": "speech", "codes": []}]},
        ]
    turns.append({"role": "user", "content": parts})
    text = processor.render(turns, template=mode.template) + ("<|ids|>" if mode.says == "speech" else "")
    given += [[EDGE]] if mode.says == "speech" else []
    clips = text.count("<|audio|>")
    spare = length - len(processor.joint_ids(text, [0] * clips, given))
    lengths = {0: [], 1: [spare], 2: [AUDIO_TOKENS, spare - AUDIO_TOKENS]}[clips]
    return torch.tensor([processor.joint_ids(text, lengths, given)])


def decode(
    name: str, prompt: Tensor, embeddings: Tensor, model: OsumForConditionalGeneration, processor: OsumProcessor
) -> Any:
    """Greedy decoding behind golden embeddings (1, L, D), with the golden run's forced ids; scores kept."""
    return model.generate(
        input_ids=prompt,
        inputs_embeds=embeddings,
        plan=plan_of(name, processor),
        max_new_tokens=40,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )


def released_ids(output: Any, prompt: Tensor, processor: OsumProcessor) -> list[int]:
    """The answer's ids as the release numbers them: speech ids from 0 again."""
    first = processor.speech_ids.first
    return [token - first if token >= first else token for token in output.sequences[0, prompt.shape[1] :].tolist()]


def head_of(logits: Tensor, width: int, model: OsumForConditionalGeneration) -> Tensor:
    """Of a step's joint scores (1, V + S) those of the head that is `width` wide."""
    return logits[0, : model.num_text_ids] if width == model.num_text_ids else logits[0, model.num_text_ids :]
