"""One row per visit, one column per question: whatever is asked, and however the visits came in."""

import unicodedata
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import duckdb
import pytest
from built_home import settled

from pipelines.build import mappings, wide
from pipelines.contract import LANDED
from pipelines.warehouse import database, state
from pipelines.warehouse.home import Home
from pipelines.warehouse.lock import lock

_LOADED = "1.1"
_MART = """
create schema if not exists marts;
create or replace table marts.visits as
    select source, visit_id, product_id,
        case when cancelled then 'cancelled' when finished then 'completed' else 'open' end as state,
        tag_name as outcome, agent_id as agent_key, agent_name, account_id, client_name, visit_type,
        start_local::date as local_date, start_local, end_local, time_zone_raw as time_zone, lat, lng, tag_name
    from kobra.visits;
"""


class Models(NamedTuple):
    """The SQL of models, as dbt compiles it for a full build."""

    folder: Path

    def query(self, schema: str, name: str) -> str:
        return (self.folder / schema / f"{name}.sql").read_text()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(settled(tmp_path_factory).files.warehouse / "dbt" / "compiled" / "kobra_visits" / "models")


class Answer(NamedTuple):
    """One answer as it stands in the warehouse."""

    value: str | None
    kind: str | None = "1"
    name: str | None = None
    read: Any = None  # what a typed answer reads as

    @property
    def row(self) -> dict[str, Any]:
        """What schema landed says of it."""
        types = {"value_bool": "68", "value_number": "34", "value_date": "5", "value_time": "10"}
        typed = {name: self.read for name, kinds in types.items() if self.kind and self.kind in kinds}
        ok = None if self.value is None else self.kind not in ("3", "4", "5", "10") or self.read is not None
        text = self.value if self.read is None else None
        named = {"answer_name": self.name, "answer_type_id": self.kind}
        return named | typed | {"value": self.value, "value_text": text, "parse_ok": ok}


class Question(NamedTuple):
    """One question with its answers."""

    text: str | None
    answers: tuple[Answer, ...] = ()
    id: str | None = None


def yes(read: bool = True, spelt: str = "true") -> Answer:
    return Answer(spelt, "8", read=read)


class File:
    """A working file with a mart, into which visits are put directly."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, models: Models) -> None:
        self.connection, self._models, self._deliveries = connection, models, count(1)
        connection.execute("create table changed (source varchar, visit_id varchar)")
        connection.execute("create schema landed; create schema staging")
        for table in LANDED.values():
            columns = (f"{column.name} {column.type}" for column in table.columns)
            connection.execute(f"create table landed.{table.name} ({', '.join(columns)}, _dlt_load_id varchar)")
        connection.execute(
            "create table staging.int_current_contents (source varchar, visit_id varchar, valid_from timestamptz,"
            " versions bigint, delivery_id varchar, content_delivery_id varchar, content_item bigint,"
            " content_load_id varchar)"
        )
        for name in ("visits", "questions", "answers"):
            connection.execute(f"create view kobra.{name} as {models.query('kobra', f'kobra_{name}')}")

    def put(
        self, visit_id: str, product: int | None, *questions: Question, source: str = "a", day: int | None = None
    ) -> None:
        """A visit, in place of an earlier version: what that said stays in schema landed."""
        self.remove(visit_id, source)
        delivery = f"d{next(self._deliveries)}"
        of_content = {"delivery_id": delivery, "item": 1, "source": source, "visit_id": visit_id}
        start = None if day is None else datetime(2026, 3, day, 12)
        self._land("visits", of_content | {"product_id": product, "finished": True, "start_local": start})
        for pos, question in enumerate(questions, 1):
            asked = {"question_pos": pos, "question_id": question.id, "question_name": question.text}
            self._land("questions", of_content | asked)
            for at, answer in enumerate(question.answers, 1):
                self._land("answers", of_content | {"question_pos": pos, "answer_pos": at} | answer.row)
        self.connection.execute(
            "insert into staging.int_current_contents values (?, ?, null, 1, ?, ?, 1, ?)",
            [source, visit_id, delivery, delivery, _LOADED],
        )

    def _land(self, table: str, row: dict[str, Any]) -> None:
        columns = ", ".join(f"? as {name}" for name in row)
        self.connection.execute(
            f"insert into landed.{table} by name select {columns}, '{_LOADED}' as _dlt_load_id", [*row.values()]
        )

    def remove(self, visit_id: str, source: str = "a") -> None:
        self.connection.execute(
            "delete from staging.int_current_contents where source = ? and visit_id = ?", [source, visit_id]
        )
        self.connection.execute("insert into changed values (?, ?)", [source, visit_id])

    def build(self, *, full: bool = False) -> None:
        self.connection.execute(_MART)
        for name in ("int_visit_checklists", "int_checklists", "int_question_forms"):
            query = self._models.query("intermediate", name)
            self.connection.execute(f"create or replace table staging.{name} as {query}")
        wide.build(self.connection, None if full else "main.changed")
        self.connection.execute("delete from changed")

    def rows(self, table: str = "debt_collection") -> list[dict[str, Any]]:
        found = self.connection.execute(f'select * from wide."{table}" order by source, visit_id')
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def asked(self, table: str = "debt_collection") -> dict[str, str]:
        """The question columns in order, with their types."""
        described = self.connection.execute(f'describe wide."{table}"').fetchall()
        return {name: kind for name, kind, *_ in described[len(wide.LEADING) :]}

    def tables(self) -> set[str]:
        found = self.connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'wide'"
        ).fetchall()
        return {name for (name,) in found} - {"columns", "products"}

    def columns(self) -> dict[tuple[int, str, str], tuple[str, str]]:
        """Column and type of every question that has one, by product, question and answer name."""
        found = self.connection.execute(
            "select product_id, question_key, answer_key, column_name, type from wide.columns where is_present"
        ).fetchall()
        return {(product, question, answer): (name, kind) for product, question, answer, name, kind in found}


@pytest.fixture
def file(tmp_path: Path, models: Models) -> Iterator[File]:
    home = Home(tmp_path / "home")
    with lock(home), database.working(home) as connection:
        state.prepare(connection, date(2026, 3, 9))
        mappings.write(connection, mappings.read(home.mappings))
        yield File(connection, models)


def test_an_unmapped_checklist_is_a_table_on_the_first_day(file: File) -> None:
    file.put(
        "1", 3,
        Question("¿El giro coincide?", (yes(),), "53"),
        Question("Monto de la renta", (Answer("1,500.50", "4", read=Decimal("1500.5")),), "60"),
        Question("Fecha de apertura", (Answer("2026-02-16", "5", read=date(2026, 2, 16)),), "61"),
        Question("Horario", (Answer("8:00", "10", "Hora inicio", time(8)),
                             Answer("9:30", "10", "Hora fin", time(9, 30)))),
        Question("Giro", (Answer("Abarrotes «La Güera»", "1"),), "62"),
    )  # fmt: skip
    file.build()
    assert file.asked("business_validation") == {
        "el_giro_coincide": "BOOLEAN",
        "monto_de_la_renta": "DECIMAL(18,4)",
        "fecha_de_apertura": "DATE",
        "horario_hora_inicio": "TIME",
        "horario_hora_fin": "TIME",
        "giro": "VARCHAR",
    }
    (row,) = file.rows("business_validation")
    assert tuple(row)[: len(wide.LEADING)] == wide.LEADING
    assert (row["source"], row["visit_id"], row["state"]) == ("a", "1", "completed")
    assert list(row.values())[len(wide.LEADING) :] == [
        True, Decimal("1500.5000"), date(2026, 2, 16), time(8), time(9, 30), "Abarrotes «La Güera»",
    ]  # fmt: skip


def test_spelling_and_ids_make_no_second_column(file: File) -> None:
    spellings = ["¿Se realizó contacto?", "se realizo  contacto", unicodedata.normalize("NFD", "SE REALIZÓ CONTACTO")]
    for number, text in enumerate(spellings):
        file.put(str(number), 1, Question(text, (yes(),), str(number)))
    file.build()
    assert file.asked() == {"se_realizo_contacto": "BOOLEAN"}
    assert [row["se_realizo_contacto"] for row in file.rows()] == [True] * 3


def test_a_question_without_text_goes_by_its_id(file: File) -> None:
    file.put("1", 1, Question(None, (Answer("x"),), "17"), Question("¿?", (Answer("y"),), "18"), Question(None))
    file.build()
    assert file.asked() == {"question_17": "VARCHAR", "question_18": "VARCHAR"}


def test_visits_without_questions_have_a_row_and_those_without_product_have_none(file: File) -> None:
    file.put("1", 1)
    file.put("2", None, Question("q", (yes(),)))
    file.build()
    assert [row["visit_id"] for row in file.rows()] == ["1"]
    assert file.tables() == {"debt_collection"}


def test_a_visit_without_a_date_has_its_row_among_those_that_have_one(file: File) -> None:
    for number, day in enumerate([3, None, 4, None]):
        file.put(str(number), 1, Question("Monto", (Answer("1"),)), day=day)
    file.build()
    assert [row["visit_id"] for row in file.rows()] == ["0", "1", "2", "3"]


def test_several_answers_are_joined_in_the_order_of_delivery(file: File) -> None:
    several = Question("Medios", (Answer("OXXO", "9"), Answer(None, "9"), Answer("Efectivo", "9")))
    dates = Question("Fecha", (Answer(None, "5"), Answer("2026-01-02", "5", read=date(2026, 1, 2)),
                               Answer("2026-01-01", "5", read=date(2026, 1, 1))))  # fmt: skip
    file.put("1", 1, several, dates, Question("medios", (Answer("Depósito", "9"),)))
    file.build()
    (row,) = file.rows()
    assert (row["medios"], row["fecha"]) == ("OXXO; Efectivo; Depósito", date(2026, 1, 2))


def test_one_answer_that_does_not_read_makes_the_column_text_as_sent_and_its_correction_typed_again(
    file: File,
) -> None:
    file.put("1", 1, Question("Monto", (Answer("1,500", "4", read=Decimal(1500)),)))
    file.put("2", 1, Question("Monto", (Answer("", "4"),)))
    file.build()
    assert file.asked() == {"monto": "DECIMAL(18,4)"}
    file.put("2", 1, Question("Monto", (Answer("mil", "4"),)))
    file.build()
    assert file.asked() == {"monto": "VARCHAR"}
    assert [row["monto"] for row in file.rows()] == ["1,500", "mil"]
    file.put("2", 1, Question("Monto", (Answer("1000", "4", read=Decimal(1000)),)))
    file.build()
    assert [row["monto"] for row in file.rows()] == [Decimal(1500), Decimal(1000)]


def test_a_column_keeps_its_name_and_place_though_it_went_for_a_while(file: File) -> None:
    file.put("1", 1, Question("Monto", (Answer("a"),)), Question("Fecha", (Answer("b"),)))
    file.build()
    file.put("1", 1, Question("Nueva", (Answer("c"),)), Question("Fecha", (Answer("b"),)))
    file.build()
    assert list(file.asked()) == ["fecha", "nueva"]
    file.put("2", 1, Question("¡Monto!", (Answer("d"),)))
    file.build()
    assert list(file.asked()) == ["monto", "fecha", "nueva"]
    file.build(full=True)
    assert list(file.asked()) == ["monto", "fecha", "nueva"]


def test_a_visit_that_changes_its_product_or_goes_leaves_nothing_behind(file: File) -> None:
    file.put("1", 1, Question("q", (yes(),)))
    file.put("2", 1)
    file.build()
    file.put("1", 2, Question("q", (yes(),)))
    file.build()
    assert ([row["visit_id"] for row in file.rows()], len(file.rows("address_validation"))) == (["2"], 1)
    file.remove("1")
    file.build()
    assert file.tables() == {"debt_collection"}
    assert file.asked() == {}


HOSTILE = [
    "", " ", "¿?", "🙂🙂", "'; drop schema kobra cascade; --", '"', '"; drop table x; --', "\\", "a\nb\tc\rd", "x\0y",
    "select", "ORDER", "source", "Visit ID", "lat", "¿Cuál?" * 2000, "您好吗", "您好",
    "Ünïcödé ñandú ß", "1er horario", "a" * 200, "a" * 201, "=cmd|' /C calc'!A1", "_", "column_name", "%s {} $1 ?",
    "\u202eoirartnoc", "p0", "v", "place",
    "KEEP", "WHICH", "PREFER", "LEADING", "TABLE", "PLACES", "COLUMNS",
]  # fmt: skip


def test_no_text_of_a_question_can_break_the_tables(file: File) -> None:
    for number, text in enumerate(HOSTILE):
        file.put(
            str(number), 1, Question(text, (Answer(text, "1", text), Answer(f"{number}", "1", "n")), f"i{number}")
        )
        file.put(f"n{number}", 1, Question("q", (Answer(f"{number}", "1", text),)))
    file.build()
    columns = file.asked()
    assert all(name.isascii() and 0 < len(name) <= wide.NAME_MAX for name in columns)
    assert all(name.replace("_", "").isalnum() and not name[0].isdigit() for name in columns)
    assert "select" not in columns
    by_key = {key[1:]: name for key, (name, _) in file.columns().items()}
    rows = {row["visit_id"]: row for row in file.rows()}
    for number, text in enumerate(HOSTILE):
        (key,) = file.connection.execute("select kobra.normalised_text(?)", [text]).fetchone() or ("",)
        assert f"{number}" in rows[str(number)][by_key[key or f"#i{number}", "n"]].split("; ")
        assert rows[f"n{number}"][by_key["q", key]] == f"{number}"
    before = file.rows()
    file.build(full=True)
    assert file.rows() == before


def test_a_name_that_is_taken_or_reserved_gets_the_id_of_the_question_or_a_number(file: File) -> None:
    texts = [("Select", "7"), ("Source", "8"), ("Order", None), ("a" * 70, None), ("a" * 71, None)]
    file.put("1", 1, *(Question(text, (Answer("x"),), number) for text, number in texts))
    file.build()
    assert list(file.asked()) == ["select_7", "source_8", "order_2", "a" * 60, f"{'a' * 58}_2"]


def test_visits_stand_in_the_order_of_their_start(file: File) -> None:
    days = [3, 1, 4, 15, 9, 2, 6]
    for day in days:
        file.put(f"{day:02}", 1, Question("Monto", (Answer(str(day)),)), day=day)
    file.build()
    rows = file.connection.execute("select visit_id, monto from wide.debt_collection").fetchall()
    assert rows == [(f"{day:02}", str(day)) for day in sorted(days)]


def test_a_question_that_gets_its_column_late_is_answered_for_all_visits(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as narrow:
        narrow.setattr(wide, "COLUMNS_MAX", 1)
        file.put("1", 1, Question("Monto", (Answer("1"),)), Question("Fecha", (Answer("2"),)))
        file.build()
    file.put("2", 1, Question("Monto", (Answer("3"),)))
    file.build()
    assert [row["fecha"] for row in file.rows()] == ["2", None]


def test_a_column_says_the_question_as_it_was_asked_most_often(file: File) -> None:
    for number, text in enumerate(["¿Cuánto  dio 'hoy'?", "¿Cuánto dio 'hoy'?", "¿Cuánto dio 'hoy'?"]):
        file.put(str(number), 1, Question(text, (Answer("1", "1", "Efectivo"),)))
    file.build()
    comments = "select comment from duckdb_columns() where table_name = 'debt_collection' and comment is not null"
    assert file.connection.execute(comments).fetchall() == [("¿Cuánto dio 'hoy'? · Efectivo",)]


def test_a_client_that_asks_another_question_in_every_visit_gets_no_endless_table(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide, "COLUMNS_MAX", 5)
    for number in range(9):
        file.put(str(number), 1, Question(f"Drift {number}", (yes(),)), Question("Monto", (Answer("1"),)))
    file.build()
    assert len(file.asked()) == 5
    assert "monto" in file.asked()
    counted = "select columns, left_out from wide.products"
    assert file.connection.execute(counted).fetchall() == [(5, 5)]
    kept = list(file.asked())
    file.put("x", 1, Question("Drift x", (yes(),)))
    file.build()
    assert (list(file.asked()), file.connection.execute(counted).fetchall()) == (kept, [(5, 6)])
    for number in range(9):
        file.put(f"y{number}", 1, Question("Fecha", (yes(),)))
    file.build(full=True)
    assert {"monto", "fecha"} <= set(file.asked())


def test_products_without_end_get_no_endless_tables(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "PRODUCTS_MAX", 2)
    for number, product in enumerate((7, 7, 1, 8, 9)):
        file.put(str(number), product, Question("q", (yes(),)))
    file.build()
    assert file.tables() == {"debt_collection", "product_7"}
    found = file.connection.execute("select product_id, table_name from wide.products order by all").fetchall()
    assert found == [(1, "debt_collection"), (7, "product_7"), (8, None), (9, None)]
    for number in range(10, 14):
        file.put(str(number), 8)
    file.build()
    assert file.tables() == {"debt_collection", "product_7"}
    file.build(full=True)
    assert file.tables() == {"product_7", "product_8"}


def test_a_build_that_fails_changes_nothing(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.put("1", 1, Question("Monto", (Answer("1"),)))
    file.build()
    before, columns = file.rows(), file.columns()
    file.put("1", 2, Question("Fecha", (Answer("2"),)))
    with monkeypatch.context() as broken:
        broken.setattr(wide, "_comment", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            wide.build(file.connection, "main.changed")
    assert (file.rows(), file.columns(), file.tables()) == (before, columns, {"debt_collection"})
    file.build()
    assert file.tables() == {"address_validation"}


# ---------------------------------------------------------------- any stream of changes

ANSWERS = [
    yes(), yes(False, "no"), Answer("quizá", "8"), Answer(None, "8"), Answer("1,5", "4"), Answer("", "5"),
    Answer("1500", "3", read=Decimal(1500)), Answer("2026-03-01", "5", read=date(2026, 3, 1)),
    Answer("8:30", "10", read=time(8, 30)), Answer("x", "1"), Answer("y", "9"), Answer(None, None), Answer("z", "99"),
]  # fmt: skip
TABLES = {"debt_collection": 1, "address_validation": 2, "business_validation": 3}
TEXTS = ["Monto", "¿MONTO?", "Fecha", None, "", "🙂", "source", "Horario"]


def _checklist(random: Random) -> list[Question]:
    kinds = ANSWERS[:4] if random.random() < 0.5 else ANSWERS
    return [
        Question(
            random.choice(TEXTS),
            tuple(
                random.choice(kinds)._replace(name=random.choice([None, None, "Hora fin", "hora  FIN", "🙂"]))
                for _ in range(random.choice([0, 1, 1, 1, 2]))
            ),
            random.choice([None, "1", "2"]),
        )
        for _ in range(random.randrange(5))
    ]


def _key(file: File, text: str | None) -> str:
    (key,) = file.connection.execute("select coalesce(kobra.normalised_text(?), '')", [text]).fetchone() or ("",)
    return str(key)


def _expected(file: File, visits: dict[str, tuple[int | None, list[Question]]]) -> dict[int, Any]:
    """Types by question, and cells by visit and question, of every product: told one by one, from what was put."""
    keys = {text: _key(file, text) for text in [*TEXTS, "Hora fin", "hora  FIN", "🙂", None]}
    products: dict[int, Any] = {}
    for visit_id, (product, checklist) in visits.items():
        if product is None:
            continue
        forms, cells = products.setdefault(product, ({}, {}))
        cells[visit_id] = {}
        for question in checklist:
            name = keys[question.text] or f"#{question.id or ''}"
            if not question.answers:
                forms.setdefault((name, ""), {})
            for answer in question.answers:
                form = (name, keys[answer.name])
                forms.setdefault(form, {}).setdefault(visit_id, []).append(answer)
                cells[visit_id].setdefault(form, []).append(answer)
    for product, (forms, cells) in products.items():
        telling = {
            form: [
                kept for answers in visits.values() if (kept := [a for a in answers if a.value is not None or a.kind])
            ]
            for form, visits in forms.items()
        }
        answered = {form[0] for form, answers in telling.items() if answers}
        types = {
            form: _type(answers)
            for form, answers in telling.items()
            if answers or (form[0] not in answered and form[0] != "#")
        }
        told = {
            v: {form: _cell(a, types[form]) for form, a in row.items() if form in types} for v, row in cells.items()
        }
        products[product] = (
            types,
            {v: {form: cell for form, cell in row.items() if cell is not None} for v, row in told.items()},
        )
    return products


_BY_KIND = {"6": "BOOLEAN", "8": "BOOLEAN", "3": "DECIMAL(18,4)", "4": "DECIMAL(18,4)", "5": "DATE", "10": "TIME"}


def _kind(answer: Answer) -> str:
    return "VARCHAR" if answer.value and answer.read is None else _BY_KIND.get(str(answer.kind), "VARCHAR")


def _type(visits: list[list[Answer]]) -> str:
    filled = [kinds for answers in visits if (kinds := {_kind(answer) for answer in answers if answer.value})]
    if not filled:
        kinds = {_kind(answer) for answers in visits for answer in answers}
        return kinds.pop() if len(kinds) == 1 else "VARCHAR"
    usual = [kind for kind in dict.fromkeys(_BY_KIND.values()) if filled.count({kind}) >= 0.95 * len(filled)]
    return usual[0] if usual else "VARCHAR"


def _cell(answers: list[Answer], kind: str) -> Any:
    if kind != "VARCHAR":
        return next((answer.read for answer in answers if answer.read is not None and _kind(answer) == kind), None)
    values = [answer.value for answer in answers if answer.value is not None]
    return "; ".join(values) if values else None


def _found(file: File) -> dict[int, Any]:
    columns = file.columns()
    result: dict[int, Any] = {}
    for table in file.tables():
        product = TABLES.get(table) or int(table.removeprefix("product_"))
        mine = {
            key: column for (of, *key_parts), column in columns.items() if of == product for key in [tuple(key_parts)]
        }
        assert file.asked(table) == dict(mine.values()), "the registry says what the table has"
        result[product] = (
            {key: kind for key, (_, kind) in mine.items()},
            {
                row["visit_id"]: {key: row[name] for key, (name, _) in mine.items() if row[name] is not None}
                for row in file.rows(table)
            },
        )
    return result


@pytest.mark.parametrize("seed", range(12))
def test_built_bit_by_bit_the_tables_are_those_of_one_build(
    file: File, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr(wide, "_DAYS", wide._DAYS.replace("50000", random.choice(["1", "3", "50000"])))
    visits: dict[str, tuple[int | None, list[Question]]] = {}
    for _ in range(6):
        for _ in range(random.randrange(1, 8)):
            visit_id = str(random.randrange(12))
            if random.random() < 0.25:
                visits.pop(visit_id, None)
                file.remove(visit_id)
            else:
                visits[visit_id] = random.choice([1, 1, 2, None]), _checklist(random)
                day = random.choice([None, 1, 2, 2, 3, 31])
                file.put(visit_id, visits[visit_id][0], *visits[visit_id][1], day=day)
        file.build()
        assert _found(file) == _expected(file, visits)
    bit_by_bit = {table: (file.asked(table), file.rows(table)) for table in file.tables()}
    file.build(full=True)
    assert {table: (file.asked(table), file.rows(table)) for table in file.tables()} == bit_by_bit
    file.connection.execute("drop schema wide cascade")
    file.build()
    assert _found(file) == _expected(file, visits)
