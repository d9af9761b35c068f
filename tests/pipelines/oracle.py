"""What the tables must hold, told in plain Python from the definitions: no SQL, one delivery after the other."""

import json
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from kobra_home import Post

from receiver.rawstore import Delivery

TABLES = {  # what is compared: query on schema kobra; rows as tuples
    "deliveries": "select delivery_id, source, visit_id, content_hash, outcome from deliveries",
    "rejects": "select delivery_id, source, reason from rejects",
    "visits": """select source, visit_id, content_hash, received_at, delivery_id, versions, tag_name, finished,
        cancelled, end_local from visits""",
    "visit_versions": """select source, visit_id, content_hash, version_no, valid_from, valid_to, deliveries,
        is_current, finished, cancelled, end_local, delivery_id from visit_versions""",
    "questions": "select source, visit_id, question_pos, question_name from questions",
    "answers": "select source, visit_id, question_pos, answer_pos, value from answers",
    "phones": "select source, visit_id, pos, value from phones",
}
Rows = dict[str, list[tuple[Any, ...]]]


class Content:
    """One content of a visit: what it says, and every time it came."""

    def __init__(self, payload: dict[str, Any], content_hash: str) -> None:
        self.payload = payload
        self.hash = content_hash
        self.came: list[tuple[str, datetime]] = []
        self.valid_to: datetime | None = None

    @property
    def first(self) -> tuple[str, datetime]:
        return min(self.came)

    @property
    def end(self) -> datetime | None:
        text = self.payload.get("endDate")
        return None if text is None or text.startswith("0000") else datetime.fromisoformat(text)

    def beats(self, other: "Content") -> bool:
        """The version rule, sentence by sentence."""
        if self.is_terminal != other.is_terminal:
            return self.is_terminal
        if self.end != other.end:
            return other.end is None or (self.end is not None and self.end > other.end)
        if self.first[1] != other.first[1]:
            return self.first[1] > other.first[1]
        return self.hash > other.hash

    @property
    def is_terminal(self) -> bool:
        return self.payload.get("finished") is True or self.payload.get("cancelled") is True


class Arrival(NamedTuple):
    """A delivery under the id that it got."""

    delivery_id: str
    post: Post


def arrival(record: Delivery) -> Arrival:
    """What landed, as the oracle takes it."""
    return Arrival(
        record.delivery_id,
        Post(record.exact_body(), datetime.fromisoformat(record.received_at), record.source),
    )


def tables(arrivals: Iterable[Arrival]) -> Rows:
    """The rows of every table, whatever the order of the arrivals."""
    rows: Rows = {name: [] for name in TABLES}
    visits: dict[tuple[str, str], dict[str, Content]] = {}
    for delivery_id, post in arrivals:
        payload = _read(post.body)
        if payload is None:
            rows["deliveries"].append((delivery_id, post.source, None, None, "rejected"))
            rows["rejects"].append((delivery_id, post.source, "not_json"))
            continue
        content_hash = hash_of(payload)
        contents = visits.setdefault((post.source, payload["visitID"]), {})
        content = contents.setdefault(content_hash, Content(payload, content_hash))
        content.came.append((delivery_id, post.at))
    for key, contents in visits.items():
        _tell(rows, key, list(contents.values()))
    return {name: sorted(found, key=repr) for name, found in rows.items()}


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(body)
    except ValueError:
        return None


def hash_of(payload: object) -> str:
    """Over the JSON with sorted keys and no insignificant white space."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()[:32]


def _tell(rows: Rows, key: tuple[str, str], contents: list[Content]) -> None:
    contents.sort(key=lambda content: (content.first[1], content.hash))
    current = contents[0]
    for content in contents[1:]:
        if content.beats(current):
            current.valid_to = content.first[1]
            current = content
        else:
            content.valid_to = content.first[1]
    for number, content in enumerate(contents, 1):
        first_id, first_at = content.first
        known = (len(content.came), content is current, *facts(content), first_id)
        rows["visit_versions"].append((*key, content.hash, number, first_at, content.valid_to, *known))
        for delivery_id, _ in content.came:
            outcome = "new" if delivery_id == first_id else "duplicate"
            rows["deliveries"].append((delivery_id, *key, content.hash, outcome))
    first_id, first_at = current.first
    tag = current.payload.get("tagName")
    rows["visits"].append((*key, current.hash, first_at, first_id, len(contents), tag, *facts(current)))
    for question_pos, question in enumerate(current.payload.get("checklist") or [], 1):
        rows["questions"].append((*key, question_pos, question["questionName"]))
        for answer_pos, answer in enumerate(question["answers"], 1):
            rows["answers"].append((*key, question_pos, answer_pos, answer["value"]))
    for pos, phone in enumerate(current.payload.get("phones") or [], 1):
        rows["phones"].append((*key, pos, phone))


def facts(content: Content) -> tuple[Any, ...]:
    """What a version is judged by."""
    return content.payload.get("finished"), content.payload.get("cancelled"), content.end
