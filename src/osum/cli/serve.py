"""`osum serve`: the models behind OpenAI's HTTP interface."""

from __future__ import annotations

import argparse
import os
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, log, over_zero, positive

if TYPE_CHECKING:
    from osum.server.models import Models
    from osum.server.options import ServerOptions

KEY_VARIABLE = "OSUM_API_KEY"
_EXAMPLES = """\
examples:
  osum serve                                              nano at http://127.0.0.1:8000/v1
  osum serve --model mine=runs/mine/best --model whisper-1=nano
  osum serve --host 0.0.0.0 --api-key-file keys.txt       for other machines, with keys
"""
_STUDIO_EXAMPLES = """\
examples:
  osum studio                                             nano, in a window of the browser
  osum studio --model a=runs/a/best --model b=runs/b/best two models, to compare
  osum studio --data labels.jsonl                         listen to rows, correct them, write them back
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        help="answer over HTTP, as OpenAI's API does",
        description=run.__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--studio", action="store_true", help="serve the page of the studio at /studio")
    _add_common(parser)
    parser.set_defaults(run=run, browser=False)
    studio = commands.add_parser(
        "studio",
        help="label, compare, talk and review in the browser",
        description=run_studio.__doc__,
        epilog=_STUDIO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    studio.add_argument("--no-browser", dest="browser", action="store_false", help="open no window; print the address")
    _add_common(studio)
    studio.set_defaults(run=run_studio, studio=True)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen at (8000); 0 takes a free one")
    group = parser.add_argument_group("review in the studio")
    group.add_argument("--review", "--data", metavar="FILE", help="manifest of osum (.jsonl) whose rows are reviewed")
    group.add_argument("--audio-root", metavar="DIR", help="folder that holds its recordings; its own without it")
    _add_models(parser)
    _add_talks(parser)
    _add_access(parser)
    _add_limits(parser)


def _add_models(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models")
    group.add_argument(
        "--model", action="append", metavar="[NAME=]PATH", help="nano, a folder or owner/name, and how clients call it"
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1 ...; the best one without it")
    group.add_argument("--dtype", help="float32, bfloat16, float16")
    group.add_argument("--offline", action="store_true", help="never fetch anything")
    group.add_argument("--idle-unload", type=over_zero, metavar="S", help="unload a model that nobody used for S s")
    group.add_argument("--codec", metavar="DIR", help="speech model, by osum convert COSYVOICE DIR, to reply aloud")
    group.add_argument("--voices", metavar="PATH", help="voice file, or a folder of them, by osum voice make")
    group.add_argument("--refuse-sensitive", action="store_true", help="never answer about gender, age or emotion")


def _add_talks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("live talks")
    group.add_argument(
        "--turn-policy",
        choices=("auto", "silence", "words", "model", "network"),
        help="who decides about turns where a session of semantic_vad names nobody (auto)",
    )
    group.add_argument("--end-of-turn", metavar="FILE", help="ONNX file of an end-of-turn network, such as Smart Turn")
    group.add_argument("--max-talks", type=positive, metavar="N", help="live talks at once; one more gets 503 (8)")


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(f"access (a key is also read from {KEY_VARIABLE})")
    group.add_argument("--api-key-file", metavar="FILE", help="keys that clients must send, one a line")
    group.add_argument("--insecure", action="store_true", help="let other machines ask without a key")
    for name, about in (
        ("origin", "page that may ask from a browser, such as https://app.example.org"),
        ("host", "further name of this server that requests may use"),
        ("media-domain", "domain that audio_url may be fetched from"),
    ):
        group.add_argument(f"--allowed-{name}", action="append", default=[], metavar="NAME", help=about)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    for name, kind, about in (
        ("max-upload-mb", over_zero, "largest body in MB (100)"),
        ("max-audio-seconds", over_zero, "longest recording (3600)"),
        ("request-seconds", over_zero, "longest time for an answer (600)"),
        ("max-running", positive, "requests answered at once (32)"),
        ("max-waiting", _whole, "requests that wait behind those; one more gets 503 (64)"),
        ("max-per-key", positive, "requests and live talks of one key at once; one more gets 429 (no limit)"),
        ("num-readers", positive, "processes that decode recordings (2)"),
        ("drain-seconds", _seconds, "between SIGTERM and the end of listening, for a balancer (0)"),
        ("stop-seconds", _seconds, "that requests may take to finish when it stops (30)"),
    ):
        group.add_argument(f"--{name}", type=kind, metavar="N", help=about)


def run(arguments: Namespace) -> int:
    """Answer requests over HTTP, in the formats of OpenAI's API: transcriptions, decisions, chat."""
    return _run(arguments)


def run_studio(arguments: Namespace) -> int:
    """Open a page in the browser that labels recordings, compares models, talks, and reviews the rows of a corpus. It
    is `osum serve --studio`, and closes with Ctrl-C."""
    return _run(arguments)


def _run(arguments: Namespace) -> int:
    from osum.server.allocators import bound_allocators

    bound_allocators()
    options, models = _options(arguments), _models(arguments)
    try:
        from osum.server.app import create_app
        from osum.server.run import serve
    except ImportError as fault:
        from osum.errors import MissingExtraError

        raise MissingExtraError(str(fault.name), "serve") from fault
    _log_to_standard_error()
    app = create_app(models, options)
    log(f"models {', '.join(models.names)} at http://{options.host}:{options.port}/v1")

    def started(port: int) -> None:
        page = f"http://{options.host}:{port}/studio"
        if options.studio:
            log(f"studio at {page}")
        if arguments.browser:
            import webbrowser

            webbrowser.open(page)

    serve(app, started)
    return 0


def _options(arguments: Namespace) -> ServerOptions:
    from osum.errors import InputError
    from osum.server.options import ServerOptions

    if arguments.review is not None and not Path(arguments.review).is_file():
        raise InputError(f"--review {arguments.review}: there is no such file: name a manifest (.jsonl)")
    limits = ("max_audio_seconds", "request_seconds", "max_running", "max_waiting", "max_per_key", "num_readers",
              "drain_seconds", "stop_seconds", "idle_unload", "codec", "voices", "review", "audio_root",
              "turn_policy", "end_of_turn", "max_talks")  # fmt: skip
    given = {name: getattr(arguments, name) for name in limits if getattr(arguments, name) is not None}
    if arguments.max_upload_mb is not None:
        given["max_upload_bytes"] = round(arguments.max_upload_mb * 2**20)
    return ServerOptions(
        host=arguments.host,
        port=arguments.port,
        api_keys=_keys(arguments.api_key_file),
        insecure=arguments.insecure,
        allowed_origins=tuple(arguments.allowed_origin),
        allowed_hosts=tuple(arguments.allowed_host),
        allowed_media_domains=tuple(arguments.allowed_media_domain),
        refuse_sensitive=arguments.refuse_sensitive,
        studio=arguments.studio,
        **given,
    )


def _keys(name: str | None) -> tuple[str, ...]:
    """The keys of a file and of the environment; never part of a message."""
    from osum.errors import InputError

    found = [key for key in (os.environ.get(KEY_VARIABLE, "").strip(),) if key]
    if name is not None:
        try:
            lines = [line.strip() for line in Path(name).read_text("utf8").splitlines()]
        except (OSError, ValueError) as fault:
            raise InputError(
                f"--api-key-file {name} cannot be read ({type(fault).__name__}): give a text file"
            ) from None
        found += [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise InputError(f"--api-key-file {name} holds no key: write one a line")
    return tuple(found)


def _models(arguments: Namespace) -> Models:
    from osum.errors import InputError
    from osum.listening.recognizer import Recognizer, load
    from osum.server.models import Models

    places: dict[str, str] = {}
    for given in arguments.model or ["nano"]:
        name, mark, place = given.partition("=")
        name, place = (name, place) if mark else (Path(given).name if Path(given).is_dir() else given, given)
        if not name or not place or name in places:
            why = "is named twice" if name in places else "is no NAME=PATH"
            raise InputError(f"--model {given}: the model {why}: give each a name of its own")
        places[name] = place

    def open_model(place: str) -> Recognizer:
        return load(place, device=arguments.device, dtype=arguments.dtype, offline=arguments.offline, notice=log)

    return Models(places, open_model)


def _log_to_standard_error() -> None:
    import logging
    import sys

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("osum: %(message)s"))
    lines = logging.StreamHandler(sys.stderr)
    for name, kind in (("osum.server", handler), ("osum.server.access", lines), ("uvicorn.error", handler)):
        logger = logging.getLogger(name)
        logger.addHandler(kind)
        logger.setLevel(logging.WARNING if name == "uvicorn.error" else logging.INFO)
        logger.propagate = False


def _port(word: str) -> int:
    if not word.isdecimal() or int(word) > 65535:
        raise ArgumentTypeError(f"{word!r} is no port: use a whole number from 0 to 65535")
    return int(word)


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise ArgumentTypeError(f"{word!r} is no whole number from 0")
    return int(word)


def _seconds(word: str) -> float:
    return 0.0 if word == "0" else over_zero(word)
