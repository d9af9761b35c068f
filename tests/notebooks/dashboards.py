"""A dashboard process, started by the command, and a home for it to show."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from kobra_home import KOBRA, example, kobra

AS_OF = "2026-02-20"
FORMULA = '=HYPERLINK("http://example.com","x")'
MARKUP = "<img src=x onerror=alert(1)>"


def answered(visit_id: str, values: dict[int, str], **changes: object) -> dict[str, Any]:
    """Kobra's example visit, with other answers to some questions by id."""
    visit = example(visitID=visit_id, **changes)
    for question in visit["checklist"]:
        if question["questionID"] in values:
            question["answers"][0]["value"] = values[question["questionID"]]
    return visit


def on(day: str) -> dict[str, object]:
    """Ten minutes in Mexico City on a day."""
    zone = "America/Mexico_City"
    return {"startDate": f"{day} 10:00:00", "endDate": f"{day} 10:10:00", "timeZone": zone}


def a_revisit(visit_id: str, client: str, agreed: str) -> dict[str, Any]:
    return answered(visit_id, {18: "true", 19: agreed}, client=client, externalID=f"77{visit_id}", **on("2026-02-19"))


def bring(home: Path, name: str, visits: list[dict[str, Any]]) -> None:
    """Bring visits in and publish them, through the command."""
    file = home.parent / f"{name}.ndjson"
    file.write_text("\n".join(map(json.dumps, visits)))
    for arguments in (("import", "--source", "lender_b", file), ("run", "--as-of", AS_OF)):
        done = kobra(home, *arguments)
        assert done.returncode == 0, done


@cache
def make_home(home: Path) -> Path:
    """Invented visits of a few days, and clients with odd names; the same home for all tests here."""
    for arguments in (("sample", home.parent, "--count", "1500"), ("import", home.parent / "sample.ndjson")):
        done = kobra(home, *arguments)
        assert done.returncode == 0, done
    bring(home, "odd", [a_revisit("1", FORMULA, "2026-02-20"), a_revisit("2", MARKUP, "2026-02-21")])
    return home


def a_promise(visit_id: str, day: str) -> dict[str, Any]:
    """500, promised on 10 February."""
    return answered(
        visit_id, {11: "true", 14: "true", 16: "500", 17: day}, externalID=f"77{visit_id}", **on("2026-02-10")
    )


def pay(home: Path, account: str, day: str) -> None:
    """A payments file with one payment of 500, that reaches to two days before the day of the builds."""
    (home / "inputs").mkdir(parents=True, exist_ok=True)
    (home / "inputs" / "payments.csv").write_text(
        f"payment_id,external_id,paid_date,amount\nP1,{account},{day},500\nP2,nobody,2026-02-18,1\n"
    )


def rows(home: Path, query: str) -> list[dict[str, Any]]:
    """What a query on schema marts of the published file answers."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{home}/warehouse/analytics.duckdb' as w (read_only); use w.marts")
        found = connection.execute(query)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@contextmanager
def dashboard(home: Path, *flags: str, **more: str) -> Iterator[str]:
    """The address at which `kobra dashboard` answers; its process ends with the block, and complained of nothing."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    command = [str(KOBRA), "dashboard", "--port", "0", *flags]
    with subprocess.Popen(
        command,
        env=environ | {"KOBRA_HOME": str(home)} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        try:
            assert "http://" in line, (line, process.stderr and process.stderr.read())
            yield line.split()[4]
        finally:
            process.terminate()
            complaints = process.communicate(timeout=30)[1]
    assert complaints == ""
