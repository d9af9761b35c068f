"""The receiver's face: authenticate, read, land, and only then answer."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from receiver.answers import JSON, RETRY, Answer, Headers, problem
from receiver.commits import Commits, NotStoredError
from receiver.judge import FAULTS, fault_of
from receiver.keys import Keyring
from receiver.landing import Landing, Stamps, delivery, make_folder
from receiver.metrics import Metrics
from receiver.protocol import Doorkeeper
from receiver.settings import Settings

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def _stored(delivery_id: str) -> bytes:
    return b'{"status":"stored","delivery_id":"%b"}' % delivery_id.encode()


_HOOK = "/webhooks/visits"
_STORED = Answer(200, "stored", [JSON, (b"content-length", b"%d" % len(_stored("-" * 36)))], b"")
_STORED_START: MutableMapping[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": _STORED.headers,
    "wire": _STORED.head(),  # for our own protocol: the same, ready to be sent
}

_ONLY_POST = problem(405, "method_not_allowed", "Send visits with POST.", (b"allow", b"POST"))
_UNAUTHORIZED = problem(401, "unauthorized", "Send the key that was agreed on in one header named api-key.")
_ENCODED = problem(415, "encoded", "Send the body as it is, without Content-Encoding or Transfer-Encoding codings.")
_OVERLOADED = problem(503, "overloaded", "Too much is on its way in at once: send this again later.", RETRY)
_NOT_STORED = problem(503, "not_stored", "The delivery could not be stored: send it again later.", RETRY, close=False)
_UNEXPECTED = problem(500, "unexpected", "The receiver failed: send this again later, and look at its log.")


def create_app(settings: Settings, *, landing: Landing | None = None, shared_metrics: Path | None = None) -> App:
    """The receiver as one ASGI application. Raises SettingsError when no usable key is configured.

    `shared_metrics` is the folder where the figures of several workers meet.
    """
    metrics = Metrics(settings.raw, shared_metrics)
    hook = Hook(settings, Keyring(settings), metrics)
    operations = _operations(settings, hook, metrics, landing)

    async def receiver(scope: Scope, receive: Receive, send: Send) -> None:
        is_hook = scope["type"] == "http" and scope["path"] in (_HOOK, _HOOK + "/")
        if scope["type"] == "lifespan":
            await operations(scope, receive, send)
        elif scope["type"] == "http":
            await _guarded(hook if is_hook else operations, scope, receive, send)

    return receiver


async def _guarded(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """The outermost edge: whatever goes wrong inside is logged without its text and answered with 500."""
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("unexpected")
        with suppress(RuntimeError):  # the server's, when the answer had already begun
            await _answer(send, _UNEXPECTED)


async def _answer(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


# ---------------------------------------------------------------- the hook


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that ends here, with an answer, before anything is landed."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Disconnected(Exception):  # noqa: N818
    """The client went away before its body was complete."""


class Claims(NamedTuple):
    """What the headers say that the hook listens to."""

    key: bytes | None
    length: int
    encoded: bool


def claims_of(headers: Headers) -> Claims:
    """The claims of raw ASGI headers. A key sent twice is no key."""
    key, keys, length, encoded = None, 0, 0, False
    for name, value in headers:
        if name == b"api-key":
            key, keys = value, keys + 1
        elif name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"content-encoding":
            encoded |= value.strip().lower() not in (b"", b"identity")
        elif name == b"transfer-encoding":
            encoded |= value.strip().lower() not in (b"chunked", b"identity")
    return Claims(key if keys == 1 else None, length, encoded)


class Hook:
    """`POST /webhooks/visits`: whatever is answered to a body that was read, the body is on disk first."""

    commits: Commits

    def __init__(self, settings: Settings, keyring: Keyring, metrics: Metrics) -> None:
        self._keyring = keyring
        self._metrics = metrics
        self._stamps = Stamps()
        self._max_body = settings.max_body_bytes
        self._max_in_flight = settings.max_in_flight_bytes
        self._in_flight = 0
        self._too_large = problem(
            413, "too_large", f"The body is too large: send at most {settings.max_body_bytes} bytes."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            source = self._admit(scope)
            await self._take(source, receive, send)
        except Refused as refused:
            self._metrics.count(refused.answer.code)
            await _answer(send, refused.answer)
        except Disconnected:
            if "refused" not in scope:  # by the protocol, which has counted it
                self._metrics.count("disconnected")
        except NotStoredError:
            await _answer(send, _NOT_STORED)

    def _admit(self, scope: Scope) -> str:
        """The source that may send this. Raises Refused."""
        if scope["method"] != "POST":
            raise Refused(_ONLY_POST)
        claims = claims_of(scope["headers"])
        source = self._keyring.source_of(claims.key) if claims.key is not None else None
        if source is None:
            raise Refused(_UNAUTHORIZED)
        if claims.encoded:
            raise Refused(_ENCODED)
        if claims.length > self._max_body:
            raise Refused(self._too_large)
        if claims.length + self._in_flight > self._max_in_flight:
            raise Refused(_OVERLOADED)
        return source

    async def _take(self, source: str, receive: Receive, send: Send) -> None:
        """Read, land, answer."""
        chunks: list[bytes] = []
        size = 0
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunk = message["body"]
                more = message["more_body"]
                size += len(chunk)
                self._in_flight += len(chunk)
                self._check_room(size)
                chunks.append(chunk)
            await self._land(source, chunks[0] if len(chunks) == 1 else b"".join(chunks), send)
        finally:
            self._in_flight -= size

    def _check_room(self, size: int) -> None:
        if size > self._max_body:
            raise Refused(self._too_large)
        if self._in_flight > self._max_in_flight:
            raise Refused(_OVERLOADED)

    async def _land(self, source: str, body: bytes, send: Send) -> None:
        delivery_id, received_at = self._stamps.next()
        record = delivery(delivery_id, received_at, source, body)
        fault = fault_of(record, body)
        await self.commits.land(record, fault or "stored")
        if fault is None:
            await send(_STORED_START)
            await send({"type": "http.response.body", "body": _stored(delivery_id)})
        else:
            await _answer(send, _kept(fault, delivery_id))


def _kept(fault: str, delivery_id: str) -> Answer:
    """Told, and kept: the answer to a body that is no JSON object."""
    body = f'{{"error":"{fault}","detail":"{FAULTS[fault]}","delivery_id":"{delivery_id}"}}'.encode()
    return Answer(400, fault, [JSON, (b"content-length", b"%d" % len(body))], body)


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
        yield {"door": _door(settings, metrics)}
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
