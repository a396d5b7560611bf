"""Wish: what a request for a transcription asks for, read from its form and checked (serving.md 1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from osum.engine.options import MAX_SEED, MIN_TEMPERATURE, GenerationOptions, LabelOptions
from osum.results.subtitle_options import SubtitleOptions
from osum.server.faults import bad
from osum.server.form import Fields

SHAPES = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
VAD_KEYS = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms")
LINES = SubtitleOptions(max_line_width=42, max_line_count=2)
"""Of subtitles, as broadcasters have it."""
MAX_SPEAKERS = 4


@dataclass(frozen=True)
class Wish:
    """What a client wants to know about its recording."""

    shape: str = "json"
    words: bool = False
    segments: bool = False
    log_probs: bool = False
    stream: bool = False
    tasks: tuple[str, ...] = ()
    """Labels that are asked for on top, by names of tasks, tags or label sets."""
    languages: tuple[str, ...] = ()
    """Codes of the languages that it may be in; one for the one it is in."""
    temperature: float = 0.0
    seed: int | None = None
    lines: SubtitleOptions = LINES
    translate: bool = False
    ignored: tuple[str, ...] = ()
    """Parameters that were given and change nothing."""

    @classmethod
    def of(cls, fields: Fields, translate: bool = False) -> Wish:
        """Read a form.

        Raises:
            ApiError: 400, with the parameter that is at fault.
        """
        shape = fields.one_of("response_format", SHAPES, "json")
        if shape == "diarized_json":
            raise bad(
                "response_format is 'diarized_json': no model here separates speakers; use 'verbose_json'",
                "response_format",
                "unsupported_value",
            )
        times = fields.some_of("timestamp_granularities", ("word", "segment"))
        if times and shape != "verbose_json":
            raise bad(f"timestamp_granularities need response_format 'verbose_json', not {shape!r}",
                      "timestamp_granularities")  # fmt: skip
        include = fields.some_of("include", ("logprobs",))
        if include and shape not in ("json", "verbose_json"):
            raise bad(f"include[]=logprobs needs response_format 'json' or 'verbose_json', not {shape!r}", "include")
        stream = fields.flag("stream")
        if stream and shape in ("srt", "vtt"):
            raise bad(f"a stream of {shape!r}: stream 'json', or leave stream out", "stream")
        seed = int(fields.number("seed", 0, MAX_SEED, -1)) if fields.text("seed") else None
        return cls(
            shape=shape,
            words="word" in times,
            segments=shape == "verbose_json" and set(times) != {"word"},
            log_probs=bool(include),
            stream=stream,
            tasks=tuple(name for given in fields.all("tasks") for name in given.split(",") if name.strip()),
            languages=_languages(fields),
            temperature=fields.number("temperature", 0, 1, 0),
            seed=seed,
            lines=_lines(fields),
            translate=translate,
            ignored=_ignored(fields),
        )

    @property
    def detailed(self) -> bool:
        """Whether the body says more than the text."""
        return self.shape == "verbose_json"

    @property
    def subtitles(self) -> bool:
        """Whether the body is a subtitle file."""
        return self.shape in ("srt", "vtt")

    @property
    def generation(self) -> GenerationOptions:
        """Greedy at a temperature of 0, as Whisper's."""
        if not self.temperature:
            return GenerationOptions()
        warmth = max(self.temperature, MIN_TEMPERATURE)
        return GenerationOptions(do_sample=True, top_k=0, temperature=warmth, seed=self.seed)

    def options(self, tasks: tuple[str, ...], timed: bool) -> LabelOptions:
        """How a model is asked; a stream window by window, so that its pieces come in order."""
        return LabelOptions(
            tasks=tasks, word_times=timed, generation=self.generation, batch_size=1 if self.stream else 8
        )


def _languages(fields: Fields) -> tuple[str, ...]:
    given = tuple(code.lower() for code in (*fields.all("languages"), *([fields.text("language") or ""])) if code)
    for code in given:
        if not re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", code):
            raise bad(f"language is {code[:20]!r}: it must be a code such as 'en' or 'zh'", "language")
    return tuple(dict.fromkeys(code.partition("-")[0] for code in given))


def _lines(fields: Fields) -> SubtitleOptions:
    width = fields.number("max_line_width", 1, 10_000, LINES.max_line_width or 0)
    return SubtitleOptions(int(width), int(fields.number("max_line_count", 1, 100, LINES.max_line_count or 0)))


def _ignored(fields: Fields) -> tuple[str, ...]:
    """What is checked and changes nothing: no model here takes hot words, a context or references of speakers."""
    chunking = fields.record("chunking_strategy")
    if isinstance(chunking, str) and chunking != "auto":
        raise bad(f"chunking_strategy is {chunking[:40]!r}: use 'auto' or an object of type 'server_vad'",
                  "chunking_strategy")  # fmt: skip
    numbers: list[str] = []
    if chunking is not None and not isinstance(chunking, str):
        if chunking.get("type") != "server_vad" or set(chunking) - set(VAD_KEYS):
            raise bad("chunking_strategy must be 'auto' or {type: server_vad} with threshold, prefix_padding_ms and "
                      "silence_duration_ms", "chunking_strategy")  # fmt: skip
        numbers = [f"chunking_strategy[{key}]" for key in VAD_KEYS[1:] if key in chunking]
        for key in VAD_KEYS[1:]:
            _check_number(chunking.get(key, 0), f"chunking_strategy[{key}]")
    for name in ("known_speaker_names", "known_speaker_references"):
        if len(fields.all(name)) > MAX_SPEAKERS:
            raise bad(f"{name} has more than {MAX_SPEAKERS} entries: give at most so many", name)
    given = [name for name in ("prompt", "keywords", "known_speaker_names", "known_speaker_references", "vad_filter")
             if any(fields.all(name))]  # fmt: skip
    return (*given, *numbers)


def _check_number(value: object, name: str) -> None:
    try:
        fits = 0 <= float(value) <= 1e6  # type: ignore[arg-type]
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise bad(f"{name} is {str(value)[:40]!r}: it must be a number of 0 or more", name)
