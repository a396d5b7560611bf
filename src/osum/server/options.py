"""ServerOptions: what one server may do and how much it takes. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from osum.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no other machine reaches."""


@dataclass(frozen=True)
class ServerOptions:
    """What a server may do, and how much it takes."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    """Bearer keys; without any, whoever reaches the server may ask."""
    insecure: bool = False
    """Whether other machines may ask without a key."""
    allowed_origins: tuple[str, ...] = ()
    """Pages of other origins that may ask, such as `https://app.example.org`, or `*` for all."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that requests may use for this server, next to its own; `*` for all."""
    allowed_media_domains: tuple[str, ...] = ()
    """Domains from which `audio_url` may be fetched; without any, data URLs alone are taken."""
    max_upload_bytes: int = 100 * 2**20
    """Bytes of one request's body."""
    max_audio_seconds: float = 3600.0
    """Seconds of one recording, counted while it is decoded."""
    decode_seconds: float = 120.0
    """Seconds that decoding one recording may take."""
    num_readers: int = 2
    """Processes that decode recordings."""
    body_seconds: float = 300.0
    """Seconds that a body may take to arrive."""
    idle_seconds: float = 30.0
    """Seconds for which a client may send, or take, nothing of a body."""
    request_seconds: float = 600.0
    """Seconds that answering one request may take."""
    max_running: int = 32
    """Requests answered at once, batched together."""
    max_waiting: int = 64
    """Requests that wait behind those; one more is refused."""
    max_per_key: int | None = None
    """Requests and live talks of one key at once; one more is refused. None leaves a key all places."""
    max_talks: int = 8
    """Live talks at once; one more is refused."""
    talk_seconds: float = 3600.0
    """Seconds after which a live talk ends."""
    turn_policy: Literal["auto", "silence", "words", "model", "network"] = "auto"
    """Who decides about turns in sessions of `semantic_vad` that name nobody; see `server.turn_policies`."""
    end_of_turn: str | None = None
    """ONNX file of an end-of-turn network, such as Smart Turn."""
    idle_unload: float | None = None
    """Seconds without a request after which a model leaves memory; None keeps it."""
    drain_seconds: float = 0.0
    """Seconds between the signal to stop and the end of listening, in which `/health` says so to a balancer."""
    stop_seconds: float = 30.0
    """Seconds that requests may take to finish when the server stops."""
    refuse_sensitive: bool = False
    """Refuse to answer about gender, age and emotion."""
    max_questions: int = 64
    """Questions of one request for decisions."""
    studio: bool = False
    """Whether the page of the studio is served."""
    review: str | None = None
    """A manifest whose rows are reviewed in the studio."""
    audio_root: str | None = None
    """The folder that holds the recordings of that manifest; its own folder without it."""
    codec: str | None = None
    """Folder of a speech model, with which models that speak reply aloud."""
    voices: str | None = None
    """A voice file, or a folder of them, each named as clients ask for it."""

    def __post_init__(self) -> None:
        for name in ("max_upload_bytes", "max_audio_seconds", "decode_seconds", "num_readers", "body_seconds",
                     "idle_seconds", "request_seconds", "max_running", "max_questions", "max_talks",
                     "talk_seconds", "max_per_key"):  # fmt: skip
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)!r}: it must be more than 0")
        for name in ("max_waiting", "drain_seconds", "stop_seconds"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)!r}: it must be 0 or more")
        if any(not key.strip() or not key.isascii() for key in self.api_keys):
            raise InputError("an API key is empty or not ASCII: give keys of letters and digits, one a line")
        if self.max_per_key is not None and not self.api_keys:
            raise InputError("max_per_key limits what one key may ask and there is no key: give --api-key-file")
        if self.host not in LOOPBACK and not (self.api_keys or self.insecure):
            raise InputError(
                f"host {self.host} is reached by other machines and there is no API key: "
                "give --api-key-file, or --insecure where that is meant"
            )
        if self.review is not None and not self.studio:
            raise InputError(f"{self.review} is to be reviewed and there is no page to review it on: give --studio")
        if self.turn_policy == "network" and self.end_of_turn is None:
            raise InputError("turns are to be judged by a network and there is none: give --end-of-turn FILE.onnx")
        if bool(self.codec) != bool(self.voices):
            raise InputError("a codec without voices, or voices without a codec: give both or neither")
