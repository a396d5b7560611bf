"""Chat completions: a request with its schema, and the answer to it. Knows nothing of connections."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from osum.errors import EndpointError

Messages = Sequence[Mapping[str, Any]]
"""In OpenAI's form: `[{"role": "system", "content": "..."}, {"role": "user", "content": "..."}]`."""

_SHORT = 200  # characters of what a server says that a message quotes
_THOUGHTS = re.compile(r"(?s)^\s*<think>.*?</think>")
_REFUSAL = re.compile(
    r"\W*(sorry|i['’]?m sorry|i am sorry|i apologi[sz]e|i can(no|['’])t|i['’]?m (unable|not able)"
    r"|i am (unable|not able)|i (won['’]t|will not|must decline)|as an ai|很?抱歉|对不起|我(无法|不能)"
    r"|作为(一个|一名)?(ai|人工智能|语言模型))",
    re.IGNORECASE,
)
"""How models begin to refuse where the server has no field for it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A flat JSON object that an answer has to be."""

    name: str
    fields: Mapping[str, tuple[int, ...] | tuple[str, ...] | None]
    """The values that each field may take; None is any text."""

    def to_json(self) -> dict[str, Any]:
        """As JSON schema, in the part of it that strict servers take."""
        return {
            "type": "object",
            "properties": {name: _property(known) for name, known in self.fields.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }

    def read(self, text: str) -> Mapping[str, Any]:
        """The object in an answer; thoughts before it and a fence around it do no harm.

        Raises:
            ValueError: there is none, or it does not fit.
        """
        text = _THOUGHTS.sub("", text)
        start = text.find("{")
        if start < 0:
            raise ValueError("no JSON object")
        values: dict[str, Any] = json.JSONDecoder().raw_decode(text[start:])[0]
        if set(values) != set(self.fields):
            raise ValueError(f"fields {', '.join(sorted(values)) or '(none)'} instead of {', '.join(self.fields)}")
        for name, known in self.fields.items():
            value = values[name]
            if isinstance(value, bool) or (value not in known if known else not isinstance(value, str)):
                raise ValueError(f"{name} is {short(repr(value))}")
        return values


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """All that decides an answer, wherever it is asked."""

    model: str
    messages: Messages
    schema: Schema | None = None
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the request, under which its answer is kept."""
        asked = asdict(self)
        if [message["role"] for message in self.messages] == ["system", "user"]:
            # How every request was hashed when it had these two texts; answers that were paid for then still count.
            asked |= {message["role"]: message["content"] for message in asked.pop("messages")}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def body(self, dropped: tuple[str, ...] = ()) -> bytes:
        """The JSON that is sent, without what the server refuses."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
        }
        if "max_tokens" in dropped:  # newer models know it by another name
            body["max_completion_tokens"] = self.max_tokens
        if self.schema is not None and "json_schema" not in dropped:
            form = {"name": self.schema.name, "strict": True, "schema": self.schema.to_json()}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.schema is not None and "json_object" not in dropped:
            body["response_format"] = {"type": "json_object"}
        sent = {name: value for name, value in body.items() if name not in dropped}
        return json.dumps(sent, ensure_ascii=False).encode("utf-8", "replace")

    def plainer(self, dropped: tuple[str, ...], said: str) -> tuple[str, ...] | None:
        """What to leave out next, after a server has refused this; None where nothing is left to leave out."""
        named = [name for name in ("temperature", "seed", "max_tokens") if name in said]
        formats = ["json_schema", "json_object"] if self.schema else []
        more = next((name for name in [*named, *formats] if name not in dropped), None)
        return None if more is None else (*dropped, more)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer that fits the request's schema."""

    text: str
    values: Mapping[str, Any]
    """By the schema; empty where there is none."""
    prompt_tokens: int | None
    completion_tokens: int | None
    """None where the server does not count."""
    served_by: str | None
    """The model as the server names it."""
    dropped: tuple[str, ...] = ()
    """What the server refused of the request: json_schema, json_object, seed, temperature, max_tokens."""
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What a server answers with status 200."""

    text: str
    refusal: str | None
    finished: str | None
    served_by: str | None
    tokens: tuple[int, int] | None
    """Of what was sent and of what was answered."""

    @classmethod
    def of(cls, completion: Any) -> Message:
        """The first choice of a chat completion as the SDK builds it, which checks no field.

        Raises:
            ValueError: it is none.
        """
        try:
            choice, usage = completion.choices[0], completion.usage
            content, refusal = choice.message.content, choice.message.refusal
            counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
            finished, served_by = choice.finish_reason, completion.model
        except (AttributeError, IndexError, TypeError):
            raise ValueError(f"no chat completion: {short(str(completion))!r}") from None
        return cls(_text(content) or "", _text(refusal), _text(finished), _text(served_by), _tokens(*counts))

    def reply(self, request: CompletionRequest, dropped: tuple[str, ...]) -> Completion:
        """The answer, read.

        Raises:
            EndpointError: the model refuses.
            ValueError: it does not fit the schema.
        """
        if self.refusal or self.finished == "content_filter":
            raise EndpointError(f"refused: {short(self.refusal or 'content filter')}")
        try:
            values = request.schema.read(self.text) if request.schema else {}
        except (ValueError, RecursionError) as fault:
            if _REFUSAL.match(self.text):
                raise EndpointError(f"refused: {short(self.text)}") from None
            cut = ", cut off: allow more tokens" if self.finished == "length" else ""
            raise ValueError(f"{fault} in {short(self.text)!r}{cut}") from None
        prompt, completion = self.tokens or (None, None)
        return Completion(self.text, values, prompt, completion, self.served_by, dropped)


def error_text(body: object) -> str:
    """The reason in an error's body (already parsed where it was JSON), whichever of the usual shapes it has."""
    if isinstance(body, dict):
        return " ".join(str(body[name]) for name in ("message", "detail", "code", "param") if body.get(name))
    return str(body or "")


def retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 without one."""
    if value is None:
        return 0.0
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def short(said: str) -> str:
    """One short line that a terminal can show."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
    return line if len(line) <= _SHORT else f"{line[:_SHORT]} ..."


def _property(known: tuple[int, ...] | tuple[str, ...] | None) -> dict[str, Any]:
    if known is None:
        return {"type": "string"}
    return {"type": "integer" if isinstance(known[0], int) else "string", "enum": list(known)}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _tokens(prompt: Any, completion: Any) -> tuple[int, int] | None:
    counted = all(type(count) is int and count >= 0 for count in (prompt, completion))
    return (prompt, completion) if counted else None
