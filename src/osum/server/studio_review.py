"""The review of the studio over HTTP: its rows, their sound, corrections, and a model asked about all of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from osum.corpus.clips import ClipAudio
from osum.engine.options import LabelOptions
from osum.errors import AudioError, OsumError
from osum.server import review as store
from osum.server.faults import ApiError, bad
from osum.server.review import Review
from osum.server.review_row import ReviewEntry, StaleRowError, corrections_of
from osum.server.service import Service, Used
from osum.server.studio import allowed, json_of, wav_response
from osum.utterance import Utterance

router = APIRouter(prefix="/studio/api/review")
LOG = logging.getLogger("osum.server")
MAX_ROWS = 500
"""Rows of one answer."""
MAX_SECONDS = 600.0
"""Longest recording that is sent to be reviewed."""


@dataclass(eq=False)
class Asking:
    """A model that is asked about every row that has no answer yet."""

    count: int
    done: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)


class Reviews:
    """The review of one server, opened when it is first looked at."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._review: Review | None = None
        self._lock = threading.Lock()
        self.asking: Asking | None = None
        self.problem = ""
        """Why the last asking ended early."""

    @property
    def open(self) -> Review:
        """The review; its labels are those of the first model.

        Raises:
            ApiError: the server was started without one.
            InputError: its manifest cannot be reviewed.
        """
        options, models = self._service.options, self._service.models
        if options.review is None:
            raise ApiError(404, "there is nothing to review: start with --review FILE.jsonl")
        with self._lock:
            if self._review is None:
                with models.lease(models.names[0]) as model:
                    self._review = Review(options.review, model.tasks, options.audio_root)
            return self._review

    def ask(self, name: str) -> None:
        """Ask a model about all rows without an answer, in a thread of its own."""
        rows = self.open.unanswered()
        with self._lock:
            if self.asking is not None:
                raise ApiError(409, "a model is being asked already: wait, or stop it")
            self.asking, self.problem = Asking(len(rows)), ""
        threading.Thread(target=self._ask, args=(name, rows, self.asking), daemon=True).start()

    def _ask(self, name: str, rows: list[Utterance], asking: Asking) -> None:
        try:
            with self._service.models.lease(name) as model:
                options = LabelOptions(tasks=allowed(self._service, model, "all"))
                for answer in model.label_files(iter(rows), options):
                    self.open.add_answer(answer)
                    asking.done += 1
                    if asking.stopped.is_set() or self._service.desk.draining:
                        break
        except Exception as fault:  # of a thread that nobody waits for: the page says why
            self.problem = str(fault) if isinstance(fault, OsumError) else "the model failed; the server's log says why"
            LOG.error("asking %s about the rows under review failed", name, exc_info=fault)
        finally:
            self.asking = None


def reviews_of(request: Request, service: Used) -> Reviews:
    """The one review of the app."""
    held = request.app.state
    if not hasattr(held, "reviews"):
        held.reviews = Reviews(service)
    found: Reviews = held.reviews
    return found


Held = Annotated[Reviews, Depends(reviews_of)]


@dataclass(frozen=True)
class Page:
    """Which rows of a review, and how many of them."""

    field: str | None = None
    label: str | None = None
    state: str = "all"
    words: Annotated[str, Query(max_length=200)] = ""
    sort: str = "doubt"
    offset: Annotated[int, Query(ge=0)] = 0
    limit: Annotated[int, Query(ge=0, le=MAX_ROWS)] = 100


@router.get("")
def rows(page: Annotated[Page, Depends()], held: Held) -> dict[str, Any]:
    """The rows that a query asks for, and figures about all."""
    review = held.open
    query = store.Query(page.field, page.label, page.state, page.words, page.sort)  # type: ignore[arg-type]
    found = review.find(query)
    shown = found[page.offset : page.offset + page.limit]
    listed = [row_of(review, entry, page.field) for entry in shown]
    return {"about": about(held, review), "count": len(found), "rows": listed}


@router.get("/rows/{number}")
def row(number: int, held: Held) -> dict[str, Any]:
    """One row, with all that the model says of it."""
    review = held.open
    entry, whole = review.entry(number), review.row(number)
    guess = review.guess(entry)
    shown = None if guess is None else {"model": guess.model, "text": guess.text, "labels": guess.labels}
    known = {name: whole.get(name) for name in ("speaker", "source")}
    return {**row_of(review, entry), **known, "guess": shown, "corrections": corrections_of(whole)}


@router.get("/rows/{number}/sound")
def sound(number: int, held: Held) -> Response:
    """The recording of a row, as wav."""
    found, audio = held.open.sound(number), ClipAudio()
    seconds = audio.duration(found)
    if seconds > MAX_SECONDS:
        raise AudioError(f"row {found.id!r} is {seconds:.0f} s long: `osum data cut` makes rows that can be reviewed")
    return wav_response(audio.read(found, notice=lambda _: None))


@router.put("/rows/{number}")
async def correct(number: int, request: Request, held: Held) -> JSONResponse:
    """Write what a person corrected and confirmed."""
    body = await json_of(request)
    changes, confirmed = body.get("changes", {}), body.get("confirmed", [])
    texts = (body.get("version"), body.get("by"), *confirmed) if isinstance(confirmed, list) else (None,)
    if not isinstance(changes, dict) or not all(isinstance(each, str) for each in texts):
        raise bad(
            "a correction needs 'version' and 'by', texts, 'changes', an object, and 'confirmed', a list of fields"
        )
    if not all(value is None or isinstance(value, str) for value in changes.values()):
        raise bad("a value of 'changes' is no text: give a text, or null for not known")
    return JSONResponse(await asyncio.to_thread(_corrected, held, number, body))


def _corrected(held: Reviews, number: int, body: dict[str, Any]) -> dict[str, Any]:
    review = held.open
    try:
        entry = review.correct(number, body["version"], body.get("changes", {}), body.get("confirmed", []), body["by"])
    except StaleRowError as fault:
        raise ApiError(409, str(fault), code="stale_row") from fault
    return {"row": row_of(review, entry), "about": about(held, review)}


@router.post("/answers")
async def start_asking(request: Request, service: Used, held: Held) -> dict[str, Any]:
    """Ask a model about every row that has no answer yet."""
    name = service.models.check((await json_of(request)).get("model"))
    await asyncio.to_thread(held.ask, name)
    return {"asking": True}


@router.delete("/answers")
def stop_asking(held: Held) -> dict[str, Any]:
    """End that behind the row that is being answered; what was answered is kept."""
    if held.asking is not None:
        held.asking.stopped.set()
    return {"asking": False}


@router.post("/export")
async def export(request: Request, held: Held) -> dict[str, Any]:
    """Write the reviewed rows next to the manifest."""
    corrected_only = bool((await json_of(request)).get("corrected_only"))
    path, count = await asyncio.to_thread(lambda: held.open.export(corrected_only))
    return {"path": str(path), "count": count}


def row_of(review: Review, entry: ReviewEntry, name: str | None = None) -> dict[str, Any]:
    """A row as the list shows it."""
    return {
        "number": entry.number,
        "version": entry.version,
        "id": entry.id,
        "shown": dict(entry.shown),
        "reviewed": sorted(entry.reviewed),
        "corrected": sorted(entry.corrected),
        "doubt": review.doubt(entry, name),
    }


def about(held: Reviews, review: Review) -> dict[str, Any]:
    """Figures about all rows: how many are reviewed, and how often the model agrees with people."""
    entries = list(review.entries.values())
    agreement = {name: asdict(found) for name in review.label_sets if (found := review.agreement(name)) is not None}
    asking = held.asking
    return {
        "name": review.path.name,
        "count": len(entries),
        "reviewed": sum(bool(entry.reviewed) for entry in entries),
        "unanswered": sum(review.guess(entry) is None for entry in entries),
        "faults": len(review.faults),
        "label_sets": {name: list(labels.labels) for name, labels in review.label_sets.items()},
        "agreement": agreement,
        "asking": None if asking is None else {"done": asking.done, "count": asking.count},
        "problem": held.problem,
    }
