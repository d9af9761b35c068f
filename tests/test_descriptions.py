"""Every fact about a table is written in one place: what is made of it says the same, and what reads it is known."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kobra_home import loaded

from notebooks.pages import PAGES
from pipelines.build import comments, properties
from pipelines.build.dbt import PROJECT
from pipelines.contract import ANSWER_TYPES, FIELDS, KOBRA, LANDED, Table
from pipelines.publish import dictionary

ROOT = Path(__file__).parents[1]
MODELS = PROJECT / "models"
MARTS = {path.stem for path in (MODELS / "marts").glob("*.sql")}
PROPERTIES = {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(MODELS.rglob("*.yml"))}
TABLES = [*KOBRA.values(), *LANDED.values()]

# ---------------------------------------------------------------- what `make docs` writes


@pytest.mark.parametrize("path", properties.files(), ids=lambda path: path.name)
def test_dbt_s_properties_are_those_of_the_contract(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == properties.files()[path], "run `make docs`"


def test_the_data_dictionary_is_that_of_the_contract_and_of_the_properties() -> None:
    assert dictionary.PATH.read_text(encoding="utf-8") == dictionary.render(), "run `make docs`"


def test_the_data_dictionary_has_whole_sentences_and_every_public_schema() -> None:
    page = dictionary.render()
    assert "doc(" not in page
    assert [name for name in comments.PUBLIC if f"## Schema {name}\n" not in page] == []
    assert dictionary.SCHEMAS.keys() == {*comments.PUBLIC, "staging"}


def test_the_links_within_the_data_dictionary_lead_somewhere() -> None:
    page = dictionary.render()
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) - anchors == set()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_the_contract_declares_says_what_it_means(table: Table) -> None:
    assert comments.key(properties.described(table)) == ", ".join(table.key)
    assert {column.name for column in table.columns} >= set(table.key)
    assert [column.name for column in table.columns if not re.fullmatch(r"[^a-z].*[.]|.*[).]", column.meaning)] == []


def test_every_field_that_kobra_sends_has_a_doc_block() -> None:
    blocks = (MODELS / "kobra" / "_kobra.md").read_text(encoding="utf-8")
    assert [field.column for field in FIELDS if f"{{% docs {field.column} %}}\n{field.meaning}\n" not in blocks] == []


# ---------------------------------------------------------------- how values are read


def test_every_reader_and_every_answer_type_is_explained() -> None:
    assert {field.reader for field in FIELDS} == dictionary.READERS.keys()
    assert sorted(key for each in dictionary.ANSWERED for key in each.types) == sorted(ANSWER_TYPES)


def test_values_are_read_as_the_examples_of_the_dictionary_say(tmp_path: Path) -> None:
    fields = {name: next(f for f in reversed(FIELDS) if f.reader == name) for name in dictionary.READERS}
    examples = [
        (fields[name], *example) for name, reader in dictionary.READERS.items() for example in reader.examples
    ]
    answers = [
        (kind, each.column, *example)
        for each in dictionary.ANSWERED
        for kind in each.types
        for example in each.examples
    ]
    home = loaded(
        tmp_path,
        *({"visitID": f"F{n}", field.spellings[0]: sent} for n, (field, sent, _) in enumerate(examples)),
        *({"visitID": f"A{n}", "checklist": [{"answers": [{"answerTypeID": int(kind), "value": sent}]}]}
          for n, (kind, _, sent, _) in enumerate(answers)),
    )  # fmt: skip
    visits = {row["visit_id"]: row for row in home.rows("select columns(*)::varchar from visits")}
    given = {row["visit_id"]: row for row in home.rows("select columns(*)::varchar from answers")}
    found = [(field.reader, sent, visits[f"F{n}"][field.column]) for n, (field, sent, _) in enumerate(examples)]
    assert found == [(field.reader, sent, read) for field, sent, read in examples]
    found = [(kind, sent, given[f"A{n}"][column], given[f"A{n}"]["parse_ok"])
             for n, (kind, column, sent, _) in enumerate(answers)]  # fmt: skip
    assert found == [(kind, sent, read, "true" if read is not None else "false") for kind, _, sent, read in answers]


# ---------------------------------------------------------------- one place


def described(found: Any) -> list[tuple[str, str]]:
    """The columns of models and sources with their descriptions as written."""
    tables = [*found.get("models", []), *(each for source in found.get("sources", []) for each in source["tables"])]
    return [(column["name"], column["description"]) for table in tables for column in table.get("columns", [])]


def test_a_description_that_stands_in_several_places_is_a_doc_block() -> None:
    written: dict[str, list[str]] = {}
    for path, found in PROPERTIES.items():
        if path.name not in ("_landed.yml", "_kobra.yml"):  # of which the contract is the one place
            for name, description in described(found):
                written.setdefault(description, []).append(f"{path.name}: {name}")
    repeated = {text: places for text, places in written.items() if len(places) > 1 and "doc(" not in text}
    assert repeated == {}


def test_every_doc_block_is_used_but_for_those_of_the_contract() -> None:
    used = {name for path in PROPERTIES for name in re.findall(r"doc\('(\w+)'\)", path.read_text(encoding="utf-8"))}
    ours = {name for path in MODELS.rglob("*.md") if path.name != "_kobra.md"
            for name in re.findall(r"\{% docs (\w+)", path.read_text(encoding="utf-8"))}  # fmt: skip
    assert ours - used == set()


# ---------------------------------------------------------------- what reads the tables

WORKED = ("explore", "agents", "outcomes")
FRAME = ("dashboard", "filters", "view")


def asked(module: Path) -> set[str]:
    """The tables that a module queries, but for those of schema staging."""
    found = re.findall(r"\b(?:from|join)\s+(?:w\.(\w+)\.)?(\w+)\b", module.read_text(encoding="utf-8"))
    named = {f"{schema or 'marts'}.{name}" for schema, name in found if schema or name in MARTS}
    return {name for name in named if not name.startswith("staging.")}


def exposed(name: str) -> set[str]:
    """The tables that an exposure names."""
    exposures = {each["name"]: each for each in PROPERTIES[MODELS / "exposures.yml"]["exposures"]}
    tables = set()
    for each in exposures[name]["depends_on"]:
        *schema, table = re.findall(r"'(\w+)'", each)
        prefix = "kobra" if table.startswith("kobra_") else "staging" if table.startswith("stg_") else "marts"
        tables.add(f"{''.join(schema) or prefix}.{table.removeprefix('kobra_')}")
    return {name for name in tables if not name.startswith("staging.")}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_the_dashboard_is_an_exposure_with_the_tables_that_it_asks(page: str) -> None:
    module = PAGES[page].__file__
    assert module is not None
    assert exposed(f"dashboard_{page}") == asked(Path(module))


def test_so_is_the_frame_of_its_pages() -> None:
    assert exposed("dashboard") == set().union(*(asked(ROOT / "notebooks" / f"{name}.py") for name in FRAME))


@pytest.mark.parametrize("notebook", WORKED)
def test_every_worked_notebook_is_an_exposure_with_the_tables_that_it_asks(notebook: str) -> None:
    assert exposed(f"notebook_{notebook}") == asked(ROOT / "notebooks" / f"{notebook}.py")


def test_there_is_no_exposure_of_anything_else() -> None:
    names = {each["name"] for each in PROPERTIES[MODELS / "exposures.yml"]["exposures"]}
    assert names == {"dashboard", *(f"dashboard_{page}" for page in PAGES), *(f"notebook_{each}" for each in WORKED)}


# ---------------------------------------------------------------- what the figures mean

METRICS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_mart_and_every_flag_and_rate_is_defined() -> None:
    (flags,) = re.findall(r"return\(\[(.*?)\]\)", (PROJECT / "macros" / "quality_flags.sql").read_text(), re.S)
    rates = {name for path, found in PROPERTIES.items() if path.parent.name == "marts"
             for name, _ in described(found) if name.endswith("_rate") or name.startswith("ptp_")}  # fmt: skip
    assert [name for name in sorted(MARTS) if f"`marts.{name}" not in METRICS] == []
    assert [name for name in re.findall(r"'(\w+)'", flags) if f"`{name}`" not in METRICS] == []
    assert [name for name in sorted(rates) if f"`{name}`" not in METRICS] == []


def test_every_threshold_is_explained_with_its_starting_value() -> None:
    with (PROJECT / "seeds" / "settings.csv").open(encoding="utf-8", newline="") as file:
        starting = {row["key"]: row["value"] for row in csv.DictReader(file)}
    told: dict[str, str] = {}
    for names, values in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]*)\|", METRICS.split("## Thresholds")[1], re.M):
        told |= dict(zip(re.findall(r"\w+", names), values.strip().split(", "), strict=True))
    assert told == starting
    mentioned = re.findall(r"`(\w+)`", METRICS)
    assert [key for key in starting if mentioned.count(key) == 1 and key != "default_region"] == []
