"""What a server says of itself: its models, whether it lives and is ready, its figures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from osum.server.service import Service, Used

router = APIRouter()


@router.get("/health")
async def health(service: Used) -> Response:
    """200 while the server lives, 503 once it is about to stop."""
    return Response(status_code=503 if service.desk.draining else 200)


@router.get("/ready")
async def ready(service: Used) -> JSONResponse:
    """200 when the first model is loaded and there is room for a request."""
    models, desk = service.models, service.desk
    loaded = {name: models.is_loaded(name) for name in models.names}
    why = None
    if desk.draining:
        why = "about to stop"
    elif desk.full:
        why = "no place free"
    elif not loaded[models.names[0]]:
        why = "loading"
    body = {"ready": why is None, "reason": why, "models": loaded, "running": desk.running, "waiting": desk.waiting}
    return JSONResponse(body, 200 if why is None else 503)


@router.get("/metrics")
async def metrics(service: Used) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.page(), media_type="text/plain; version=0.0.4")


@router.get("/v1/models")
async def models(service: Used) -> dict[str, Any]:
    """All models."""
    return {"object": "list", "data": [_model(service, name) for name in service.models.names]}


@router.get("/v1/models/{name:path}")
async def model(name: str, service: Used) -> dict[str, Any]:
    """One model; its name may have slashes."""
    return _model(service, service.models.check(name))


def _model(service: Service, name: str) -> dict[str, Any]:
    own = {"loaded": service.models.is_loaded(name)}
    return {"id": name, "object": "model", "created": service.models.created, "owned_by": "osum", "osum": own}
