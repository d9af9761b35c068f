"""What Kobra sends and what we make of it, declared once: fields, spellings, types, meaning, source.

Columns of schema `kobra`, the reading SQL, the data dictionary and the tests derive from here.
"""

from enum import StrEnum
from typing import NamedTuple

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
          "1 DebtCollection, 2 Address validation, 3 Business validation."),
    Field("agent_id", ("agentID",), Type.TEXT, "as_sent",
          "The customer's own id of the agent; a JSON number becomes its plain digits."),
    Field("agent_name", ("agent",), Type.TEXT, "as_sent", "Name of the agent who made the visit."),
    Field("account_id", ("externalID",), Type.TEXT, "as_sent",
          "The customer's own id of the account visited. Leading zeros in text stay: 00110 is not 110."),
    Field("client_name", ("client",), Type.TEXT, "as_sent", "Name of the client to whom the visit was made."),
    Field("visit_type", ("visitType",), Type.TEXT, "as_sent", "Name of the product or type of visit."),
    Field("lat", ("lat",), Type.DOUBLE, "read_double",
          "Latitude in degrees (Google Maps). NULL, like `lng`, unless both are finite, in range and not 0/0."),
    # Kobra's table spells it "Ing", with a capital i; its example "lng".
    Field("lng", ("lng", "Ing", "long"), Type.DOUBLE, "read_double",
          "Longitude in degrees (Google Maps). NULL, like `lat`, unless both are finite, in range and not 0/0."),
    Field("interest", ("interest",), Type.DOUBLE, "read_double", "Number representing interest on the account."),
    Field("rebound", ("rebound",), Type.BOOL, "read_bool",
          "The agent moved the geolocation of the original address."),
    Field("tag_name", ("tagName",), Type.TEXT, "as_sent",
          "Label that the agent chose when classifying the result of the visit."),
    Field("finished", ("finished",), Type.BOOL, "read_bool", "The visit is finished."),
    Field("cancelled", ("cancelled",), Type.BOOL, "read_bool", "The visit is cancelled."),
    Field("cancellation_reason", ("cancellationReason",), Type.TEXT, "as_sent", "Why the visit was cancelled."),
    Field("start_local", ("startDate",), Type.LOCAL, "read_local_time",
          "Start of the visit on the wall clock of the place."),
    Field("end_local", ("endDate",), Type.LOCAL, "read_local_time",
          "End of the visit on the wall clock of the place."),
    Field("time_zone_raw", ("timeZone",), Type.TEXT, "as_sent",
          "Time zone of the place where the visit was made, as sent."),
    Field("comment", ("comment",), Type.TEXT, "as_sent", "Comments that the agent wrote during the visit."),
)  # fmt: skip

VISIT_ID = ("visitID", "visitId")  # Kobra's table and its example disagree
CHECKLIST, PHONES, EMAILS = "checklist", "phones", "emails"
TOP_LEVEL = frozenset({*VISIT_ID, CHECKLIST, PHONES, EMAILS, *(name for field in FIELDS for name in field.spellings)})
QUESTION = ("questionID", "questionName", "order")  # and its list of answers
ANSWERS = "answers"
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
    """A table of schema `kobra`: its grain in words, its key, its columns in order."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


_SOURCE = Column("source", Type.TEXT, "Name of the key that delivered it: one lender or Kobra account.")
_VISIT_ID = Column("visit_id", Type.TEXT, "Kobra's id of the visit, always text.", PAGE)
_DELIVERY_ID = Column("delivery_id", Type.TEXT, "Id given on landing; sorts in the order of arrival.")
_RECEIVED_AT = Column("received_at", Type.INSTANT, "When the delivery came in.")
_SEGMENT = Column("segment", Type.TEXT, "Raw segment that holds the bytes.")
_LINE = Column("line", Type.COUNT, "Line in that segment, from 1.")
_HASH = Column("content_hash", Type.TEXT,
               "SHA-256 (32 hex digits) of the JSON with sorted keys and no insignificant white space.")  # fmt: skip
_QUESTION_POS = Column("question_pos", Type.COUNT, "Position of the question in delivery order, from 1.")

TABLES = {
    table.name: table
    for table in (
        Table("deliveries", "one POST that was accepted", ("delivery_id",), (
            _DELIVERY_ID, _SOURCE, _RECEIVED_AT,
            _VISIT_ID._replace(meaning="Kobra's id of the visit; NULL when unreadable."),
            _HASH._replace(meaning=_HASH.meaning + " NULL when unreadable."),
            Column("outcome", Type.TEXT, "new (a version) · duplicate (content seen before) · rejected."),
            _SEGMENT, _LINE,
            Column("bytes", Type.COUNT, "Length of the body as received."),
        )),
        Table("segments", "one raw segment taken", ("segment",), (
            _SEGMENT._replace(meaning="Name of the segment without endings."),
            Column("received_date", Type.DATE, "UTC day of its partition."),
            Column("lines", Type.COUNT, "Deliveries read from it; erased ones do not count."),
            Column("bytes", Type.COUNT, "Bytes of the bodies in it."),
            Column("damaged", Type.COUNT, "Records that failed their checksum and were skipped."),
            Column("loaded_at", Type.INSTANT, "When it was loaded."),
            Column("_dlt_load_id", Type.TEXT, "dlt's load that carried it; it counts once that load completed."),
        )),
        Table("rejects", "one delivery that could not become a visit", ("delivery_id",), (
            _DELIVERY_ID, _SOURCE, _RECEIVED_AT,
            Column("reason", Type.TEXT, "Short code, see reasons for rejection."),
            Column("detail", Type.TEXT, "What is wrong, without any of the content."),
            _SEGMENT, _LINE,
        )),
        Table("visits", "current version of a visit", ("source", "visit_id"), (
            _SOURCE, _VISIT_ID,
            *(Column(field.column, field.type, field.meaning, field.source) for field in FIELDS),
            _HASH,
            _RECEIVED_AT._replace(meaning="When this version first came in."),
            _DELIVERY_ID._replace(meaning="The delivery that first brought this version."),
            Column("versions", Type.COUNT, "Distinct contents received of this visit."),
            Column("extra", Type.JSON, "Undocumented top-level fields as sent; NULL when there are none."),
        )),
        Table("visit_versions", "one distinct content of a visit", ("source", "visit_id", "content_hash"), (
            _SOURCE, _VISIT_ID, _HASH,
            Column("version_no", Type.COUNT, "Order in which the contents first came in, from 1."),
            Column("valid_from", Type.INSTANT, "When this content first came in."),
            Column("valid_to", Type.INSTANT,
                   "When a better one came in; NULL for the current one; = valid_from if it was never current."),
            Column("deliveries", Type.COUNT, "How often this content was delivered."),
            Column("is_current", Type.BOOL, "This is the version in `visits`."),
            *(Column(f.column, f.type, f.meaning, f.source)
              for f in FIELDS if f.column in ("finished", "cancelled", "end_local")),
            _DELIVERY_ID._replace(meaning="The delivery that first brought this content."),
        )),
        Table("questions", "one question of a visit's checklist", ("source", "visit_id", "question_pos"), (
            _SOURCE, _VISIT_ID, _QUESTION_POS,
            Column("question_id", Type.TEXT, "`questionID`.", EXAMPLE),
            Column("question_name", Type.TEXT, "`questionName`: the question's text as sent.", EXAMPLE),
            Column("question_order", Type.COUNT, "`order`: may repeat or be absent.", EXAMPLE),
        )),
        Table("answers", "one answer of a question", ("source", "visit_id", "question_pos", "answer_pos"), (
            _SOURCE, _VISIT_ID, _QUESTION_POS,
            Column("answer_pos", Type.COUNT, "Position of the answer in delivery order, from 1."),
            Column("answer_id", Type.TEXT, "`answerID`: NULL for unanswered questions.", EXAMPLE),
            Column("answer_type_id", Type.TEXT, "`answerTypeID`: 1 text … 10 time.", PAGE),
            Column("answer_name", Type.TEXT, "`answerName`: tells apart several answers.", EXAMPLE),
            Column("answer_order", Type.COUNT, "`order`: may repeat or be absent.", EXAMPLE),
            Column("value", Type.TEXT, "The answer, text as sent.", EXAMPLE),
            Column("value_bool", Type.BOOL, "The value of a checkbox or switch that reads as one."),
            Column("value_number", Type.NUMBER, "The value of a numeric or decimal answer."),
            Column("value_date", Type.DATE, "The value of a datepicker."),
            Column("value_time", Type.TIME, "The value of a time answer."),
            Column("value_text", Type.TEXT,
                   "The value of text, radio, combo and unknown types, and of a checkbox that is no boolean."),
            Column("parse_ok", Type.BOOL, "The value reads as its type; NULL when there is no value."),
        )),
        *(Table(name, f"one {word} collected during a visit", ("source", "visit_id", "pos"), (
            _SOURCE, _VISIT_ID,
            Column("pos", Type.COUNT, "Position in delivery order, from 1."),
            Column("value", Type.TEXT, "Text as sent.", PAGE),
            *forms,
            Column("extra", Type.JSON, "The item's other fields as sent; NULL when there are none."),
        )) for name, word, forms in (
            (PHONES, "phone number", (
                Column("normalised", Type.TEXT, "Digits of the number, with a leading + if there was one."),
                Column("e164", Type.TEXT, "The number in E.164, such as +525555550171; one without a country code is"
                       " of setting `default_region`. NULL where it is no possible number."),
            )),
            (EMAILS, "e-mail address", (Column("normalised", Type.TEXT, "Lower-cased address."),)),
        )),
    )
}  # fmt: skip

REJECTS = json_check.REASONS | {
    "no_visit_id": "visitID is missing, blank or neither text nor a whole number.",
    "crashed_reader": "A process that read the delivery died: kobra load --retry-rejects reads it again.",
}
