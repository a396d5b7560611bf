"""Bodies: an Utterance in OpenAI's transcription bodies (serving.md 1.2). Pure values."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

from osum.engine.request import EngineReply
from osum.results.subtitles import render_srt, render_vtt
from osum.server.wish import Wish
from osum.text import is_chinese
from osum.utterance import Answer, Segment, Utterance, Word

LANGUAGES = {"en": "english", "zh": "chinese"}
"""Names as Whisper has them; another code stands for itself."""
UNKNOWN = "unknown"
Spell = Callable[[int], bytes]
"""From an id of a token to its bytes."""


def subtitles(row: Utterance, wish: Wish) -> str:
    """SubRip or WebVTT."""
    return (render_srt if wish.shape == "srt" else render_vtt)(row, wish.lines)


def plain(row: Utterance, wish: Wish, replies: Sequence[EngineReply], spell: Spell) -> dict[str, Any]:
    """The body of `json`."""
    code = language_of(row, wish)
    body: dict[str, Any] = {"text": row.text or "", "languages": [{"code": code}] if code else []}
    if wish.log_probs:
        body["logprobs"] = log_probs(replies, spell)
    return {**body, "usage": usage(row), **own(row, wish)}


def verbose(row: Utterance, wish: Wish, replies: Sequence[EngineReply], spell: Spell) -> dict[str, Any]:
    """The body of `verbose_json`, whose `words` and `segments` are there where they are asked for, as whisper-1's."""
    code = language_of(row, wish) or UNKNOWN
    body: dict[str, Any] = {
        "task": "translate" if wish.translate else "transcribe",
        "language": LANGUAGES.get(code, code),
        "duration": row.duration or 0.0,
        "text": row.text or "",
    }
    if wish.words:
        body["words"] = [_word(word, wish) for word in row.words]
    if wish.segments:
        body["segments"] = _segments(row, wish, replies)
    if wish.log_probs:
        body["logprobs"] = log_probs(replies, spell)
    return {**body, "usage": usage(row), **own(row, wish)}


def usage(row: Utterance) -> dict[str, Any]:
    """What it is counted by."""
    return {"type": "duration", "seconds": round(row.duration or 0.0, 3)}


def log_probs(replies: Sequence[EngineReply], spell: Spell) -> list[dict[str, Any]]:
    """Each token of the transcript with its log-probability."""
    found = []
    for reply in replies:
        for token, value in zip(reply.ids, reply.log_probs, strict=False):
            content = spell(token)
            found.append({"token": content.decode("utf8", "replace"), "bytes": list(content), "logprob": value})
    return found


def language_of(row: Utterance, wish: Wish) -> str | None:
    """The code of the language: the one that was said, the likeliest of those it may be, or the one recognised."""
    if wish.translate:
        return "en"
    if len(wish.languages) == 1:
        return wish.languages[0]
    answer = row.summary.get("LID")
    if wish.languages and answer is not None and answer.distribution:
        among = {code: answer.distribution[code] for code in wish.languages if code in answer.distribution}
        if among:
            return max(among, key=among.__getitem__)
    return row.language


def own(row: Utterance, wish: Wish) -> dict[str, Any]:
    """What no stock body has, under one key; nothing where there is nothing to say."""
    found: dict[str, Any] = {}
    if wish.tasks:
        found = {
            "labels": dict(row.labels),
            "answers": {name: _answer(answer) for name, answer in row.summary.items()},
            "events": [
                {"event": event.event, "start": event.start, "end": event.end, "probability": event.probability}
                for event in row.events
            ],
            "reply": row.reply,
            "model": row.model,
            "revision": row.revision,
        }
    if wish.ignored:
        found["ignored"] = list(wish.ignored)
    if row.warnings:
        found["warnings"] = list(row.warnings)
    return {"osum": found} if found else {}


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "label": answer.label,
        "probability": answer.probability,
        "distribution": None if answer.distribution is None else dict(answer.distribution),
        "evidence": answer.evidence,
    }


def _word(word: Word, wish: Wish) -> dict[str, Any]:
    body = {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
    own = {"osum": {"confidence": word.confidence, "estimated": word.estimated}} if wish.tasks else {}
    return {**body, **own}


def _segments(row: Utterance, wish: Wish, replies: Sequence[EngineReply]) -> list[dict[str, Any]]:
    """The segments in which something is said, each with what was decoded for it."""
    waiting = iter(replies)
    found: list[dict[str, Any]] = []
    for segment in row.segments:
        reply = next(waiting, None) if segment.labels else None  # a silence was asked nothing
        if segment.text or (wish.tasks and segment.labels):
            found.append(_segment(segment, len(found), wish, reply))
    return found


def _segment(segment: Segment, number: int, wish: Wish, reply: EngineReply | None) -> dict[str, Any]:
    log_probs = reply.log_probs if reply else ()
    content = segment.text.encode()
    body: dict[str, Any] = {
        "id": number,
        "seek": round(segment.start * 100),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text if is_chinese(segment.text[:1]) else f" {segment.text}",
        "tokens": list(reply.ids) if reply else [],
        "temperature": wish.temperature,
        "avg_logprob": sum(log_probs) / len(log_probs) if log_probs else 0.0,
        "compression_ratio": len(content) / len(zlib.compress(content)) if content else 0.0,
        "no_speech_prob": segment.no_speech_probability or 0.0,
    }
    if wish.tasks:
        answers = {name: _answer(answer) for name, answer in segment.labels.items() if answer.label is not None}
        body["osum"] = {"answers": answers, "reply": segment.reply, "no_speech": segment.no_speech}
    return body
