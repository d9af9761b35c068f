"""Serve the dashboard: `kobra dashboard` starts this program."""

import argparse
import os
import socket
import sys
from pathlib import Path

from notebooks.gate import LOOPBACK, Gate

NOTEBOOK = Path(__file__).with_name("dashboard.py")


def main() -> int:
    """Serve until stopped. The password comes in the environment, where other users cannot see it."""
    parser = argparse.ArgumentParser(prog="kobra dashboard")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8700)
    options = parser.parse_args()
    password = os.environ.pop("KOBRA_DASHBOARD_PASSWORD", None) or None
    if password is None and options.host not in LOOPBACK:
        print(
            f"kobra: on {options.host} others can reach the dashboard: set KOBRA_DASHBOARD_PASSWORD, or leave --host",
            file=sys.stderr,
        )
        return 2
    try:
        listening = socket.create_server(
            (options.host, options.port), family=socket.AF_INET6 if ":" in options.host else socket.AF_INET
        )
    except OSError as why:
        print(f"kobra: cannot listen on {options.host}:{options.port}: {why.strerror}", file=sys.stderr)
        return 2
    _serve(listening, password)
    return 0


def _serve(listening: socket.socket, password: str | None) -> None:
    os.environ["MARIMO_RESTRICT_SHARING"] = "true"  # read when marimo is imported: no links to upload notebooks
    import marimo  # noqa: PLC0415
    import uvicorn  # noqa: PLC0415

    app = marimo.create_asgi_app(quiet=True).with_app(path="", root=str(NOTEBOOK)).build()
    config = uvicorn.Config(
        Gate(app, password), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"The dashboard is at http://{shown}:{port} until you press Ctrl-C", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    sys.exit(main())
