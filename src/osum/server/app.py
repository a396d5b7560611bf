"""create_app: the routes of one server over its models. A further router is one more entry of `ROUTERS`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from osum import errors
from osum.listening.recognizer import Recognizer
from osum.server import about, chat, decisions, realtime, speech, studio, studio_review, transcriptions
from osum.server.access import Access, KeyPlaces
from osum.server.desk import Desk
from osum.server.faults import ApiError, respond, respond_to_invalid
from osum.server.gate import Gate
from osum.server.metrics import Metrics
from osum.server.models import Models
from osum.server.options import ServerOptions
from osum.server.reading import Readers
from osum.server.realtime_desk import RealtimeDesk
from osum.server.service import Service
from osum.server.turn_policies import TurnPolicies
from osum.server.voices import Voices

LOG = logging.getLogger("osum.server")
UNLOAD_TICK = 1.0
"""Seconds between two looks for models that are idle."""


ROUTERS: tuple[APIRouter, ...] = (
    about.router,
    transcriptions.router,
    decisions.router,
    chat.router,
    speech.router,
    realtime.router,
)
"""The routes of every server: add yours here. `Gate` has checked host, origin and key before any of them runs."""
STUDIO: tuple[APIRouter, ...] = (studio.router, studio_review.router)
"""Those of a server with the studio."""


def create_app(
    models: Models | Mapping[str, Recognizer], options: ServerOptions | None = None, voices: Voices | None = None
) -> FastAPI:
    """The app of a server.

    Args:
        models: what answers, by the names that clients use; a mapping of models that are open, or `Models`.
        options: limits, keys and switches.
        voices: who speaks; those that the options name without it.
    """
    options = options or ServerOptions()
    held = models if isinstance(models, Models) else Models.holding(models)
    desk = Desk(options.max_running, options.max_waiting, options.request_seconds)
    metrics = Metrics(lambda: desk.running, lambda: desk.waiting)
    desk.waited = metrics.queue_time.observe
    desk.refused = lambda reason: metrics.rejections.labels(reason).inc()
    readers = Readers(options.num_readers, options.max_audio_seconds, options.decode_seconds)
    access, key_places = Access(options), KeyPlaces(options.max_per_key)
    key_places.refused = metrics.rejections.labels("key_limit").inc
    talks = RealtimeDesk(TurnPolicies.open(options))
    speakers = voices or Voices.open(options)
    service = Service(options, held, desk, access, key_places, metrics, readers, speakers, realtime=talks)
    app = FastAPI(title="osum", lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    for kind in (errors.OsumError, HTTPException):
        app.add_exception_handler(kind, respond)
    app.add_exception_handler(RequestValidationError, respond_to_invalid)
    for router in (*ROUTERS, *(STUDIO if options.studio else ())):
        app.include_router(router)
    if options.studio:
        studio.mount_files(app)
    if options.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.allowed_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["x-request-id"],
        )
    app.add_middleware(Gate, service=service)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await asyncio.to_thread(service.readers.start)
    behind = [asyncio.create_task(_unload_idle(service)), asyncio.create_task(_load_first(service))]
    try:
        yield
    finally:
        for task in behind:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await service.realtime.close()
        service.desk.close()
        service.readers.close()


async def _load_first(service: Service) -> None:
    """Load the first model while the server already listens; `/ready` says when it is there."""
    with suppress(ApiError):  # which is logged; each request for the model is answered with it
        await asyncio.to_thread(service.models.load, service.models.names[0])


async def _unload_idle(service: Service) -> None:
    while service.options.idle_unload is not None:
        await asyncio.sleep(UNLOAD_TICK)
        for place in await asyncio.to_thread(service.models.unload, service.options.idle_unload):
            LOG.info("unloaded %s, which nobody used for %g s", place, service.options.idle_unload)
