"""A KOBRA_HOME of a test's own: what lands in it, what loads it, what people then read."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from fast_build import without_marts

from pipelines import run
from pipelines.warehouse import home
from pipelines.warehouse.lock import lock
from pipelines.warehouse.state import Brought
from receiver import rawstore

HERE = Path(__file__).parent
KOBRA = Path(sys.executable).with_name("kobra")
EXAMPLE_BODY = (HERE / "example-visit.json").read_bytes()  # as it stands on Kobra's page
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_tails = count(1)


class Post(NamedTuple):
    """One delivery: a body, when it came, from whom."""

    body: bytes
    at: datetime = NOON
    source: str = "lender_a"

    def record(self) -> rawstore.Delivery:
        """The delivery as it lands, under an id that sorts by the time of arrival."""
        return rawstore.delivery(
            rawstore.delivery_id(micros(self.at), next(_tails)), instant(self.at), self.source, self.body
        )


class Home:
    """A store and its warehouse."""

    def __init__(self, path: Path, store: str | None = None) -> None:
        self.path = path
        self.files = home.Home(path, store)
        self.raw = path / "raw"

    def land(self, *posts: Post | bytes | dict[str, Any]) -> list[str]:
        """Land deliveries in one segment for each of their days; answers with the delivery ids."""
        return self.land_records(post_of(post).record() for post in posts)

    def land_records(self, records: Iterable[rawstore.Delivery]) -> list[str]:
        """Land records as they are, in the order given."""
        writer, ids = rawstore.Landing(self.raw), []
        lines: dict[str, list[bytes]] = {}
        for record in records:
            ids.append(record.delivery_id)
            lines.setdefault(record.received_at[:10], []).append(rawstore.encode(record))
        for day, those in lines.items():
            writer.append(datetime.fromisoformat(day).date(), those)
        writer.close()
        return ids

    def run(self) -> Brought:
        """Load and publish in this process, without marts."""
        with lock(self.files), without_marts():
            return run.run(self.files)

    def kobra(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The command, in a process of its own."""
        return kobra(self.path, *arguments)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The published file, attached read-only as `w`."""
        with duckdb.connect() as connection:
            connection.execute(f"attach '{self.files.published}' as w (read_only); set timezone = 'UTC'; use w.kobra")
            yield connection

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What a query on schema `kobra` of the published file answers."""
        with self.reading() as connection:
            found = connection.execute(query, values)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def values(self, query: str, *values: object) -> list[Any]:
        """The first column of what a query answers."""
        return [next(iter(row.values())) for row in self.rows(query, *values)]

    def visits(self) -> dict[str, dict[str, Any]]:
        """The visits by id."""
        return {row["visit_id"]: row for row in self.rows("from visits")}

    def segments(self) -> list[Path]:
        """The closed segments, in the order in which they were begun."""
        return sorted(rawstore.closed(self.raw).values(), key=rawstore.identity)


def loaded(path: Path, *posts: Post | bytes | dict[str, Any]) -> Home:
    """A home in which these deliveries have landed and are loaded."""
    home = Home(path)
    home.land(*posts)
    home.run()
    return home


def kobra(path: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the home at `path`."""
    return subprocess.run(
        [KOBRA, *arguments],
        env=environ_of(path, more),
        capture_output=True,
        text=True,
        check=False,
    )


def environ_of(path: Path, more: dict[str, str]) -> dict[str, str]:
    """The variables of a process that works on the home at `path`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    return environ | {"KOBRA_HOME": str(path)} | more


@contextmanager
def settings_of(settings: dict[str, str]) -> Iterator[None]:
    """This process with these variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


def post_of(post: Post | bytes | dict[str, Any]) -> Post:
    """A delivery of whatever is handy: itself, a body, a payload."""
    if isinstance(post, Post):
        return post
    return Post(post if isinstance(post, bytes) else encoded(post))


@cache
def _example() -> str:
    return json.dumps(json.loads(EXAMPLE_BODY))


def example(**changes: object) -> dict[str, Any]:
    """Kobra's example visit, with other values for some fields."""
    return json.loads(_example()) | changes


def small(visit_id: object, **changes: object) -> dict[str, Any]:
    """A finished visit without questions."""
    return {"visitID": visit_id, "productID": 1, "finished": True, "checklist": []} | changes


def asked(visit_id: str, *answers: object, **changes: object) -> dict[str, Any]:
    """A visit with one question that got these answers."""
    return small(visit_id, checklist=[{"questionID": 1, "questionName": "¿?", "answers": list(answers)}], **changes)


def encoded(payload: object) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(payload, ensure_ascii=False).encode()


def later(**by: float) -> datetime:
    """A moment after noon of the day on which everything happens."""
    return NOON + timedelta(**by)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def instant(at: datetime) -> str:
    """An instant as records hold it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
