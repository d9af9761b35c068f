"""A home whose marts are built: what a customer edits there, how two homes are told apart."""

import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from kobra_home import Home, Post, encoded, later

from pipelines import cli, run
from pipelines.build.dbt import PROJECT
from pipelines.warehouse.lock import lock

AS_OF = date(2026, 3, 9)
ROLES = """product_id,question_id,question_name,answer_name,role,value_type
,,Promesa,,promise_made,bool
,,Fecha de promesa,,promise_date,date
,,Monto,,promise_amount,money
,,Contacto,,contact_made,bool
,,Con quién,,contact_with,code
,,Nombre,,contact_name,text
,,Método,,payment_method,code
,,Regresar,,revisit,bool
,,Fecha de regreso,,revisit_date,date
"""
CODES = """product_id,role,value,code
,tag,Prometió,promise
,tag,Nadie,no_contact
"""
PAYMENTS = "payment_id,external_id,paid_date,amount\n"
PAID_LAST = "p0,999,2026-03-31,5\n"  # up to when payments are known: after every window of the promises here
_ACCOUNTS = "external_id,as_of_date,lat,lng\n"
# One word that is nowhere else in each thing that a person might say or be called.
CANARIES = {
    "client": "ZQCLIENTE", "agent": "ZQAGENTE", "comment": "ZQCOMENTARIO", "extra": "ZQDESCONOCIDO",
    "phone": "5598712345", "e-mail": "zqcorreo@", "free text": "ZQTEXTO", "contact name": "ZQCONTACTO",
    "contact with": "ZQQUIEN", "method": "ZQMETODO", "label": "ZQETIQUETA", "reason": "ZQMOTIVO", "type": "ZQTIPO",
}  # fmt: skip


class BuiltHome(Home):
    """A home with marts that are built in this process."""

    def build(self, as_of: date | None = AS_OF, *, full: bool = False) -> None:
        """What `kobra run` does, fast after the first time."""
        with lock(self.files):
            run.run(self.files, as_of=as_of, full=full)

    def edit(self, name: str, text: str) -> Path:
        """Write a file of the customer's, such as inputs/payments.csv."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def place(self, *accounts: tuple[str, float, float]) -> None:
        """Write inputs/accounts.csv: accounts with their points of reference."""
        lines = (f"{account},2026-03-01,{lat},{lng}\n" for account, lat, lng in accounts)
        self.edit("inputs/accounts.csv", _ACCOUNTS + "".join(lines))

    def copy(self, path: Path) -> "BuiltHome":
        """The same home elsewhere."""
        shutil.copytree(self.path, path)
        return BuiltHome(path)

    def runs(self) -> list[dict[str, Any]]:
        """What schema meta says of the published runs, the last one first."""
        return self.rows("from w.meta.runs order by finished_at desc")

    def here(self, *arguments: str) -> int:
        """The command in this process, which spares it a start."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KOBRA_HOME", str(self.path))
            patch.setattr(os, "umask", lambda _: 0)
            return cli.main([*arguments])

    def working(self, query: str) -> list[tuple[Any, ...]]:
        """What a statement on the working file answers."""
        with duckdb.connect(str(self.files.working)) as connection:
            return connection.execute(query).fetchall()


def copied_project(folder: Path) -> Path:
    """A copy of the dbt project that dbt left nothing in."""
    shutil.copytree(PROJECT, folder / "sql", ignore=shutil.ignore_patterns("target", "logs"))
    return folder / "sql"


def own_project(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A copy to change: builds in this process take it."""
    project = copied_project(folder)
    patch.setattr("pipelines.build.dbt.PROJECT", project)
    return project


def visit(visit_id: str, day: int = 2, **changes: Any) -> Post:
    """A completed visit of March 2026 at noon, with what was answered in it by question."""
    answers = {"Contacto": "Sí"} | changes.pop("answers", {})
    kinds = {"Monto": 3, "Fecha de promesa": 5, "Fecha de regreso": 5}
    checklist = [
        {"questionID": n, "questionName": name, "answers": [{"answerID": 1, "answerTypeID": kind, "value": value}]}
        for n, (name, value) in enumerate(answers.items())
        for kind in [kinds.get(name, 7)]
    ]
    payload = {
        "visitID": visit_id, "productID": 1, "agentID": "A1", "agent": "Eva", "externalID": "110",
        "client": "Luis", "lat": 19.4326, "lng": -99.1332, "tagName": "Nadie", "finished": True,
        "startDate": f"2026-03-{day:02} 12:00:00", "endDate": f"2026-03-{day:02} 12:10:00",
        "timeZone": "America/Mexico_City", "checklist": checklist,
    }  # fmt: skip
    return Post(encoded(payload | changes), later(days=day))


def promise(visit_id: str, day: int = 2, due: str = "2026-03-10", **changes: Any) -> Post:
    """A visit in which 1000 were promised."""
    answers = {"Promesa": "Sí", "Fecha de promesa": due, "Monto": "1000"} | changes.pop("answers", {})
    return visit(visit_id, day, answers=answers, **changes)


def telling() -> Post:
    """A visit with a canary in every field."""
    word = CANARIES
    return visit(
        "Z", 5, agentID="A9", externalID="900", client=word["client"], agent=word["agent"], comment=word["comment"],
        tagName=word["label"], visitType=word["type"], cancellationReason=word["reason"], somethingNew=word["extra"],
        phones=["+52 55 9871 2345", CANARIES["phone"]], emails=[f"{word['e-mail']}example.mx"],
        answers={
            "Con quién": word["contact with"], "Nombre": word["contact name"], "Método": word["method"],
            "Promesa": "Sí", "¿Algo más?": word["free text"],
        },
    )  # fmt: skip


def settled(factory: pytest.TempPathFactory) -> BuiltHome:
    """A home after one `kobra run`, made once for all tests, and to be copied: told to speak as of AS_OF.

    What the command printed lies in it as `printed`.
    """
    home = BuiltHome(factory.getbasetemp() / "settled home")
    if not home.path.exists():
        home.path.mkdir()
        home.edit("mappings/question_roles.csv", ROLES)
        home.edit("mappings/answer_codes.csv", CODES)
        home.edit("inputs/payments.csv", PAYMENTS + PAID_LAST + "p1,999,2026-03-03,5\n")
        home.land(
            promise("P", 2),
            visit(
                "R", 3, externalID="120", agentID="A2", answers={"Regresar": "Sí", "Fecha de regreso": "2026-03-10"}
            ),
            visit("N", 4, externalID="130"),
            telling(),
            Post(b"{", later(hours=1)),
        )
        done = home.kobra("run", "--as-of", str(AS_OF))
        assert done.returncode == 0, done.stderr
        home.edit("printed", done.stdout + done.stderr)
    return home


def differences(one: Path, other: Path, *schemas: str) -> dict[str, list[Any]]:
    """By table what is only in one of two databases, a few rows each; nothing when they are the same.

    Compares every table that people read, in schemas kobra, marts and wide unless others are named.
    """
    with duckdb.connect() as connection:
        for name, path in (("one", one), ("other", other)):
            connection.execute(f"attach '{path}' as {name} (read_only)")
        connection.execute("set timezone = 'UTC'")
        tables = [_columns(connection, name, schemas or ("kobra", "marts", "wide")) for name in ("one", "other")]
        if tables[0] != tables[1]:
            return {"tables": sorted(set(tables[0].items()) ^ set(tables[1].items()))}
        return {table: rows for table, columns in tables[0].items() if (rows := _apart(connection, table, columns))}


def _columns(connection: duckdb.DuckDBPyConnection, database: str, schemas: tuple[str, ...]) -> dict[str, str]:
    found = connection.execute(
        """
        select schema_name || '.' || table_name, string_agg('"' || column_name || '"', ', ' order by column_index)
        from duckdb_columns()
        where database_name = ? and schema_name in (select unnest(?)) and table_name not like '\\_dlt%'
            escape '\\' and column_name not like '\\_dlt%' escape '\\' and column_name <> 'loaded_at'
        group by all order by all
        """,
        [database, [*schemas]],
    ).fetchall()
    return dict(found)


def _apart(connection: duckdb.DuckDBPyConnection, table: str, columns: str) -> list[Any]:
    def only_in(this: str, that: str) -> list[Any]:
        query = f"select {columns} from {this}.{table} except all select {columns} from {that}.{table} limit 3"
        return [(this, *row) for row in connection.execute(query).fetchall()]

    return [*only_in("one", "other"), *only_in("other", "one")]


def holding(database: Path, word: str) -> set[tuple[str, str]]:
    """Every (schema, table.column) that has the word in it, in whatever case, whatever its type."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{database}' as w (read_only)")
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() where database_name = 'w'"
        ).fetchall()
        return {
            (schema, f"{table}.{column}")
            for schema, table, column in columns
            if connection.execute(
                f'select count(*) from w.{schema}.{table} where contains(lower("{column}"::varchar), lower(?))',
                [word],
            ).fetchone()
            != (0,)
        }
