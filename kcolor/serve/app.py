"""The server's doors for HTTP: TensorFlow Serving's REST API, the page, health and metrics."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope

from kcolor import __version__, files
from kcolor.errors import RunError
from kcolor.photo.xmp import Note, with_note
from kcolor.serve import memory, rest
from kcolor.serve.batching import Batcher
from kcolor.serve.bodies import Bodies
from kcolor.serve.meters import Meters
from kcolor.serve.model import Model, Tensors
from kcolor.serve.refusal import RefusedError, invalid

_log = logging.getLogger(__name__)

WEB = Path(__file__).parents[1] / "web"

# What TensorFlow Serving is asked in another way is "malformed" to it, whatever the method.
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_TRIM_SECONDS = 2.0


@dataclass(frozen=True)
class Serving:
    """What the doors lead to.

    Args:
        model: What is served.
        batcher: Runs it.
        meters: What is counted.
        bodies: Of requests.
        timeout: Seconds from a request's first byte to its answer.
    """

    model: Model
    batcher: Batcher
    meters: Meters
    bodies: Bodies
    timeout: float


def create(serving: Serving, *, web: Path = WEB) -> Starlette:
    """The ASGI application.

    Args:
        serving: What it leads to.
        web: A folder with the page; where it has none, one line says where the API is. Where it is a site, as kcolor
            export --web writes it, the page runs that site's network, and asks the server where a browser cannot.

    Raises:
        RunError: That site is none, or of a network that takes squares of another size.
    """
    routes: list[BaseRoute] = [
        Route("/v1/{path:path}", _v1, methods=_METHODS),
        Route("/healthz", _healthz),
        Route("/metrics", _metrics),
        Route("/config.json", _config),
        Mount("/", _Page(directory=web, html=True)) if (web / "index.html").is_file() else Route("/", _home),
    ]
    app = Starlette(routes=routes, lifespan=_lifespan, exception_handlers={404: _not_found})
    app.state.serving = serving
    app.state.config = _config_of(serving.model, web)
    return app


def site_config(site: Path) -> dict[str, Any]:
    """What kcolor export --web tells the page of a site's network.

    Args:
        site: Its folder.

    Raises:
        RunError: It is no such site.
    """
    none = f"{site}: not a site of kcolor export --web"
    try:
        told = orjson.loads((site / "config.json").read_bytes())
    except FileNotFoundError:
        raise RunError(f"{none} (it has no config.json)") from None
    except OSError as error:
        raise RunError(f"{none} (its config.json cannot be read: {files.reason(error)})") from error
    except orjson.JSONDecodeError as error:
        raise RunError(f"{none} (its config.json is no JSON: {error})") from error
    if not isinstance(told, dict) or type(told.get("size")) is not int:
        raise RunError(f"{none} (its config.json does not say what size its network takes)")
    return told


class _Page(StaticFiles):
    """Files with what docs/deploy-web.md asks of a host: a new version at the next visit, and several cores."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As Starlette's, with more headers."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        return response


async def _v1(request: Request) -> Response:
    """The API, with every way in which it can end."""
    serving = _serving(request)
    try:
        asked = rest.address(request.method, request.url.path)
    except RefusedError as refused:
        with serving.meters.request("rest", "malformed") as outcome:
            outcome.code = str(refused.status)
            return _refusal(refused)
    with serving.meters.request("rest", asked.verb) as outcome:
        try:
            return _json(await _answer(serving, request, asked))
        except RefusedError as refused:
            outcome.code = str(refused.status)
            return _refusal(refused)
        except ClientDisconnect:
            outcome.code = "499"
            return Response(status_code=499)  # which nobody reads
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            outcome.code = "500"
            return _json(rest.error("the server failed; its log says how"), 500)


async def _answer(serving: Serving, request: Request, asked: rest.Address) -> bytes:
    model = serving.model
    if asked.verb == "status":
        return rest.status(model, asked)
    model.check(asked.name, asked.version, asked.label)
    if asked.verb == "metadata":
        return rest.metadata(model)
    deadline = time.monotonic() + serving.timeout
    try:
        async with asyncio.timeout(serving.timeout), serving.bodies.read(request) as body:
            if asked.verb != "predict":
                kind = {"classify": "classification", "regress": "regression"}[asked.verb]
                raise invalid(
                    f"Expected {kind} signature method_name to be tensorflow/serving/{asked.verb}. "
                    "Was: tensorflow/serving/predict (use :predict)"
                )
            call = await run_in_threadpool(rest.read, body, model)
        del body  # which counts no longer
    except TimeoutError:
        raise RefusedError("DEADLINE_EXCEEDED", f"the body took longer than {serving.timeout:g} s", 408) from None
    left = deadline - time.monotonic()
    made = await _waited_for(request, serving.batcher.submit(call.signature, call.tensors, timeout=left), left)
    return await run_in_threadpool(rest.reply, made, by_row=call.by_row)


async def _waited_for(request: Request, submitted: "Future[Tensors]", seconds: float) -> Tensors:
    answer = asyncio.wrap_future(submitted)
    gone = asyncio.ensure_future(_hangs_up(request.receive))
    either: set[asyncio.Future] = {answer, gone}
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if gone.done():
            raise ClientDisconnect
        raise RefusedError("DEADLINE_EXCEEDED", "no answer within the time that a request has; try again later")
    finally:
        answer.cancel()  # what nobody waits for is not computed
        gone.cancel()


async def _hangs_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _healthz(request: Request) -> Response:
    serving = _serving(request)
    if serving.batcher.alive:
        return _json(orjson.dumps({"status": "ok", "model": serving.model.name}))
    return _json(rest.error("nothing is computed any more; the server's log says why"), 503)


async def _metrics(request: Request) -> Response:
    serving = _serving(request)
    return Response(serving.meters.page(serving.batcher.waiting), media_type=CONTENT_TYPE_LATEST)


async def _config(request: Request) -> Response:
    return _json(orjson.dumps(request.app.state.config))


def _config_of(model: Model, site: Path) -> dict[str, Any]:
    """What the page needs to know; without a site's version, it keeps nothing for a time without this server."""
    own = {
        "kcolor": __version__,
        "name": model.name,
        "size": model.size,
        "engine": "server",
        "predict": f"v1/models/{model.name}:predict",
        "classes": list(model.classes),
        "note": with_note(b"", Note(model.name, model.sha256)).decode(),
    }
    if not (site / "config.json").is_file():
        return own
    of_site = site_config(site)
    if of_site["size"] != model.size:
        sizes = f"takes {of_site['size']} pixels, and {model.name} {model.size}"
        raise RunError(f"{site}: of a network that {sizes}")
    return own | of_site | {"predict": own["predict"]}


async def _home(request: Request) -> Response:
    name = escape(_serving(request).model.name)
    return HTMLResponse(f"<!doctype html><title>kcolor</title><p>The API is at /v1/models/{name}\n")


async def _not_found(request: Request, error: Exception) -> Response:
    there = f"nothing is at {request.url.path}; the API is at /v1/models/{_serving(request).model.name}"
    return _json(rest.error(there), 404)


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    trimming = asyncio.create_task(_trim_when_idle(app.state.serving))
    yield
    trimming.cancel()


async def _trim_when_idle(serving: Serving) -> None:
    """Give memory back when something has been done and nothing is being done."""
    trimmed, busy = serving.meters.served(), False
    while True:
        await asyncio.sleep(_TRIM_SECONDS)
        served = serving.meters.served()
        if served is None or not serving.batcher.idle:
            busy = True
        elif busy or served != trimmed:
            await run_in_threadpool(memory.give_back)
            trimmed, busy = served, False


def _serving(request: Request) -> Serving:
    return request.app.state.serving


def _refusal(refused: RefusedError) -> Response:
    headers = {429: {"Retry-After": "1"}, 408: {"Connection": "close"}}.get(refused.status)
    return _json(rest.error(refused.message), refused.status, headers)


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, "application/json")
