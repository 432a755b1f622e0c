"""The explorer's plain routes: the page, and everything that is read or changed without an encoder's turn.

In: an `Explorer`. Out: routes on the server, which answer with JSON, JPEG or the page's own files; every error is
{"error": a sentence} with a status of 400 and above.
"""

from __future__ import annotations

import json
import math
import mimetypes
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from sae.errors import InsightError

from .calls import FAILED
from .concept_card import concept_card
from .editing import edits_of, make_edit, undo_edit
from .explorer import Explorer
from .matching import matches, matches_of
from .neighbours import around
from .pictures import dropped_picture, example_picture
from .refusal import Refusal
from .samples import samples
from .uploads import Uploads

PAGE = Path(__file__).parent / "page"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MOST_IDS = 500


def add_routes(app: FastAPI, explorer: Explorer) -> None:
    """Add the routes of docs/explorer.md, and answers to what goes wrong."""
    _add_page(app)
    _add_concepts(app, explorer)
    _add_photos(app, explorer)
    _add_edits(app, explorer)
    _add_errors(app, explorer)


def _add_page(app: FastAPI) -> None:
    """The page's files, by a list that is made now: no path is put together from a request."""
    files = {path.relative_to(PAGE).as_posix(): path for path in sorted(PAGE.rglob("*")) if path.is_file()}

    @app.get("/")
    def page() -> Response:
        return _file(files.get("index.html"))

    @app.get("/app/{file:path}")
    def of_page(file: str) -> Response:
        return _file(files.get(file))


def _add_concepts(app: FastAPI, explorer: Explorer) -> None:
    @app.get("/api/model")
    def model() -> Response:
        return _json(explorer.facts())

    @app.get("/api/concepts")
    def concepts(
        m: int = 0,
        text: str = "",
        level: int | None = None,
        confidence: float | None = None,
        frequency: float | None = None,
        sort: str = "frequency",
        offset: int = 0,
        limit: int = 48,
        by: str = "",
        ids: str = "",
    ) -> Response:
        listed = explorer.model(m).listed
        if by == "ids":
            rows = listed.of(_ids(ids))
            return _json({"total": len(rows), "items": rows, "version": explorer.version})
        total, items = listed.page(
            text=text, level=level, confidence=confidence, frequency=frequency, sort=sort, offset=offset, limit=limit
        )
        return _json({"total": total, "items": items, "version": explorer.version})

    @app.get("/api/concepts/{concept}")
    def concept(concept: int, m: int = 0) -> Response:
        return _json(concept_card(explorer.model(m), concept))

    @app.get("/api/concepts/{concept}/examples/{rank}.jpg")
    def example(request: Request, concept: int, rank: int, m: int = 0, of: str = "crop", v: str = "") -> Response:
        data, name = example_picture(explorer, m, concept, rank, of)
        return _jpeg(request, data, name, 86_400 if v else 0)

    @app.get("/api/graph/{concept}")
    def graph(concept: int, m: int = 0, limit: int = 36) -> Response:
        return _json(around(explorer.model(m).listed, concept, limit))

    @app.get("/api/matches")
    def all_matches(limit: int = 200) -> Response:
        return _json(matches(explorer, limit))

    @app.get("/api/matches/{concept}")
    def some_matches(concept: int, m: int = 0) -> Response:
        return _json(matches_of(explorer, concept, m))


def _add_photos(app: FastAPI, explorer: Explorer) -> None:
    uploads = Uploads()

    @app.post("/api/photos")
    async def drop(request: Request) -> Response:
        async with uploads.reading(request) as data:
            dropped = await run_in_threadpool(explorer.photos.add, data)
        width, height = dropped.square.size
        return _json({"photo": dropped.token, "width": width, "height": height})

    @app.get("/api/photos/{token}.jpg")
    def photo(request: Request, token: str) -> Response:
        dropped = explorer.photos[token]
        return _jpeg(request, dropped_picture(dropped.square), dropped.token, 3_600)

    @app.get("/api/samples")
    def some() -> Response:
        return _json(samples(explorer))


def _add_edits(app: FastAPI, explorer: Explorer) -> None:
    @app.get("/api/edits")
    def edits() -> Response:
        return _json(edits_of(explorer))

    @app.post("/api/edits")
    async def edit(request: Request) -> Response:
        try:
            asked = json.loads(await request.body())
        except ValueError:
            raise Refusal("expected JSON, found something else") from None
        return _json(await run_in_threadpool(make_edit, explorer, asked))

    @app.delete("/api/edits/{number}")
    def undo(number: int) -> Response:
        return _json(undo_edit(explorer, number))

    @app.get("/api/{path:path}")
    def nothing(path: str) -> Response:
        raise Refusal("there is nothing here; the explorer is at /", 404)


def _add_errors(app: FastAPI, explorer: Explorer) -> None:
    @app.exception_handler(InsightError)
    def refused(request: Request, error: InsightError) -> Response:
        return _json({"error": explorer.sentence(error)}, error.status if isinstance(error, Refusal) else 400)

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        return _json({"error": FAILED}, 500)

    @app.exception_handler(RequestValidationError)
    def not_valid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _json({"error": f"{first['loc'][-1]}: {first['msg'][:1].lower()}{first['msg'][1:]}"}, 422)

    @app.exception_handler(HTTPException)
    def refused_by_gradio(request: Request, error: HTTPException) -> Response:
        busy = "Queue is full" in str(error.detail)
        return _json({"error": "busy; try again in a moment" if busy else str(error.detail)}, error.status_code)


def _ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()][: MOST_IDS + 1]
    if len(parts) > MOST_IDS or not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise Refusal(f"ids: expected at most {MOST_IDS} ids with commas between them, found others")
    return [int(part) for part in parts]


def _file(path: Path | None) -> Response:
    if path is None:
        raise Refusal("the page has no such file", 404)
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(path.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})


def _json(value: Any, status: int = 200) -> Response:
    text = json.dumps(_finite(value) if status == 200 else value, ensure_ascii=False, separators=(",", ":"))
    headers = {"cache-control": "no-store"} | ({"connection": "close"} if status == 413 else {})
    return Response(text.encode("utf-8", "replace"), status, headers, media_type="application/json")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _jpeg(request: Request, data: bytes, name: str, seconds: int) -> Response:
    headers = {"etag": f'"{name}"', "cache-control": f"private, max-age={seconds}" if seconds else "private, no-cache"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)
