"""The kit rebuilt from its public sources: fetched, checked, decoded, and written as `recipes.nano.build` reads it.

A file is held against four things, each where it is known:

1. its commit: a git commit is a hash over all its files, and `_Tree` holds the SHA-1 of each;
2. its pointer, where the repository keeps large files apart (git LFS): that holds a SHA-256;
3. the lock: the SHA-256 of what came at the first download;
4. the kit's own clip: length and course of loudness (`kit_list.unlike`), since the kit holds no original file.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import sys
import tarfile
import threading
import time
from argparse import ArgumentTypeError, Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tqdm import tqdm

from osum import audio
from osum.audio import SAMPLE_RATE
from osum.cli.arguments import Parser, log, positive
from osum.corpus.packed import Float32
from osum.corpus.sound_file import flac
from osum.errors import InputError, OsumError
from osum.files import atomic_file
from recipes.nano.kit_list import ByHand, KitClip, KitList, KitSource, read_list, unlike

LOCK = "kit.lock.jsonl"
TEXTS = Path(__file__).parent / "kit_text.tar.xz"
MAX_BYTES = 16 * 2**20  # of one recording; the largest of the kit is below 3 MB
MAX_TREE_BYTES = 64 * 2**20
MAX_UNREACHABLE = 10  # files on end that no answer comes for: then the net is gone, not a file
TRIES = 3
_TIMEOUT = 60.0  # seconds
_PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses that are worth another try."""
_LFS = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where files come from; all three are read without an account."""

    files: str = "https://raw.githubusercontent.com"
    """`/OWNER/NAME/COMMIT/PATH` is a file."""
    large: str = "https://media.githubusercontent.com/media"
    """The same for files that git LFS keeps."""
    trees: str = "https://api.github.com/repos"
    """`/OWNER/NAME/git/trees/COMMIT?recursive=1` lists a commit."""
    pause: float = 2.0
    """Seconds before the second try, twice as many before the third."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A line of the lock: one clip that is there."""

    id: str
    file: str
    """`OWNER/NAME@COMMIT:PATH`."""
    sha256: str
    """Of the file as it came."""
    bytes: int
    git: bool
    """Whether it was held against its commit."""
    flac: str
    """SHA-256 of what was written."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a clip."""

    clip: KitClip
    locked: Locked | None = None
    """None where it is lost."""
    fetched: bool = False
    """False where it was there already."""
    fault: str | None = None


class _UnreachableError(InputError):
    """No answer at all."""


def rebuild(out: Path, kit: KitList, hosts: Hosts | None = None, num_threads: int = 8) -> Iterator[Outcome]:
    """Write `out/real`, `out/real2` and `out/smoke`; yields each clip as it is done, in the order of the list.

    What is unchanged is not fetched again, so a run that was stopped continues. A source's manifest is written
    when its last clip is done and names the clips that are there.

    Raises:
        InputError: a lock that cannot be read, or no answer for `MAX_UNREACHABLE` files on end.
        OSError: the disk is full or cannot be written.
    """
    _write_rows(out / "smoke" / "manifest.jsonl", kit.samples)
    for name, content in kit.files.items():
        with atomic_file(out / name) as file:
            file.write(json.dumps(content, ensure_ascii=False).encode())
    of_folder = defaultdict[Path, list[dict[str, Any]]](list)
    with _Lock(out / LOCK) as lock:
        for source in kit.sources:
            fetcher = _Fetcher(out / source.kit / source.name, source, hosts or Hosts(), lock)
            rows = of_folder[fetcher.folder]  # a source of several repositories has one manifest
            for outcome in fetcher.outcomes(num_threads):
                yield outcome
                if outcome.locked:
                    name = fetcher.file(outcome.clip)
                    row = {"id": outcome.clip.id, "audio": f"audio/{name.name}", **outcome.clip.fields}
                    rows.append(row | {"duration_s": outcome.locked.seconds})
            if rows:
                _write_rows(fetcher.folder / "manifest.jsonl", rows)


def write_texts(out: Path) -> None:
    """Write the sentences and dialogues of this folder to `out/text`; what is there stays."""
    with tarfile.open(TEXTS) as archive:
        for member in archive:
            place, content = out / "text" / member.name, archive.extractfile(member)
            if content is not None and not place.exists():
                with atomic_file(place) as file:
                    file.write(content.read())


def still_missing(out: Path, part: ByHand) -> str | None:
    """What is left to do for a part that cannot be fetched; None where it is done."""
    done = (out / part.name / "manifest.jsonl").is_file()
    return None if done else f"{part.missing}; see {part.where}"


class _Fetcher:
    """One source: what is there, and what is fetched."""

    def __init__(self, folder: Path, source: KitSource, hosts: Hosts, lock: _Lock) -> None:
        self.folder = folder
        self._source, self._hosts, self._lock = source, hosts, lock
        self._tree = _Tree(source, hosts)

    def file(self, clip: KitClip) -> Path:
        return self.folder / "audio" / f"{clip.id.split('/', 1)[1]}.flac"

    def outcomes(self, num_threads: int) -> Iterator[Outcome]:
        pool = ThreadPoolExecutor(num_threads)
        try:
            unreachable = 0
            for done in [pool.submit(self._outcome, clip) for clip in self._source.clips]:
                outcome, answered = done.result()
                unreachable = 0 if answered else unreachable + 1
                if unreachable >= MAX_UNREACHABLE:
                    raise InputError(f"{outcome.fault}: no answer for {unreachable} files; go online and run it again")
                yield outcome
        finally:
            pool.shutdown(cancel_futures=True)

    def _outcome(self, clip: KitClip) -> tuple[Outcome, bool]:
        """What becomes of the clip, and whether the host answered."""
        before = self._lock.entries.get(clip.id)
        if before and self._is_there(clip, before):
            return Outcome(clip, before), True
        try:
            locked = self._fetch(clip, before)
        except OsumError as fault:
            return Outcome(clip, fault=str(fault)), not isinstance(fault, _UnreachableError)
        self._lock.add(locked)
        return Outcome(clip, locked, fetched=True), True

    def _is_there(self, clip: KitClip, before: Locked) -> bool:
        wanted = f"{self._source.repo}@{self._source.commit}:{clip.path}"
        file = self.file(clip)
        return fnmatchcase(before.file, wanted) and file.is_file() and _sha256(file.read_bytes()) == before.flac

    def _fetch(self, clip: KitClip, before: Locked | None) -> Locked:
        source = self._source
        path = self._tree.resolve(clip.path)
        place = f"{source.repo}/{source.commit}/{quote(path)}"
        url = f"{self._hosts.files}/{place}"
        content = fetch(url, MAX_BYTES, self._hosts.pause)
        git = self._tree.check(path, content, url)
        if pointer := _LFS.match(content):
            url = f"{self._hosts.large}/{place}"
            content = fetch(url, MAX_BYTES, self._hosts.pause)
            _check(url, _sha256(content), pointer[1].decode(), "its git LFS pointer")
        file = f"{source.repo}@{source.commit}:{path}"
        if before and before.file == file:
            _check(url, _sha256(content), before.sha256, LOCK)
        samples = _decoded(clip, content, url)
        stored = flac(samples)
        with atomic_file(self.file(clip)) as out:
            out.write(stored)
        seconds = round(samples.size / SAMPLE_RATE, 3)
        return Locked(clip.id, file, _sha256(content), len(content), git, _sha256(stored), seconds)


def _decoded(clip: KitClip, content: bytes, url: str) -> Float32:
    """The clip's waveform (S,) at 16 kHz, held against what the kit knows of it."""
    try:
        samples = audio.load(content)
    except OsumError as fault:
        raise InputError(f"{url}: {fault}") from fault
    if clip.end is not None:
        samples = samples[: round(clip.end * SAMPLE_RATE)]
    if reason := unlike(clip, samples):
        raise InputError(f"{url}: is not the recording that the kit holds: {reason}")
    return samples


class _Tree:
    """The files of a source's commit with git's hash of each, asked for once, when the first clip needs it."""

    def __init__(self, source: KitSource, hosts: Hosts) -> None:
        self._url = f"{hosts.trees}/{source.repo}/git/trees/{source.commit}?recursive=1"
        self._pause = hosts.pause
        self._asking = threading.Lock()
        self._hashes: Mapping[str, str] | None = None
        self._fault: OsumError | None = None

    def resolve(self, pattern: str) -> str:
        """The one path that fits, or the first of several equal files; a path without `*` is one already.

        Raises:
            InputError: none or several fit, or the files cannot be listed.
        """
        if "*" not in pattern:
            return pattern
        fitting = [path for path in self._listed() if fnmatchcase(path, pattern)]
        if self._fault and not fitting:
            raise type(self._fault)(f"{pattern}: the files of its repository cannot be listed ({self._fault})")
        if len({self._listed()[path] for path in fitting}) != 1:
            raise InputError(f"{self._url}: {len(fitting)} files fit {pattern}, one must")
        return min(fitting)

    def check(self, path: str, content: bytes, url: str) -> bool:
        """Whether the commit's hash is known, and then it is that of `content`; another one is an error."""
        wanted = self._listed().get(path)
        if wanted:
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            _check(url, digest, wanted, "its commit")
        return wanted is not None

    def _listed(self) -> Mapping[str, str]:
        with self._asking:
            if self._hashes is None:
                try:
                    self._hashes = _blobs(fetch(self._url, MAX_TREE_BYTES, self._pause), self._url)
                except OsumError as fault:  # hashes are then not known, which is counted
                    self._hashes, self._fault = {}, fault
            return self._hashes


def _blobs(content: bytes, url: str) -> dict[str, str]:
    try:
        return {item["path"]: item["sha"] for item in json.loads(content)["tree"] if item["type"] == "blob"}
    except (ValueError, KeyError, TypeError) as fault:
        raise InputError(f"{url}: is no list of files") from fault


class _Lock:
    """The lock file: a line is added for each clip, and a line that a kill cut off is dropped."""

    def __init__(self, path: Path) -> None:
        self.entries: dict[str, Locked] = {}
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = Locked(**json.loads(line))
            except (ValueError, TypeError) as fault:
                raise InputError(f"{path}:{number}: is no line of a lock: delete the line") from fault
            self.entries[entry.id] = entry
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._file.truncate(len(whole))
        self._writing = threading.Lock()

    def __enter__(self) -> _Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, entry: Locked) -> None:
        with self._writing:
            self._file.write(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            self.entries[entry.id] = entry


def fetch(url: str, limit: int, pause: float = 2.0) -> bytes:
    """The whole answer to `url`, of at most `limit` bytes; what may pass is tried `TRIES` times.

    Raises:
        InputError: there is no such file, it is too large or came cut off, or nobody answers.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return _answer(url, limit)
        except (HTTPError, URLError, http.client.HTTPException, TimeoutError, ConnectionError) as fault:
            if isinstance(fault, HTTPError):
                fault.close()
            if attempt == TRIES or not _may_pass(fault):
                raise _as_input_error(url, fault) from fault
            time.sleep(pause * attempt)
    raise AssertionError("the last try returns or raises")


def _answer(url: str, limit: int) -> bytes:
    with urlopen(Request(url, headers={"User-Agent": "osum"}), timeout=_TIMEOUT) as reply:
        stated = reply.headers.get("Content-Length")
        content: bytes = reply.read(limit + 1) if stated is None or int(stated) <= limit else b""
    size = len(content) if stated is None else int(stated)
    if size > limit:
        raise InputError(
            f"{url}: {size} bytes or more, at most {limit} are taken: not the file that the kit was made from"
        )
    if len(content) < size:
        raise http.client.IncompleteRead(content, size - len(content))
    return content


def _may_pass(fault: Exception) -> bool:
    return not isinstance(fault, HTTPError) or fault.code in _PASSING


def _as_input_error(url: str, fault: Exception) -> InputError:
    match fault:
        case HTTPError():
            return InputError(f"{url}: {fault.code} {fault.reason}")
        case http.client.IncompleteRead():
            return InputError(f"{url}: came cut off after {len(fault.partial)} bytes, {TRIES} times: run it again")
        case _:
            return _UnreachableError(f"{url}: no answer ({getattr(fault, 'reason', fault)})")


def _check(url: str, found: str, wanted: str, where: str) -> None:
    if found != wanted:
        raise InputError(f"{url}: hash {found[:12]} is not {wanted[:12]}, which {where} states: the file was changed")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_rows(path: Path, rows: list[dict[str, Any]] | tuple[Mapping[str, Any], ...]) -> None:
    with atomic_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


# The command


def parse_arguments(argv: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = Parser("python -m recipes.nano.kit", description=run.__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, or to continue")
    parser.add_argument("--source", action="append", metavar="NAME", help="this source only (may be given again)")
    parser.add_argument("--mirror", type=_web, metavar="URL", help="in place of https://raw.githubusercontent.com")
    parser.add_argument("--threads", type=positive, default=8, metavar="N", help="files fetched at a time (8)")
    return parser.parse_args(argv)


def _web(word: str) -> str:
    if not word.startswith(("https://", "http://")):
        raise ArgumentTypeError(f"{word!r} is no address: it must begin with https:// or http://")
    return word.rstrip("/")


def run(arguments: Namespace) -> int:
    """Fetch the public recordings that nano learns from, check each, and write them for `recipes.nano.build`."""
    kit = read_list().only(arguments.source)
    hosts = Hosts(files=arguments.mirror) if arguments.mirror else Hosts()
    counts = Counter[str]()
    total = sum(len(source.clips) for source in kit.sources)
    for done in tqdm(rebuild(arguments.out, kit, hosts, arguments.threads), total=total, unit=" clips", disable=None):
        counts.update(there=bool(done.locked), fetched=done.fetched, git=bool(done.locked and done.locked.git))
        if done.fault:
            log(f"error: {done.clip.id}: {done.fault}")
    lost = total - counts["there"]
    write_texts(arguments.out)
    for part in kit.by_hand:
        if left := still_missing(arguments.out, part):
            log(f"by hand: {part.name}: {left}")
    checked = f"{counts['git']} held against their commit"
    log(f"{arguments.out}: {counts['there']} of {total} clips, {counts['fetched']} fetched now, {checked}, {lost} lost")
    return 1 if lost else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a fault is one line on standard error and exit code 1."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except (OsumError, OSError) as fault:
        log(f"error: {fault}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
