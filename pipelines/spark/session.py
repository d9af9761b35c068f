"""The Spark session of a run: what the models need of it, and nothing that a cluster decides."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Without these the models say something else.
_NEEDED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",  # `timestamp` is a wall clock, as in DuckDB
    "spark.sql.timeType.enabled": "true",
    "spark.sql.ansi.enabled": "false",  # as dbt-spark has it for every statement of its own
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # by default instants lose that they are in UTC
    # Names of tables are this run's own: nobody sees what is half done, and no metastore is needed.
    "spark.sql.catalogImplementation": "in-memory",
}
# Where neither the command line nor spark-submit nor spark-defaults.conf says anything else.
_DEFAULTS = {
    "spark.app.name": "kobra-visits",
    "spark.ui.enabled": "false",
    "spark.log.level": "OFF",  # what a task says that fails may quote what was sent
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "2g",
    # Files of visits take a tenth of the memory that their rows take: else Spark holds for small what is not.
    "spark.sql.sources.fileCompressionFactor": "10",
}
_LOCAL = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}  # nobody else is to connect
_PARTITIONS_PER_CORE = 2


class MissingSparkError(UsageError):
    """There is no Spark to run on."""


@contextmanager
def session(master: str | None, settings: Mapping[str, str], scratch: str) -> "Iterator[SparkSession]":
    """A session on `master` (default: that of spark-submit, else this machine), stopped at the end.

    `settings`: Spark's own, by name. `scratch`: where Spark may make a folder of its own. Raises MissingSparkError.
    """
    try:
        from pyspark import SparkConf  # noqa: PLC0415
        from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingSparkError("pyspark is not installed: pip install kobra-visits[spark]") from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # where executors run on this machine
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # it quotes what it met
    conf = SparkConf()
    conf.setAll([*settings.items(), *([("spark.master", master)] if master else [])])
    is_local = (conf.get("spark.master") or "local").startswith("local")
    for name, value in (_DEFAULTS | (_LOCAL if is_local else {})).items():
        conf.setIfMissing(name, value)
    conf.setAll([*_NEEDED.items(), ("spark.sql.warehouse.dir", scratch)])
    try:
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
    except PySparkRuntimeError as why:
        if why.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise MissingSparkError(
            "Spark does not start: it needs Java 17 or 21 (JAVA_HOME, or java on the path)"
        ) from why
    try:
        if conf.get("spark.sql.shuffle.partitions") is None:
            spark.conf.set(
                "spark.sql.shuffle.partitions", _PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism
            )
        yield spark
    finally:
        spark.stop()
