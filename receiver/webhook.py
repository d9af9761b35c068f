"""`POST /webhooks/visits` as a plain ASGI application: a body that was read is on disk before it is answered."""

import logging
from collections.abc import Awaitable, Callable

from receiver import responses
from receiver.group_commit import GroupCommit
from receiver.json_check import reason_of
from receiver.keys import Keyring
from receiver.metrics import Metrics
from receiver.rawstore import Stamps, delivery
from receiver.responses import WHOLE_RESPONSE, Message, Response
from receiver.settings import Settings

log = logging.getLogger(__name__)

PATH = "/webhooks/visits"
PATHS = frozenset({PATH, f"{PATH}/"})

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is answered without being stored."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Webhook:
    """Checks the key and the limits, reads the body, stores it, and only then answers."""

    def __init__(self, settings: Settings, keyring: Keyring, commits: GroupCommit, metrics: Metrics) -> None:
        self._keyring = keyring
        self._commits = commits
        self._metrics = metrics
        self._stamps = Stamps()
        self._max_body = settings.max_body_bytes
        self._max_in_flight = settings.max_in_flight_bytes
        self._in_flight = 0  # bytes of bodies that are arriving or being stored
        self._too_large = responses.too_large(settings.max_body_bytes)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        size = 0
        try:
            source, is_encoded = self._admit(scope)
            chunks, more_body = [], True
            while more_body:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self._metrics.count("disconnected")
                    return
                chunk = message.get("body", b"")
                chunks.append(chunk)
                size += len(chunk)
                self._in_flight += len(chunk)
                self._check_room(size)
                more_body = message.get("more_body", False)
            response = await self._store(source, b"".join(chunks), 415 if is_encoded else 400)
        except Refused as refused:
            response = refused.response
            self._metrics.count(response.code)
        except Exception:  # the outermost edge
            log.exception("unexpected")
            response = responses.UNEXPECTED
            self._metrics.count(response.code)
        finally:
            self._in_flight -= size
        server = scope.get("extensions", {}).get(WHOLE_RESPONSE)
        if server is not None:
            await server["respond"](response)
        else:
            await send(response.start)
            await send({"type": "http.response.body", "body": response.content})

    def _admit(self, scope: Message) -> tuple[str, bool]:
        """Whose request this is, and whether its body is encoded. Raises Refused."""
        if scope["method"] != "POST":
            raise Refused(responses.ONLY_POST)
        key, length, is_encoded = None, 0, False
        for name, value in scope["headers"]:
            if name == b"api-key":
                key = value.strip(b" \t") if key is None else b""  # sent twice, it is no key
            elif name == b"content-length":
                length = int(value) if value.isdigit() else 0
            elif name == b"content-encoding":
                is_encoded |= value.strip().lower() not in (b"", b"identity")
            elif name == b"transfer-encoding":
                is_encoded |= value.strip().lower() not in (b"chunked", b"identity")
        source = self._keyring.source_of(key or b"")
        if source is None:
            raise Refused(responses.UNAUTHORIZED)
        self._check_room(length, length)
        return source, is_encoded

    def _check_room(self, size: int, announced: int = 0) -> None:
        """Raise Refused for a body that is too large, by itself or with all others that are arriving."""
        if size > self._max_body:
            raise Refused(self._too_large)
        if announced + self._in_flight > self._max_in_flight:
            raise Refused(responses.OVERLOADED)

    async def _store(self, source: str, body: bytes, status_of_unreadable: int) -> Response:
        delivery_id, received_at = self._stamps.next()
        record = delivery(delivery_id, received_at, source, body)
        reason = reason_of(body)
        if not await self._commits.store(record, reason or "stored"):
            return responses.NOT_STORED
        return responses.kept(status_of_unreadable, reason, delivery_id) if reason else responses.stored(delivery_id)
