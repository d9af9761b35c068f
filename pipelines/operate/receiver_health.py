"""Ask a receiver over HTTP how it does; whatever is at that address, an answer comes within seconds."""

import http.client
import json
from typing import NamedTuple
from urllib.parse import urlsplit

_PATIENCE_S = 3.0
_LONGEST = 4096


class Health(NamedTuple):
    """`state`: ready · not_ready (it lives and cannot store) · no_answer · no_receiver (somebody else is there).
    `waiting_segments`, `shipping_fault`: how it ships to an object store; None where it has none, and no fault."""

    state: str
    detail: str | None = None
    waiting_segments: int | None = None
    shipping_fault: str | None = None


def ask(url: str) -> Health:
    """How the receiver at an address (no path) does."""
    try:
        alive, says = _get(url, "/healthz")
        if (alive, says.get("status")) != (200, "alive"):
            return Health("no_receiver")
        ready, says = _get(url, "/readyz")
    except (OSError, http.client.HTTPException):
        return Health("no_answer")
    if ready == 200:
        match says.get("shipping"):
            case {"waiting_segments": int(waiting), "fault": fault}:
                return Health("ready", None, waiting, fault and str(fault))
        return Health("ready")
    return Health("not_ready", str(says.get("fault", "")) or None)


def _get(url: str, path: str) -> tuple[int, dict[str, object]]:
    """Status and JSON body; a body that is no JSON object is an empty one. Raises OSError, HTTPException."""
    where = urlsplit(url)
    opened = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = opened(where.netloc, timeout=_PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(_LONGEST)
    finally:
        connection.close()
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    return answer.status, said if isinstance(said, dict) else {}
