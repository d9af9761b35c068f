"""The commands work on an object store as on a folder."""

import os
import re
import subprocess
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kobra_home import Home, Post, encoded, kobra, later, settings_of, small
from s3 import Bucket, Way

from pipelines import run
from pipelines.load.mirror import Mirror, UnreachableError
from pipelines.warehouse.state import Brought
from receiver import rawstore

ASKED = ("--source", "lender_a", "--account", "110", "--yes")
THEIRS = encoded(small("theirs", externalID="110", comment="marca"))


class Site:
    """A receiver's disk somewhere, whose closed segments are shipped."""

    def __init__(self, path: Path, bucket: Bucket) -> None:
        self.home = Home(path)
        self._bucket = bucket

    def ship(self, *posts: Post | bytes | dict[str, Any]) -> list[str]:
        """Land deliveries, and put every new segment into the bucket; their places."""
        before = set(self.home.raw.glob("*/*"))
        self.home.land(*posts)
        new = sorted(set(self.home.raw.glob("*/*")) - before)
        for path in new:
            self._bucket.put(rawstore.place_of(path), rawstore.packed(path))
        return [rawstore.place_of(path) for path in new]


class Loader:
    """The machine that loads: in this process, without marts, or by a command in a process of its own."""

    def __init__(self, path: Path, bucket: Bucket, port: int | None = None) -> None:
        self.home = Home(path, bucket.url)
        self._settings = bucket.through(port or bucket.port)

    def run(self) -> Brought:
        with self.environ():
            return self.home.run()

    def is_current(self) -> bool:
        with self.environ():
            return run.is_current(self.home.files)

    def environ(self) -> AbstractContextManager[None]:
        return settings_of(self._settings)

    def kobra(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return kobra(self.home.path, *arguments, **self._settings)

    def ran(self, *arguments: str) -> str:
        done = self.kobra(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path, bucket: Bucket) -> Site:
    return Site(tmp_path / "site", bucket)


@pytest.fixture
def loader(tmp_path: Path, bucket: Bucket) -> Loader:
    return Loader(tmp_path / "loader", bucket)


def records(bucket: Bucket, folder: Path) -> list[rawstore.Found]:
    """All that stands in a bucket, record by record."""
    found = list[rawstore.Found]()
    for place in bucket.places():
        path = folder / "seen" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.content(place))
        found += rawstore.read_segment(path)
    return found


def test_a_run_loads_what_any_receiver_shipped_and_a_second_one_what_is_new(
    tmp_path: Path, bucket: Bucket, site: Site, loader: Loader
) -> None:
    other = Site(tmp_path / "other", bucket)
    site.ship(small("a"), small("b"))
    other.ship(Post(encoded(small("c")), source="lender_b"))
    loader.run()
    assert sorted(loader.home.visits()) == ["a", "b", "c"]
    other.ship(Post(encoded(small("d")), later(hours=1)))
    assert not loader.is_current()
    assert loader.run().new == 1
    assert loader.is_current()
    assert sorted(loader.home.visits()) == ["a", "b", "c", "d"]
    loader.ran("verify")


def test_a_machine_that_has_nothing_rebuilds_from_the_store(
    tmp_path: Path, bucket: Bucket, site: Site, loader: Loader
) -> None:
    site.ship(small("a"), Post(encoded(small("b")), later(days=1)))
    loader.run()
    fresh = Loader(tmp_path / "fresh", bucket)
    fresh.run()
    assert fresh.home.rows("from visits order by visit_id") == loader.home.rows("from visits order by visit_id")


def test_who_is_erased_is_erased_in_the_store(tmp_path: Path, bucket: Bucket, site: Site, loader: Loader) -> None:
    (place,) = site.ship(small("a"), THEIRS, Post(encoded(small("theirs", comment="marca 2")), later(seconds=1)))
    loader.run()
    (unseen,) = site.ship(Post(encoded(small("more", externalID="110", comment="marca 3")), later(seconds=2)))
    assert "found: 3 deliveries" in loader.ran("forget", *ASKED)
    assert bucket.places() == sorted([place, unseen])
    assert [type(each).__name__ for each in records(bucket, tmp_path)].count("Erased") == 3
    assert sorted(loader.home.visits()) == ["a"]
    assert loader.is_current()
    late = site.ship(Post(encoded(small("theirs", comment="marca 4")), later(days=1)))
    loader.run()
    assert bucket.places() == sorted([place, unseen, *late])
    assert not [each for each in records(bucket, tmp_path) if b"marca" in body_of(each)]
    assert sorted(loader.home.visits()) == ["a"]


def body_of(found: rawstore.Found) -> bytes:
    return found.delivery.exact_body() if isinstance(found, rawstore.Landed) else b""


def test_an_object_that_somebody_else_changed_is_never_overwritten(
    tmp_path: Path, bucket: Bucket, site: Site, loader: Loader
) -> None:
    (place,) = site.ship(small("a"), THEIRS)
    loader.run()
    (copy,) = (tmp_path / "loader" / "raw").glob("*/*.zst")
    changed = tmp_path / "changed" / copy.parent.name / copy.name
    changed.parent.mkdir(parents=True)
    changed.write_bytes(copy.read_bytes())
    rawstore.erase_records(changed, lambda delivery: b'"a"' in delivery.exact_body())
    bucket.put(place, changed.read_bytes())
    loader.ran("forget", *ASKED)
    assert [type(each).__name__ for each in records(bucket, tmp_path)] == ["Erased", "Erased"]


def test_what_somebody_changes_between_fetching_and_writing_is_kept(
    bucket: Bucket, site: Site, loader: Loader
) -> None:
    (place,) = site.ship(small("a"), THEIRS)
    loader.run()
    (path,) = loader.home.raw.glob("*/*.zst")
    before = path.read_bytes()
    rawstore.erase_records(path, lambda delivery: b'"a"' in delivery.exact_body())
    theirs = path.read_bytes()
    path.write_bytes(before)
    rawstore.erase_records(path, lambda delivery: b"marca" in delivery.exact_body())
    bucket.put(place, theirs)
    with loader.environ():
        Mirror(loader.home.files, bucket.url).push()
        assert bucket.content(place) == theirs
        Mirror(loader.home.files, bucket.url).pull()
    assert path.read_bytes() == theirs


def test_days_that_are_removed_go_from_the_store(bucket: Bucket, site: Site, loader: Loader) -> None:
    now = datetime.now(UTC)
    site.ship(*(Post(encoded(small(f"v{days}")), now - timedelta(days=days)) for days in (400, 399, 1, 0)))
    loader.run()
    loader.ran("retain", "--raw-days", "30")
    assert len(bucket.places()) == 2
    assert sorted(loader.home.visits()) == ["v0", "v1", "v399", "v400"]
    assert loader.run().deliveries == 0
    assert len(bucket.places()) == 2
    loader.ran("verify")


def test_small_segments_of_a_past_day_are_put_together_in_the_store(
    tmp_path: Path, bucket: Bucket, site: Site, loader: Loader
) -> None:
    for number in range(20):
        site.ship(Post(encoded(small(f"v{number}")), later(seconds=number)))
    before = records(bucket, tmp_path)
    loader.run()
    (place,) = bucket.places()
    assert place.endswith("-c.jsonl.zst")
    assert len(before) == 20
    path = tmp_path / "compacted" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(bucket.content(place))
    assert [body_of(each) for each in rawstore.read_segment(path)] == [body_of(each) for each in before]
    assert loader.run().deliveries == 0
    fresh = Loader(tmp_path / "fresh", bucket)
    fresh.run()
    assert len(fresh.home.visits()) == 20


@pytest.mark.parametrize("state", ["cut", "busy"])
def test_a_store_that_is_away_ends_a_run_with_a_sentence_and_changes_nothing(
    tmp_path: Path, bucket: Bucket, site: Site, way: Way, state: str
) -> None:
    loader = Loader(tmp_path / "loader", bucket, way.port)
    site.ship(small("a"))
    loader.run()
    site.ship(Post(encoded(small("b")), later(hours=1)))
    way.state = state
    done = loader.kobra("run")
    assert done.returncode == 1
    assert bucket.url in done.stderr
    assert re.search(rf"WRONG +object store +{bucket.url} ", loader.kobra("doctor").stdout)
    assert "Traceback" not in done.stderr
    assert sorted(loader.home.visits()) == ["a"]
    way.state = "open"
    loader.run()
    assert sorted(loader.home.visits()) == ["a", "b"]


@pytest.mark.slow
def test_a_large_segment_goes_over_a_slow_line(bucket: Bucket, way: Way) -> None:
    content = os.urandom(4_500_000)  # for three quarters of a minute
    way.state = "slow"
    with settings_of(bucket.through(way.port)):
        store = rawstore.ObjectStore(bucket.url)
        stored = store.create("received_date=2026-03-01/large.jsonl.zst", content)
        assert stored
        assert store.content(stored) == content


def test_what_was_fetched_before_the_store_went_away_is_not_fetched_again(
    bucket: Bucket, site: Site, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [site.ship(Post(encoded(small(str(day))), later(days=day)))[0] for day in range(20)]
    fetch = rawstore.ObjectStore.content

    def away_for_the_last(store: rawstore.ObjectStore, stored: rawstore.Stored) -> bytes | None:
        if stored.place == places[-1]:
            raise rawstore.StoreError("away")
        fetched.append(stored.place)
        return fetch(store, stored)

    fetched = list[str]()
    monkeypatch.setattr(rawstore.ObjectStore, "content", away_for_the_last)
    with pytest.raises(UnreachableError):
        loader.run()
    assert sorted(fetched) == places[:-1]
    fetched.clear()
    with pytest.raises(UnreachableError):
        loader.run()
    assert fetched == []


def test_an_object_that_is_lost_is_told(bucket: Bucket, site: Site, loader: Loader, tmp_path: Path) -> None:
    (place,) = site.ship(small("a"))
    loader.run()
    bucket.remove(place)
    done = loader.kobra("verify")
    assert done.returncode == 1
    assert f"gone from {bucket.url}: {place}" in done.stdout
    assert f"1 segment(s) are gone from {bucket.url}" in loader.kobra("doctor").stdout


def test_a_receiver_and_a_loader_share_a_home(bucket: Bucket, tmp_path: Path) -> None:
    home = tmp_path / "home"
    site, loader = Site(home, bucket), Loader(home, bucket)
    site.ship(small("a"), small("b"))
    loader.run()
    assert sorted(loader.home.visits()) == ["a", "b"]
    assert loader.is_current()
    assert len(bucket.places()) == 1
    assert [path.name for path in home.glob("raw/*/*") if path.name.endswith(".aside")] == []


def test_what_is_imported_goes_to_the_store(bucket: Bucket, loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_bytes(encoded(small("old")) + b"\n")
    loader.ran("import", "--source", "lender_a", str(tmp_path / "old.jsonl"))
    loader.run()
    assert len(records(bucket, tmp_path)) == 1
    assert loader.is_current()
