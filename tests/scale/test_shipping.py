"""Receivers ship what is closed to an object store, and go on receiving while it is away."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RunningReceiver
from s3 import Bucket, Way

from pipelines import settings as settings_of_pipelines
from receiver import rawstore, shipping
from receiver import settings as receiver_settings
from receiver.rawstore.objects import StoreError

Start = Callable[..., RunningReceiver]
SOON = {"KOBRA_SEGMENT_MAX_AGE_S": "0.2"}
PATIENCE_S = 90


def until(happened: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def body(number: int) -> bytes:
    return json.dumps({"visitID": f"V{number}", "comment": "á" * 100}).encode()


def shipped(bucket: Bucket, folder: Path) -> dict[str, bytes]:
    """The deliveries in a bucket by id, read as any segments."""
    found = {}
    for place in bucket.places():
        path = folder / "seen" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.content(place))
        for each in rawstore.read_segment(path):
            assert isinstance(each, rawstore.Landed)
            assert each.delivery.delivery_id not in found
            found[each.delivery.delivery_id] = each.delivery.exact_body()
    return found


def test_what_is_closed_is_in_the_object_store_and_still_on_the_disk(
    receiver_start: Start, bucket: Bucket, tmp_path: Path
) -> None:
    receiver = receiver_start(**SOON, **bucket.settings)
    sent = {receiver.post(body(number)).json["delivery_id"]: body(number) for number in range(20)}
    until(lambda: shipped(bucket, tmp_path) == sent, "shipped")
    assert {each.delivery_id: each.exact_body() for each in receiver.landed()} == sent
    assert all(place.endswith(".jsonl.zst") for place in bucket.places())


def test_what_is_open_when_a_receiver_stops_is_shipped_before_it_ends(
    receiver_start: Start, bucket: Bucket, tmp_path: Path
) -> None:
    receiver = receiver_start(**bucket.settings)
    sent = {receiver.post(body(1)).json["delivery_id"]: body(1)}
    assert receiver.stop() == 0
    assert shipped(bucket, tmp_path) == sent


@pytest.mark.parametrize("state", ["cut", "busy"])
def test_a_receiver_goes_on_says_what_waits_and_catches_up(
    receiver_start: Start, bucket: Bucket, way: Way, tmp_path: Path, state: str
) -> None:
    way.state = state
    receiver = receiver_start(**SOON, **bucket.through(way.port))
    sent = {receiver.post(body(number)).json["delivery_id"]: body(number) for number in range(3)}
    until(lambda: detail(receiver)["fault"], "it says that the store is away")
    until(lambda: detail(receiver)["waiting_segments"], "it says what waits")
    said = detail(receiver)
    assert str(said["fault"]).startswith(bucket.url)
    assert said["oldest_waiting"].startswith("20")
    assert figure(receiver, "kobra_waiting_segments") == said["waiting_segments"]
    assert figure(receiver, "kobra_shipping_failures_total") > 0
    sent |= {receiver.post(body(9)).json["delivery_id"]: body(9)}
    way.state = "open"
    until(lambda: shipped(bucket, tmp_path) == sent, "it catches up")
    until(lambda: detail(receiver) == {"waiting_segments": 0, "oldest_waiting": None, "fault": None}, "all is well")
    receiver.stop()
    assert {line["event"] for line in receiver.log} >= {"not_shipped", "shipping_again"}


def test_a_store_that_does_not_answer_stops_nobody(receiver_start: Start, bucket: Bucket, way: Way) -> None:
    way.state = "stalled"
    receiver = receiver_start(**SOON, **bucket.through(way.port))
    for number in range(5):
        assert receiver.post(body(number)).status == 200
        time.sleep(0.3)
    assert receiver.request("GET", "/readyz").status == 200
    assert detail(receiver)["waiting_segments"] > 0
    way.state = "open"
    until(lambda: detail(receiver)["waiting_segments"] == 0, "it catches up")


def test_refused_credentials_are_told_and_stop_nobody(receiver_start: Start, bucket: Bucket) -> None:
    receiver = receiver_start(**SOON, **(bucket.settings | {"AWS_SECRET_ACCESS_KEY": "wrong"}))
    assert receiver.post(body(1)).status == 200
    until(lambda: "refuses the credentials" in str(detail(receiver)["fault"]), "it says so")
    assert "wrong" not in json.dumps(detail(receiver))


def test_local_segments_go_some_days_after_they_are_shipped(
    receiver_start: Start, bucket: Bucket, tmp_path: Path
) -> None:
    raw = tmp_path / "home" / "raw"
    landing = rawstore.Landing(raw)
    delivery = rawstore.delivery("id-1", "2026-03-01T12:00:00.000000Z", "lender_a", body(1))
    landing.append(rawstore.received_date(Path("received_date=2026-03-01/x")), [rawstore.encode(delivery)])
    landing.close()
    receiver = receiver_start(**SOON, **bucket.settings, KOBRA_RAW_LOCAL_DAYS="2")
    today = receiver.post(body(2)).json["delivery_id"]
    until(lambda: shipped(bucket, tmp_path).keys() == {"id-1", today}, "both are shipped")
    receiver.stop()
    receiver = receiver_start(**SOON, **bucket.settings, KOBRA_RAW_LOCAL_DAYS="2")
    until(lambda: [each.delivery_id for each in receiver.landed()] == [today], "the old one went")
    assert shipped(bucket, tmp_path).keys() == {"id-1", today}


def test_a_segment_that_cannot_be_read_is_told_and_holds_no_other_one_back(
    receiver_start: Start, bucket: Bucket, tmp_path: Path
) -> None:
    receiver = receiver_start(**SOON, **bucket.settings)
    sent = {receiver.post(body(1)).json["delivery_id"]: body(1)}
    (partition,) = receiver.raw.glob("received_date=*")
    (partition / "20000101T000000000000Z-1-00000001.jsonl").mkdir()
    sent |= {receiver.post(body(2)).json["delivery_id"]: body(2)}
    until(lambda: shipped(bucket, tmp_path) == sent, "the others are shipped")
    until(lambda: detail(receiver)["fault"] == "IsADirectoryError", "it is told")
    assert detail(receiver)["waiting_segments"] == 1


def test_a_store_that_was_lost_is_filled_again(receiver_start: Start, bucket: Bucket, tmp_path: Path) -> None:
    receiver = receiver_start(**SOON, **bucket.settings)
    sent = {receiver.post(body(number)).json["delivery_id"]: body(number) for number in range(3)}
    until(lambda: shipped(bucket, tmp_path) == sent, "shipped")
    for place in bucket.places():
        bucket.remove(place)
    for note in receiver.raw.glob("*/.shipped"):
        note.unlink()
    until(lambda: shipped(bucket, tmp_path) == sent, "shipped again")


def test_two_receivers_of_one_home_ship_each_segment_once(
    receiver_start: Start, bucket: Bucket, tmp_path: Path
) -> None:
    both = [receiver_start(**SOON, **bucket.settings) for _ in range(2)]
    sent = {}
    for number in range(40):
        sent[both[number % 2].post(body(number)).json["delivery_id"]] = body(number)
        time.sleep(0.02)
    until(lambda: shipped(bucket, tmp_path) == sent, "shipped, each once")


@pytest.mark.parametrize("url", ["s3://", "kobra", "https://bucket/raw", "s3://Bucket", "s3://bucket/a?b"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    for settings in (receiver_settings, settings_of_pipelines):
        with pytest.raises(settings.SettingsError, match="name a bucket as in s3://bucket/prefix"):
            settings.Settings.from_environ({"KOBRA_RAW": url})


def test_without_an_object_store_its_client_is_not_even_imported() -> None:
    code = "import sys, receiver.server, pipelines.cli, pipelines.run; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def detail(receiver: RunningReceiver) -> dict[str, object]:
    return receiver.request("GET", "/readyz").json["shipping"]


def figure(receiver: RunningReceiver, name: str) -> float:
    lines = receiver.request("GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_a_store_that_is_away_for_days_is_tried_again_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_url: str) -> None:
        raise StoreError("away")

    monkeypatch.setattr(shipping, "ObjectStore", away)
    monkeypatch.setattr(shipping, "_EVERY_S", 1e-6)
    monkeypatch.setattr(shipping, "_SLOWEST_S", 1e-6)
    days = shipping.Shipping(tmp_path, "s3://bucket/raw", 7)

    def failures() -> float:
        return next(each.samples[0].value for each in days.collect() if each.name == "kobra_shipping_failures")

    days.start()
    until(lambda: failures() > 1100, "tried a thousand times")
    days.stop()
