"""The receiver as a FastAPI application: the webhook in front, and behind it health, readiness and metrics."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from receiver import openapi, responses
from receiver.group_commit import GroupCommit
from receiver.keys import Keyring
from receiver.metrics import Metrics
from receiver.rawstore import Landing
from receiver.responses import Message
from receiver.settings import Settings
from receiver.shipping import Shipping, ShippingDetail
from receiver.webhook import PATHS, Receive, Send, Webhook

log = logging.getLogger(__name__)

_PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Receiver(FastAPI):
    """FastAPI, except that the webhook answers its own address: a route would take four times as long."""

    def __init__(self, settings: Settings, landing: Landing) -> None:
        self.metrics = Metrics(settings.raw_folder)
        self.commits = GroupCommit(
            landing, self.metrics, min_free_bytes=settings.min_free_bytes, max_age_s=settings.segment_max_age_s
        )
        self.webhook = Webhook(settings, Keyring(settings), self.commits, self.metrics)
        self.shipping: Shipping | None = None
        if settings.raw:
            self.shipping = Shipping(settings.home, settings.raw, settings.raw_local_days)
            self.metrics.register(self.shipping)
        super().__init__(
            title="Kobra receiver",
            description=openapi.SUMMARY,
            version="1",
            lifespan=_lifespan,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PATHS:
            await self.webhook(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The whole contract, the webhook's part included."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.describe(super().openapi())
        return self.openapi_schema


def create_app(settings: Settings, landing: Landing | None = None) -> Receiver:
    """The application, for any ASGI server. Raises SettingsError when no usable key is configured."""
    if landing is None:
        landing = Landing(
            settings.raw_folder, max_bytes=settings.segment_max_bytes, max_age_s=settings.segment_max_age_s
        )
    app = Receiver(settings, landing)
    _add_operations(app)
    _add_errors(app)
    if settings.api_docs:
        _add_docs(app)
    return app


@asynccontextmanager
async def _lifespan(app: Receiver) -> AsyncIterator[None]:
    await app.commits.why_not_ready()  # so that it is known before anybody asks
    if app.shipping:
        app.shipping.start()
    yield
    await app.commits.close()
    if app.shipping:
        await run_in_threadpool(app.shipping.stop)


class Alive(BaseModel):
    """The process lives."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """A delivery can be stored. `shipping` is there with an object store alone."""

    status: Literal["ready"] = "ready"
    shipping: ShippingDetail | None = None


class NotReady(BaseModel):
    """No delivery can be stored; `fault` is why, as the system calls it."""

    error: Literal["not_ready"] = "not_ready"
    detail: str = "Storing does not work at present: look at disk space, permissions and the receiver's log."
    fault: str


def _add_operations(app: Receiver) -> None:
    async def healthz() -> Alive:
        """Whether the process lives."""
        return Alive()

    async def readyz() -> Response:
        """Whether a delivery can be stored: a file is written and synced where deliveries go, unless one was stored
        within the last second."""
        fault = await app.commits.why_not_ready()
        if fault is None:
            shipping = await run_in_threadpool(app.shipping.detail) if app.shipping else None
            return JSONResponse(Ready(shipping=shipping).model_dump(mode="json", exclude_none=shipping is None))
        return JSONResponse(NotReady(fault=fault).model_dump(), 503, {"retry-after": "5"})

    async def metrics() -> Response:
        """Figures for Prometheus."""
        app.metrics.ready.set(await app.commits.why_not_ready() is None)
        text = await run_in_threadpool(app.metrics.render)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    not_ready: dict[int | str, dict[str, Any]] = {503: {"model": NotReady}}
    for endpoint, options in (
        (healthz, {"response_model": Alive}),
        (readyz, {"response_model": Ready, "responses": not_ready}),
        (metrics, {"response_class": PlainTextResponse}),
    ):
        path = f"/{endpoint.__name__}"
        app.add_api_route(path, endpoint, methods=["GET"], **options)
        app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def _add_errors(app: Receiver) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_request: Request, why: HTTPException) -> Response:
        codes = {
            404: ("not_found", "There is nothing here: visits go to POST /webhooks/visits."),
            405: ("method_not_allowed", "Use one of the methods in the Allow header."),
        }
        code, detail = codes.get(why.status_code, ("refused", "This request cannot be answered."))
        return JSONResponse({"error": code, "detail": detail}, why.status_code, why.headers)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, why: Exception) -> Response:
        log.error("unexpected", exc_info=why)
        return Response(responses.UNEXPECTED.content, 500, {"connection": "close"}, "application/json")


def _add_docs(app: Receiver) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def description() -> Response:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(openapi.page(app.openapi()), headers=_PAGE_HEADERS)
