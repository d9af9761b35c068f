"""The machine's environment, which decides nothing about our runs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def replaced(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables and no others, for a while."""
    before = os.environ.copy()
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
