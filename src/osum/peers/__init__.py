"""Models that an evaluation can ask, ours among them, behind one interface.

Knows the name of each back end and loads only the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from osum.errors import InputError
from osum.peers.recogniser import Options, Recogniser
from osum.text import did_you_mean

WITH_MODEL = {
    "whisper": ("osum.peers.whisper", "Whisper"),
    "qwen2-audio": ("osum.peers.qwen2_audio", "Qwen2Audio"),
    "funasr": ("osum.peers.funasr", "Funasr"),
    "talk": ("osum.peers.ours_aloud", "OursAloud"),
    "chat": ("osum.peers.chat_endpoint", "ChatEndpoint"),
    "realtime": ("osum.peers.realtime_endpoint", "RealtimeEndpoint"),
    "omni": ("osum.peers.omni", "Omni"),
    "cascade": ("osum.peers.cascade", "Cascade"),
}
"""Kind to module and class, of those named with a folder or a hub id: `whisper:openai/whisper-small`."""
ALONE = {
    "pocketsphinx": ("osum.peers.pocketsphinx", "PocketSphinx"),
    "pocketsphinx-aligner": ("osum.peers.pocketsphinx", "PocketSphinxAligner"),
    "classical": ("osum.peers.classical", "Classical"),
    "majority": ("osum.peers.floors", "Majority"),
    "source": ("osum.peers.floors", "Source"),
}
"""Those that need no model of one's own."""
OURS = ("osum.peers.ours", "Ours")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "qwen2-audio": ("mode",),
    "funasr": ("hub",),
    "talk": ("codec", "voice", "thinking", "replies"),
    "chat": ("endpoint", "voice", "replies"),
    "realtime": ("endpoint", "voice", "replies"),
    "omni": ("voice", "replies"),
    "cascade": ("endpoint", "llm", "speaker", "replies"),
    "classical": ("train", "valid", "cache"),
    "majority": ("train",),
    "source": ("train",),
}
"""What `Options.extra` may hold for each kind; others have no settings."""


def open_recogniser(name: str, options: Options | None = None, together: Iterable[str] = ()) -> Recogniser:
    """Open a model.

    Args:
        name: `nano`, a checkpoint folder or a hub id of ours; `whisper:`, `qwen2-audio:` or `funasr:` and a folder or
            hub id of theirs; `talk:` and a checkpoint of ours that replies aloud, `omni:` and a Qwen2.5-Omni,
            `chat:` or `realtime:` and a model of an endpoint, `cascade:` and a recogniser;
            `pocketsphinx`, `pocketsphinx-aligner`, `classical`, `majority` or `source`.
        options: how; `extra` holds settings, those of one kind alone as `classical.train`.
        together: other models that are opened with the same options; a setting that one of them has may be theirs.

    Raises:
        InputError: an unknown kind or setting, or no batch.
        CheckpointError: nothing usable under that name.
        MissingExtraError: the back end's package is not installed.
    """
    if options is not None and options.batch_size < 1:
        raise InputError(f"batch size {options.batch_size}: it must be 1 or more")
    kind, colon, model = name.partition(":")
    if colon:
        return _open(kind, WITH_MODEL.get(kind) or _unknown(name, kind), model, options, together)
    if name in WITH_MODEL:
        raise InputError(f"{name!r} needs a model: give a folder or a hub id behind it, as in '{name}:FOLDER'")
    if name in ALONE:
        return _open(name, ALONE[name], name, options, together)
    if not ("/" in name or name == "nano" or Path(name).exists()):
        _unknown(name, name)
    return _open("ours", OURS, name, options, together)


def is_ours(name: str) -> bool:
    """Whether a name means a checkpoint of ours, which carries its tasks."""
    return _kind(name) == "ours"


def _kind(name: str) -> str:
    kind, colon, _ = name.partition(":")
    return kind if colon or name in ALONE else "ours"


def _open(kind: str, home: tuple[str, str], name: str, options: Options | None, together: Iterable[str]) -> Recogniser:
    module, named = home
    opener: Any = getattr(import_module(module), named)
    options = options or Options()
    recogniser: Recogniser = opener.open(name, replace(options, extra=_settings(kind, options.extra, together)))
    return recogniser


def _settings(kind: str, extra: Mapping[str, str], together: Iterable[str]) -> dict[str, str]:
    """The settings of one kind: those without a kind before them, and its own, `classical.train`."""
    kinds = (*WITH_MODEL, *ALONE, "ours")
    known = SETTINGS.get(kind, ())
    theirs = {setting for other in together for setting in SETTINGS.get(_kind(other), ())}
    found: dict[str, str] = {}
    for setting, value in extra.items():
        owner, dot, key = setting.partition(".")
        if dot and owner not in kinds:
            hint = f"{did_you_mean(owner, kinds)}use one of {', '.join(kinds)}"
            raise InputError(f"setting {setting!r}: {owner!r} is no recogniser: {hint}")
        if (dot and owner != kind) or (setting in theirs and setting not in known):
            continue
        if (name := key if dot else setting) not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"{kind} has no setting {name!r}: {hint}it has {', '.join(known) or 'none'}")
        found[name] = value
    return found


def _unknown(name: str, kind: str) -> tuple[str, str]:
    known = [*(f"{kind}:FOLDER" for kind in WITH_MODEL), *ALONE]
    names = {kind: f"{kind}:FOLDER" for kind in WITH_MODEL} | {kind: kind for kind in (*ALONE, "nano")}
    raise InputError(
        f"no recogniser {name!r}: {did_you_mean(kind, names, names)}give nano, a folder or hub id of ours, or one of "
        f"{', '.join(known)}"
    )
