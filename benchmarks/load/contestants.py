"""Who competes at making tables of landed visits. Each runs in a process of its own and answers with seconds."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from receiver import rawstore

_CHECKLIST = (
    '[{"questionID":"VARCHAR","questionName":"VARCHAR","order":"VARCHAR","answers":[{"answerID":"VARCHAR",'
    '"answerTypeID":"VARCHAR","answerName":"VARCHAR","order":"VARCHAR","value":"VARCHAR"}]}]'
)
_FIELDS = (
    "visitID productID agentID externalID visitType lat lng interest rebound tagName finished cancelled "
    "cancellationReason client agent startDate endDate comment timeZone"
).split()
_VISIT = "{" + ",".join(f'"{name}":"VARCHAR"' for name in _FIELDS) + f',"checklist":{_CHECKLIST}' + "}"


def limit(raw: Path, folder: Path) -> float:
    """DuckDB alone: read once, unnest, write three tables of text to a file. No versions, no types, no cursor."""
    import duckdb  # noqa: PLC0415

    began = time.perf_counter()
    with duckdb.connect(str(folder / "limit.duckdb"), config={"memory_limit": "1GB"}) as connection:
        connection.execute("set timezone = 'UTC'; set preserve_insertion_order = false")
        connection.execute(f"""
            create temp table landed as
                select source, from_json(body, '{_VISIT}') as v
                from read_json('{raw}/*/*.jsonl', format = 'newline_delimited', columns = {{
                    delivery_id: 'VARCHAR', received_at: 'TIMESTAMP', source: 'VARCHAR', body: 'VARCHAR'
                }});
            create table visits as select source, v.* exclude (checklist) from landed;
            create temp table asked as
                select source, v."visitID" as visit_id, unnest(v.checklist) as q,
                    generate_subscripts(v.checklist, 1) as question_pos
                from landed;
            create table questions as select source, visit_id, question_pos, q.* exclude (answers) from asked;
            create table answers as
                select source, visit_id, question_pos, answer_pos, a.*
                from (
                    select source, visit_id, question_pos, unnest(q.answers) as a,
                        generate_subscripts(q.answers, 1) as answer_pos
                    from asked
                );
            checkpoint;
        """)
    return time.perf_counter() - began


def ours(raw: Path, folder: Path) -> float:
    """`kobra load`, all of it."""
    import dlt  # noqa: F401, PLC0415 - as with the others, starting Python and importing are not counted
    import duckdb  # noqa: F401, PLC0415

    from pipelines import run  # noqa: PLC0415
    from pipelines.load import flatten  # noqa: F401, PLC0415
    from pipelines.warehouse.home import Home  # noqa: PLC0415
    from pipelines.warehouse.lock import lock  # noqa: PLC0415

    (folder / "raw").symlink_to(raw.absolute())
    home = Home(folder)
    began = time.perf_counter()
    with lock(home):
        run.load(home)
    return time.perf_counter() - began


def dlt_plain(raw: Path, folder: Path, file_format: str | None = None) -> float:
    """dlt left to normalise plain dicts by itself."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt  # noqa: PLC0415
    import msgspec  # noqa: PLC0415

    bodies = (
        msgspec.json.decode(found.delivery.body)
        for path in rawstore.closed(raw).values()
        for found in rawstore.read_segment(path)
        if isinstance(found, rawstore.Landed)
    )
    pipeline = dlt.pipeline(
        "plain",
        pipelines_dir=str(folder / "dlt"),
        destination=dlt.destinations.duckdb(str(folder / "plain.duckdb")),
        dataset_name="normalised",
    )
    options: dict[str, Any] = {"loader_file_format": file_format} if file_format else {}
    began = time.perf_counter()
    pipeline.run(dlt.resource(bodies, name="visits", primary_key="visitID", write_disposition="merge"), **options)
    return time.perf_counter() - began


def dlt_parquet(raw: Path, folder: Path) -> float:
    """The same through Parquet files."""
    return dlt_plain(raw, folder, "parquet")


CONTESTANTS: dict[str, Callable[[Path, Path], float]] = {
    each.__name__: each for each in (limit, ours, dlt_plain, dlt_parquet)
}


def fresh(folder: Path) -> Path:
    """An empty folder on the disk where the stores are."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
