"""`osum voice`: voice files."""

from __future__ import annotations

from argparse import Namespace

from osum.cli.arguments import Subparsers, log
from osum.cli.codes import add_speech_model


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser("voice", help="voices that a speech model speaks in", description=__doc__)
    ways = parser.add_subparsers(title="ways", metavar="WAY", required=True)
    make = ways.add_parser("make", help="a voice from a recording", description=run_make.__doc__)
    make.add_argument("prompt", metavar="PROMPT", help="recording of one speaker, 0.5 to 30 s; 3 to 10 s are best")
    make.add_argument("output", metavar="FILE", help="voice file, .safetensors")
    make.add_argument("--licence", default="", help="of the recording")
    make.add_argument("--consent", default="", help="who agreed that this voice may be used, and for what")
    add_speech_model(make)
    make.set_defaults(run=run_make)


def run_make(arguments: Namespace) -> int:
    """Make a voice file from a recording: its codes, its mel, its speaker vector, its licence and the consent."""
    from osum.speech.checkpoint import load_voice_encoder

    encoder = load_voice_encoder(arguments.model, arguments.device)
    encoder.voice(arguments.prompt, arguments.licence, arguments.consent).save(arguments.output)
    if not arguments.consent:
        log("note: no consent is noted; a voice belongs to its speaker: add --consent 'who agreed to what'")
    return 0
