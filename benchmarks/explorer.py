"""The explorer under 50 people at once, and its first paint on a large model.

`python -m benchmarks.explorer --json FILE [--quick] [--model MODEL] [--images FOLDER|CACHE]`: a server of its own, for
this machine alone, is started on MODEL. Each of the users drops photographs of their own and walks the photo view:
explain, classify, segment, why a pixel is of its class, then lists, cards, graphs and example pictures. The same load
is put on it twice; memory must not grow the second time. A made-up model of 8,192 concepts with 100,000 images behind
it answers its first request. "light": plain routes; "queued": functions that wait for the encoder, from the question to
the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from PIL import Image

from . import made_model
from .record import write_record

Row = dict[str, Any]
CLASSES = "bird|parrot, dog, house, tree, water"
TEXTS = ("bird", "wood", "sky", "face", "12", "grass")
PICTURES = 12
"""Example pictures a walk asks for, where there are photographs."""
GROWTH = 0.10


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", default="small")
    parser.add_argument("--images", type=Path)
    options = parser.parse_args(arguments)
    users, walks = (8, 2) if options.quick else (50, 3)
    concepts, images = (1024, 2_000) if options.quick else (8192, 100_000)
    rows: list[Row] = []
    with server(options.model, options.images) as (address, process):
        wait_for_encoder(address)
        for part in ("first load", "second load"):
            started = time.monotonic()
            measured = asyncio.run(load(address, users, walks, seed=len(rows)))
            rows.append(summary(part, users, walks, measured, time.monotonic() - started) | memory(process.pid))
            print(json.dumps(rows[-1]), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        model, photos = made_model.make(Path(folder), concepts, images)
        rows.append({"part": "first paint", "concepts": concepts, "images": images} | first_paint(model, photos))
        print(json.dumps(rows[-1]), flush=True)
    if options.json:
        write_record(
            options.json,
            benchmark="explorer",
            data={"name": f"random photographs, {Path(options.model).name}", "images": users * walks, "split": None},
            settings={"users": users, "walks": walks, "classes": CLASSES, "quick": options.quick},
            rows=rows,
            claims=claims(rows),
            packages=("gradio", "httpx"),
        )


def claims(rows: list[Row]) -> list[dict[str, Any]]:
    """The sentences that follow from the rows."""
    first, second, paint = rows
    users, growth = first["users"], second["peak_rss_mb"] / first["peak_rss_mb"] - 1

    def claim(text: str, value: float, unit: str, target: float) -> dict[str, Any]:
        told = {"claim": text, "value": value, "unit": unit, "target": target}
        return told | {"holds": value <= target, "interval": None}

    on = f"on {paint['concepts']:,} concepts and {paint['images']:,} images"
    in_browser = {
        "first_contentful_paint_s": f"first contentful paint in Chromium, {on}",
        "first_card_s": f"until the first concepts are drawn in Chromium, {on}",
    }
    return [
        *(claim(text, paint[key], "s", 1.0) for key, text in in_browser.items() if key in paint),
        claim(f"errors with {users} users at once", first["errors"] + second["errors"], "errors", 0),
        claim("more memory after twice the load", growth, "share of the peak", GROWTH),
        claim(f"first answer of /, {on}", paint["page_s"], "s", 1.0),
        claim(f"first answer of /api/concepts, {on}", paint["concepts_s"], "s", 1.0),
        claim("later answers of /api/concepts", paint["concepts_again_s"], "s", 0.05),
    ]


@contextmanager
def server(model: str | Path, images: Path | None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own: its address, and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "insight", "explore", str(model), "--port", str(port), "--device", "cpu"]
    command += ["--images", str(images)] if images else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise SystemExit("the server did not start")
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def wait_for_encoder(address: str) -> None:
    while httpx.get(f"{address}/api/model", timeout=60).json()["encoder"] == "loading":
        time.sleep(0.2)


def first_paint(model: Path, photos: Path) -> Row:
    """Seconds from the start of the process to its line, of the first answers, and of later ones."""
    started = time.monotonic()
    with server(model, photos) as (address, _), httpx.Client(base_url=address, timeout=60) as client:
        found = {"start_s": time.monotonic() - started, "page_s": timed(client, "/")}
        found["concepts_s"] = timed(client, "/api/concepts")
        again = [timed(client, f"/api/concepts?offset={48 * place}&text=word") for place in range(20)]
        cards = [timed(client, f"/api/concepts/{concept}") for concept in range(20)]
        return found | {"concepts_again_s": median(again), "card_s": median(cards)} | painted(address)


def painted(address: str, times: int = 5) -> Row:
    """In Chromium, with nothing kept from before: median seconds to the first contentful paint, and to the first card.

    Nothing where there is no Chromium, or no playwright to drive it."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if chromium is None:
        return {}
    paints, cards = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(times):
            context = browser.new_context()
            page, started = context.new_page(), time.monotonic()
            page.goto(address)
            page.locator(".card").first.wait_for()
            cards.append(time.monotonic() - started)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            paints.append(page.evaluate(paint) / 1000)
            context.close()
        browser.close()
    return {"first_contentful_paint_s": median(paints), "first_card_s": median(cards)}


def timed(client: httpx.Client, path: str) -> float:
    started = time.monotonic()
    client.get(path).raise_for_status()
    return time.monotonic() - started


async def load(address: str, users: int, walks: int, seed: int) -> list[tuple[str, float, str | None]]:
    """(kind, seconds, error) of every request of all users."""
    measured: list[tuple[str, float, str | None]] = []
    limits = httpx.Limits(max_connections=users)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as client:
        pictures = (await client.get("/api/model")).json()["models"][0]["images"]["available"]
        rng = np.random.default_rng(seed)
        people = [User(client, measured, rng.spawn(1)[0], pictures) for _ in range(users)]
        await asyncio.gather(*(person.walk(walks) for person in people))
    return measured


class User:
    """One person in the photo view."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        measured: list[tuple[str, float, str | None]],
        rng: np.random.Generator,
        pictures: bool,
    ) -> None:
        self._client, self._measured, self._rng, self._pictures = client, measured, rng, pictures

    async def walk(self, times: int) -> None:
        for _ in range(times):
            dropped = await self._light("POST", "/api/photos", content=self._photo())
            photo = (dropped or {}).get("photo", "none")
            explained = await self._queued("explain", photo, 0)
            await self._light("GET", f"/api/photos/{photo}.jpg")
            await self._queued("classify", photo, CLASSES, -1, [])
            await self._queued("segment", photo, CLASSES, -1)
            await self._queued("segment_at", photo, CLASSES, -1, 40, 60)
            for text in TEXTS:
                await self._light("GET", f"/api/concepts?text={text}")
            concepts = [*(explained or {}).get("table", {})][:PICTURES]
            for concept in concepts:
                await self._light("GET", f"/api/concepts/{concept}")
                await self._light("GET", f"/api/graph/{concept}")
                if self._pictures:
                    await self._light("GET", f"/api/concepts/{concept}/examples/0.jpg")

    def _photo(self) -> bytes:
        """A random photograph of large patches, another one each time."""
        small = Image.fromarray(self._rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((640, 480), Image.Resampling.BICUBIC).save(buffer, format="JPEG")
        return buffer.getvalue()

    async def _light(self, method: str, path: str, **body: Any) -> Any:
        started, error, value = time.monotonic(), None, None
        try:
            answer = await self._client.request(method, path, **body)
            if answer.status_code != 200:
                error = f"{path}: {answer.status_code} {answer.text[:100]}"
            elif answer.headers["content-type"] == "application/json":
                value = answer.json()
        except httpx.HTTPError as failure:
            error = f"{path}: {failure!r}"
        self._measured.append(("light", time.monotonic() - started, error))
        return value

    async def _queued(self, name: str, *data: Any) -> Any:
        started, error, value = time.monotonic(), None, None
        try:
            asked = await self._client.post(f"/gradio_api/call/{name}", json={"data": data})
            event = asked.json().get("event_id", "none")
            stream = (await self._client.get(f"/gradio_api/call/{name}/{event}")).text
            told = [block.partition("\ndata: ")[2] for block in stream.split("\n\n") if "event: complete" in block]
            value, error = (json.loads(told[0])[0], None) if told else (None, f"{name}: {stream[:100]}")
        except (httpx.HTTPError, ValueError) as failure:
            error = f"{name}: {failure!r}"
        self._measured.append(("queued", time.monotonic() - started, error))
        return value


def summary(
    part: str, users: int, walks: int, measured: list[tuple[str, float, str | None]], seconds: float
) -> Row:
    errors = [error for _, _, error in measured if error]
    row: Row = {"part": part, "users": users, "walks": walks, "requests": len(measured), "errors": len(errors)}
    row |= {"first_errors": errors[:3], "seconds": seconds}
    for kind in ("light", "queued"):
        times = [taken for found, taken, error in measured if found == kind and not error]
        row[f"{kind}_p50_s"], row[f"{kind}_p95_s"] = (float(np.percentile(times, p)) for p in (50, 95))
    return row


def memory(pid: int) -> Row:
    """Peak and present memory of a process, in MB, as Linux counts it; nothing elsewhere."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {"peak_rss_mb": float("nan"), "rss_mb": float("nan")}
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmHWM", "VmRSS"))}
    return {"peak_rss_mb": found["VmHWM"], "rss_mb": found["VmRSS"]}


if __name__ == "__main__":
    main()
