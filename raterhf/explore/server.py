"""Serves the page on this machine until it is interrupted."""

import secrets
import socket
from importlib.util import find_spec
from pathlib import Path

from raterhf.errors import UserError
from raterhf.log import log

HOST = "127.0.0.1"
NEEDED = ("starlette", "uvicorn")


def check_server() -> None:
    """Raise UserError where the packages that serve a page are not installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"explore needs the package {' and '.join(missing)}, which is not installed: pip install 'raterhf[explore]'")


def serve(run: Path, port: int) -> None:
    """Serve the page of a run folder and say where it is. Raises UserError where the run cannot be opened or the port is taken."""
    check_server()
    import uvicorn

    from raterhf.explore.app import make_app
    from raterhf.explore.opened import Opened
    from raterhf.explore.queue import Queue
    from raterhf.run import open_run

    opened = Opened(open_run(run))
    opened.warm()
    taken = bind(port)
    queue, token = Queue(), secrets.token_urlsafe(16)
    own = taken.getsockname()[1]
    log.info(f"http://{HOST}:{own}/{token}/\nOpen this address in a browser on this machine. Ctrl-C ends.")
    config = uvicorn.Config(
        make_app(opened, queue, own, token), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    try:
        uvicorn.Server(config).run(sockets=[taken])
    except KeyboardInterrupt:
        pass
    finally:
        queue.close()
        taken.close()


def bind(port: int) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
        taken.listen()  # whoever opens the address at once waits until it is served
    except OSError as error:
        taken.close()
        raise UserError(
            f"port {port} of this machine is taken or not allowed ({error.strerror}); give another, or --port 0 for a free one"
        ) from error
    return taken
