"""The public surface: `__all__` is all there is, each name resolves, and importing osum loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import osum

HEAVY = ("torch", "transformers", "numpy", "soundfile", "soxr", "yaml", "rich")


def loaded_by(statement: str) -> set[str]:
    """The heavy modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_dir_is_exactly_all_and_sorted() -> None:
    assert dir(osum) == sorted(osum.__all__)
    assert len(set(osum.__all__)) == len(osum.__all__)


@pytest.mark.parametrize("name", osum.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(osum, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = osum.no_such_name


def test_star_import_brings_the_public_names_and_no_other() -> None:
    names: dict[str, object] = {}
    exec("from osum import *", names)
    assert set(names) - {"__builtins__"} == set(osum.__all__)


def test_importing_osum_loads_no_heavy_module() -> None:
    assert loaded_by("import osum") == set()


def test_finding_audio_files_loads_no_heavy_module() -> None:
    assert loaded_by("import osum.audio; osum.audio.find_audio(['x.wav'])") == set()
