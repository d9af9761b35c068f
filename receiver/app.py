"""The receiver put together: the hook's parts, and beside them health, readiness and metrics on FastAPI."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from receiver.answers import CLOSE, UNEXPECTED
from receiver.commits import Commits
from receiver.hook import Hook
from receiver.keys import Keyring
from receiver.metrics import Metrics
from receiver.protocol import Doorkeeper
from receiver.rawstore import Landing, make_folder
from receiver.settings import Settings

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def create_app(settings: Settings, *, landing: Landing | None = None, shared_metrics: Path | None = None) -> App:
    """The application behind ReceiverProtocol. Raises SettingsError when no usable key is configured.

    Its lifespan state holds the hook, which that protocol answers by itself, and the Doorkeeper.
    `shared_metrics` is the folder where the figures of several workers meet.
    """
    metrics = Metrics(settings.raw, shared_metrics)
    hook = Hook(settings, Keyring(settings), metrics)
    operations = _operations(settings, hook, metrics, landing)

    async def receiver(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await operations(scope, receive, send)
        elif scope["type"] == "http":
            await _guarded(operations, scope, receive, send)

    return receiver


async def _guarded(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """The outermost edge: whatever goes wrong inside is logged without its text and answered with 500."""
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("unexpected")
        with suppress(RuntimeError):  # the server's, when the answer had already begun
            headers = [*UNEXPECTED.headers, CLOSE]
            await send({"type": "http.response.start", "status": UNEXPECTED.status, "headers": headers})
            await send({"type": "http.response.body", "body": UNEXPECTED.body})


# ---------------------------------------------------------------- operations


def _operations(settings: Settings, hook: Hook, metrics: Metrics, landing: Landing | None) -> FastAPI:
    """Health, readiness and metrics; the commits live as long as this application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, object]]:
        make_folder(settings.raw)
        hook.commits = Commits(
            landing or _landing(settings),
            metrics,
            free_floor=settings.free_floor(),
            max_age_s=settings.segment_max_age_s,
        )
        await hook.commits.tried()
        yield {"door": _door(settings, metrics), "hook": hook}
        await hook.commits.close()

    app = FastAPI(
        title="Kobra receiver",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> Response:
        trouble = hook.commits.why_not_ready()
        if trouble is None:
            return JSONResponse({"status": "ready"})
        detail = "Storing does not work at present: look at disk space, permissions and the receiver's log."
        return JSONResponse({"error": "not_ready", "detail": detail, "fault": trouble}, 503, {"retry-after": "5"})

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    def figures() -> Response:
        return PlainTextResponse(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, why: HTTPException) -> Response:
        codes = {
            404: ("not_found", "There is nothing here: visits go to POST /webhooks/visits."),
            405: ("method_not_allowed", "Use one of the methods in the Allow header."),
        }
        code, detail = codes.get(why.status_code, ("refused", "This request cannot be answered."))
        return JSONResponse({"error": code, "detail": detail}, why.status_code, why.headers)

    return app


def _landing(settings: Settings) -> Landing:
    return Landing(settings.raw, max_bytes=settings.segment_max_bytes, max_age_s=settings.segment_max_age_s)


def _door(settings: Settings, metrics: Metrics) -> Doorkeeper:
    return Doorkeeper(
        timeout_s=settings.request_timeout_s,
        max_body_bytes=settings.max_body_bytes,
        max_connections=settings.max_connections,
        count=metrics.hang_up,
    )
