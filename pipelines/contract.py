"""What Kobra sends and what we make of it, declared once: fields, spellings, types, meaning, source.

Columns of schemas `landed` and `kobra`, the reading SQL, dbt's properties, the data dictionary and the tests derive
from here. A meaning is what an analyst reads beside the column in any SQL client: whole sentences, with units.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from receiver import json_check

PAGE = "Kobra's webhook page"
EXAMPLE = "the example on Kobra's page"
OURS = "kobra-visits"

DEFAULT_TIME_ZONE = "America/Mexico_City"

PRODUCTS = {1: "DebtCollection", 2: "Address validation", 3: "Business validation"}
ANSWER_TYPES = {
    "1": "text",
    "2": "text-area",
    "3": "numeric",
    "4": "decimal",
    "5": "datepicker",
    "6": "checkbox",
    "7": "radio",
    "8": "switch",
    "9": "combo",
    "10": "time",
}


def _listed(meanings: Mapping[Any, str]) -> str:
    return ", ".join(f"{key} {meaning}" for key, meaning in meanings.items())


class Type(StrEnum):
    """The SQL types of the warehouse."""

    TEXT = "VARCHAR"
    INT = "INTEGER"
    COUNT = "BIGINT"
    DOUBLE = "DOUBLE"
    BOOL = "BOOLEAN"
    NUMBER = "DECIMAL(18,4)"
    DATE = "DATE"
    TIME = "TIME"
    LOCAL = "TIMESTAMP"
    INSTANT = "TIMESTAMP WITH TIME ZONE"
    JSON = "JSON"


class Field(NamedTuple):
    """A documented top-level field of a visit that becomes a column of `kobra.visits`.

    `spellings` are tried in order; `reader` is the SQL macro that reads the text as sent.
    """

    column: str
    spellings: tuple[str, ...]
    type: Type
    reader: str
    meaning: str
    source: str = PAGE


FIELDS = (
    Field("product_id", ("productID",), Type.INT, "read_integer",
          f"{_listed(PRODUCTS)}; NULL when unknown."),
    Field("agent_id", ("agentID",), Type.TEXT, "read_account",
          "The customer's own id of the agent (Kobra's `agentID`); a JSON number becomes its plain digits."),
    Field("agent_name", ("agent",), Type.TEXT, "as_sent", "Name of the agent who made the visit."),
    Field("account_id", ("externalID",), Type.TEXT, "read_account",
          "The customer's id of the account visited (Kobra's `externalID`). Leading zeros count: 00110 is not 110."),
    Field("client_name", ("client",), Type.TEXT, "as_sent", "Name of the client to whom the visit was made."),
    Field("visit_type", ("visitType",), Type.TEXT, "as_sent", "Name of the product or type of visit, as sent."),
    Field("lat", ("lat",), Type.DOUBLE, "read_double",
          "Latitude in degrees (Google Maps). NULL, like `lng`, unless both are finite, in range and not 0/0."),
    # Kobra's table spells it "Ing", with a capital i; its example "lng".
    Field("lng", ("lng", "Ing", "long"), Type.DOUBLE, "read_double",
          "Longitude in degrees (Google Maps). NULL, like `lat`, unless both are finite, in range and not 0/0."),
    Field("interest", ("interest",), Type.DOUBLE, "read_double",
          "Number representing interest on the account, as sent; Kobra names no unit."),
    Field("rebound", ("rebound",), Type.BOOL, "read_bool",
          "The agent moved the geolocation of the original address; NULL when not said."),
    Field("tag_name", ("tagName",), Type.TEXT, "as_sent",
          "Label that the agent chose when classifying the result of the visit, as sent."),
    Field("finished", ("finished",), Type.BOOL, "read_bool",
          "The visit is finished, as sent; a visit that is also cancelled counts as cancelled."),
    Field("cancelled", ("cancelled",), Type.BOOL, "read_bool", "The visit is cancelled, as sent."),
    Field("cancellation_reason", ("cancellationReason",), Type.TEXT, "as_sent",
          "Why the visit was cancelled, as sent."),
    Field("start_local", ("startDate",), Type.LOCAL, "read_local_time",
          "Start of the visit on the wall clock of the place, without a zone."),
    Field("end_local", ("endDate",), Type.LOCAL, "read_local_time",
          "End of the visit on the wall clock of the place, without a zone."),
    Field("time_zone_raw", ("timeZone",), Type.TEXT, "as_sent",
          "Time zone of the place where the visit was made, as sent."),
    Field("comment", ("comment",), Type.TEXT, "as_sent", "Comments that the agent wrote during the visit."),
)  # fmt: skip

VISIT_ID = ("visitID", "visitId")  # Kobra's table and its example disagree
CHECKLIST, PHONES, EMAILS = "checklist", "phones", "emails"
TOP_LEVEL = frozenset({*VISIT_ID, CHECKLIST, PHONES, EMAILS, *(name for field in FIELDS for name in field.spellings)})
ALSO_READ = {"lat": ("latitude",), "lng": ("longitude", "lon")}  # by column: other names that nobody documents
QUESTION = ("questionID", "questionName", "order")  # and its list of answers
ANSWERS = "answers"
SECTION, SECTION_NAMES = "section", ("sectionName", "name", "title")  # of a list of questions within a checklist
ENVELOPES = ("data", "visits", "visit")  # round a visit, or several
ANSWER = ("answerID", "answerTypeID", "answerName", "order", "value")
NUMERIC_IDS = ("agentID", "externalID")  # documented as int, sent as either
PHONE_KEYS = ("phone", "number", "telefono", "tel", "value")
EMAIL_KEYS = ("email", "correo", "mail", "value")


class Column(NamedTuple):
    """A column of a table: its name, SQL type, meaning and where that comes from."""

    name: str
    type: Type
    meaning: str
    source: str = OURS


class Table(NamedTuple):
    """A table: its grain, as what follows `One row per`; its key; its columns in order."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


_SOURCE = Column("source", Type.TEXT, "Name of the key that delivered it: one lender or Kobra account.")
_VISIT_ID = Column("visit_id", Type.TEXT, "Kobra's id of the visit, always text.", PAGE)
_DELIVERY_ID = Column("delivery_id", Type.TEXT, "The receiver's id of the POST; ids sort in the order of arrival.")
_ITEM = Column("item", Type.COUNT, "Number of the visit within its POST, from 1: one POST may hold several.")
_RECEIVED_AT = Column("received_at", Type.INSTANT, "When the delivery came in, by the receiver's clock.")
_SEGMENT = Column("segment", Type.TEXT, "File of the raw store that holds the bytes, its name without endings.")
_LINE = Column("line", Type.COUNT, "Line of the delivery in that file, from 1.")
_BYTES = Column("bytes", Type.COUNT, "Length of the body in bytes; 0 for further visits of the same POST.")
_HASH = Column("content_hash", Type.TEXT,
               "Fingerprint of what was sent of the visit: the same for the same content, whatever its spacing,"
               " escaping or order of fields (32 hex digits of SHA-256).")  # fmt: skip
_QUESTION_POS = Column("question_pos", Type.COUNT, "Position of the question in the order sent, from 1.")
_EXTRA = Column("extra", Type.JSON, "Undocumented fields of this level as sent; NULL when there are none.")
LOAD_ID = Column("_dlt_load_id", Type.TEXT, "The load that wrote the row: it counts once `_dlt_loads` has that load.")

_QUESTION_COLUMNS = (
    _QUESTION_POS,
    Column("question_id", Type.TEXT, "Kobra's id of the question (`questionID`).", EXAMPLE),
    Column("question_name", Type.TEXT, "Text of the question as sent (`questionName`).", EXAMPLE),
    Column("question_order", Type.COUNT, "Kobra's `order`: may repeat or be absent, so it is no key.", EXAMPLE),
    Column("section", Type.TEXT, "Name of the section, where the checklist comes in sections."),
    _EXTRA,
)
_ANSWER_COLUMNS = (
    _QUESTION_POS,
    Column("answer_pos", Type.COUNT, "Position of the answer within its question in the order sent, from 1."),
    Column("answer_id", Type.TEXT,
           "Kobra's id of the answer (`answerID`); NULL for unanswered questions, so it is no key.", EXAMPLE),
    Column("answer_type_id", Type.TEXT, f"Kobra's type of answer (`answerTypeID`): {_listed(ANSWER_TYPES)}.", PAGE),
    Column("answer_name", Type.TEXT, "Name of the answer (`answerName`), where a question has several.", EXAMPLE),
    Column("answer_order", Type.COUNT, "Kobra's `order`: may repeat or be absent, so it is no key.", EXAMPLE),
    Column("value", Type.TEXT, "The answer, text as sent; NULL when the question was left open.", EXAMPLE),
    Column("value_bool", Type.BOOL, "The value of a checkbox (6) or switch (8) that reads as yes or no."),
    Column("value_number", Type.NUMBER,
           "The value of a numeric (3) or decimal (4) answer, in the unit that the question asks for."),
    Column("value_date", Type.DATE, "The value of a datepicker (5)."),
    Column("value_time", Type.TIME, "The value of a time answer (10): wall clock."),
    Column("value_text", Type.TEXT,
           "The value of text, radio, combo and unknown types, and of a checkbox or switch that is no yes or no."),
    Column("parse_ok", Type.BOOL,
           "The value reads as its type. False: it is in `value` alone. NULL: there is no value."),
    _EXTRA,
)  # fmt: skip


def _contact_columns(*forms: Column) -> tuple[Column, ...]:
    return (
        Column("pos", Type.COUNT, "Position in the order sent, from 1."),
        Column("value", Type.TEXT, "The text as sent.", PAGE),
        *forms,
        _EXTRA,
    )


_PHONE_COLUMNS = _contact_columns(
    Column("normalised", Type.TEXT, "Digits of the number, with a leading + if there was one."),
    Column("e164", Type.TEXT, "The number in E.164, such as +525555550171; one without a country code is read as"
           " one of the country in setting `default_region`. NULL where it is no possible number."),
)  # fmt: skip
_EMAIL_COLUMNS = _contact_columns(Column("normalised", Type.TEXT, "The address in lower case."))
_VISIT_COLUMNS = tuple(Column(field.column, field.type, field.meaning, field.source) for field in FIELDS)
_TERMINAL = tuple(column for column in _VISIT_COLUMNS if column.name in ("finished", "cancelled", "end_local"))

_POSTED = (_DELIVERY_ID, _ITEM)
_OF_VISIT = (_SOURCE, _VISIT_ID)
_PARTS = (
    ("questions", "question of the checklist", ("question_pos",), _QUESTION_COLUMNS),
    ("answers", "answer to a question", ("question_pos", "answer_pos"), _ANSWER_COLUMNS),
    (PHONES, "phone number", ("pos",), _PHONE_COLUMNS),
    (EMAILS, "e-mail address", ("pos",), _EMAIL_COLUMNS),
)
_SEGMENTS = Table("segments", "segment (a file of the raw store) that was loaded", ("segment",), (
    _SEGMENT._replace(meaning="Name of the segment without endings."),
    Column("received_date", Type.DATE, "UTC day on which its deliveries came in."),
    Column("lines", Type.COUNT, "How many deliveries were read from it; erased ones do not count."),
    Column("bytes", Type.COUNT, "Length of the bodies in it, in bytes."),
    Column("damaged", Type.COUNT, "How many records failed their checksum and were skipped."),
    Column("loaded_at", Type.INSTANT, "When it was loaded."),
))  # fmt: skip
_DELIVERED = (
    *_POSTED, _SOURCE, _RECEIVED_AT,
    _VISIT_ID._replace(meaning="Kobra's id of the visit; NULL when it could not be read."),
    _HASH._replace(meaning=f"{_HASH.meaning} NULL when it could not be read."),
)  # fmt: skip
_REJECTS = Table("rejects", "visit document that could not become a visit", ("delivery_id", "item"), (
    *_POSTED, _SOURCE, _RECEIVED_AT,
    Column("reason", Type.TEXT, "Why, as a short code such as `no_visit_id`; `detail` says it in words."),
    Column("detail", Type.TEXT, "What is wrong, without any of the content."),
    _SEGMENT, _LINE,
))  # fmt: skip


def _by_name(*tables: Table) -> dict[str, Table]:
    return {table.name: table for table in tables}


# What the load appends. Every row has LOAD_ID, too, which dlt adds.
LANDED = _by_name(
    _SEGMENTS,
    Table("deliveries", "visit document of a POST", ("delivery_id", "item"),
          (*_DELIVERED, _SEGMENT, _LINE, _BYTES)),
    _REJECTS,
    Table("visits", "distinct content of a visit in a load, by the first delivery that brought it there",
          ("delivery_id", "item"),
          (*_POSTED, *_OF_VISIT, *_VISIT_COLUMNS, _HASH, _RECEIVED_AT, _EXTRA)),
    *(Table(name, f"{what} in a content of a visit", (*(c.name for c in _POSTED), *key),
            (*_POSTED, *_OF_VISIT, *columns))
      for name, what, key, columns in _PARTS),
)  # fmt: skip

# What dbt makes of it: the current version of every visit.
KOBRA = _by_name(
    Table("deliveries", "visit document of a POST that was accepted", ("delivery_id", "item"), (
        *_DELIVERED,
        Column("outcome", Type.TEXT,
               "new (a content not seen before) · duplicate (one seen before) · rejected (not readable as a visit)."),
        _SEGMENT, _LINE, _BYTES,
    )),
    _SEGMENTS,
    _REJECTS,
    Table("visits", "visit, in its current version", ("source", "visit_id"), (
        *_OF_VISIT,
        *_VISIT_COLUMNS,
        _HASH,
        _RECEIVED_AT._replace(meaning="When this version first came in."),
        _DELIVERY_ID._replace(meaning="The delivery that first brought this version."),
        Column("versions", Type.COUNT, "How many distinct contents were received of this visit."),
        _EXTRA,
    )),
    Table("visit_versions", "distinct content of a visit", ("source", "visit_id", "content_hash"), (
        *_OF_VISIT, _HASH,
        Column("version_no", Type.COUNT, "Order in which the contents first came in, from 1."),
        Column("valid_from", Type.INSTANT, "When this content first came in."),
        Column("valid_to", Type.INSTANT,
               "When a better one came in; NULL for the current one; = valid_from if it was never current."),
        Column("deliveries", Type.COUNT, "How often this content was delivered."),
        Column("is_current", Type.BOOL, "This is the version in `kobra.visits`."),
        *_TERMINAL,
        _DELIVERY_ID._replace(meaning="The delivery that first brought this content."),
        _ITEM,
    )),
    *(Table(name, f"{what} in the current version of a visit", ("source", "visit_id", *key), (*_OF_VISIT, *columns))
      for name, what, key, columns in _PARTS),
)  # fmt: skip

MOST_VALUES = 500_000  # of one visit: a load needs memory for each

REJECTS = json_check.REASONS | {
    "no_visit_id": "visitID is missing, blank or neither text nor a whole number.",
    "too_many_values": f"The visit has more values in lists and objects than the {MOST_VALUES} that can be loaded.",
    "crashed_reader": "A process that read the delivery died: kobra load --retry-rejects reads it again.",
}
