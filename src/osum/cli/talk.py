"""`osum talk` and `osum speak`: a reply to a question, and a text aloud."""

from __future__ import annotations

import argparse
import json
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osum.cli.arguments import Subparsers, add_model_options, load_model, log
from osum.cli.options import add_field, add_fields, add_generation_options, generation, made
from osum.dialogue.options import TalkOptions

if TYPE_CHECKING:
    from osum.dialogue.talker import AudioPiece, Piece, Reply
    from osum.dialogue.thought import Thought
    from osum.speech.voice import Voice

_EXAMPLES = """\
examples:
  osum talk question.wav                                                      nano's reply as text
  osum talk question.wav -o answer.wav                                        and aloud, by espeak-ng
  osum talk question.wav --model echat/ --codec voice/ --voice anna.safetensors -o answer.wav
  osum talk --text "how are you?" --model echat/ --history talk.json          continues a conversation
"""


def register(commands: Subparsers) -> None:
    """Add both commands."""
    talk = commands.add_parser(
        "talk",
        help="reply to a question, in text and aloud",
        description=run_talk.__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    talk.add_argument("question", nargs="?", metavar="QUESTION", help="audio file")
    talk.add_argument("--text", metavar="T", help="the question as text, in place of a recording or with it")
    add_fields(talk, TalkOptions, "thinking")
    talk.add_argument("--show-thought", action="store_true", help="print what it thought, on standard error")
    talk.add_argument("--history", metavar="FILE.json", help="conversation to continue; question and reply are added")
    add_fields(talk, TalkOptions, "in_turns")
    add_field(talk, TalkOptions, "released", "--release")
    talk.add_argument("--json", action="store_true", help="a JSON object: text, thought, emotion, codes, cues")
    _add_voice(talk, required=False)
    talk.set_defaults(run=run_talk)
    speak = commands.add_parser("speak", help="a text aloud", description=run_speak.__doc__)
    speak.add_argument("text", metavar="TEXT")
    speak.add_argument(
        "--emotion", metavar="E", help="feeling to say it with, such as happy; for models that learned it"
    )
    _add_voice(speak, required=True)
    speak.set_defaults(run=run_speak)


def _add_voice(parser: argparse.ArgumentParser, required: bool) -> None:
    group = parser.add_argument_group("sound")
    group.add_argument("-o", "--output", metavar="FILE.wav", required=required, help="wav file of what is said")
    group.add_argument("--codec", metavar="DIR", required=required, help="speech model, by osum convert COSYVOICE DIR")
    group.add_argument("--voice", metavar="FILE", required=required, help="voice file, by osum voice make")
    add_model_options(parser)
    add_generation_options(parser)


def run_talk(arguments: Namespace) -> int:
    """Reply to a recorded or written question. What was thought is never part of the reply."""
    from osum.errors import UsageError

    if arguments.question is None and arguments.text is None:
        raise UsageError("no question: give a recording, or --text 'what you ask'")
    if arguments.voice and not arguments.output:
        raise UsageError(_TOGETHER)
    history = _history(arguments.history)
    question = _question(arguments)
    reply = _reply(arguments, [*history, question])
    for problem in reply.problems:
        log(f"note: {problem}")
    if arguments.show_thought and reply.thought is not None:
        log(_shown(reply.thought))
    print(json.dumps(_row(reply), ensure_ascii=False) if arguments.json else reply.text)
    if arguments.output and reply.audio is None:
        log(f"note: nothing was said aloud, so {arguments.output} is not written")
    elif arguments.output:
        _write(arguments.output, reply.audio, reply.sampling_rate)
    if reply.codes and not reply.text:
        log(f"note: the reply is {len(reply.codes)} speech codes and no text, so no later question can refer to it")
    elif not reply.text:
        log("note: the model gave an empty reply")
    if arguments.history and (reply.text or not reply.codes):
        _keep(arguments.history, [*history, question, reply.message()])
    return 0


def _shown(thought: Thought) -> str:
    """A thought in a line; of a model that does not think, what it recognised."""
    words_alone = thought == type(thought)(words=thought.words)
    return f"recognised: {thought.words}" if words_alone else f"thought: {thought.render()}"


_TOGETHER = "--output and --voice go together: what is said aloud needs a voice and a place"


def _reply(arguments: Namespace, conversation: list[dict[str, Any]]) -> Reply:
    """The reply of the model, with a note on how long it took to say it."""
    from osum.dialogue.talker import AudioPiece, Reply

    pieces = _stream(arguments, conversation)
    began, first, last = time.perf_counter(), 0.0, None
    for piece in pieces:
        first = first or (time.perf_counter() - began if isinstance(piece, AudioPiece) else 0.0)
        last = piece
    assert isinstance(last, Reply)
    if last.audio is not None:
        by = "" if arguments.voice else f" by {PLAIN_VOICE}"
        whole, seconds = time.perf_counter() - began, len(last.audio) / last.sampling_rate
        log(f"note: {seconds:.1f} s of speech{by}: first sound after {first:.1f} s, all of it after {whole:.1f} s")
    return last


PLAIN_VOICE = "espeak-ng, a plain voice"


def _stream(arguments: Namespace, conversation: list[dict[str, Any]]) -> Iterator[Piece]:
    """The model's reply in pieces. One that was not trained to converse, `nano` among them, replies by its task."""
    from osum.dialogue.talker import Talker
    from osum.dialogue.task_replies import TaskReplies, converses
    from osum.dialogue.voiced import EspeakVoice, ReadAloud, Voiced
    from osum.errors import UsageError
    from osum.speech.checkpoint import load_reader

    speech, voice = _sound(arguments)
    model = load_model(arguments)
    if converses(model):
        if arguments.output and not arguments.voice:
            raise UsageError(_TOGETHER)
        return Talker(model.engine, speech, voice).stream_reply(conversation, _options(arguments))
    given = (name for name, value in _CONVERSING.items() if getattr(arguments, value) not in (None, False, "off"))
    if option := next(given, None):
        raise UsageError(
            f"{option}: {model.name} replies to one recording at a time and was not trained to "
            "converse; leave it out, or take another --model"
        )
    writer: Any = TaskReplies(model)
    if arguments.output:
        writer = Voiced(
            writer, EspeakVoice() if voice is None else ReadAloud(load_reader(arguments.codec), speech, voice)
        )
    question = {"role": "user", "content": [{"type": "audio", "audio": _samples(arguments.question)}]}
    return writer.stream_reply([question])


_CONVERSING = {
    "--thinking": "thinking",
    "--text": "text",
    "--history": "history",
    "--in-turns": "in_turns",
    "--release": "released",
}
"""Options of models that were trained to converse."""


def _samples(name: str) -> Any:
    from osum import audio

    return audio.load(name)


def run_speak(arguments: Namespace) -> int:
    """Say a text aloud, to a wav file."""
    import numpy as np

    from osum.dialogue.talker import Talker
    from osum.errors import InputError

    sound = _sound(arguments)  # small files are read before the large one
    talker = Talker(load_model(arguments).engine, *sound)
    pieces: list[AudioPiece] = list(talker.speak(arguments.text, _options(arguments), arguments.emotion))
    if not pieces:
        raise InputError(f"{arguments.text[:40]!r}: the model said nothing; try another text or --seed")
    _write(arguments.output, np.concatenate([piece.samples for piece in pieces]), pieces[0].sampling_rate)
    return 0


def _sound(arguments: Namespace) -> tuple[Any, Voice | None]:
    """What speaks codes, and in whose voice; None where neither was given."""
    from osum.errors import UsageError
    from osum.speech.checkpoint import load_synthesizer
    from osum.speech.voice import load_voice

    if bool(arguments.codec) != bool(arguments.voice):
        raise UsageError("--codec and --voice go together: a voice is made for a speech model")
    if arguments.codec is None:
        return None, None
    voice = load_voice(arguments.voice)
    return load_synthesizer(arguments.codec, arguments.device or "cpu"), voice


def _options(arguments: Namespace) -> TalkOptions:
    asked = (arguments.release_decoding, arguments.num_beams, arguments.max_new_tokens)
    how = generation(arguments) if any(asked) else None
    if arguments.run is run_speak:
        return TalkOptions(generation=how)
    return made(TalkOptions, arguments, aloud=bool(arguments.output), generation=how)


def _question(arguments: Namespace) -> dict[str, Any]:
    """The user's turn; a clip is named by its whole path, so that a history can be read from anywhere."""
    sound = [{"type": "audio", "path": str(Path(arguments.question).absolute())}] if arguments.question else []
    text = [{"type": "text", "text": arguments.text}] if arguments.text else []
    return {"role": "user", "content": [*sound, *text]}


def _history(name: str | None) -> list[dict[str, Any]]:
    """The messages of a file; none where there is no such file yet."""
    from osum.errors import InputError

    if name is None or not Path(name).exists():
        return []
    try:
        messages = json.loads(Path(name).read_text("utf-8"))
        if not isinstance(messages, list):
            raise ValueError(f"it holds {type(messages).__name__}")
    except (OSError, ValueError) as fault:
        raise InputError(f"{name} is no conversation ({fault}): give a JSON list of messages, or a new name") from fault
    return messages


def _keep(name: str, messages: list[dict[str, Any]]) -> None:
    from osum.files import atomic_file

    with atomic_file(name) as file:
        file.write((json.dumps(messages, ensure_ascii=False, indent=1) + "\n").encode())


def _row(reply: Reply) -> dict[str, Any]:
    thought = None if reply.thought is None else reply.thought.render()
    found = {"text": reply.text, "thought": thought, "emotion": reply.emotion, "cues": reply.cues or None}
    return {name: value for name, value in found.items() if value is not None} | (
        {"codes": list(reply.codes)} if reply.codes else {}
    )


def _write(name: str, samples: Any, rate: int) -> None:
    from osum.cli.codes import write_wav

    write_wav(name, samples, rate)
