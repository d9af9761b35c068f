"""Which home keeps the marks of who was erased from a lake: no other may build it, or they would come back."""

import socket
from uuid import uuid4

from pipelines.errors import UsageError
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import Lake
from receiver import rawstore

_TABLE = """
create table if not exists kobra_owner (
    is_one boolean primary key default true check (is_one), home_id text not null, place text not null,
    marks integer not null
)
"""
_CLAIM = """
insert into kobra_owner (home_id, place, marks) values (%s, %s, %s)
on conflict (is_one) do update set home_id = excluded.home_id, place = excluded.place, marks = excluded.marks
"""


class OwnerError(UsageError):
    """This home does not know of all who were erased from the lake."""


def check(home: Home, lake: Lake, marks: int) -> None:
    """Raise OwnerError where another home keeps the marks, or this one has fewer than it had. Hold the lock."""
    with lake.postgres() as session:
        session.execute(_TABLE)
        owner = session.execute("select home_id, place, marks from kobra_owner").fetchone()
    if owner is None:
        return
    if owner[0] != _id(home):
        raise OwnerError(
            f"{owner[1]} knows who was erased from this lake, or is to be blanked: it alone builds and publishes, and"
            " this home may `kobra load`. If that one is gone, bring its erasure/ here from a backup and say `kobra"
            " run --take-over`"
        )
    if owner[2] > marks:
        raise OwnerError(
            f"{home.erasure} knows of fewer persons who were erased than it did: bring it back from a newer backup."
            " By `kobra run --take-over` it goes on without, and who is missing there may come back"
        )


def claim(home: Home, lake: Lake, marks: int) -> None:
    """Note that this home keeps the marks, and how many. Hold the lake's lock."""
    with lake.postgres() as session:
        session.execute(_TABLE)
        session.execute(_CLAIM, [_id(home), f"{socket.gethostname()}:{home.path.absolute()}", marks])


def _id(home: Home) -> str:
    if not home.id_file.exists():
        rawstore.put(home.id_file, uuid4().hex)
    return home.id_file.read_text()
