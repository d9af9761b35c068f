"""Who may look: requests from other web sites never, and with a password only those who know it."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COOKIE, _LOGIN = "kobra-dashboard", "/login"
_PASSWORD_BYTES_MAX = 4096
_AFTER_A_WRONG_ONE_S = 1.0

# The browser itself keeps the page from asking anybody else. Vega compiles expressions, hence 'unsafe-eval'.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self' data: blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'"
)

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Kobra</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px system-ui,sans-serif;display:grid;place-content:center;min-height:90vh}}
form{{display:grid;gap:.7rem;width:18rem}}input,button{{font:inherit;padding:.5rem}}p{{color:#b3261e;margin:0}}</style>
<form method="post" action="/login"><label for="password">Password · Contraseña</label>
<input id="password" name="password" type="password" autocomplete="current-password" autofocus required>{wrong}
<button>Enter · Entrar</button></form></html>"""
_WRONG = "<p role='alert'>Wrong password · Contraseña incorrecta</p>"


class Gate:
    """Stands before the dashboard. Without a password it answers to the names of this machine alone, so that a web
    site which has its own name point here (DNS rebinding) gets nothing."""

    def __init__(self, app: App, password: str | None) -> None:
        self._app = app
        self._password = _digest(password) if password else None
        self._ticket = secrets.token_urlsafe(32)
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if not self._is_ours(asked):
            await _refuse(scope, receive, send, PlainTextResponse("not from here", 403))
        elif self._password and not self._has_ticket(asked):
            await _refuse(scope, receive, send, await self._login(scope, receive))
        elif self._password and scope["path"] == _LOGIN:
            await RedirectResponse("/", 303)(scope, receive, _guarded(send))
        else:
            await self._app(scope, receive, _guarded(send))

    def _is_ours(self, asked: HTTPConnection) -> bool:
        host = asked.headers.get("host", "")
        origin = asked.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return False
        return self._password is not None or urlsplit(f"//{host}").hostname in LOOPBACK

    def _has_ticket(self, asked: HTTPConnection) -> bool:
        return hmac.compare_digest(_digest(asked.cookies.get(_COOKIE, "")), _digest(self._ticket))

    async def _login(self, scope: Scope, receive: Receive) -> Response:
        if scope["type"] != "http" or scope["path"] != _LOGIN or scope["method"] != "POST":
            return HTMLResponse(_PAGE.format(wrong=""), 401)
        request = Request(scope, receive)
        if int(request.headers.get("content-length", _PASSWORD_BYTES_MAX + 1)) > _PASSWORD_BYTES_MAX:
            return PlainTextResponse("too long", 413)
        async with request.form(max_fields=1, max_files=0) as form:
            given = str(form.get("password", ""))
        # One guess at a time, and a second for each wrong one, whoever guesses.
        async with self._one_at_a_time:
            if not hmac.compare_digest(_digest(given), self._password or b""):
                await asyncio.sleep(_AFTER_A_WRONG_ONE_S)
                return HTMLResponse(_PAGE.format(wrong=_WRONG), 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(_COOKIE, self._ticket, httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return answer


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await answer(scope, receive, _guarded(send))


def _guarded(send: Send) -> Send:
    """Add to every answer what keeps the browser from asking, or telling, anybody else."""

    async def to_browser(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = POLICY
            headers["Referrer-Policy"] = "same-origin"
            headers["X-Content-Type-Options"] = "nosniff"
        await send(message)

    return to_browser
