"""`osum convert`: released checkpoints and Hugging Face parts to ours, and back."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from osum.cli.arguments import DTYPES, Subparsers, one_of, positive

if TYPE_CHECKING:
    from osum.checkpoints.convert import ConversionReport
    from osum.speech.convert import SpeechConversionReport

LAYOUTS = ("speech_first", "prompt_first", "chatml")
_EXAMPLES = """\
examples:
  osum convert infer.pt osum/ --tokenizer Qwen/Qwen2-7B     the released OSUM, LoRA merged
  osum convert infer.pt osum/ --keep-lora                   LoRA next to the weights, so that the way back is open
  osum convert osum/ infer.pt --to original                 the way back
  osum convert CosyVoice-300M-25Hz/ voice/                  flow, vocoder, tokenizer and speaker encoder: speech out
  osum convert --whisper openai/whisper-medium --llm Qwen/Qwen2-7B start/    parts, for training
"""


def register(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "convert",
        help="convert checkpoints",
        description=run.__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="osum convert SRC OUT [options] | osum convert --whisper DIR --llm DIR OUT [options]",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="SRC OUT, or OUT alone with --whisper")
    parser.add_argument("--to", choices=("original",), help="write the file that SRC was converted from")
    lora = parser.add_mutually_exclusive_group()
    lora.add_argument("--merge-lora", dest="lora", action="store_const", const="merge", help="the default")
    lora.add_argument("--keep-lora", dest="lora", action="store_const", const="keep", help="as a PEFT adapter")
    parser.set_defaults(lora="merge", run=run)
    parser.add_argument("--tokenizer", metavar="DIR", help="folder or hub name of the tokenizer")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    _add_sizes(parser)
    _add_parts(parser)


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sizes", "where the release's rules do not hold")
    for name in ("--encoder-heads", "--llm-heads", "--llm-kv-heads", "--answer-end-token-id"):
        group.add_argument(name, type=positive, metavar="N")


def _add_parts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from parts")
    group.add_argument("--whisper", metavar="DIR", help="folder or hub name of a Whisper")
    group.add_argument("--llm", metavar="DIR", help="folder or hub name of a Qwen2 or Qwen2.5")
    apart = "leave the language model out; whoever opens OUT gets it from the hub by this name"
    group.add_argument("--apart", metavar="OWNER/NAME", default="", help=apart)
    group.add_argument("--layout", type=one_of("layout", LAYOUTS), default="speech_first", help=", ".join(LAYOUTS))
    group.add_argument("--dtype", type=one_of("dtype", DTYPES), help="the language model's without it")
    group.add_argument("--seed", type=int, default=0, help="of the new adaptor (default 0)")
    group.add_argument("--adaptor-layers", type=positive, metavar="N", help="of the new adaptor (the release has 4)")
    group.add_argument("--adaptor-width", type=positive, metavar="N", help="of its inner layers (the release has 2560)")
    group.add_argument("--dropout", type=float, metavar="P", help="of encoder and adaptor in training (0.1)")


def run(arguments: Namespace) -> int:
    """Convert a released checkpoint, or a Whisper and a Qwen2, to a folder that osum and transformers read; or back."""
    from osum.errors import UsageError

    wanted = 1 if arguments.whisper or arguments.llm else 2
    if len(arguments.paths) != wanted or bool(arguments.whisper) != bool(arguments.llm):
        raise UsageError("osum convert takes SRC OUT, or --whisper DIR --llm DIR OUT (see osum convert --help)")
    paths = [Path(path) for path in arguments.paths]
    if arguments.whisper:
        print(_join_parts(arguments, *paths))
    elif arguments.to == "original":
        from osum.checkpoints.convert import to_original

        print(to_original(*paths, overwrite=arguments.overwrite))
    else:
        print(_convert(arguments, *paths))
    return 0


def _convert(arguments: Namespace, source: Path, out: Path) -> ConversionReport | SpeechConversionReport:
    from osum.checkpoints.convert import convert
    from osum.speech.convert import convert_speech, is_speech_release

    if is_speech_release(source):
        return convert_speech(source, out, overwrite=arguments.overwrite)
    return convert(
        source,
        out,
        lora=arguments.lora,
        encoder_heads=arguments.encoder_heads,
        llm_heads=arguments.llm_heads,
        llm_kv_heads=arguments.llm_kv_heads,
        answer_end_token_id=arguments.answer_end_token_id,
        tokenizer=arguments.tokenizer,
        overwrite=arguments.overwrite,
    )


def _join_parts(arguments: Namespace, out: Path) -> ConversionReport:
    import torch

    from osum.checkpoints.convert import from_parts

    sizes = {"num_hidden_layers": arguments.adaptor_layers, "intermediate_size": arguments.adaptor_width}
    return from_parts(
        arguments.whisper,
        arguments.llm,
        out,
        layout=arguments.layout,
        dtype=getattr(torch, arguments.dtype) if arguments.dtype else None,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        adaptor={name: size for name, size in sizes.items() if size},
        dropout=arguments.dropout,
        apart=arguments.apart,
    )
