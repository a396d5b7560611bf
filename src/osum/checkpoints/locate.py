"""Find a checkpoint: the packaged one, a folder, or a name on the hub; and read the tasks it carries.

Loads no torch, so that asking what a model can do is quick.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from osum.errors import CheckpointError, TaskError
from osum.tasks import QWEN2_AUDIO, RELEASE, TaskSet

PACKAGED = ("nano",)
"""Checkpoints inside the package."""
TASKS_FILE = "tasks.json"
WEIGHTS = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.md", "adapter/*")
"""What is fetched from a hub: no pickles, no code."""
TASKS_OF = {"qwen2_audio": QWEN2_AUDIO}
"""Model type of other classes that osum runs, to what they are asked."""
HUB_TIMEOUT = 10.0
"""Seconds until a hub that does not answer is given up."""


def locate(name: str, offline: bool, notice: Callable[[str], None] | None) -> Path:
    """The folder of a checkpoint, fetched from the hub when it is a hub name.

    Raises:
        CheckpointError: no such folder, packaged name or hub name.
    """
    return named_folder(name) or fetch(name, offline, notice)


def located_here(name: str) -> Path | None:
    """The folder of a checkpoint, None where it is a hub name that was not fetched yet.

    Raises:
        CheckpointError: no such folder or packaged name, and no hub name.
    """
    return named_folder(name) or _fetched(name, None)


def named_folder(name: str) -> Path | None:
    """The folder of a packaged name or of a path, None for what may be a hub name.

    Raises:
        CheckpointError: it can be none of these.
    """
    if name in PACKAGED:
        folder = Path(str(files("osum"))) / "assets" / name
        if not folder.is_dir():
            raise CheckpointError(
                f"model {name!r} is not in this package: train recipes/{name}.yaml, or give --model FOLDER"
            )
        return folder
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{name!r} is a file: a model is a folder; `osum convert` makes one from a .pt file")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"model {name!r} is unknown: give {', '.join(PACKAGED)}, a checkpoint folder, or a hub name like owner/name"
        )
    return None


def fetch(name: str, offline: bool, notice: Callable[[str], None] | None, revision: str | None = None) -> Path:
    """The folder of a hub name, downloaded where it is not on this machine.

    Raises:
        CheckpointError: it is not here and cannot be fetched.
    """
    if found := _fetched(name, revision):
        return found
    if offline:
        raise CheckpointError(
            f"model {name!r} is not on this machine and --offline was given: leave that out, or name a folder"
        )
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT)
        size = sum(item.size or 0 for item in info.siblings or [] if item.rfilename.endswith(".safetensors"))
        licence = getattr(info.card_data, "license", None) or "unknown"
        if notice:
            notice(f"downloading {name}: {size / 1e9:.1f} GB, licence {licence}")
        return Path(snapshot_download(name, revision=revision, allow_patterns=WEIGHTS))
    except Exception as fault:  # the hub's client passes on the errors of the HTTP library it happens to use
        raise CheckpointError(
            f"model {name!r} cannot be fetched ({first_line(fault)}): check the name and the network"
        ) from fault


def _fetched(name: str, revision: str | None) -> Path | None:
    """The snapshot of a hub name that is on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=WEIGHTS, local_files_only=True))
    except HFValidationError as fault:
        raise CheckpointError(f"{name!r} is neither a folder here nor a hub name: {first_line(fault)}") from fault
    except LocalEntryNotFoundError:
        return None


def model_type_of(folder: Path) -> Any:
    """What `config.json` calls the model's class.

    Raises:
        OSError, ValueError, AttributeError: there is no such file, or no configuration in it.
    """
    return json.loads((folder / "config.json").read_text("utf8")).get("model_type")


def read_tasks(folder: Path) -> TaskSet:
    """The tasks a checkpoint carries; one without the file has those of its class, and else those of the release.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = folder / TASKS_FILE
    if not path.is_file():
        with suppress(OSError, ValueError, AttributeError):
            return TASKS_OF.get(model_type_of(folder), RELEASE)
        return RELEASE
    try:
        return TaskSet.load(path)
    except TaskError as fault:
        raise CheckpointError(str(fault)) from fault


def first_line(fault: BaseException) -> str:
    """The first line of an error's text, shortened."""
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:160]
