"""`python -m receiver`: receive visits, configured by the environment."""

import argparse
import json
import os
import sys

from receiver import keys
from receiver.settings import Settings, SettingsError


def main() -> int:
    """Parse the flags and serve; the exit code is `serve`'s, or 2 for a setting that cannot work."""
    parser = argparse.ArgumentParser(prog="python -m receiver", description="Receive Kobra's visits.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--check", action="store_true", help="say as JSON what is configured, and serve nothing")
    flags = parser.parse_args()
    try:
        settings = Settings.from_environ(os.environ)
        if flags.check:
            print(json.dumps(keys.inspect(settings)))
            return 0
    except SettingsError as why:
        print(why, file=sys.stderr)
        return 2
    # With it set, prometheus_client would map files into memory, and on a full disk end the process.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from receiver.server import serve  # noqa: PLC0415 - a check needs no web

    return serve(settings, flags.host, flags.port)


if __name__ == "__main__":
    sys.exit(main())
