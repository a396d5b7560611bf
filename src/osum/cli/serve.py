"""`osum serve`: the models behind OpenAI's HTTP interface."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, add_base, log, over_zero
from osum.cli.options import add_field, add_fields, made
from osum.server.options import ServerOptions

if TYPE_CHECKING:
    from osum.server.models import Models

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
    add_fields(parser, ServerOptions, "studio")
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
    add_fields(parser, ServerOptions, "host", "port")
    group = parser.add_argument_group("review in the studio")
    add_field(group, ServerOptions, "review", "--review", "--data", metavar="FILE")
    add_field(group, ServerOptions, "audio_root", metavar="DIR")
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
    add_base(group)
    add_fields(group, ServerOptions, "idle_unload")
    add_field(group, ServerOptions, "codec", metavar="DIR")
    add_field(group, ServerOptions, "voices", metavar="PATH")
    add_fields(group, ServerOptions, "refuse_sensitive")


def _add_talks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("live talks")
    add_fields(group, ServerOptions, "turn_policy")
    add_field(group, ServerOptions, "end_of_turn", metavar="FILE")
    add_fields(group, ServerOptions, "max_talks")


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(f"access (a key is also read from {KEY_VARIABLE})")
    group.add_argument("--api-key-file", metavar="FILE", help="keys that clients must send, one a line")
    add_fields(group, ServerOptions, "insecure")
    for name in ("origin", "host", "media-domain"):
        add_field(group, ServerOptions, f"allowed_{name.replace('-', '_')}s", f"--allowed-{name}")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument("--max-upload-mb", type=over_zero, default=100.0, metavar="N", help="largest body in MB (100)")
    add_fields(
        group, ServerOptions, "max_audio_seconds", "request_seconds", "max_running", "max_waiting", "max_per_key"
    )
    add_fields(group, ServerOptions, "num_readers", "drain_seconds", "stop_seconds")


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

    if arguments.review is not None and not Path(arguments.review).is_file():
        raise InputError(f"--review {arguments.review}: there is no such file: name a manifest (.jsonl)")
    size, keys = round(arguments.max_upload_mb * 2**20), _keys(arguments.api_key_file)
    return made(ServerOptions, arguments, max_upload_bytes=size, api_keys=keys)


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
        options = {name: getattr(arguments, name) for name in ("device", "dtype", "offline", "base")}
        return load(place, notice=log, **options)

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
