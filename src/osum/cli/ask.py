"""`osum chat` and `osum ask`: one clip, one reply."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING

from osum.cli.arguments import Subparsers, add_model_options, load_model, log
from osum.cli.options import add_generation_options, generation

if TYPE_CHECKING:
    from osum import Recognizer

REPLY_TASK = "STTC"


def register(commands: Subparsers) -> None:
    """Add both commands."""
    chat = commands.add_parser("chat", help="reply to what is said in a clip", description=run_chat.__doc__)
    chat.add_argument("clip", metavar="CLIP", help="audio file, - for stdin")
    _add_common(chat)
    chat.set_defaults(run=run_chat)
    ask = commands.add_parser("ask", help="ask a question of your own about a clip", description=run_ask.__doc__)
    ask.add_argument("clip", metavar="CLIP", help="audio file, - for stdin")
    ask.add_argument("question", metavar="QUESTION")
    _add_common(ask)
    ask.set_defaults(run=run_ask)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="a JSON object with the prompt and the model's revision")
    add_model_options(parser)
    add_generation_options(parser)


def run_chat(arguments: Namespace) -> int:
    """Reply to what is said in a clip."""
    audio = _audio(arguments.clip)
    model = load_model(arguments)
    from osum.listening.asked import prompt_language

    task = model.tasks.find(REPLY_TASK)
    if task.evidence not in (None, "real"):
        log(f"note: {model.name} did not learn replies from real conversations")
    reply = model.chat(audio, generation=generation(arguments))
    _show(arguments, model, model.tasks.prompt(task, prompt_language(model.tasks)), reply)
    return 0


def run_ask(arguments: Namespace) -> int:
    """Ask a question of your own about a clip. The question is the prompt, word for word."""
    from osum.errors import UsageError

    if not arguments.question.strip():
        raise UsageError("the question is empty: ask something, or use osum chat")
    audio = _audio(arguments.clip)
    model = load_model(arguments)
    _show(arguments, model, arguments.question, model.ask(audio, arguments.question, generation(arguments)))
    return 0


def _audio(name: str) -> str | bytes:
    """The clip, checked before a model is loaded."""
    from osum.audio import probe
    from osum.cli.inputs import STDIN, read_stdin

    audio = read_stdin() if name == STDIN else name
    probe(audio)
    return audio


def _show(arguments: Namespace, model: Recognizer, prompt: str, reply: str) -> None:
    if not arguments.json:
        print(reply)
        return
    row = {"path": arguments.clip, "prompt": prompt, "reply": reply}
    row |= {"model": model.name, "revision": model.revision, "dtype": model.dtype}
    print(json.dumps(row, ensure_ascii=False))
