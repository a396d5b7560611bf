"""The kit rebuilt from a miniature mirror on this machine: whole, again, and with every fault that a net has."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from corpus.manifests_of_others import RATE, noise, wav_bytes, write_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_server import serving

from osum import audio
from osum.errors import InputError
from recipes.nano import kit as kit_module
from recipes.nano import kit_list
from recipes.nano.kit import LOCK, Hosts, Outcome, rebuild, still_missing, write_texts
from recipes.nano.kit_list import (
    LAYOUTS,
    ByHand,
    KitClip,
    KitList,
    KitSource,
    fingerprint,
    read_list,
    unlike,
    write_list,
)  # fmt: skip
from recipes.nano.recordings import read_rows, real_utterances

COMMIT = "c0ffee"


def burst(seed: int, seconds: float = 0.4) -> np.ndarray:
    """Noise (S,) whose loudness runs differently for every seed."""
    swing = np.random.default_rng(seed).uniform(-2, 0, 16)
    course = np.repeat(10.0**swing, round(seconds * RATE) // 16)
    return (noise(seconds, seed)[: course.size] * course).astype(np.float32)


def wav(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Mirror:
    """What the server holds and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path of the address to what comes."""
    cut: dict[str, int] = field(default_factory=dict)
    """Paths whose answer stops early, and how often."""
    busy: dict[str, int] = field(default_factory=dict)
    """Paths that are answered 503 first, and how often."""
    asked: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> Hosts:
        return Hosts(f"{self.url}/raw", f"{self.url}/large", f"{self.url}/trees", pause=0.0)

    def put(self, path: str, content: bytes, repo: str = "a/b") -> None:
        """A file of the repository, in its tree too."""
        self.files[f"/raw/{repo}/{COMMIT}/{path}"] = content
        place = f"/trees/{repo}/git/trees/{COMMIT}?recursive=1"
        tree = json.loads(self.files.get(place, b'{"tree": []}'))
        tree["tree"].append({"path": path, "type": "blob", "sha": blob(content)})
        self.files[place] = json.dumps(tree).encode()


class Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.mirror.asked.append(path)
        content = self.mirror.files.get(path)
        if self.mirror.busy.get(path, 0):
            self.mirror.busy[path] -= 1
            self.send_error(503)
        elif content is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.mirror.cut.get(path, 0):
                self.mirror.cut[path] -= 1
                content = content[: len(content) // 2]
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A server with six clips of two repositories: `a/b` by whole names, `c/d` by names that are not whole."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Mirror()
    handler = type("MirrorHandler", (Handler,), {"mirror": made})
    for number in range(4):
        made.put(f"wav dir/{number}.wav", wav(burst(number)))
    for number in range(4, 6):
        made.put(f"字/{number}-secret.wav", wav(burst(number)), "c/d")
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made


def clip(source: str, number: int, path: str, end: float | None = None) -> KitClip:
    samples = burst(number)[: None if end is None else round(end * RATE)]
    fields = {"language": "en", "text": f"text {'abcdef'[number]}", "source": source, "licence": "CC0", "orig_sr": RATE}
    return KitClip(f"{source}/{number}", path, samples.size / RATE, fingerprint(samples), fields, end)


@pytest.fixture
def kit() -> KitList:
    whole = [clip("x", number, f"wav dir/{number}.wav", 0.2 if number == 3 else None) for number in range(4)]
    part = [clip("y", number, f"*/{number}-*.wav") for number in range(4, 6)]
    return KitList(
        (KitSource("x", "a/b", COMMIT, tuple(whole)), KitSource("y", "c/d", COMMIT, tuple(part))),
        ({"id": "smoke/s", "origin": "somewhere (wav dir/0.wav)"},),
        (ByHand("real/words", "it is not known", "example.org"),),
    )


def run(out: Path, kit: KitList, mirror: Mirror) -> list[Outcome]:
    mirror.asked.clear()
    return list(rebuild(out, kit, mirror.hosts, num_threads=2))


def faults(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.clip.id: outcome.fault for outcome in outcomes if outcome.fault}


# A whole run


def test_the_kit_is_what_nano_reads(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    assert faults(run(tmp_path, kit, mirror)) == {}
    rows, dropped = real_utterances(tmp_path)
    assert [row.id for row in rows] == [f"x/{number}" for number in range(4)] + ["y/4", "y/5"]
    assert (rows[0].text, rows[0].licence, rows[0].duration, dropped) == ("text a", "CC0", 0.4, [])
    np.testing.assert_allclose(audio.load(rows[1].path), burst(1), atol=1 / 32768)
    assert [audio.probe(row.path).duration for row in rows] == [0.4, 0.4, 0.4, 0.2, 0.4, 0.4]
    assert read_rows(tmp_path / "smoke/manifest.jsonl") == list(kit.samples)


def test_every_file_is_held_against_its_commit(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    assert [outcome.locked.git for outcome in run(tmp_path, kit, mirror) if outcome.locked] == [True] * 6
    mirror.files.pop(f"/trees/a/b/git/trees/{COMMIT}?recursive=1")
    again = run(tmp_path / "without", kit, mirror)
    assert faults(again) == {}
    assert [outcome.locked.git for outcome in again if outcome.locked] == [False] * 4 + [True] * 2


def test_a_second_run_asks_for_nothing(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    run(tmp_path, kit, mirror)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    outcomes = run(tmp_path, kit, mirror)
    assert (mirror.asked, [outcome.fetched for outcome in outcomes]) == ([], [False] * 6)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_continues_where_it_was_stopped(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    stopped = rebuild(tmp_path, kit, mirror.hosts, num_threads=1)
    next(stopped)
    stopped.close()
    with (tmp_path / LOCK).open("ab") as lock:
        lock.write(b'{"id": "x/2", "fi')  # what a kill leaves of a line
    done = len((tmp_path / LOCK).read_bytes().splitlines()) - 1
    assert 1 <= done < 6
    assert sum(outcome.fetched for outcome in run(tmp_path, kit, mirror)) == 6 - done
    assert len(read_rows(tmp_path / LOCK)) == 6


def test_a_clip_that_was_damaged_or_deleted_is_fetched_again(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    run(tmp_path, kit, mirror)
    (tmp_path / "real/x/audio/0.flac").unlink()
    (tmp_path / "real/y/audio/5.flac").write_bytes(b"fLaC")
    assert [outcome.clip.id for outcome in run(tmp_path, kit, mirror) if outcome.fetched] == ["x/0", "y/5"]


def test_a_file_that_git_lfs_keeps_is_held_against_its_pointer(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    place = f"a/b/{COMMIT}/wav dir/0.wav"
    content = mirror.files[f"/raw/{place}"]
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
    mirror.files.pop(f"/trees/a/b/git/trees/{COMMIT}?recursive=1")
    mirror.files |= {f"/raw/{place}": pointer, f"/large/{place}": content}
    assert faults(run(tmp_path / "good", kit, mirror)) == {}
    mirror.files[f"/large/{place}"] = content + b"\0"
    assert "which its git LFS pointer states" in faults(run(tmp_path / "bad", kit, mirror))["x/0"]


# Faults cost only themselves


def only_lost(outcomes: list[Outcome], name: str, *words: str) -> None:
    assert list(faults(outcomes)) == [name]
    assert all(word in faults(outcomes)[name] for word in words), faults(outcomes)
    assert sum(bool(outcome.locked) for outcome in outcomes) == 5


def test_a_missing_file(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.files.pop(f"/raw/a/b/{COMMIT}/wav dir/1.wav")
    only_lost(run(tmp_path, kit, mirror), "x/1", "wav%20dir/1.wav", "404")
    assert [row["id"] for row in read_rows(tmp_path / "real/x/manifest.jsonl")] == ["x/0", "x/2", "x/3"]
    assert not (tmp_path / "real/x/audio/1.flac").exists()


def test_a_file_that_is_not_that_of_its_commit(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.files[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] += b"\0"
    only_lost(run(tmp_path, kit, mirror), "x/1", "which its commit states", "was changed")


def test_another_recording_under_the_same_name(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.files.pop(f"/trees/a/b/git/trees/{COMMIT}?recursive=1")
    mirror.files[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] = wav(burst(17))
    only_lost(run(tmp_path, kit, mirror), "x/1", "not the recording that the kit holds", "loudness")
    mirror.files[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] = wav(burst(1, seconds=0.6))
    only_lost(run(tmp_path / "long", kit, mirror), "x/1", "lasts 0.600 s", "0.400 s")


def test_a_file_that_changed_since_the_first_download(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    run(tmp_path, kit, mirror)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / LOCK).rename(elsewhere / LOCK)  # a lock that was handed on
    mirror.files.pop(f"/trees/a/b/git/trees/{COMMIT}?recursive=1")
    quieter = burst(1) * np.float32(0.98)  # no ear and no loudness shows it
    mirror.files[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] = wav(quieter)
    only_lost(run(elsewhere, kit, mirror), "x/1", f"which {LOCK} states")


def test_a_download_that_is_cut_off_is_tried_again(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    path = f"/raw/a/b/{COMMIT}/wav dir/1.wav"
    mirror.cut[path] = 2
    assert faults(run(tmp_path, kit, mirror)) == {} and mirror.asked.count(path) == 3
    mirror.cut[path] = 3
    only_lost(run(tmp_path / "never", kit, mirror), "x/1", "came cut off after")


def test_a_busy_server_is_asked_again(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.busy[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] = 2
    assert faults(run(tmp_path, kit, mirror)) == {}


def test_a_file_that_is_too_large(
    tmp_path: Path, kit: KitList, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/raw/a/b/{COMMIT}/wav dir/1.wav"
    monkeypatch.setattr(kit_module, "MAX_BYTES", len(mirror.files[path]))
    mirror.files[path] += b"\0"
    only_lost(run(tmp_path, kit, mirror), "x/1", f"at most {kit_module.MAX_BYTES} are taken")


def test_a_file_that_is_no_audio(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.files.pop(f"/trees/a/b/git/trees/{COMMIT}?recursive=1")
    mirror.files[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] = b"<html>no</html>"
    only_lost(run(tmp_path, kit, mirror), "x/1", "no audio that can be decoded")


def test_a_name_that_fits_several_files_is_not_guessed(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.put("字/4-other.wav", wav(burst(5)), "c/d")
    only_lost(run(tmp_path, kit, mirror), "y/4", "2 files fit */4-*.wav")


def test_a_name_that_fits_copies_of_one_file_is_clear(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    mirror.put("字/4-other.wav", mirror.files[f"/raw/c/d/{COMMIT}/字/4-secret.wav"], "c/d")
    assert faults(run(tmp_path, kit, mirror)) == {}


def test_a_source_of_two_repositories_has_one_manifest(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    first, second = kit.sources
    clips = tuple(replace(one, id=one.id.replace("y/", "x/")) for one in second.clips)
    both = replace(kit, sources=(first, replace(second, name="x", clips=clips)), files={"real2/ages.json": {"a": 1}})
    assert faults(run(tmp_path, both, mirror)) == {}
    assert [row["id"] for row in read_rows(tmp_path / "real/x/manifest.jsonl")] == [f"x/{n}" for n in range(6)]
    assert json.loads((tmp_path / "real2/ages.json").read_text(encoding="utf-8")) == {"a": 1}


def test_files_that_cannot_be_listed_cost_the_names_that_are_not_whole(
    tmp_path: Path, kit: KitList, mirror: Mirror
) -> None:
    mirror.files[f"/trees/c/d/git/trees/{COMMIT}?recursive=1"] = b"rate limit"
    lost = faults(run(tmp_path, kit, mirror))
    assert list(lost) == ["y/4", "y/5"] and "cannot be listed" in lost["y/4"]


def test_no_net_ends_the_run(tmp_path: Path, kit: KitList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(kit_module, "MAX_UNREACHABLE", 3)
    nowhere = Hosts(*["http://127.0.0.1:9"] * 3, pause=0.0)
    with pytest.raises(InputError, match=r"no answer for 3 files; go online"):
        list(rebuild(tmp_path, kit, nowhere, num_threads=1))


def test_a_broken_lock_names_its_line(tmp_path: Path, kit: KitList, mirror: Mirror) -> None:
    write_lines(tmp_path / LOCK, ['{"id": "x/0"}'])
    with pytest.raises(InputError, match=rf"{LOCK}:1: is no line of a lock"):
        run(tmp_path, kit, mirror)


def test_texts_come_with_the_package_and_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text/chat_kdconv.jsonl").write_text("mine\n")
    write_texts(tmp_path)
    assert (tmp_path / "text/chat_kdconv.jsonl").read_text() == "mine\n"
    assert len(read_rows(tmp_path / "text/tatoeba_en_zh.jsonl")) == 29_153
    assert "CC BY" in (tmp_path / "text/README.md").read_text(encoding="utf-8")


# Fingerprint


@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_fingerprint_does_not_depend_on_the_level(seed: int, gain: float) -> None:
    samples = burst(seed)
    levels = zip(fingerprint(samples), fingerprint(samples * np.float32(gain)), strict=True)
    assert all(abs(int(a, 16) - int(b, 16)) <= 1 for a, b in levels)


def test_a_fingerprint_survives_a_codec_and_distinguishes_recordings() -> None:
    known = [replace(clip("x", n, ""), seconds=1.2, levels=fingerprint(burst(n, 1.2))) for n in range(4)]
    for number in range(4):
        buffer = io.BytesIO()
        soundfile.write(buffer, burst(number, 1.2), RATE, format="OGG", subtype="OPUS")
        samples = audio.load(buffer.getvalue())
        assert [one.id for one in known if unlike(one, samples) is None] == [f"x/{number}"]


def test_silence_has_a_fingerprint() -> None:
    assert fingerprint(np.zeros(100, np.float32)) == "f" * 16


# The list


def test_the_list_in_the_package() -> None:
    kit = read_list()
    assert {source.name for source in kit.sources} == set(LAYOUTS)
    clips = [clip for source in kit.sources for clip in source.clips]
    assert len({one.id for one in clips}) == len(clips) == 7503 + 4810
    assert all(len(source.commit) == 40 for source in kit.sources)
    for source in kit.sources:
        assert len({one.path for one in source.clips}) == len(source.clips)
        assert all(one.fields["source"] == source.name and one.fields["licence"] for one in source.clips)
    assert not any(set("[?") & set(one.path) for one in clips), "they would be patterns"
    assert {part.name for part in kit.by_hand} == {"real/dspspeech20", "real2/long-en"}
    assert len(kit.samples) == 20
    assert set(kit.files) == {"real2/aishell3_labels_of_first_kit.json"}
    assert {source.kit for source in kit.sources if source.name.startswith(("commonvoice", "covid19"))} == {"real2"}


def test_the_layouts_name_files_that_are_known_to_be_there() -> None:
    paths = {one.id: one.path for source in read_list().sources for one in source.clips}
    assert paths["esc10/4-59579-B"] == "004 - Baby cry/4-59579-B.ogg"
    assert paths["speechocean762/so_000010035"] == "WAVE/SPEAKER0001/000010035.WAV"
    assert paths["audio-cmn-words/cmn_0001"] == "96k/hsk/cmn-一共.mp3"
    assert paths["librispeech/1040-133433-0000"] == "audio_data/librispeech_train-clean-100/1040-133433-0000.flac"
    assert paths["commonvoice-zh/common_voice_zh-CN_18524189"] == "zh-CN/clips/common_voice_zh-CN_18524189.mp3"
    assert paths["commonvoice-other-age/common_voice_ab_19904199"] == "ab/clips/common_voice_ab_19904199.mp3"
    assert paths["covid19-cough/0131f7df-f652-44a4-a381-c20f74b6c156"] == "raw/0131f7df-f652-44a4-a381-c20f74b6c156.mp3"
    assert paths["picovoice-keywords/alexa_107"] == "audio/alexa/107.*"
    assert paths["picovoice-keywords/view_glass_02b753b7"] == "audio/view glass/02b753b7-*"
    assert (
        paths["donateacry/dac_1b9c93c3_3132879"] == "donateacry_corpus_cleaned_and_updated_data/*3132879-*-m-26-*.wav"
    )


def test_a_list_is_made_from_a_kit_and_read_back(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_list, "LAYOUTS", {"x": lambda name, _: f"wav dir/{name}.wav"})
    folder = tmp_path / "kit"
    (folder / "real/x/audio").mkdir(parents=True)
    reported = {"text": "t", "source": "x", "licence": "CC0", "orig_sr": RATE}
    for number in (0, 1):
        (folder / f"real/x/audio/{number}.wav").write_bytes(wav(burst(number)))
    rows = [{"id": f"x/{n}", "audio": f"audio/{n}.wav", "duration_s": 0.4, "age": n, **reported} for n in (0, 1)]
    write_lines(folder / "real/x/manifest.jsonl", rows)
    (folder / "real/sources.json").write_text(json.dumps({"x": {"repo": "a/b", "commit": COMMIT}}))
    (folder / "smoke").mkdir()
    write_lines(folder / "smoke/manifest.jsonl", [{"id": "smoke/s", "origin": "here", "text": "no"}])
    write_list(tmp_path / "list.gz", folder)
    kit = read_list(tmp_path / "list.gz")
    assert kit.sources[0].clips[1].fields == reported | {"age": 1} and kit.samples == (
        {"id": "smoke/s", "origin": "here"},
    )
    assert faults(run(tmp_path / "out", kit, mirror)) == {}
    written = read_rows(tmp_path / "out/real/x/manifest.jsonl")
    assert written == [row | {"audio": f"audio/{n}.flac"} for n, row in enumerate(rows)]


def test_what_is_no_list_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(wav_bytes())
    with pytest.raises(InputError, match=r"a\.gz is no list of a kit"):
        read_list(tmp_path / "a.gz")


def test_a_part_by_hand_is_missing_until_it_is_there(tmp_path: Path, kit: KitList) -> None:
    (part,) = kit.by_hand
    assert still_missing(tmp_path, part) == "it is not known; see example.org"
    (tmp_path / "real/words").mkdir(parents=True)
    write_lines(tmp_path / "real/words/manifest.jsonl", [])
    assert still_missing(tmp_path, part) is None


# The command


@pytest.fixture
def listed(kit: KitList, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The command takes the small list and the small server."""
    monkeypatch.setattr(kit_module, "read_list", lambda: kit)
    monkeypatch.setattr(kit_module, "Hosts", lambda files=mirror.hosts.files: replace(mirror.hosts, files=files))
    return mirror


def test_the_command_counts_and_reports(tmp_path: Path, listed: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    missing = listed.files.pop(f"/raw/a/b/{COMMIT}/wav dir/1.wav")
    assert kit_module.main(["--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("osum: error: x/1: ") and lines[0].endswith(": 404 Not Found")
    assert lines[1].startswith("osum: by hand: real/words: it is not known; see example.org")
    assert lines[2] == f"osum: {tmp_path}: 5 of 6 clips, 5 fetched now, 5 held against their commit, 1 lost"
    listed.files[f"/raw/a/b/{COMMIT}/wav dir/1.wav"] = missing
    assert kit_module.main(["--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err.endswith("6 of 6 clips, 1 fetched now, 6 held against their commit, 0 lost\n")


def test_the_command_takes_a_mirror_and_one_source(tmp_path: Path, listed: Mirror) -> None:
    listed.files = {path.replace("/raw/", "/near/"): content for path, content in listed.files.items()}
    assert kit_module.main(["--out", str(tmp_path), "--source", "y", "--mirror", f"{listed.url}/near/"]) == 0
    assert [path.parent.name for path in tmp_path.glob("real/*/manifest.jsonl")] == ["y"]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--source", "z"], "name one of x, y"), (["--mirror", "ftp://a"], "must begin with https://")],
)
def test_the_command_names_what_it_cannot_take(
    tmp_path: Path, listed: Mirror, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        code = kit_module.main(["--out", str(tmp_path), *words])
    except SystemExit as end:
        code = int(end.code or 0)
    err = capsys.readouterr().err
    assert code > 0 and message in err and err.count("\n") == 1
