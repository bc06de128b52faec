"""A server that sees when its client hangs up."""

import socket
import threading
from contextlib import suppress
from time import monotonic

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"


class Watching:
    """A server that sends one chunk, falls silent, and notes when the client hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.left = threading.Event()
        self.left_at = 0.0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(HEAD + b"6\r\nspoken\r\n")
            while connection.recv(65_536):
                pass
        self.left_at = monotonic()
        self.left.set()

    def close(self) -> None:
        self._listener.close()
