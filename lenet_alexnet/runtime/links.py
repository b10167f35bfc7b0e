"""Connections of a watcher."""

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

LONGEST = 1 << 16  # bytes of a message
PARTING = 5.0  # seconds for the others to read the last message


class Link:
    """A connection on which JSON messages are exchanged, one a line.

    Attributes:
      process: the number of the process whose watcher is at the other end, once it is known.
      state: that process's last `Watched.state`.
      silent: seconds since the last message.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self._rest = connection, b""
        connection.settimeout(2)
        self.process: int | None = None
        self.state: dict[str, Any] = {}
        self.silent = 0.0

    def send(self, **message: Any) -> None:
        """Sends a message, if the other end is there."""
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have arrived; None: the other end is gone, or is no watcher."""
        try:
            content = self.connection.recv(LONGEST)
            *lines, self._rest = (self._rest + content).split(b"\n")
            messages = [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError):
            return None
        sound = content and len(self._rest) < LONGEST
        return messages if sound and all(isinstance(one, dict) for one in messages) else None


class Links:
    """All connections of a watcher."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.known: dict[int, Link] = {}  # by the process at the other end

    def add(self, connection: socket.socket, hear: Callable[[Link], None]) -> Link:
        """Watches a connection; `hear` is called when something arrives."""
        link = Link(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: hear(link))
        return link

    def know(self, link: Link, process: int) -> None:
        """The watcher of `process` is at the other end."""
        link.process, self.known[process] = process, link

    def drop(self, link: Link) -> None:
        """Forgets a connection."""
        self._selector.unregister(link.connection)
        link.connection.close()
        if link.process is not None:
            self.known.pop(link.process, None)

    def drop_all(self) -> None:
        """Forgets the connections to other watchers."""
        for link in list(self.known.values()):
            self.drop(link)

    def listen(self, hear: Callable[[Link], None]) -> int:
        """Accepts connections on a free port, which is returned."""
        address: tuple[str, int] = ("", 0)
        if socket.has_dualstack_ipv6():
            server = socket.create_server(
                address, family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        else:
            server = socket.create_server(address, backlog=1024)

        def accept() -> None:
            self.add(server.accept()[0], hear)

        self._selector.register(server, selectors.EVENT_READ, accept)
        return int(server.getsockname()[1])

    def wait(self, seconds: float) -> None:
        """Waits for messages, and has them heard."""
        for key, _ in self._selector.select(seconds):
            key.data()

    def send(self, **message: Any) -> None:
        """Sends a message to all other watchers."""
        for link in self.known.values():
            link.send(**message)

    def close(self) -> None:
        """Closes the connections to other watchers, once they have read what was sent.

        A connection that is closed with something left to read is reset, and the last message is
        lost if an earlier one is not acknowledged yet (Nagle). So this end says that it is done,
        and reads until the other end is done too.
        """
        deadline = time.monotonic() + PARTING
        for link in self.known.values():
            with contextlib.suppress(OSError):
                link.connection.shutdown(socket.SHUT_WR)
        for link in self.known.values():
            with contextlib.suppress(OSError):
                while (left := deadline - time.monotonic()) > 0:
                    link.connection.settimeout(left)
                    if not link.connection.recv(LONGEST):
                        break
            link.connection.close()
