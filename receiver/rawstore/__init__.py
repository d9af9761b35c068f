"""The raw store: what Kobra sends, as it came, in files that anybody can read.

A store is a folder `raw/` of partitions `received_date=YYYY-MM-DD/` of segments. A segment is UTF-8 text, one record
a line, only ever appended, by one process that holds a lock on it. Its name ends in `.jsonl.open` while it is
written, `.jsonl` once closed, `.jsonl.zst` once compressed; the name without endings is its identity. A record is

    {"crc32":"1c291ca3","delivery_id":…,"received_at":…,"source":…,"bytes":2855,"body":"{\\"visitID\\":…"}

where `crc32` covers every byte between the comma behind it and the end of the line, `bytes` is the length of
the body as received, and a body that is not UTF-8 stands as base64 with `"body_encoding":"base64"`.

Closed segments never change, except through erasure: in place of a record whose body had to go stands
`{"crc32":…,"delivery_id":…,"received_at":…,"source":…,"bytes":0,"body":"","erased":true}`. It says that something
came, when, from whom and under which id, and nothing of what it was; no other byte and no line number changes.
Readers tell it apart from deliveries. A damaged stretch that was erased leaves such a record without an id.
"""

from receiver.rawstore.compress import compact, compress_before, compress_segment, is_among, packed, parts_of
from receiver.rawstore.copies import Settled, settle
from receiver.rawstore.disk import free_floor, make_folder, misread_in, put, rename_new, sync_folder
from receiver.rawstore.erase import erase_records, files_of, remove, remove_leftovers, set_aside_in
from receiver.rawstore.objects import ObjectStore, Stored, StoreError, is_store_url
from receiver.rawstore.read import Damage, Erased, Found, Landed, Verdict, read_segment, verify
from receiver.rawstore.record import Delivery, Stamps, decode, delivery, delivery_id, encode, is_source
from receiver.rawstore.segments import (
    ASIDE,
    CLOSED,
    COMPRESSED,
    HALF_WRITTEN,
    OPEN,
    PARTITION,
    TORN,
    Key,
    began,
    closed,
    closed_in,
    copies_in,
    identity,
    is_compacted,
    key,
    key_of,
    labelled,
    namesakes,
    open_in,
    opened,
    partitions,
    received_date,
)
from receiver.rawstore.ship import place_of
from receiver.rawstore.write import Landing, Recovered, Segment, is_orphan, recover

__all__ = [
    "ASIDE",
    "CLOSED",
    "COMPRESSED",
    "HALF_WRITTEN",
    "OPEN",
    "PARTITION",
    "TORN",
    "Damage",
    "Delivery",
    "Erased",
    "Found",
    "Key",
    "Landed",
    "Landing",
    "ObjectStore",
    "Recovered",
    "Segment",
    "Settled",
    "Stamps",
    "StoreError",
    "Stored",
    "Verdict",
    "began",
    "closed",
    "closed_in",
    "compact",
    "compress_before",
    "compress_segment",
    "copies_in",
    "decode",
    "delivery",
    "delivery_id",
    "encode",
    "erase_records",
    "files_of",
    "free_floor",
    "identity",
    "is_among",
    "is_compacted",
    "is_orphan",
    "is_source",
    "is_store_url",
    "key",
    "key_of",
    "labelled",
    "make_folder",
    "misread_in",
    "namesakes",
    "open_in",
    "opened",
    "packed",
    "partitions",
    "parts_of",
    "place_of",
    "put",
    "read_segment",
    "received_date",
    "recover",
    "remove",
    "remove_leftovers",
    "rename_new",
    "set_aside_in",
    "settle",
    "sync_folder",
    "verify",
]
