"""Erasure marks: a suppression list of keyed hashes, by which what lands of an erased person is known and erased.

A mark is an HMAC-SHA256 of an account, a phone, an e-mail address or a visit, under a random key of this home:

    KOBRA_HOME/erasure/key     the key, readable for the owner alone; without it the marks say nothing
    KOBRA_HOME/erasure/marks   one mark a line; they stay for good, or what is sent again would come back

Whoever has key and marks can ask whether a given person was erased, and nothing else.
"""

import hmac
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import msgspec

from pipelines import identity
from pipelines.contract import EMAILS, PHONES
from pipelines.errors import FaultError
from pipelines.load.parse import Reject, read_body
from pipelines.privacy import texts
from receiver import rawstore
from receiver.rawstore import Delivery

Kind = Literal["account", "phone", "email", "visit"]
ANY_SOURCE = ""


class MarksError(FaultError):
    """The marks cannot be read: nothing is loaded, or who was erased would come back."""


class Identifier(NamedTuple):
    """Something by which a person is known. Phones and e-mail addresses may be of any source."""

    kind: Kind
    source: str
    value: str


def account(text: str, source: str) -> Identifier:
    """The id of an account, which is one lender's."""
    return Identifier("account", source, identity.account(text))


def phones(text: str, source: str, region: str) -> set[Identifier]:
    """The phone numbers in a text, in every form in which they are compared."""
    digits = "".join(filter(str.isdecimal, text))  # as marks of before were made
    return {Identifier("phone", source, value) for value in identity.spellings(text, region) | ({digits} - {""})}


def emails(text: str, source: str) -> set[Identifier]:
    """The e-mail addresses in a text."""
    return {Identifier("email", source, address) for address in identity.addresses(text)}


class _Person(msgspec.Struct):
    """What a body, straightened as the load reads it, says of whom it concerns."""

    account: msgspec.Raw = msgspec.field(name="externalID", default=msgspec.Raw(b"null"))
    phones: Any = None
    emails: Any = None


assert (PHONES, EMAILS) == ("phones", "emails")
_person = msgspec.json.Decoder(_Person, float_hook=str).decode
_text = msgspec.json.Decoder(str).decode


def concerned(source: str, body: bytes, region: str) -> Iterator[Identifier]:
    """All by which the person is known whom a body concerns, once it is straightened."""
    person = _person(body)
    raw = bytes(person.account)
    if raw != b"null":
        yield account(_text(raw) if raw.startswith(b'"') else raw.decode(), source)
    for text in _texts(person.phones):
        yield from phones(text, source, region)
    for text in _texts(person.emails):
        yield from emails(text, source)


def _texts(value: Any) -> Iterator[str]:
    """Every text and number within: an item may be an object with the text under some key."""
    within = [value]
    while within:
        match within.pop():
            case str(text):
                yield text
            case dict(fields):
                within += fields.values()
            case list(items):
                within += items
            case bool() | None:
                pass
            case number:
                yield str(number)


class Theirs(NamedTuple):
    """A delivery of an erased person: its source, and which visits in it are theirs, none where it has no visit id.
    A delivery with several visits goes as a whole."""

    source: str
    visit_ids: tuple[str, ...] = ()


class Marks:
    """The marks of a home, and whom they mean. All but asking is done under the lock of the warehouse."""

    def __init__(
        self, home: Path, region_of: Callable[[str], str] = lambda _: identity.DEFAULT_REGION,
        unread: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.folder = home / "erasure"
        self._key_file, self._file = self.folder / "key", self.folder / "marks"
        self._is_imagined = False
        self.region_of = region_of
        self.unread = unread
        self._marks = _read_marks(self._file)
        self._kinds = {mark.partition(" ")[0] for mark in self._marks}
        self._key = self._read_key() if self._marks else b""

    def __len__(self) -> int:
        """How many marks there are; none where nobody was erased."""
        return len(self._marks)

    def _read_key(self) -> bytes:
        try:
            key = bytes.fromhex(self._key_file.read_text())
        except (FileNotFoundError, ValueError):
            key = b""
        if len(key) != 32:
            raise MarksError(
                f"{self._key_file} is not what it was: put it back from a backup. Without it nobody who was "
                "erased can be told from others, so nothing is loaded."
            )
        return key

    # ------------------------------------------------------------ making

    def add(self, identifiers: Iterable[Identifier]) -> None:
        """Mark these for good: on return their marks are on disk."""
        if self._is_imagined:
            self._learn(identifiers)
            return
        rawstore.make_folder(self.folder)
        if not self._key:
            if not self._key_file.exists():
                rawstore.put(self._key_file, os.urandom(32).hex())
            self._key = self._read_key()
        if self._learn(identifiers):
            rawstore.put(self._file, "".join(f"{mark}\n" for mark in sorted(self._marks)))

    def imagined(self, identifiers: Iterable[Identifier]) -> Self:
        """These marks and more, of which nothing is on disk."""
        more = object.__new__(type(self))
        more.__dict__ |= self.__dict__ | {"_marks": set(self._marks), "_kinds": set(self._kinds)}
        more._key = self._key or os.urandom(32)
        more._is_imagined = True
        more._learn(identifiers)
        return more

    def _learn(self, identifiers: Iterable[Identifier]) -> bool:
        new = {self._mark(each) for each in identifiers} - self._marks
        self._marks |= new
        self._kinds |= {mark.partition(" ")[0] for mark in new}
        return bool(new)

    def _mark(self, known: Identifier) -> str:
        return f"{known.kind} {hmac.digest(self._key, json.dumps(known).encode(), 'sha256').hex()}"

    # ------------------------------------------------------------ asking

    def has(self, known: Identifier) -> bool:
        """Whether this is marked."""
        if known.kind not in self._kinds:
            return False
        return self._mark(known) in self._marks or (
            known.kind in ("phone", "email") and self._mark(known._replace(source=ANY_SOURCE)) in self._marks
        )

    def has_visit(self, source: str, visit_id: str) -> bool:
        """Whether a visit is marked."""
        return self.has(Identifier("visit", source, visit_id))

    def has_phone(self, text: str, source: str) -> bool:
        """Whether a marked phone is in a text."""
        return any(map(self.has, phones(text, source, self.region_of(source))))

    def has_email(self, text: str, source: str) -> bool:
        """Whether a marked e-mail address is in a text."""
        return any(map(self.has, emails(text, source)))

    def theirs(self, delivery: Delivery) -> Theirs | None:
        """What a delivery is of an erased person; None for any other."""
        source = delivery.source
        if delivery.delivery_id in self.unread:
            return Theirs(source) if self.stand_in(delivery.exact_body(), source) else None
        found = read_body(delivery)
        theirs = tuple(
            each.visit_id
            for each in found
            if each.visit_id
            and each.body
            and (self.has_visit(source, each.visit_id) or self._concerns(source, each.body))
        )
        rejects = [each for each in found if isinstance(each, Reject)]
        is_theirs = theirs or (
            rejects
            and (
                any(self._concerns(source, each.body) for each in rejects if each.body)
                or self.stand_in(delivery.exact_body(), source)
            )
        )
        return Theirs(source, theirs) if is_theirs else None

    def _concerns(self, source: str, body: bytes) -> bool:
        return any(map(self.has, concerned(source, body, self.region_of(source))))

    def stand_in(self, content: bytes, source: str | None) -> bool:
        """Whether something that is marked stands in bytes that nobody can read as a visit: a phone, an e-mail
        address, or an account under its name. `source`: whose they are; None where only they may say so."""
        return any(
            self._stand_in(text, source or texts.source_in(text) or ANY_SOURCE) for text in texts.forms(content)
        )

    def _stand_in(self, text: str, source: str) -> bool:
        return (
            any(self.has(account(found, source)) for found in texts.accounts_in(text))
            or any(self.has(Identifier("phone", source, found)) for found in texts.phones_in(text))
            or any(self.has(Identifier("email", source, found.lower())) for found in texts.emails_in(text))
        )


def _read_marks(path: Path) -> set[str]:
    try:
        return set(path.read_text().split("\n")) - {""}
    except FileNotFoundError:
        return set()
