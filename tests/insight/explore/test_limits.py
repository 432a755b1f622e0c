"""What the explorer keeps is bounded: photographs, thumbnails, uploads under way."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from insight.explore import Explorer
from insight.explore.lru import Lru
from insight.explore.photos import MOST, Photos
from insight.explore.refusal import Refusal
from insight.explore.thumbnails import Thumbnails
from insight.explore.uploads import Uploads

from .world import World, photo_bytes

Ask = Callable[[Explorer], TestClient]


def test_what_was_not_asked_for_longest_is_forgotten_first(rng: np.random.Generator) -> None:
    held: Lru[int, int] = Lru(5)
    order: list[int] = []
    for _ in range(300):
        key = int(rng.integers(9))
        if rng.random() < 0.5:
            assert held.get(key) == (key * key if key in order else None)
            known = key in order
        else:
            held.put(key, key * key)
            known = True
        if known:
            order = [*(k for k in order if k != key), key][-5:]
        assert len(held) == len(order)


def test_sizes_add_up_to_the_bound_at_most(rng: np.random.Generator) -> None:
    held: Lru[int, bytes] = Lru(1000, bound=100, size=len)
    for key, size in enumerate(rng.integers(1, 60, 200).tolist()):
        held.put(key % 17, bytes(size))
        assert held.get(key % 17) == bytes(size)
        assert sum(len(held.get(k) or b"") for k in range(17)) <= 100
    held.put(1, bytes(200))
    assert len(held) == 0


def test_only_the_last_photos_are_kept(own: World, ask: Ask, rng: np.random.Generator) -> None:
    client = ask(own.open())
    tokens = [
        client.post("/api/photos", content=photo_bytes(rng, 8, 8)).json()["photo"] for _ in range(MOST + 3)
    ]
    there = [client.get(f"/api/photos/{token}.jpg").status_code for token in tokens]
    assert there == [404] * 3 + [200] * MOST
    assert "drop the photo again" in client.get(f"/api/photos/{tokens[0]}.jpg").json()["error"]


def test_a_photo_that_is_asked_for_stays(rng: np.random.Generator) -> None:
    photos = Photos(most=2)
    first, second = (photos.add(photo_bytes(rng, 8, 8)).token for _ in range(2))
    assert photos[first].token == first
    third = photos.add(photo_bytes(rng, 8, 8)).token
    assert (photos.get(first) is None, photos.get(second) is None, photos.get(third) is None) == (False, True, False)
    with pytest.raises(Refusal, match="drop the photo again"):
        photos[second]


def test_thumbnails_are_made_once_and_read_from_disk_again(tmp_path: Path) -> None:
    made = []

    def make() -> bytes:
        made.append(1)
        return b"picture"

    first = Thumbnails(tmp_path)
    assert first.get(("a", 1), make) == first.get(("a", 1), make)
    assert Thumbnails(tmp_path).get(("a", 1), make)[0] == b"picture"
    assert made == [1]
    Thumbnails(tmp_path).get(("a", 2), make)
    assert made == [1, 1]
    Thumbnails(None).get(("a", 1), make)
    assert made == [1, 1, 1]


def test_of_many_who_ask_for_a_thumbnail_at_once_one_makes_it(tmp_path: Path) -> None:
    made = []

    def make() -> bytes:
        made.append(1)
        time.sleep(0.05)
        return b"x" * 1000

    thumbnails = Thumbnails(tmp_path)
    with ThreadPoolExecutor(16) as threads:
        answers = [*threads.map(lambda _: thumbnails.get(("key",), make), range(16))]
    assert len(set(answers)) == 1
    assert made == [1]


def test_the_folder_of_thumbnails_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insight.explore.thumbnails.SWEEP", 10)
    thumbnails = Thumbnails(tmp_path, in_memory=0, on_disk=5000)
    for number in range(100):
        _, name = thumbnails.get((number,), lambda: bytes(101))
        path = tmp_path / name[:2] / f"{name}.jpg"
        os.utime(path, (number, number))
        held = sum(found.stat().st_size for found in tmp_path.rglob("*.jpg"))
        assert held <= 5000 + 10 * 101
    left = {found.stat().st_mtime for found in tmp_path.rglob("*.jpg")}
    assert min(left) > 30  # the oldest went


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")
    assert Thumbnails(place / "thumbnails").get(("a",), lambda: b"picture")[0] == b"picture"


def request_of(parts: list[bytes], *, breaks_off: bool = False) -> Request:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.disconnect"} if breaks_off else {"type": "http.request", "body": b""})
    feed = iter(messages)

    async def receive() -> dict:
        return next(feed)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_uploads_share_a_bound_and_give_it_back() -> None:
    async def walk() -> None:
        uploads = Uploads(together=1000)
        async with uploads.reading(request_of([b"a" * 600])) as first:
            assert first == b"a" * 600
            with pytest.raises(Refusal, match="busy") as busy:
                async with uploads.reading(request_of([b"b" * 300, b"b" * 300])):
                    pass
            assert busy.value.status == 503
            async with uploads.reading(request_of([b"c" * 400])) as second:
                assert len(second) == 400
        assert uploads.held == 0
        with pytest.raises(Refusal, match="cut off"):
            async with uploads.reading(request_of([b"d" * 100], breaks_off=True)):
                pass
        assert uploads.held == 0

    asyncio.run(walk())
