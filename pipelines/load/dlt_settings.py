"""dlt takes its settings from here alone: from no variable of the environment, and from no `.dlt` folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dlt.common.configuration.providers import ConfigProvider, CustomLoaderDocProvider
from dlt.common.runtime.run_context import RunContext, switched_run_context

_SETTINGS: dict[str, Any] = {
    "restore_from_destination": False,  # there is no state beyond the warehouse itself
    "runtime": {"dlthub_telemetry": False, "log_level": "ERROR"},
    "normalize": {"parquet_normalizer": {"add_dlt_load_id": True}},
    "data_writer": {"buffer_max_items": 1},  # a chunk is a row group: more of them together exceed the memory
    "load": {"delete_completed_jobs": True},
    "providers": {"enable_airflow_secrets": False},
}


class _OwnSettings(RunContext):  # type: ignore[misc] # dlt is not typed for us
    """A run context whose settings and folders are ours."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._global_dir = str(folder)

    def initial_providers(self) -> list[ConfigProvider]:
        return [CustomLoaderDocProvider("kobra", lambda: _SETTINGS)]

    @property
    def run_dir(self) -> str:
        return str(self._init_run_dir)

    @property
    def local_dir(self) -> str:
        return self.run_dir

    @property
    def data_dir(self) -> str:
        return self.run_dir

    @property
    def module(self) -> ModuleType | None:
        return None


@contextmanager
def own_settings(folder: Path) -> Iterator[None]:
    """Run dlt with these settings. What it keeps for itself goes to `folder`."""
    with switched_run_context(_OwnSettings(folder)):
        yield
