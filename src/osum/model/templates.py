"""How a conversation becomes text: the templates of the three layouts and of the releases.

A template writes text, and a placeholder for everything that is not text: `<|audio|>` for one clip between its begin
and end ids, `<|bare_audio|>` for one without them, `<|ids|>` for ids that are given as they are, such as spoken codes.
"""

from __future__ import annotations

AUDIO, BARE_AUDIO, IDS = "<|audio|>", "<|bare_audio|>", "<|ids|>"
PLACEHOLDERS = (AUDIO, BARE_AUDIO, IDS)

_SYSTEM = (
    "{% if system_prompt and messages[0]['role'] != 'system' %}"
    "<|im_start|>system\n{{ system_prompt }}<|im_end|>\n{% endif %}"
)
_WRITTEN = (
    "{% macro written(message) %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio|>{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'ids' %}<|ids|>{% endif %}"
    "{% endfor %}{% endif %}{% endmacro %}"
)
_SPOKEN = (
    "{% macro spoken(message) %}{% if message['content'] is not string %}"
    "{% for part in message['content'] %}{% if part['type'] == 'speech' %}<|ids|>{% endif %}{% endfor %}"
    "{% endif %}{% endmacro %}"
)
_ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

CHATML = (
    _WRITTEN + _SPOKEN + _SYSTEM + "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ written(message) }}<|im_end|>{{ spoken(message) }}\n{% endfor %}" + _ASK
)
"""ChatML of Qwen (echat 1.5). What a turn says aloud stands behind its `<|im_end|>`, as the model generates it."""

PROMPT_FIRST = (
    "{% for part in messages[0]['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
"""The OSUM release: the bare prompt, then the speech (specification 1.5)."""

_FIRST_SYSTEM = "<|im_start|>system\n{{ written(messages[0]) }}<|im_end|>\n"
_PAST = "{% for message in messages[1:-1] %}"

ECHAT_TRAINING_HISTORY = (
    _WRITTEN + _SPOKEN + _FIRST_SYSTEM + "<|im_start|>user\n" + _PAST + "{% if message['role'] == 'user' %}"
    "{{ written(message) | replace('<|audio|>', '<|bare_audio|>') }}<|im_end|>\n<|im_end|>\n<|im_start|>assistant\n"
    "{% else %}{{ written(message) }}{{ spoken(message) }}<|im_end|>\n<|im_start|>user\n{% endif %}{% endfor %}"
    "{{ written(messages[-1]) }}<|im_end|>\n" + _ASK
)
"""History as OSUM-EChat was trained on (echat 2.4): earlier clips without begin and end, their turn's end twice."""

ECHAT_INFERENCE_HISTORY = (
    _WRITTEN + _SPOKEN + _FIRST_SYSTEM + _PAST + "{% if message['role'] == 'user' %}"
    "{{ written(message) }}<|im_end|>\n<|im_start|>assistant\n"
    "{% else %}{{ written(message) }}{{ spoken(message) }}{% endif %}{% endfor %}"
    "<|im_start|>user\n{{ written(messages[-1]) }}<|im_end|>\n" + _ASK
)
"""History as the released OSUM-EChat decodes with it (echat 2.4): no user start and no turn end between turns."""

ECHAT_INFERENCE_THINK = _WRITTEN + _FIRST_SYSTEM + "{{ written(messages[-1]) }}<|im_end|>\n" + _ASK
"""The released speech-to-text with thinking at inference (echat 2.2): the clip follows the system turn directly."""
