"""Everything from a kit to a trained `nano`, in one command that continues where it was stopped:

    python -m recipes.nano.make --kit DIR --out DIR [--whisper openai/whisper-base] [--kokoro DIR] [--until STEP]

1. `speech`: Kokoro speaks into a cache; left out without --kokoro.      `recipes.nano.speak`
2. `read`: Whisper reads clips without text, and Kokoro's speech.       `recipes.nano.transcribe`
3. `data`: manifests, packed audio, tokenizer.                          `recipes.nano.build`
4. `words`: the language model before it gets sound.                    `recipes.nano.language_model`
5. `start`: Whisper's encoder, a new adaptor, that language model.      `osum convert`
6. `train`: the stages of the recipe.                                   `osum train`

Each step is also a command of its own. What can be checked is checked before the first.
"""

from __future__ import annotations

import argparse
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osum.checkpoints.convert import from_parts
from osum.checkpoints.convert.parts import part_config
from osum.errors import ConversionError, InputError, OsumError
from osum.model.configuration_osum import encoder_sizes
from osum.training.config import read_recipe
from recipes.nano import build, language_model, speak, transcribe

WHISPER = "openai/whisper-base"
WIDTH, LAYERS = 512, 6  # of Whisper base's encoder
STEPS = ("speech", "read", "data", "words", "start", "train")
ADAPTOR = {"num_hidden_layers": 3, "intermediate_size": 1024}
RECIPE = Path(__file__).parent / "from_whisper.yaml"

log = logging.getLogger("make")


@dataclass(frozen=True)
class Making:
    """What `nano` is made from, and where."""

    kit: Path
    out: Path
    whisper: str = WHISPER
    """Folder or hub name."""
    kokoro: Path | None = None
    """Folder of Kokoro's files; none of its speech without it."""
    hours: float = 10.0
    """Of Kokoro's speech."""
    words: int = 3000
    """Steps of the language model before it gets sound."""
    seed: int = 1
    overrides: tuple[str, ...] = ()
    """Of the recipe, `key=value`."""
    recipe: Path = RECIPE

    @property
    def data(self) -> Path:
        """What the builder writes."""
        return self.out / "data"


def make(making: Making, until: str = STEPS[-1]) -> None:
    """Make all that is not there yet, up to a step.

    Raises:
        InputError: something that is given is missing, or is another model.
        OSError: the disk is full; what was whole before still is.
    """
    check(making)
    for step in STEPS[: STEPS.index(until) + 1]:
        log.info("%s", step)
        _MAKERS[step](making)


def check(making: Making) -> None:
    """Look at what is given before hours are spent on it.

    Raises:
        InputError: a folder of the kit or of weights is missing, or `whisper` is another model or of another size.
    """
    for name in ("real", "smoke", "text"):
        if not (making.kit / name).is_dir():
            raise InputError(f"--kit {making.kit} has no folder {name}: make it with python -m recipes.nano.kit")
    for name in (speak.MODEL, speak.VOICES) if making.kokoro else ():
        if not (Path(making.kokoro or "") / name).is_file():
            raise InputError(f"--kokoro {making.kokoro} has no {name}: take it from the release page of kokoro-onnx")
    try:
        sizes = encoder_sizes(part_config(making.whisper, "whisper"))
    except ConversionError as fault:
        raise InputError(f"--whisper: {fault}; nano is made from {WHISPER}") from fault
    found = sizes["hidden_size"], sizes["num_hidden_layers"]
    if found != (WIDTH, LAYERS):
        raise InputError(
            f"--whisper {making.whisper} has an encoder of width {found[0]} and {found[1]} layers: nano is made from "
            f"{WHISPER}, of width {WIDTH} and {LAYERS} layers"
        )
    read_recipe(making.recipe, _overrides(making))


def _speech(making: Making) -> None:
    if making.kokoro is not None:
        voice = speak.Speaker(making.kokoro)
        speak.fill(voice, making.kit / "text", making.out / "kokoro", making.hours, making.seed)


def _read(making: Making) -> None:
    wanted = transcribe.clips(making.kit, _cache(making))
    transcribe.transcribe(transcribe.Reader(making.whisper), wanted, making.out / "read.jsonl")


def _data(making: Making) -> None:
    sources = build.Sources(making.kit, _cache(making), making.out / "read.jsonl")
    build.build(sources, making.data, making.seed)


def _words(making: Making) -> None:
    language_model.train(making.data, making.kit / "text", making.out / "lm", making.words, making.seed)


def _start(making: Making) -> None:
    if not (making.out / "start" / "config.json").is_file():
        import torch

        options = {"dtype": torch.float32, "adaptor": ADAPTOR, "dropout": 0.0, "seed": making.seed}
        from_parts(making.whisper, making.out / "lm", making.out / "start", **options)  # type: ignore[arg-type]


def _train(making: Making) -> None:
    from osum.training.trainer import train  # torch and peft: not needed to say what is missing

    language_model.check_built(making.data)
    train(read_recipe(making.recipe, _overrides(making)))


def _cache(making: Making) -> Path | None:
    return making.out / "kokoro" if (making.out / "kokoro" / speak.INDEX).is_file() else None


def _overrides(making: Making) -> list[str]:
    places = {"data": making.data, "out": making.out / "run", "stages.listen.model": making.out / "start"}
    return [*(f"{key}={place}" for key, place in places.items()), *making.overrides]


_MAKERS: dict[str, Callable[[Making], None]] = {
    "speech": _speech,
    "read": _read,
    "data": _data,
    "words": _words,
    "start": _start,
    "train": _train,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make nano from a kit, or continue making it.")
    parser.add_argument("--kit", type=Path, required=True, help="folder that recipes.nano.kit fetched")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--whisper", default=WHISPER, metavar="DIR", help=f"folder or hub name ({WHISPER})")
    parser.add_argument("--kokoro", type=Path, metavar="DIR", help="folder of Kokoro's files; no speech of it without")
    parser.add_argument("--hours", type=float, default=10.0, help="of Kokoro's speech (10)")
    parser.add_argument("--words", type=int, default=3000, help="steps of the language model before sound (3000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1], help="last step to make")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of recipes/nano/from_whisper.yaml")
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    until, overrides = given.pop("until"), tuple(given.pop("overrides"))
    try:
        make(Making(**given, overrides=overrides), until)
    except OsumError as fault:
        raise SystemExit(f"error: {fault}") from fault
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
        raise SystemExit(f"{given['out']}: the disk is full; free some space and run the same command") from fault


if __name__ == "__main__":
    main()
