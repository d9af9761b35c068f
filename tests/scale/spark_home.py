"""A home that Spark loads, beside one that is loaded into a file: what lands in both, and in what they differ."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
from kobra_home import KOBRA, NOON, Home, Post, encoded, environ_of, kobra
from parity import apart

from pipelines.sample import visits
from pipelines.sample.malformed import MESS, spoiled

AS_OF = "2026-03-20"
_BROKEN = Path(__file__).with_name("broken_spark.py")
_TASK = "spark.kobra.taskBytes=200000"  # several tasks for what a test has

PAYMENTS = """payment_id,external_id,paid_date,amount,source,currency
p1,110,2026-03-04,500,,MXN
p2,110,2026-03-09,800.50,lender_a,
p3,120,2026-03-05,-200,,USD
p4,999,2026-03-31,5,,
"""
ACCOUNTS = """external_id,as_of_date,source,portfolio,balance,lat,lng
110,2026-03-01,,A,1500.50,19.4326,-99.1332
110,2026-03-02,lender_a,B,900,19.5,-99.1
120,2026-03-01,,C,,,
"""


class Both:
    """Two homes with the same raw store: `file` builds in a file, `spark` on Spark."""

    def __init__(self, path: Path) -> None:
        self.file, self.spark = Home(path / "file"), Home(path / "spark")
        for home in (self.file, self.spark):
            (home.path / "inputs").mkdir(parents=True)
            (home.path / "inputs" / "payments.csv").write_text(PAYMENTS)
            (home.path / "inputs" / "accounts.csv").write_text(ACCOUNTS)

    def land(self, posts: list[Post]) -> None:
        self.spark.land(*posts)
        shutil.copytree(self.spark.raw, self.file.raw, dirs_exist_ok=True)

    def build_file(self) -> None:
        done = self.file.kobra("run", "--as-of", AS_OF)
        assert done.returncode == 0, done.stderr

    def differences(self) -> dict[str, Any]:
        """By table, in what the two homes differ; nothing where they say the same."""
        with published(self.spark.path) as tables:
            tables.execute(f"attach '{self.file.files.published}' as file (read_only); set timezone = 'UTC'")
            return apart(tables, "file", "memory")


def command(*arguments: str, broken: str = "") -> list[str | Path]:
    """`kobra spark run` as it is, or broken in a way that broken_spark.py has."""
    begin = [sys.executable, str(_BROKEN), broken] if broken else [KOBRA]
    return [*begin, "spark", "run", "--as-of", AS_OF, "--conf", _TASK, *arguments]


def run(path: Path, *arguments: str, broken: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run it on the home at `path`, to its end."""
    with started(path, *arguments, broken=broken, **more) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def started(path: Path, *arguments: str, broken: str = "", **more: str) -> Iterator[subprocess.Popen[str]]:
    """The same while it runs; nothing of it is left."""
    with subprocess.Popen(
        command(*arguments, broken=broken),
        env=environ_of(path, more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def published(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """What people read, as they read it in DuckDB: through the views that the command prints."""
    done = kobra(path, "spark", "views", "--duckdb")
    assert done.returncode == 0, done.stderr
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(done.stdout)
        yield connection


# ---------------------------------------------------------------- what lands

_QUESTIONS = ["Promesa", "Fecha de promesa", "Monto", "Contacto", "Con quién", "Método", "¿Regresar?", "¿Algo más?"]
_VALUES = [
    None,
    "",
    "Sí",
    "no",
    "Titular",
    "OXXO",
    "1,500.50",
    "1.500",
    "2026-03-10",
    "9/3/2026",
    "7:30 pm",
    "\u3000x",
    "\u00a0",
]
_CHANGES: list[dict[str, Any]] = [
    {}, {}, {"finished": False}, {"cancelled": True}, {"agentID": None}, {"agentID": " ", "agent": "\u00a0EVA "},
    {"lat": 19.432605, "lng": -99.133205}, {"lat": 19.43261, "lng": -99.13321}, {"lat": None}, {"timeZone": "CST"},
    {"timeZone": "America/Tijuana\u00a0"}, {"timeZone": "Europe/\u0130stanbul"},
    {"timeZone": "AMERICA/mexico_city\x0b"},
    {"tagName": "!!!"}, {"tagName": None}, {"tagName": " \u2003 "}, {"externalID": None}, {"externalID": "120"},
    {"startDate": "quizá", "unknown": 1}, {"startDate": "quizá", "unknown": 10**1200},
    {"endDate": "0000-00-00 00:00:00"}, {"productID": 2}, {"productID": None},
    {"startDate": "2026-03-08 02:30:00", "timeZone": "America/Tijuana"},
    {"startdate": "2026-03-05 10:00:00", "startDate": None},
]  # fmt: skip


def batches(seed: int = 1, count: int = 600) -> list[list[Post]]:
    """Three batches of deliveries, with resends and later versions of what the others have: a sample, every malformed
    one, and visits that crowd on few accounts and agents."""
    random = Random(seed)
    posts = [*_sample(seed, count), *_malformed(seed), *(_crowded(random, n) for n in range(count // 2))]
    random.shuffle(posts)
    third = len(posts) // 3
    cut = [posts[:third], posts[third : 2 * third], posts[2 * third :]]
    return [cut[0], cut[1] + random.sample(cut[0], 40), cut[2] + random.sample(cut[0] + cut[1], 40)]


def _sample(seed: int, count: int) -> Iterator[Post]:
    for number, sent in enumerate(visits.deliveries(count, seed)):
        yield Post(sent.body, sent.at, ("lender_a", "lender_b")[number % 3 == 0])


def _malformed(seed: int) -> Iterator[Post]:
    """Each of them as another visit, and once more as a version of one."""
    base = next(
        body for sent in visits.deliveries(400, seed) if sent.kind == "visit"
        if (body := json.loads(sent.body)).get("productID") == 1 and body.get("finished") is True
    )  # fmt: skip
    for number, mess in enumerate(MESS):
        for visit_id in (f"M{number}", "M1"):
            body = spoiled(mess, encoded(base | {"visitID": visit_id}), Random(number).random)
            yield Post(body, NOON + timedelta(hours=number))


def _crowded(random: Random, number: int) -> Post:
    """A version of one of some visits: questions without text or id, put twice, answered in several ways."""
    checklist = [
        {"questionID": random.choice([None, place, "7"]), "questionName": random.choice([name, None, name.upper()]),
         "answers": [
             {"answerID": 1, "answerTypeID": random.choice([1, 3, 5, 6, 7, 10, 99, None]),
              "answerName": random.choice([None, "a"]), "value": random.choice(_VALUES)}
             for _ in range(random.choice([0, 1, 1, 2]))
         ]}
        for place, name in enumerate(random.choices(_QUESTIONS, k=random.randint(0, 9)))
    ]  # fmt: skip
    day = random.randint(2, 9)
    payload = {
        "visitID": f"C{random.randint(0, 90)}", "productID": 1, "agentID": f"A{random.randint(1, 3)}", "agent": "Eva",
        "externalID": "110", "client": random.choice(["Luis", "LUIS", None]), "lat": 19.4326, "lng": -99.1332,
        "tagName": random.choice(["Nadie", "NADIE", "Prometió"]), "finished": True, "checklist": checklist,
        "startDate": f"2026-03-{day:02} {random.randint(0, 23):02}:00:00", "endDate": f"2026-03-{day:02} 23:10:00",
        "timeZone": "America/Mexico_City", "phones": random.choice([None, ["55 5555 0171"], ["x", None]]),
    }  # fmt: skip
    return Post(
        encoded(payload | random.choice(_CHANGES)),
        NOON + timedelta(hours=random.randint(24, 200), microseconds=number),
        random.choice(["lender_a", "lender_a", "lender_b"]),
    )
