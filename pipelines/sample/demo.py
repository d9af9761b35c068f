"""See it work: invented visits through a real receiver into a published file."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines import run
from pipelines.contract import PRODUCTS
from pipelines.errors import UsageError
from pipelines.publish.published import attached
from pipelines.sample.visits import deliveries
from pipelines.warehouse.home import Home
from pipelines.warehouse.lock import lock
from receiver import rawstore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PATH = "/webhooks/visits"
_CLIENTS = 16
_MARK = ".made-by-kobra-demo"


class NoReceiverError(UsageError):
    """Nobody answers where deliveries were to be sent."""


def write_sample(folder: Path, count: int, seed: int, source: str) -> Path:
    """Write invented deliveries as raw-store records to `folder`/sample.ndjson: `kobra import` takes them in."""
    rawstore.make_folder(folder)
    path = folder / "sample.ndjson"
    tails = Random(seed)
    with path.open("wb") as file:
        for sent in deliveries(count, seed):
            micros = int(sent.at.timestamp()) * 1_000_000 + sent.at.microsecond
            name = rawstore.delivery_id(micros, tails.getrandbits(62))
            came = sent.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            file.write(rawstore.encode(rawstore.delivery(name, came, source, sent.body)))
    return path


def post(url: str, key: str, count: int, seed: int) -> Counter[int]:
    """POST invented deliveries to a receiver, several at a time; answers with how often each status came back."""
    bodies = (sent.body for sent in deliveries(count, seed))
    answers: Counter[int] = Counter()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        while chunk := list(islice(bodies, _CLIENTS * 50)):
            shares = [chunk[first::_CLIENTS] for first in range(_CLIENTS)]
            for statuses in clients.map(lambda share: _post_all(url, key, share), shares):
                answers.update(statuses)
    return answers


def _post_all(url: str, key: str, bodies: list[bytes]) -> list[int]:
    where = urlsplit(url)
    opened = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = opened(where.netloc, timeout=30)
    path = where.path if where.path not in {"", "/"} else _PATH
    statuses = []
    try:
        for body in bodies:
            connection.request("POST", path, body, {"api-key": key, "Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    except (OSError, http.client.HTTPException) as why:
        raise NoReceiverError(f"{where.netloc} does not take deliveries: is a receiver there?") from why
    finally:
        connection.close()
    return statuses


def show(home: Path, count: int) -> int:
    """Invent, receive, load, publish, and say what came of it. The folder is made afresh. Returns an exit code."""
    if not _clear(home):
        print(f"kobra: {home} is there already and no demo made it: go to another folder", file=sys.stderr)
        return 2
    key = os.urandom(16).hex()
    as_of = _last_day(count)
    began = time.perf_counter()
    with _receiver(home, key) as url:
        answers = post(url, key, count, seed=1)
    sent = time.perf_counter()
    with lock(Home(home)):
        loaded = run.run(Home(home), as_of=as_of)
    done = time.perf_counter()
    kept = ", ".join(f"{number} answered {status}" for status, number in sorted(answers.items()))
    print(f"Sent {count} deliveries over HTTP in {sent - began:.1f} s: {kept}.")
    print(f"Loaded {loaded.deliveries} and published in {done - sent:.1f} s: {loaded.new} new versions, "
          f"{loaded.duplicates} duplicates, {loaded.rejected} rejected.\n")  # fmt: skip
    _summarise(Home(home))
    print(f"\nEverything is in {home}/. Try next:\n"
          f"  KOBRA_HOME={home} .venv/bin/kobra dashboard\n"
          f"  KOBRA_HOME={home} .venv/bin/kobra status\n"
          f"  .venv/bin/python -c \"import duckdb; duckdb.connect('{Home(home).published}', read_only=True)"
          f".sql('from marts.outcomes_daily').show()\"")  # fmt: skip
    complete = loaded.deliveries == count and set(answers) <= {200, 400}
    return 0 if complete else 1


def _last_day(count: int) -> date:
    """The day to speak of: then promises fall due and follow-ups are waited for. By today all of it is long over."""
    return max(sent.at for sent in deliveries(count, seed=1)).date()


def _clear(home: Path) -> bool:
    if home.exists():
        if not (home / _MARK).exists():
            return False
        shutil.rmtree(home)
    rawstore.make_folder(home)
    (home / _MARK).touch()
    return True


@contextmanager
def _receiver(home: Path, key: str) -> Iterator[str]:
    """A real receiver in a process of its own; when the block ends it is stopped and has closed its segments."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    environ |= {"KOBRA_HOME": str(home), "KOBRA_API_KEYS": f"demo:{key}"}
    command = [sys.executable, "-P", "-m", "receiver", "--port", "0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{_port(process)}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        if event.get("event") == "listening":
            return int(event["port"])
    raise RuntimeError("the receiver did not start: run `kobra serve` to see why")


_TABLES = {
    "Visits by product and state": """
        select product_id, state, count(*) from marts.visits group by all order by all nulls last
    """,
    "What came of them (completed visits)": """
        with counted as (
            select product_id, sum(contacts) / sum(contact_known) as contact, sum(rpcs) / sum(contact_known) as rpc,
                case when product_id = 1 then sum(promises) / sum(visits_completed) end as promise,
                case when product_id > 1 then sum(validated) / sum(validated + refuted) end as validated
            from marts.outcomes_daily group by product_id
        )
        select product_id, unnest(['contact made', 'right party met', 'promise to pay', 'validated']) as rate,
            unnest([contact, rpc, promise, validated]) as share
        from counted order by product_id
    """,
    "Rejected (the bytes stay in the raw store)": """
        select null, reason, count(*) from kobra.rejects group by all order by count(*) desc, 2
    """,
}


def _summarise(home: Home) -> None:
    with attached(home) as connection:
        connection.execute("use w")
        for title, query in _TABLES.items():
            print(title)
            _print(connection, query)


def _print(connection: "DuckDBPyConnection", query: str) -> None:
    for product, word, number in connection.execute(query).fetchall():
        if number is not None:
            shown = f"{number:,}" if isinstance(number, int) else f"{number:.0%}"
            print(f"  {PRODUCTS.get(product, '' if product is None else product):20} {word:16} {shown:>8}")
