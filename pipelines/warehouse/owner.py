"""Which home built a lake last, and from what: another home goes on with it only where it would build the same."""

import socket
from uuid import uuid4

from pipelines.errors import UsageError
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import Lake
from receiver import rawstore

_TABLE = """
create table if not exists kobra_owner (
    is_one boolean primary key default true check (is_one), home_id text not null, place text not null,
    made_of text
)
"""
_NOTE = """
insert into kobra_owner (home_id, place, made_of) values (%s, %s, %s)
on conflict (is_one) do update set home_id = excluded.home_id, place = excluded.place, made_of = excluded.made_of
"""


class OwnerError(UsageError):
    """Another home built the lake last, from something else."""


def check(home: Home, lake: Lake, made_of: str) -> None:
    """Raise OwnerError where another home built the lake last, and not of the same. Hold the lake's lock.

    `made_of`: a digest of all that a home adds to what was received.
    """
    with lake.postgres() as session:
        session.execute(_TABLE)
        owner = session.execute("select home_id, place, made_of from kobra_owner").fetchone()
    if owner and owner[0] != _id(home) and owner[2] != made_of:
        raise OwnerError(
            f"{owner[1]} built this lake last, with other files in mappings/, inputs/ or erasure/: copy them from"
            " there, or go on with those of this home by `kobra run --take-over`. To load, `kobra load` is enough"
        )


def note(home: Home, lake: Lake, made_of: str | None) -> None:
    """Note that this home built the lake last, and of what; None: no other may go on. Hold the lake's lock."""
    with lake.postgres() as session:
        session.execute(_TABLE)
        session.execute(_NOTE, [_id(home), f"{socket.gethostname()}:{home.path.absolute()}", made_of])


def _id(home: Home) -> str:
    if not home.id_file.exists():
        rawstore.put(home.id_file, uuid4().hex)
    return home.id_file.read_text()
