"""An HTTP server of a folder that is a round trip away: `python -m headrace.bench.workloads.far_server FOLDER MS`.

Each request is answered after that many milliseconds, on a connection that stays open, whole or the range that was
asked for. The first line that it prints is its address.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["far_server"]


@contextmanager
def far_server(folder: Path, milliseconds: float) -> Iterator[str]:
    """Serve a folder from a process of its own; yield its address, which ends in a slash.

    Args:
        folder: whose files are served.
        milliseconds: the time between a request and its answer.
    """
    command = [sys.executable, "-m", __name__, str(folder), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this module
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    """Answers after a while."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: Path
    seconds: float

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        sleep(self.seconds)
        path = self.folder / Path(self.path).name
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = (int(asked[1]), min(int(asked[2] or size) + 1, size)) if asked else (0, size)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.name}-{size}"')
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if with_body:
            with path.open("rb") as file:
                file.seek(start)
                self.wfile.write(file.read(stop - start))


class _FarServer(ThreadingHTTPServer):
    """Takes it well when a client goes away."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


def _serve(folder: str, milliseconds: str) -> None:
    _Handler.folder, _Handler.seconds = Path(folder), float(milliseconds) / 1e3
    server = _FarServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}/\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
