"""The requests of the studio's page: what it may ask, what is refused, and that it changes nothing on the way."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from fastapi.testclient import TestClient

import osum
from osum.corpus.manifest import read_manifest
from osum.errors import InputError
from osum.results.formats import FORMATS, to_row
from osum.server.app import create_app
from osum.server.options import ServerOptions
from osum.server.studio import lanes_of
from osum.utterance import Answer, Segment, Utterance

SAMPLES = Path(__file__).parents[2] / "samples"
CLIP = SAMPLES / "en_word_times.flac"
HOME = "http://127.0.0.1:8000"
KEY = "secret"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three labelled rows; the last one names a recording outside of the corpus."""
    for name in ("a.flac", "b.flac"):
        shutil.copy(CLIP, tmp_path / name)
    rows = [("a", "a.flac"), ("b", "b.flac"), ("out", "../out.flac")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": i, "path": p, "labels": {"emotion": "sad"}}) + "\n" for i, p in rows))
    return path


@pytest.fixture(scope="module")
def client(nano: osum.Recognizer) -> Iterator[TestClient]:
    """A server with the page and nothing to review."""
    with TestClient(create_app({"nano": nano}, ServerOptions(studio=True)), base_url=HOME) as made:
        yield made


@pytest.fixture
def reviewed(nano: osum.Recognizer, corpus: Path) -> Iterator[TestClient]:
    """A server with the rows of `corpus`."""
    options = ServerOptions(studio=True, review=str(corpus), num_readers=1)
    with TestClient(create_app({"nano": nano}, options), base_url=HOME) as made:
        yield made


def post(client: TestClient, path: str, file: Path = CLIP, name: str = "clip.flac", **fields: Any) -> Any:
    return client.post(
        f"/studio/api/{path}", files={"file": (name, file.read_bytes())}, data={"model": "nano", **fields}
    )


def error(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"]["message"])


# The page


def test_the_page_forbids_every_script_and_style_that_is_not_its_own(client: TestClient) -> None:
    page = client.get("/studio")
    policy = page.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([\w-]+)'", policy)
    assert nonce is not None
    assert f'content="{nonce[1]}"' in page.text
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|javascript:|https?://(?!www.w3.org)", page.text)


def test_the_nonce_is_another_one_each_time(client: TestClient) -> None:
    policies = {client.get("/studio").headers["content-security-policy"] for _ in range(3)}
    assert len(policies) == 3


def test_every_file_that_the_page_names_is_served(client: TestClient) -> None:
    names = re.findall(r'(?:src|href)="(studio/[^"]+)"', client.get("/studio").text)
    modules = [f"studio/static/{path.name}" for path in (Path(osum.__file__).parent / "server/static").glob("*.js")]
    assert names
    for name in {*names, *modules}:
        found = client.get(f"/{name}")
        assert found.status_code == 200, name
        assert found.headers["x-content-type-options"] == "nosniff"
        assert not name.endswith(".js") or found.headers["content-type"].startswith("text/javascript")


def test_no_file_next_to_the_page_is_served(client: TestClient) -> None:
    for path in ("/studio/static/../studio.py", "/studio/static/%2e%2e/studio.py", "/studio/static//etc/passwd"):
        assert client.get(path).status_code == 404


def test_no_script_of_the_page_makes_markup_of_text() -> None:
    for path in (Path(osum.__file__).parent / "server/static").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()), (
            path.name
        )


def test_both_languages_have_all_words() -> None:
    text = (Path(osum.__file__).parent / "server/static/i18n.js").read_text()
    english, chinese = (re.search(rf"const {name} = {{(.*?)\n}};", text, re.DOTALL) for name in ("EN", "ZH"))
    assert english is not None and chinese is not None
    keys = [set(re.findall(r'(?:^|[\s,])"?([\w.]+)"?: "', found[1])) for found in (english, chinese)]
    assert keys[0] == keys[1]


def test_a_server_without_the_studio_has_no_page(nano: osum.Recognizer) -> None:
    with TestClient(create_app({"nano": nano}), base_url=HOME) as plain:
        assert [plain.get(path).status_code for path in ("/studio", "/studio/api/state")] == [404, 404]


# Who may ask


def test_a_page_of_another_origin_may_not_ask(client: TestClient) -> None:
    refused = client.post("/studio/api/export", json={}, headers={"Origin": "https://evil.example"})
    assert "origin" in error(refused, 403)


def test_a_host_that_is_not_ours_is_refused(client: TestClient) -> None:
    assert client.get("/studio/api/state", headers={"Host": "evil.example"}).status_code == 403


def test_with_keys_the_page_is_open_and_what_it_asks_needs_one(nano: osum.Recognizer) -> None:
    app = create_app({"nano": nano}, ServerOptions(studio=True, api_keys=(KEY,)))
    with TestClient(app, base_url=HOME) as locked:
        assert locked.get("/studio").status_code == 200
        assert locked.get("/studio/static/main.js").status_code == 200
        assert locked.get("/studio/api/state").status_code == 401
        assert locked.get("/studio/api/state", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


# Labelling


def test_a_label_of_the_page_is_that_of_osum_label(client: TestClient, nano: osum.Recognizer) -> None:
    row = post(client, "label").json()["row"]
    alone = to_row(nano.label(CLIP))
    assert {**row, "id": 0, "path": 0, "segments": 0, "summary": 0} == {
        **alone,
        "id": 0,
        "path": 0,
        "segments": 0,
        "summary": 0,
    }
    assert row["summary"]["SER"]["label"] == alone["summary"]["SER"]["label"]
    assert row["prompts"]["SER"] == "transcribe, emotion"


def test_only_the_tasks_that_are_asked_for_are_answered(client: TestClient) -> None:
    row = post(client, "label", tasks=["SER", "gender"]).json()["row"]
    assert list(row["segments"][0]["labels"]) == ["SER", "SGC"]


def test_lanes_hold_each_stretch_that_has_a_label() -> None:
    happy, nobody = Answer("happy", 0.9), Answer(None)
    row = Utterance(
        "a",
        "a.wav",
        segments=(
            Segment(0, 1, labels={"SER": happy, "SSR": nobody}),
            Segment(1, 2, labels={"SER+SAP/emotion": happy}),
        ),
    )
    (lane,) = lanes_of(row)
    assert (lane["name"], [(each["start"], each["segment"]) for each in lane["items"]]) == ("emotion", [(0, 0), (1, 1)])


def test_a_server_that_refuses_sensitive_attributes_labels_none(nano: osum.Recognizer) -> None:
    options = ServerOptions(studio=True, refuse_sensitive=True, num_readers=1)
    with TestClient(create_app({"nano": nano}, options), base_url=HOME) as client:
        assert set(post(client, "label").json()["row"]["labels"]) == {"event", "style", "language"}
        assert "does not answer about age, emotion, gender" in error(post(client, "label", tasks="SER"), 400)


def test_the_name_of_a_file_is_a_name_and_no_path(client: TestClient) -> None:
    row = post(client, "label", name="../../etc/a.b.flac", tasks="SER").json()["row"]
    assert (row["path"], row["id"]) == ("a.b.flac", "a.b")


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        ({"model": "other"}, 404, "does not exist here"),
        ({"model": ""}, 400, "no model is named"),
        ({"tasks": "MOOD"}, 400, "unknown task 'MOOD'"),
    ],
)
def test_a_wrong_field_is_refused_in_one_line(
    client: TestClient, fields: dict[str, str], status: int, why: str
) -> None:
    assert why in error(post(client, "label", **fields), status)


def test_what_is_no_sound_is_refused(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no sound")
    assert str(tmp_path) not in error(post(client, "label", tmp_path / "a.txt"), 415)


def test_a_free_question_comes_with_its_prompt_and_the_raw_answer(client: TestClient, nano: osum.Recognizer) -> None:
    found = post(client, "ask", question="transcribe").json()
    assert found == {"prompt": "transcribe", "answer": nano.ask(CLIP, "transcribe"), "model": "nano"}


def test_no_question_is_refused(client: TestClient) -> None:
    assert "no question" in error(post(client, "ask"), 400)


def test_a_sound_that_the_browser_cannot_decode_comes_back_as_wav(client: TestClient, tmp_path: Path) -> None:
    samples, rate = soundfile.read(CLIP)
    soundfile.write(tmp_path / "a.aiff", samples, rate)
    found = post(client, "sound", tmp_path / "a.aiff")
    assert (found.headers["content-type"], found.content[:4]) == ("audio/wav", b"RIFF")


# Downloads


@pytest.mark.parametrize("name", FORMATS)
def test_a_download_is_what_the_writer_of_the_format_gives(
    client: TestClient, nano: osum.Recognizer, name: str
) -> None:
    row = nano.label(CLIP)
    found = client.post("/studio/api/export", json={"row": to_row(row), "format": name})
    assert found.content == FORMATS[name].render(Utterance.from_dict(to_row(row))).encode()
    assert f"en_word_times{FORMATS[name].suffix}" in found.headers["content-disposition"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[1]", "no JSON object"),
        (b"{", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b"{}", "export needs 'format'"),
        (b'{"format": "docx", "row": {"id": "a", "path": "a"}}', "format 'docx' is unknown"),
        (b'{"format": "json", "row": {"id": "a"}}', "field 'path'"),
        (b'{"format": "json", "row": {"id": "a", "path": "a", "duration": "long"}}', "wrong type"),
    ],
)
def test_a_broken_export_is_refused(client: TestClient, body: bytes, why: str) -> None:
    assert why in error(client.post("/studio/api/export", content=body), 400)


# Talking


def talk(client: TestClient, turns: Any, **files: bytes) -> list[dict[str, Any]]:
    request = json.dumps({"model": "nano", "turns": turns})
    sounds = {name: (name, content) for name, content in files.items()}
    found = client.post("/studio/api/talk", data={"request": request}, files=sounds or {"none": ("none", b"x")})
    assert found.status_code == 200, found.text
    return [json.loads(line) for line in found.text.splitlines()]


def test_a_model_that_holds_no_conversation_replies_to_the_spoken_turn_with_its_cues(client: TestClient) -> None:
    (piece,) = talk(client, [{"role": "user", "sound": "sound0"}], sound0=CLIP.read_bytes())
    assert piece["reply"]["cues"]["gender"] == "male"
    assert piece["reply"]["heard"]


def test_a_typed_turn_to_such_a_model_is_refused_in_the_stream(client: TestClient) -> None:
    (piece,) = talk(client, [{"role": "user", "text": "hello"}])
    assert "recorded turns alone" in piece["error"]["message"]


def test_a_turn_whose_recording_was_not_sent_is_refused(client: TestClient) -> None:
    (piece,) = talk(client, [{"role": "user", "sound": "sound0"}])
    assert "sound0" in piece["error"]["message"]


def test_a_conversation_of_the_wrong_form_is_refused(client: TestClient) -> None:
    for request, why in (
        ("{", "no JSON"),
        ("{}", "is missing"),
        ('{"model": "nano", "turns": [], "mood": 1}', "unknown"),
    ):
        found = client.post("/studio/api/talk", data={"request": request}, files={"none": ("none", b"x")})
        assert why in error(found, 400)


# Review


def put(client: TestClient, number: int, **body: Any) -> Any:
    seen = client.get(f"/studio/api/review/rows/{number}").json()
    return client.put(f"/studio/api/review/rows/{number}", json={"version": seen["version"], "by": "anna", **body})


def test_without_rows_there_is_nothing_to_review(client: TestClient) -> None:
    assert "start with --review" in error(client.get("/studio/api/review"), 404)


def test_a_manifest_without_a_page_to_review_it_on_is_refused() -> None:
    with pytest.raises(InputError, match="give --studio"):
        ServerOptions(review="rows.jsonl")


def test_a_correction_is_written_and_figures_come_back(reviewed: TestClient, corpus: Path) -> None:
    found = put(reviewed, 1, changes={"emotion": "happy"}, confirmed=["gender"]).json()
    assert (found["row"]["corrected"], found["row"]["reviewed"]) == (["emotion"], ["emotion", "gender"])
    assert found["about"]["reviewed"] == 1
    assert next(read_manifest(corpus)).labels == {"emotion": "happy"}


def test_a_row_that_has_changed_since_is_409(reviewed: TestClient) -> None:
    assert put(reviewed, 1, changes={"emotion": "happy"}).status_code == 200
    assert "changed since" in error(put(reviewed, 1, version="0" * 16, changes={"emotion": "fear"}), 409)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"changes": []}, "'changes', an object"),
        ({"changes": {"emotion": 1}}, "no text"),
        ({"confirmed": "emotion"}, "'confirmed', a list"),
        ({"confirmed": [{}]}, "'confirmed', a list"),
        ({"by": None}, "'by', texts"),
        ({"changes": {"emotion": "gloomy"}}, "emotion 'gloomy' is unknown"),
        ({"changes": {"id": "x"}}, "cannot be reviewed"),
    ],
)
def test_a_broken_correction_is_refused_and_nothing_is_written(
    reviewed: TestClient, corpus: Path, body: dict[str, Any], why: str
) -> None:
    before = corpus.read_bytes()
    assert why in error(put(reviewed, 1, **body), 400)
    assert corpus.read_bytes() == before


def test_the_sound_of_a_row_comes_as_wav_and_one_outside_of_the_corpus_not(reviewed: TestClient) -> None:
    assert reviewed.get("/studio/api/review/rows/1/sound").content[:4] == b"RIFF"
    assert "outside of" in error(reviewed.get("/studio/api/review/rows/3/sound"), 400)


@pytest.mark.parametrize("query", ["limit=501", "offset=-1", "state=closed", "field=mood", "limit=many"])
def test_a_wrong_query_is_400(reviewed: TestClient, query: str) -> None:
    error(reviewed.get(f"/studio/api/review?{query}"), 400)


def test_pages_of_rows_follow_each_other(reviewed: TestClient) -> None:
    pages = [reviewed.get(f"/studio/api/review?sort=file&limit=2&offset={offset}").json() for offset in (0, 2)]
    assert [[row["id"] for row in page["rows"]] for page in pages] == [["a", "b"], ["out"]]
    assert pages[0]["count"] == 3


def test_the_reviewed_rows_are_exported_next_to_the_manifest(reviewed: TestClient, corpus: Path) -> None:
    put(reviewed, 1, confirmed=["emotion"])
    found = reviewed.post("/studio/api/review/export", json={}).json()
    assert found == {"path": str(corpus.with_name("rows.reviewed.jsonl")), "count": 1}


def test_a_model_is_asked_about_every_row_inside_the_corpus(reviewed: TestClient, corpus: Path) -> None:
    assert reviewed.post("/studio/api/review/answers", json={"model": "nano"}).json() == {"asking": True}
    for _ in range(600):
        about = reviewed.get("/studio/api/review?limit=0").json()["about"]
        if about["asking"] is None:
            break
    assert (about["unanswered"], about["problem"]) == (1, "")
    assert about["agreement"]["emotion"]["count"] == 2
    assert len(corpus.with_name("rows.answers.jsonl").read_text().splitlines()) == 2


def test_an_unknown_model_is_not_asked(reviewed: TestClient) -> None:
    error(reviewed.post("/studio/api/review/answers", json={"model": "other"}), 404)
