"""Labels and replies by a language model that reads what was said, behind any OpenAI-compatible endpoint.

Prompts are those of `prompts/*.yaml`: a system text, and a form that is filled with fields of the row. An answer is a
JSON object of a fixed schema; the client asks again where it is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import yaml
from msgspec import Meta

from osum.checkpoints.revision import revision_of
from osum.errors import EndpointError, EndpointUnusableError, OsumError, RecipeError
from osum.peers.budget import Prices
from osum.peers.completion import CompletionRequest, Messages, Schema
from osum.peers.language_model import Endpoint, LanguageModel
from osum.peers.local_language_model import LocalLanguageModel
from osum.pipeline.row import DropError, Row, Vote
from osum.pipeline.step import ModelStep, digest, step
from osum.records import from_row, unknown
from osum.scoring import mixed_units
from osum.tasks import OSUM, REPLY_EMOTIONS, LabelSet
from osum.text import repetition

PROMPTS = Path(__file__).parents[1] / "prompts"
OTHER_NAMES = (
    *("chatgpt", "gpt-4", "openai", "claude", "anthropic", "qwen", "gemini", "deepseek", "siri", "alexa"),
    *("language model", "通义", "文心", "豆包", "小爱同学", "语言模型", "人工智能助手"),
)
"""Names of assistants, and words that no person says of herself: a reply with one is left out."""


@dataclass(frozen=True)
class WritingPrompt:
    """One question to a language model."""

    system: str
    user: str
    """With `{text}` and other names in braces, which the asker fills in."""
    version: int = 1


@cache
def prompt_named(name: str, language: str) -> WritingPrompt:
    """A prompt of the repository.

    Raises:
        RecipeError: there is none of that name in that language.
    """
    known: dict[str, Any] = yaml.safe_load((PROMPTS / f"{name}.yaml").read_text("utf-8"))
    if language not in known:
        raise RecipeError(f"prompt {name} has no language {language!r}: {unknown(language, list(known), 'languages')}")
    return from_row(WritingPrompt, known[language])


@dataclass(frozen=True)
class EndpointOptions:
    """Which language model, and what it may cost."""

    model: str
    """As the endpoint names it; without `url` the folder of a model of transformers, which is run here."""
    url: str = ""
    """Base address, such as `http://127.0.0.1:8000/v1`; the key is in `OSUM_LLM_KEY`."""
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Meta(ge=1, le=100_000)] = 512
    seed: int = 0
    parallel: Annotated[int, Meta(ge=1, le=512)] = 8
    """Requests in flight."""
    prices: tuple[float, float] = (0.0, 0.0)
    """Of a million tokens read and written, in any one currency."""
    max_cost: float = 0.0
    """The most that one process may spend; 0 is no limit."""
    timeout: Annotated[float, Meta(gt=0)] = 120.0  # s
    patience: Annotated[int, Meta(ge=1, le=100)] = 8
    """Tries of one request; the wait before each is twice that before the last, up to two minutes: 8 tries last over
    four minutes, 12 more than ten."""
    device: str = ""
    """Of a folder, as are `dtype` and `batch_size`; empty is the best that there is."""
    dtype: str = ""
    batch_size: Annotated[int, Meta(ge=1, le=1024)] = 16

    def open(self) -> LanguageModel | LocalLanguageModel:
        """The client, whose key comes from the environment, or the model of a folder."""
        if not self.url:
            return LocalLanguageModel(Path(self.model), self.device, self.dtype, self.batch_size)
        endpoint = Endpoint.from_environment(self.url, timeout=self.timeout, tries=self.patience)
        prices = Prices(*self.prices) if any(self.prices) else None
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        return LanguageModel(
            endpoint,
            self.model,
            prices=prices,
            max_cost=self.max_cost or None,
            **settings,  # type: ignore[arg-type]
        )

    def told(self) -> dict[str, Any]:
        """What decides an answer."""
        told = {name: getattr(self, name) for name in ("model", "temperature", "max_tokens", "seed")}
        if self.url:
            return told
        if not Path(self.model).is_dir():
            raise RecipeError(
                f"model {self.model!r} is no folder: name one, or the url of an endpoint that has the model"
            )
        return {**told, "model": revision_of(Path(self.model)), "dtype": self.dtype}

    @property
    def name(self) -> str:
        """Of the model, for votes and cards."""
        return self.model if self.url else Path(self.model).name

    def request(self, messages: Messages, schema: Schema) -> CompletionRequest:
        """What a model that runs here is asked; its name is that of what it is, not of where it is stored."""
        return CompletionRequest(self.name, messages, schema, self.temperature, self.max_tokens, self.seed)


class WritingStep(ModelStep):
    """A step that asks a language model; its answers are the values of a schema, and what they cost is counted."""

    batch = 64
    endpoint: EndpointOptions

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.endpoint = options.endpoint
        self._model: LanguageModel | LocalLanguageModel | None = None

    @property
    def local(self) -> bool:
        """See `ModelStep`."""
        return not self.endpoint.url

    def messages(self, row: Row) -> list[dict[str, str]]:
        """What is asked about a row; raises DropError where nothing can be asked."""
        raise NotImplementedError

    def schema(self, row: Row) -> Schema:
        """What an answer must be."""
        raise NotImplementedError

    def identity(self) -> str:
        """See `ModelStep`."""
        return f"{self.endpoint.told()} {type(self).__name__}"

    def given(self, row: Row) -> str:
        """See `ModelStep`."""
        return digest(f"{self.messages(row)} {asdict(self.schema(row))}")

    def answer(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `ModelStep`."""
        model = self._model = self._model or self.endpoint.open()
        if isinstance(model, LocalLanguageModel):
            found = model.ask([self.endpoint.request(self.messages(row), self.schema(row)) for row in rows])
            return [_unusable(one) if isinstance(one, EndpointError) else dict(one.values) for one in found]
        with ThreadPoolExecutor(min(self.endpoint.parallel, len(rows))) as pool:
            return list(pool.map(partial(self._ask, model), rows))

    def _ask(self, model: LanguageModel, row: Row) -> Any:
        try:
            return dict(model.complete(self.messages(row), self.schema(row)).values)
        except EndpointUnusableError:
            raise
        except EndpointError as fault:
            return _unusable(fault)
        except OsumError as fault:
            return fault


def _unusable(fault: EndpointError) -> DropError:
    return DropError("refused" if str(fault).startswith("refused") else "no usable answer", str(fault))


@dataclass(frozen=True)
class JudgeTextOptions:
    """Of `ask_text`."""

    endpoint: EndpointOptions
    of: str = "style"
    """The label set, such as `style` or `emotion`."""
    language: str = ""
    """Of the prompt; that of the row without it, or English."""
    name: str = ""
    """Of the voter; the model's without it."""


@step("ask_text", version=1)
class AskText(WritingStep):
    """Ask a language model for a label by the transcript alone: one vote (style, emotion)."""

    options: JudgeTextOptions

    def __init__(self, options: JudgeTextOptions) -> None:
        super().__init__(options)
        self._labels: LabelSet = OSUM.find(options.of).label_sets[0]

    def identity(self) -> str:
        """See `ModelStep`."""
        prompts = [asdict(prompt_named("label", language)) for language in ("en", "zh")]
        return f"{super().identity()} {self.options.of} {self.options.language} {digest(str(prompts))}"

    def messages(self, row: Row) -> list[dict[str, str]]:
        """See `WritingStep`."""
        if not row.utterance.text:
            raise DropError("no text", "to ask about")
        prompt = prompt_named("label", _prompt_language(self.options.language, row))
        filled = {"text": row.utterance.text, "labels": ", ".join(self._labels.labels), "what": self.options.of}
        return prompt_filled(prompt, filled)

    def schema(self, row: Row) -> Schema:  # noqa: ARG002
        """See `WritingStep`."""
        return Schema("label", {"label": (*self._labels.labels, "unclear")})

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        label = None if answer["label"] == "unclear" else answer["label"]
        name = self.options.name or self.endpoint.name
        return row.voted(self.options.of, Vote(name, label, digest(self.identity())))


@dataclass(frozen=True)
class ReplyOptions:
    """Of `reply`."""

    endpoint: EndpointOptions
    language: str = ""
    longest: Annotated[int, Meta(ge=1)] = 120
    """Words or characters of a reply."""
    only_if_asked: bool = True
    """Leave out sentences that, as the model says, deserve no answer (the paper picks them so)."""


@step("reply", version=1)
class ReplyTo(WritingStep):
    """Let a language model answer what is said, and leave out what deserves no answer or is answered badly."""

    options: ReplyOptions

    def identity(self) -> str:
        """See `ModelStep`."""
        prompts = [asdict(prompt_named("reply", language)) for language in ("en", "zh")]
        return f"{super().identity()} {self.options.language} {digest(str(prompts))}"

    def messages(self, row: Row) -> list[dict[str, str]]:
        """See `WritingStep`."""
        if not row.utterance.text:
            raise DropError("no text", "to answer")
        cues = ", ".join(f"{name}: {label}" for name, label in sorted(row.utterance.labels.items())) or "-"
        prompt = prompt_named("reply", _prompt_language(self.options.language, row))
        return prompt_filled(prompt, {"text": row.utterance.text, "cues": cues})

    def schema(self, row: Row) -> Schema:  # noqa: ARG002
        """See `WritingStep`."""
        return Schema("reply", {"deserves_answer": ("yes", "no"), "reply": None, "emotion": REPLY_EMOTIONS.labels})

    def apply(self, row: Row, answer: Any) -> Row:
        """See `ModelStep`."""
        if self.options.only_if_asked and answer["deserves_answer"] == "no":
            raise DropError("deserves no answer")
        check_reply(answer["reply"], self.options.longest)
        replied = row.labelled("reply", answer["reply"].strip(), self.endpoint.name)
        return replied.labelled("reply_emotion", answer["emotion"], self.endpoint.name)


def check_reply(said: str, longest: int) -> None:
    """Leave out replies that are empty, too long, in a loop, marked up, or say that a machine speaks.

    Raises:
        DropError: the reply is left out.
    """
    count = len(mixed_units(said))
    if not 1 <= count <= longest:
        raise DropError("reply too long" if count else "reply is empty", f"{count} words or characters")
    if repetition(said):
        raise DropError("reply in a loop", said[-60:])
    if named := next((name for name in OTHER_NAMES if name in said.lower()), None):
        raise DropError("reply names an assistant", named)
    if any(mark in said for mark in ("```", "**", "<", ">", "http", "\n- ", "\n1.")):
        raise DropError("reply is marked up", said[:60])


def _prompt_language(told: str, row: Row) -> str:
    found = told or row.utterance.language or "en"
    return found if found in ("en", "zh") else "en"


def prompt_filled(prompt: WritingPrompt, values: Mapping[str, str]) -> list[dict[str, str]]:
    """The messages of a prompt whose names in braces are filled in; braces in the values stay as they are."""
    user = prompt.user
    for name, value in values.items():
        user = user.replace("{" + name + "}", value)
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}]
