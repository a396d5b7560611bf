"""Mode: in which form a model is asked and answers. The modes of OSUM-EChat, with its prompts and settings (echat 2).

Knows nothing of models or wire formats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from osum.checkpoints.convert.release import ECHAT
from osum.engine.options import GenerationOptions
from osum.model.templates import CHATML, ECHAT_INFERENCE_HISTORY, ECHAT_INFERENCE_THINK

Says = Literal["text", "speech", "text_then_speech", "in_turns"]
"""What an answer is made of, in its order; `in_turns` is 6 text ids, 18 speech ids, and so on."""


@dataclass(frozen=True)
class Mode:
    """One form of asking and answering."""

    name: str
    system_prompt: str
    """Where a conversation brings none; empty leaves that to the template."""
    says: Says
    options: GenerationOptions
    """How the release decodes in this mode (echat 2.3)."""
    thinks: bool = False
    """Whether the answer begins with a thought."""
    template: str | None = CHATML
    """How its conversation is written; None takes the checkpoint's own template."""

    def in_turns(self, system_prompt: str) -> Mode:
        """The same mode with text and speech in turns, which the release was trained for and cannot decode."""
        return replace(self, name=f"{self.name}_in_turns", says="in_turns", system_prompt=system_prompt)


_BY = "by ASLP Lab."
_CHAT = GenerationOptions(do_sample=True, top_k=2, top_p=1.0, temperature=0.4, repetition_penalty=1.05)
_TALK = GenerationOptions(do_sample=True, top_k=10, top_p=0.9, temperature=1.2, max_new_tokens=2000)

UNDERSTAND = Mode(
    "understand",
    ECHAT.system_prompt,
    "text",
    GenerationOptions(do_sample=True, top_k=5, top_p=0.9, temperature=1.0, repetition_penalty=1.05),
)
SPEECH_TO_TEXT = Mode(
    "speech_to_text",
    f"You are OSUM-chat, a speech-to-text dialogue assistant {_BY} You understand both the meaning and paralinguistic "
    "cues in speech then respond exclusively with appropriate text.",
    "text",
    _CHAT,
)
SPEECH_TO_TEXT_THINK = Mode(
    "speech_to_text_think",
    f"You are OSUM-chat, a thinking-enabled speech-to-text dialogue assistant {_BY} You not only comprehend the "
    "semantic meaning and paralinguistic cues in speech but also engage in deliberate reasoning to process such "
    "information. Based on this thinking process, you then respond exclusively with appropriate text.",
    "text",
    _CHAT,
    thinks=True,
)
TEXT_TO_TEXT = Mode(
    "text_to_text",
    f"You are OSUM-chat, a text-to-text dialogue assistant {_BY} You understand user input in text then respond "
    "exclusively with appropriate text.",
    "text",
    GenerationOptions(max_new_tokens=200),
)
SPEAK = Mode(
    "speak",
    f"You are OSUM-chat, a speech synthesis assistant {_BY} You generate natural and fluent speech from text input.",
    "speech",
    GenerationOptions(do_sample=True, top_k=15, top_p=0.8, temperature=1.2, max_new_tokens=2000),
)
SPEAK_IN_TURNS = SPEAK.in_turns(
    f"You are OSUM-chat, a speech synthesis assistant {_BY} You generate natural speech from text input and output "
    "both audio and the original text in interleaved format."
)
TALK = Mode(
    "talk",
    f"You are OSUM-chat, a speech-to-speech dialogue assistant {_BY} You understand both the meaning and "
    "paralinguistic cues in speech then respond with appropriate text and emotionally matching synthetic speech.",
    "text_then_speech",
    _TALK,
)
TALK_THINK = replace(
    TALK,
    name="talk_think",
    system_prompt=f"You are OSUM-chat, a speech-to-speech dialogue assistant {_BY} You understand both the meaning and "
    "paralinguistic cues in speech. Before responding, first output your reasoning inside <think>...</think end>, "
    "analyzing the user’s words and vocal cues. Then generate a reply with appropriate text and emotionally matched "
    "synthetic speech.",
    thinks=True,
)
TALK_IN_TURNS = TALK.in_turns(
    f"You are OSUM-chat, a speech-to-speech dialogue assistant {_BY} You analyze speech (content + paralinguistic "
    "cues) and respond with interleaved text and emotionally-matched synthetic speech."
)
TALK_THINK_IN_TURNS = TALK_THINK.in_turns(
    f"You are OSUM-chat, a speech-to-speech dialogue assistant {_BY} You analyze speech (both content and "
    "paralinguistic cues). Before responding, output your reasoning in <think>...</think end>. Then reply with "
    "interleaved text and emotionally matched synthetic speech."
)
MODES = {
    mode.name: mode
    for mode in (
        UNDERSTAND,
        SPEECH_TO_TEXT,
        SPEECH_TO_TEXT_THINK,
        TEXT_TO_TEXT,
        SPEAK,
        SPEAK_IN_TURNS,
        TALK,
        TALK_THINK,
        TALK_IN_TURNS,
        TALK_THINK_IN_TURNS,
    )
}
"""Every mode by name."""

PLAIN = Mode("plain", "", "text", GenerationOptions(max_new_tokens=256), template=None)
"""A model of another class, by its own template: greedy, as long as the page of Qwen2-Audio lets it answer."""

RELEASED = MODES | {
    UNDERSTAND.name: replace(
        UNDERSTAND,
        system_prompt="You are OSUM-chat, an audio understanding. You can transcribe speech accurately and "
        "anaosum_echat2e paralinguistic cues to provide precise text responses.",
    ),
    SPEECH_TO_TEXT_THINK.name: replace(SPEECH_TO_TEXT_THINK, template=ECHAT_INFERENCE_THINK),
    TALK.name: replace(TALK, template=ECHAT_INFERENCE_HISTORY),
    TALK_THINK.name: replace(TALK_THINK, template=ECHAT_INFERENCE_HISTORY),
}
"""The modes as the release decodes in them, with the slips of its inference code (echat 2.2, 2.4)."""
