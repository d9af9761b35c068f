"""Flask on waitress, every webhook appended to one file and synced by the thread that serves it."""

import os
import sys
from pathlib import Path
from secrets import compare_digest

import waitress
from flask import Flask, abort, request

KEY = os.environ["BENCH_KEY"].encode()
FILE = os.open(Path(os.environ["BENCH_FOLDER"]) / "visits", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

app = Flask(__name__)


@app.post("/webhooks/visits")
def visit() -> dict[str, str]:
    """Answer after the sync."""
    if not compare_digest(request.headers.get("api-key", "").encode(), KEY):
        abort(401)
    os.write(FILE, request.get_data())
    os.fsync(FILE)
    return {"status": "stored"}


if __name__ == "__main__":
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=int(sys.argv[2]))
