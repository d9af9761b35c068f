"""Which home builds a lake: the one with the mappings, the inputs and the marks of erased persons. Others load."""

import socket
from typing import TYPE_CHECKING
from uuid import uuid4

from pipelines.errors import UsageError
from pipelines.warehouse.home import Home
from receiver import rawstore

if TYPE_CHECKING:
    import psycopg

_TABLE = """
create table if not exists kobra_owner (
    is_one boolean primary key default true check (is_one), home_id text not null, place text not null
)
"""
_CLAIM = "insert into kobra_owner (home_id, place) values (%s, %s) on conflict (is_one)"


class OwnerError(UsageError):
    """Another home builds the lake."""


def check(home: Home, session: "psycopg.Connection") -> None:
    """Note in the catalogue that this home builds the lake, where none does yet. Raises OwnerError where another one
    does. Hold the lock."""
    session.execute(_TABLE)
    session.execute(f"{_CLAIM} do nothing".encode(), _names(home))
    owner = session.execute("select home_id, place from kobra_owner").fetchone()
    assert owner is not None
    if owner[0] != _names(home)[0]:
        raise OwnerError(
            f"{owner[1]} builds this lake: this home may `kobra load`, and no more. If that one is gone, and this one"
            " has its mappings/, inputs/ and erasure/, say `kobra run --take-over`"
        )


def take_over(home: Home) -> None:
    """Have this home build the lake from now on. Raises OwnerError where there is no lake, LakeError."""
    if home.lake is None:
        raise OwnerError("--take-over is for a lake, and KOBRA_WAREHOUSE names none")
    with home.lake.postgres() as session:
        session.execute(_TABLE)
        claim = f"{_CLAIM} do update set home_id = excluded.home_id, place = excluded.place"
        session.execute(claim.encode(), _names(home))


def _names(home: Home) -> tuple[str, str]:
    """The id by which the catalogue knows a home, and where a person finds it."""
    if not home.id_file.exists():
        rawstore.put(home.id_file, uuid4().hex)
    return home.id_file.read_text(), f"{socket.gethostname()}:{home.path.absolute()}"
