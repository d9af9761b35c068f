"""`POST /webhooks/visits`: whatever is answered to a body that was read, the body is on disk first."""

import asyncio
import logging
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

import httptools

from receiver.answers import JSON, RETRY, UNEXPECTED, Answer, Headers, problem
from receiver.commits import Commits
from receiver.judge import FAULTS, fault_of
from receiver.keys import Keyring
from receiver.metrics import Metrics
from receiver.rawstore import Stamps, delivery
from receiver.settings import Settings

log = logging.getLogger(__name__)

_PATHS = (b"/webhooks/visits", b"/webhooks/visits/")


def _stored(delivery_id: str) -> bytes:
    return b'{"status":"stored","delivery_id":"%b"}' % delivery_id.encode()


_STORED = Answer(200, "stored", [JSON, (b"content-length", b"%d" % len(_stored("-" * 36)))], b"")
_STORED_HEAD = _STORED.head()
_ONLY_POST = problem(405, "method_not_allowed", "Send visits with POST.", (b"allow", b"POST"))
_UNAUTHORIZED = problem(401, "unauthorized", "Send the key that was agreed on in one header named api-key.")
_ENCODED = problem(415, "encoded", "Send the body as it is, without Content-Encoding or Transfer-Encoding codings.")
_OVERLOADED = problem(503, "overloaded", "Too much is on its way in at once: send this again later.", RETRY)
_NOT_STORED = problem(
    503, "not_stored", "The delivery could not be stored: send it again later.", RETRY, closes=False
)


def is_hook(url: bytes) -> bool:
    """Whether a request's target is the hook's address. Raises httptools' error for what is no URL."""
    return url in _PATHS or unquote_to_bytes(httptools.parse_url(url).path or b"") in _PATHS


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that ends here, with an answer, before anything is landed."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Claims(NamedTuple):
    """What the headers say that the hook listens to."""

    key: bytes | None
    length: int
    encoded: bool


def claims_of(headers: Headers) -> Claims:
    """The claims of headers with names in lower case. A key sent twice is no key."""
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


class Conversation(Protocol):
    """The connection that a visit comes in on."""

    def invite(self) -> None:
        """Tell the client to go on with its body."""

    def answer(self, visit: "Visit", answer: Answer) -> None:
        """End a visit with an answer."""

    def answer_briefly(self, visit: "Visit", head: bytes, body: bytes) -> None:
        """The same with an answer whose head is made once; nothing happens when the client is gone."""


class Visit:
    """One request to the hook. It stands where uvicorn's protocol has an ASGI cycle, and has what that asks of
    one: `body` grows as it arrives, `more_body` and `response_complete` tell how far it is."""

    __slots__ = (
        "body",
        "conversation",
        "delivery_id",
        "disconnected",
        "expects_100_continue",
        "fault",
        "headers",
        "keep_alive",
        "method",
        "more_body",
        "response_complete",
        "response_started",
        "size",
        "source",
    )

    message_event = asyncio.Event()  # for nobody

    def __init__(
        self,
        conversation: Conversation,
        method: bytes,
        headers: Headers,
        *,
        keep_alive: bool,
        expects_100_continue: bool,
    ) -> None:
        self.conversation = conversation
        self.method = method
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects_100_continue = expects_100_continue
        self.body = bytearray()
        self.more_body = True
        self.response_started = self.response_complete = self.disconnected = False
        self.source: str | None = None
        self.size = 0  # what it takes of the room for all
        self.delivery_id = ""
        self.fault: str | None = None


class Hook:
    """Admits visits by their heads, finds room for their bodies, lands them, and only then answers."""

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

    def go_on(self, visit: Visit) -> None:
        """Do what can be done with what has arrived of a visit, until its body is complete."""
        try:
            if visit.source is None:
                visit.source = self._admit(visit)
                if visit.expects_100_continue:
                    visit.conversation.invite()
            self._make_room(visit)
            if not visit.more_body:
                self._land(visit, visit.source)
        except Refused as refused:
            self._metrics.count(refused.answer.code)
            self._end(visit, refused.answer)
        except Exception:  # the outermost edge
            log.exception("unexpected")
            self._metrics.count(UNEXPECTED.code)
            self._end(visit, UNEXPECTED)

    def lose(self, visit: Visit) -> None:
        """Its client went away before the body was complete."""
        self._metrics.count("disconnected")
        self.forget(visit)

    def forget(self, visit: Visit) -> None:
        """Somebody else has ended this visit."""
        self._in_flight -= visit.size
        visit.size = 0

    def _admit(self, visit: Visit) -> str:
        """The source that may send this. Raises Refused."""
        if visit.method != b"POST":
            raise Refused(_ONLY_POST)
        claims = claims_of(visit.headers)
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

    def _make_room(self, visit: Visit) -> None:
        """For what has arrived since the last time. Raises Refused."""
        size = len(visit.body)
        self._in_flight += size - visit.size
        visit.size = size
        if size > self._max_body:
            raise Refused(self._too_large)
        if self._in_flight > self._max_in_flight:
            raise Refused(_OVERLOADED)

    def _land(self, visit: Visit, source: str) -> None:
        body = bytes(visit.body)
        visit.delivery_id, received_at = self._stamps.next()
        record = delivery(visit.delivery_id, received_at, source, body)
        visit.fault = fault_of(record, body)
        self.commits.land(record, visit.fault or "stored", lambda stored: self._landed(visit, stored=stored))

    def _landed(self, visit: Visit, *, stored: bool) -> None:
        if not stored:
            self._end(visit, _NOT_STORED)
        elif visit.fault is not None:
            self._end(visit, _kept(visit.fault, visit.delivery_id))
        else:
            self.forget(visit)
            visit.conversation.answer_briefly(visit, _STORED_HEAD, _stored(visit.delivery_id))

    def _end(self, visit: Visit, answer: Answer) -> None:
        self.forget(visit)
        visit.conversation.answer(visit, answer)


def _kept(fault: str, delivery_id: str) -> Answer:
    """Told, and kept: the answer to a body that is no JSON object."""
    body = f'{{"error":"{fault}","detail":"{FAULTS[fault]}","delivery_id":"{delivery_id}"}}'.encode()
    return Answer(400, fault, [JSON, (b"content-length", b"%d" % len(body))], body)
