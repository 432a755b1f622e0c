"""Whatever is sent, the explorer answers with a status of 400 and above and a sentence, and shows nothing else."""

import io
import json
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from insight.examples import Example, save_examples
from insight.explore import Explorer
from insight.explore.images import Images
from insight.explore.refusal import Refusal

from ..random_models import CONCEPTS, Pixels
from .world import World, make_world, photo_bytes, served

Ask = Callable[[Explorer], TestClient]
SECRET = "the secret outside"


@pytest.fixture(autouse=True)
def _no_traceback(capfd: pytest.CaptureFixture[str]) -> object:
    """Nothing that is sent may end in a traceback on the terminal."""
    yield
    told = capfd.readouterr()
    assert "Traceback" not in told.err + told.out


def refused(answer: httpx.Response) -> str:
    """The sentence of an answer that is none."""
    assert 400 <= answer.status_code < 500
    sentence = answer.json()["error"]
    assert sentence
    assert "\n" not in sentence
    assert SECRET not in answer.text
    return str(sentence)


def png_of(width: int, height: int) -> bytes:
    """A PNG of one colour, as small a file as can be, whatever its pixels would take."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_png_of_200_megapixels_is_refused_by_its_header(client: httpx.Client) -> None:
    bomb = png_of(20_000, 10_000)
    assert len(bomb) < 200_000
    answer = client.post("/api/photos", content=bomb)
    assert answer.status_code == 413
    assert "at most 40 megapixels" in refused(answer)
    assert client.post("/api/photos", content=png_of(8_000, 5_001)).status_code == 413


def jpeg(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\0" * 1000,
        b"not a picture",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b"<html><script>alert(1)</script></html>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file",
        b"%PDF-1.7\n",
        b"GIF89a",
        b"\xff\xd8\xff\xe0" + b"\0" * 40,
    ],
)
def test_what_is_no_photo_is_refused(client: httpx.Client, file: bytes) -> None:
    assert "no photo" in refused(client.post("/api/photos", content=file))


def test_a_photo_that_was_cut_short_is_refused(client: httpx.Client, rng: np.random.Generator) -> None:
    whole = jpeg(rng)
    assert "damaged" in refused(client.post("/api/photos", content=whole[: len(whole) // 2]))
    assert client.post("/api/photos", content=whole).status_code == 200


def test_a_file_that_is_too_large_is_refused_before_it_is_read(client: httpx.Client) -> None:
    read = 0

    def endless() -> object:
        nonlocal read
        while read < 400 << 20:
            read += 1 << 20
            yield b"\xff" * (1 << 20)

    try:
        answer = client.post("/api/photos", content=endless())
    except httpx.TransportError:  # the server has hung up, as it may
        pass
    else:
        assert answer.status_code == 413
        refused(answer)
    assert read < 200 << 20
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), timeout=20) as raw:
        head = f"POST /api/photos HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {100 << 20}\r\n\r\n"
        raw.sendall(head.encode() + b"\xff" * 5000)
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_an_upload_that_breaks_off_costs_nothing(client: httpx.Client) -> None:
    host, port = client.base_url.host, client.base_url.port
    for path, length in (("/api/photos", 1 << 20), ("/api/edits", 5000), ("/gradio_api/call/explain", 5000)):
        with socket.create_connection((host, port), timeout=20) as raw:
            head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length}\r\n\r\n"
            raw.sendall(head.encode() + b'{"data"')
    assert client.get("/api/model").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/app/..%2f__init__.py",
        "/app/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/app/%2e%2e/server.py",
        "/app/..\\server.py",
        "/app//etc/passwd",
        "/app/index.html%00.js",
        "/api/photos/..%2f..%2fetc%2fpasswd.jpg",
        "/api/photos/%00.jpg",
        "/api/concepts/..%2f..%2fx/examples/0.jpg",
        "/api/concepts/0/examples/..%2f0.jpg",
        "/api/concepts/0/examples/-1.jpg",
        "/api/concepts/0/examples/99999999999999999999999.jpg",
        "/api/concepts/0/examples/0.jpg?of=..%2f..%2fetc",
        "/api/concepts/0/examples/0.jpg?m=-1",
        "/api/concepts/-1",
        f"/api/concepts/{CONCEPTS}",
        "/api/concepts/1e3",
        "/api/concepts?m=99999999999999999999999",
        "/api/concepts?confidence=nan",
        "/api/concepts?frequency=inf",
        "/api/concepts?frequency=-1",
        "/api/concepts?confidence=x",
        "/api/concepts?sort=__class__",
        "/api/concepts?offset=-1",
        "/api/concepts?offset=99999999999999999999999",
        "/api/concepts?limit=-5",
        "/api/concepts?limit=1000000",
        "/api/concepts?level=0.5",
        "/api/concepts?text=" + "x" * 5000,
        "/api/concepts?by=ids&ids=1,-2",
        "/api/concepts?by=ids&ids=" + "9" * 5000,
        "/api/concepts?by=ids&ids=99",
        "/api/graph/99",
        "/api/graph/1?limit=100000",
        "/api/graph/1?limit=-1",
        "/api/matches?limit=-1",
        "/api/matches/99",
        "/api/nothing",
        "/nothing",
        "/index.html",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/file=/etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://example.org/",
        "/proxy=https://example.org/",
        "/gradio_api/upload",
        "/gradio_api/upload_progress?upload_id=1",
        "/gradio_api/stream/a/1/1/playlist.m3u8",
        "/gradio_api/deep_link",
        "/gradio_api/run-history/records",
        "/gradio_api/custom_component/a/b/c/d",
        "/gradio_api/vibe-code",
        "/gradio_api/token",
        "/gradio_api/user",
        "/monitoring",
        "/monitoring/summary",
        "/login",
        "/logout",
        "/static/index.html",
        "/assets/index.js",
        "/svelte/x.js",
        "/theme.css",
        "/manifest.json",
        "/gradio_api/call/explain/nothing",
        "/gradio_api/queue/data",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(client: httpx.Client, path: str) -> None:
    refused(client.get(path))


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload",
        "/gradio_api/run/explain",
        "/gradio_api/api/explain",
        "/gradio_api/component_server",
        "/gradio_api/process_recording",
        "/gradio_api/stream/x",
        "/gradio_api/reset",
        "/gradio_api/cancel",
        "/gradio_api/call/v2/explain",
        "/gradio_api/vibe-edit",
        "/gradio_api/run-history/connect",
        "/login",
    ],
)
def test_what_gradio_would_take_in_is_shut(client: httpx.Client, path: str) -> None:
    assert client.post(path, json={"data": []}).status_code == 404
    assert client.post(path, files={"files": b"x"}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"data": NaN}',
        b'{"data": ["a", Infinity]}',
        b'{"data": {}}',
        b'{"data": ["a", 0], "session_hash": {"a": 1}}',
        b'{"data": ["a", 0], "session_hash": "../../x"}',
        b'{"data": [["a"], 0]}',
        b'{"data": ["a", 1e400]}',
        b'{"data": ["a", 99999999999999999999]}',
        b'{"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, 0]}',
        b"[" * 30_000,
        b'{"data": "' + b"x" * 70_000 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_call_of_another_form_is_refused_before_gradio_sees_it(client: httpx.Client, body: bytes) -> None:
    for path in ("/gradio_api/call/explain", "/gradio_api/queue/join"):
        refused(client.post(path, content=body, headers={"content-type": "application/json"}))


def test_json_without_end_is_refused(client: httpx.Client) -> None:
    huge = json.dumps({"action": "rename", "concepts": [1], "name": "x" * 100_000}).encode()
    answer = client.post("/api/edits", content=huge)
    assert answer.status_code == 413
    refused(answer)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7", "127.0.0.1.evil.example", "[::2]", "0.0.0.0", ""])
def test_another_name_than_the_servers_own_is_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/api/model", headers={"host": host})
    assert answer.status_code in (400, 403)
    if answer.status_code == 403:
        refused(answer)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "[::1]:1"])
def test_the_servers_own_names_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/api/model", headers={"host": host}).status_code == 200


def test_pages_of_other_sites_can_change_nothing(client: httpx.Client, world: World) -> None:
    edit = {"action": "hide", "concepts": [1]}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": f"https://{client.base_url.netloc.decode()}.evil.example"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert client.post("/api/edits", json=edit, headers=headers).status_code == 403
        assert client.delete("/api/edits/1", headers=headers).status_code == 403
        assert client.post("/api/photos", content=b"x", headers=headers).status_code == 403
        assert client.post("/gradio_api/call/explain", json={"data": ["a", 0]}, headers=headers).status_code == 403
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE"):
        answer = client.request(method, "/api/edits", headers={"origin": "https://evil.example"})
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers
    own = {"origin": f"http://{client.base_url.netloc.decode()}"}
    assert client.post("/gradio_api/call/explain", json={"data": ["a", 0]}, headers=own).status_code == 200
    assert not (world.model / "edits.json").exists()


@pytest.mark.parametrize("path", ["/", "/app/api.js", "/api/model", "/api/nothing", "/nothing", "/config"])
def test_every_answer_forbids_the_browser_to_load_from_elsewhere(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert len(headers.get_list("content-security-policy")) == 1


def test_examples_that_lead_out_of_the_folder_are_not_shown(own: World, ask: Ask, rng: np.random.Generator) -> None:
    outside = own.photos.parent / "outside.png"
    outside.write_bytes(photo_bytes(rng))
    (own.photos / "link.png").symlink_to(outside)
    (own.photos / "way").symlink_to(own.photos.parent)
    (own.photos / "round.png").symlink_to(own.photos / "round.png")
    (own.photos / "words.txt").write_text(SECRET)
    (own.photos / "folder.png").mkdir()
    forged = [
        "../outside.png",
        "../../etc/passwd",
        "/etc/passwd",
        str(outside),
        "link.png",
        "way/outside.png",
        "round.png",
        "words.txt",
        "folder.png",
        "of 0/../../outside.png",
        "..\\outside.png",
        "a\0.png",
        "x" * 5000 + ".png",
        "",
        ".",
    ]
    good = Example(own.ids[0], 0, 0, 9.0)
    save_examples(own.model / "examples.parquet", {1: [good, *(Example(id, 0, 0, 1.0) for id in forged)]})
    client = ask(own.open(images=own.photos))
    assert client.get("/api/concepts/1/examples/0.jpg").status_code == 200
    images = Images(own.photos)
    for rank, image in enumerate(forged, start=1):
        for of in ("crop", "photo"):
            answer = client.get(f"/api/concepts/1/examples/{rank}.jpg", params={"of": of})
            assert answer.status_code == 404, image
            refused(answer)
        with pytest.raises(Refusal):
            images.path(image)


def test_places_off_the_grid_do_no_harm(own: World, ask: Ask) -> None:
    forged = [Example(own.ids[0], row, column, 1.0) for row, column in ((-5, 2), (10**6, 0), (0, -(2**31)))]
    save_examples(own.model / "examples.parquet", {k: [example] for k, example in enumerate(forged)})
    client = ask(own.open(images=own.cache))
    for concept in range(3):
        answer = client.get(f"/api/concepts/{concept}/examples/0.jpg")
        assert Image.open(io.BytesIO(answer.content)).size == (160, 160)


def test_names_with_html_are_data(tmp_path: Path, ask: Ask, rng: np.random.Generator) -> None:
    name = '<img src=x onerror="alert(1)">&"\'</script>'
    own = make_world(tmp_path, rng, word=name)
    client = ask(own.open(images=own.cache))
    answer = client.get("/api/concepts?limit=1")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["items"][0]["name"].startswith(name)
    assert "<img" not in client.get("/").text


def test_a_damaged_photograph_behind_the_model_is_a_sentence(own: World, ask: Ask) -> None:
    for image in own.ids:
        (own.photos / image).write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    client = ask(own.open(images=own.photos))
    sentence = refused(client.get("/api/concepts/1/examples/0.jpg"))
    assert str(own.photos.parent) not in sentence
    assert client.get("/api/samples").json() == {"photos": []}


def test_a_failure_of_the_encoder_is_a_sentence(own: World, ask: Ask) -> None:
    class Broken(Pixels):
        fingerprint = "5eed" * 16

        def encode_image(self, images: object) -> object:
            raise Refusal(f"{own.model}: the weights are gone")

    explorer = own.open(images=own.photos)
    explorer.models[0].model.backbone = Broken()
    answer = ask(explorer).get("/api/concepts/1/examples/0.jpg?of=photo")
    assert refused(answer) == "model: the weights are gone"


def test_too_many_calls_are_told_to_come_back(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insight.explore.server.WAITING", 3)
    explorer = own.open(images=own.photos)
    with served(explorer) as client:
        asked = {"data": ["nothing", 0]}
        with explorer.turns.take():  # so that the first one stays where it is
            data = {"data": ["cat", 0, 3]}
            answers = [client.post("/gradio_api/call/search", json=data) for _ in range(9)]
        told = [answer for answer in answers if answer.status_code != 200]
        assert 5 <= len(told) <= 6
        assert {(answer.status_code, answer.json()["error"]) for answer in told} == {
            (503, "busy; try again in a moment")
        }
        assert client.post("/gradio_api/call/explain", json=asked).status_code in (200, 503)
