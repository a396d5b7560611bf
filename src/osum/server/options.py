"""ServerOptions: what one server may do and how much it takes. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from osum.errors import InputError
from osum.records import check_fields

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no other machine reaches."""


@dataclass(frozen=True)
class ServerOptions:
    """What a server may do, and how much it takes."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port to listen at; 0 takes a free one."""
    api_keys: tuple[str, ...] = ()
    """Bearer keys; without any, whoever reaches the server may ask."""
    insecure: bool = False
    """Let other machines ask without a key."""
    allowed_origins: tuple[str, ...] = ()
    """Page of another origin that may ask from a browser, such as `https://app.example.org`, or `*` for all."""
    allowed_hosts: tuple[str, ...] = ()
    """Further name of this server that requests may use; `*` for all."""
    allowed_media_domains: tuple[str, ...] = ()
    """Domain from which `audio_url` may be fetched. Without any, data URLs alone are taken."""
    max_upload_bytes: Count = 100 * 2**20
    """Bytes of one request's body."""
    max_audio_seconds: Seconds = 3600.0
    """Seconds of the longest recording, counted while it is decoded."""
    decode_seconds: Seconds = 120.0
    """Seconds that decoding one recording may take."""
    num_readers: Count = 2
    """Processes that decode recordings."""
    body_seconds: Seconds = 300.0
    """Seconds that a body may take to arrive."""
    idle_seconds: Seconds = 30.0
    """Seconds for which a client may send, or take, nothing of a body."""
    request_seconds: Seconds = 600.0
    """Seconds that answering one request may take."""
    max_running: Count = 32
    """Requests answered at once, batched together."""
    max_waiting: Annotated[int, Meta(ge=0)] = 64
    """Requests that wait behind those; one more gets 503."""
    max_per_key: Count | None = None
    """Requests and live talks of one key at once; one more gets 429. None leaves a key all places."""
    max_talks: Count = 8
    """Live talks at once; one more gets 503."""
    talk_seconds: Seconds = 3600.0
    """Seconds after which a live talk ends."""
    turn_policy: Literal["auto", "silence", "words", "model", "network"] = "auto"
    """Who decides about turns where a session of semantic_vad names nobody. See `server.turn_policies`."""
    end_of_turn: str | None = None
    """ONNX file of an end-of-turn network, such as Smart Turn."""
    idle_unload: Seconds | None = None
    """Seconds without a request after which a model leaves memory. None keeps it."""
    drain_seconds: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds between SIGTERM and the end of listening, in which /health says so to a balancer."""
    stop_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """Seconds that requests may take to finish when the server stops."""
    refuse_sensitive: bool = False
    """Never answer about gender, age or emotion."""
    max_questions: Count = 64
    """Questions of one request for decisions."""
    studio: bool = False
    """Serve the page of the studio at /studio."""
    review: str | None = None
    """Manifest of osum (.jsonl) whose rows are reviewed."""
    audio_root: str | None = None
    """Folder that holds the recordings of that manifest; its own without it."""
    codec: str | None = None
    """Speech model, by osum convert COSYVOICE DIR, to reply aloud."""
    voices: str | None = None
    """Voice file, or a folder of them, by osum voice make; each is named as clients ask for it."""

    def __post_init__(self) -> None:
        check_fields(self)
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
