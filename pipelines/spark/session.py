"""The Spark session of a run: what the models need of it, and nothing that a cluster decides."""

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
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
_QUIET = "OFF"  # what a task says that fails may quote what was sent
# Where neither the command line nor spark-submit nor spark-defaults.conf says anything else.
_DEFAULTS = {
    "spark.app.name": "kobra-visits",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.memory": "2g",
    "spark.log.level": _QUIET,
}
_LOCAL = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}  # nobody else is to connect
_PARTITIONS_PER_CORE = 2
# Files of visits take a tenth of the memory that their rows take: else Spark holds for small what is not.
_TIMES_SMALLER = 10
_property = re.compile(r"^[ \t]*(spark\.[^\s=:]+)[\s=:]+(\S*)", re.MULTILINE)


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
    told = dict(settings) | ({"spark.master": master} if master else {})
    conf = SparkConf().setAll([*(_defaults(told) | told | _NEEDED | {"spark.sql.warehouse.dir": scratch}).items()])
    try:
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
    except PySparkRuntimeError as why:
        if why.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise MissingSparkError(
            "Spark does not start: it needs Java 17 or 21 (JAVA_HOME, or java on the path)"
        ) from why
    try:
        _settle(spark)
        yield spark
    finally:
        spark.stop()


def _defaults(told: Mapping[str, str]) -> dict[str, str]:
    """What nobody told. None where spark-submit has begun: it decides all of that, and has read what is told."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return {}
    in_file = _in_file()
    is_local = (told.get("spark.master") or in_file.get("spark.master", "local")).startswith("local")
    defaults = _DEFAULTS | (_LOCAL if is_local else {})
    return {name: value for name, value in defaults.items() if name not in in_file}


def _in_file() -> dict[str, str]:
    """What spark-defaults.conf tells, where Spark looks for it."""
    import pyspark  # noqa: PLC0415

    home = os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent
    file = Path(os.environ.get("SPARK_CONF_DIR") or f"{home}/conf", "spark-defaults.conf")
    return dict(_property.findall(file.read_text())) if file.exists() else {}


def _settle(spark: "SparkSession") -> None:
    """Decide what depends on the cluster, and what was told nowhere."""
    told = spark.sparkContext.getConf()
    if not told.contains("spark.log.level"):
        spark.sparkContext.setLogLevel(_QUIET)
    for name, value in {
        "spark.sql.sources.fileCompressionFactor": _TIMES_SMALLER,
        "spark.sql.shuffle.partitions": _PARTITIONS_PER_CORE * spark.sparkContext.defaultParallelism,
    }.items():
        if not told.contains(name):
            spark.conf.set(name, value)
