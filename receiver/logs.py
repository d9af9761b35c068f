"""One JSON line per event on stderr: what happened, never to whom or with what contents."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """Our own events with their fields. Other libraries are quoted by the place in their code alone, because
    their messages and their exceptions' texts can hold what a client sent."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith("receiver")
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if ours else "library",
        }
        if not ours:
            line |= {"library": record.name, "place": f"{record.module}:{record.lineno}"}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line |= fault(record.exc_info[1])
        return json.dumps(line)


def fault(why: BaseException) -> dict[str, object]:
    """An exception's class and where it was raised, without its text."""
    frames = traceback.extract_tb(why.__traceback__)[-4:]
    return {
        "fault": type(why).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames],
    }


def configure() -> None:
    """Send all logging of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
