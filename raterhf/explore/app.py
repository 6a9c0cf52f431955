"""The page and what it asks, over HTTP. A request is answered by server-sent events: `queued`, what the work tells, `done` or `failed`."""

import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from raterhf.errors import UserError
from raterhf.explore.asked import MOST_BYTES, read_asked
from raterhf.explore.files import KINDS, LIVE, live_page, page_files
from raterhf.explore.guard import Guard, refuse
from raterhf.explore.opened import Opened
from raterhf.explore.queue import Job, Queue
from raterhf.explore.work import WORKS


def make_app(opened: Opened, queue: Queue, port: int, token: str) -> Guard:
    """The app at http://127.0.0.1:`port`/`token`/."""
    html = live_page(f"raterhf: {opened.run.folder.name}")

    async def page(request: Request) -> Response:
        return HTMLResponse(html)

    async def page_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in page_files():
            return refuse(404, f"the page has no file {name[:60]!r}; reload it")
        return Response(page_files()[name], media_type=KINDS[name[name.rindex(".") :]])

    async def work(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in WORKS:
            return refuse(404, f"nothing is asked by the name {name[:60]!r}; reload the page")
        try:
            asked = read_asked(await _body(request), WORKS[name].kind)
            job = queue.submit(lambda job: WORKS[name].answer(opened, asked, job))
        except UserError as error:
            return refuse(400, str(error))
        return StreamingResponse(_events(request, job), media_type="text/event-stream")

    routes = [
        Route(f"/{token}/", page),
        Route(f"/{token}/page/{{name}}", page_file),
        Route(f"/{token}/api/{{name}}", work, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), port, token, LIVE)


async def _body(request: Request) -> bytes:
    """Raises UserError for a longer one than any request is."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise UserError(f"the request is longer than {MOST_BYTES} bytes; shorten the texts")
    return body


async def _events(request: Request, job: Job) -> AsyncIterator[str]:
    yield _event("queued", job.ahead)
    async for kind, data in job.events(request.is_disconnected):
        yield _event(kind, data)


def _event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
