"""Who may ask: only the page itself, on this machine, at the address with the token that the terminal shows.

A page of another site, opened in the same browser, can send requests to this machine too. It does not know the token, its browser names
another origin, and a name of its own that it points at this machine (DNS rebinding) is another host.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Before an app on 127.0.0.1:`port`: lets through what comes from its own page with the token as the path's first part."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], port: int, token: str, policy: str):
        self.app, self.token, self.policy = app, token, policy
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None
        refusal = self._refusal(scope)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = ALWAYS | {"Content-Security-Policy": self.policy}
                message["headers"] = [*message["headers"], *((k.lower().encode(), v.encode()) for k, v in more.items())]
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return refuse(403, f"the host {host[:60]!r} is not this machine's; open the address that the terminal shows")
        if origin is not None and origin not in {f"http://{one}" for one in self.hosts}:
            return refuse(403, f"the page at {origin[:60]!r} may not ask; open the address that the terminal shows")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return refuse(403, "a page of another site may not ask; open the address that the terminal shows")
        given = scope["path"].removeprefix("/").partition("/")[0]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return refuse(404, "this address is not whole, or of an earlier start; open the one that the terminal shows")
        if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0] != "application/json":
            return refuse(415, "a request is JSON; reload the page")
        return None


def refuse(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
