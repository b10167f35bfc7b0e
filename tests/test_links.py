"""The connections of watchers."""

import json
import socket
import threading
import time

import pytest

from lenet_alexnet.runtime.links import Links


@pytest.fixture
def connected():
    """Two watchers' connections, and what both have heard."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    first, second, heard = Links(), Links(), []
    first.know(first.add(accepted, lambda link: heard.append(link.receive())), 1)
    second.know(second.add(client, lambda link: heard.append(link.receive())), 0)
    with accepted, client:
        yield first, second, heard


@pytest.mark.attack(
    "hangs",
    "a watcher leaves while another one still writes to it",
    "its last message is read: why the run ended is reported, not that a process was lost",
)
def test_the_last_message_is_read_even_if_something_was_on_its_way(connected):
    first, second, _ = connected
    (link,) = second.known.values()
    if hasattr(socket, "TCP_QUICKACK"):
        # Unacknowledged messages hold back the next one (Nagle), until it is too late for it.
        link.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    second.send(state={"count": 1})  # It is never read as a message.
    first.send(state={"count": 2})
    first.send(end={"line": "why"})
    leaving = threading.Thread(target=first.close)
    leaving.start()
    time.sleep(0.2)
    messages = []
    while not messages or "end" not in messages[-1]:
        found = link.receive()
        assert found is not None  # The connection was reset.
        messages += found
    second.close()
    leaving.join(2)
    assert not leaving.is_alive()


def test_a_watcher_does_not_wait_for_ever_for_the_others(connected, monkeypatch):
    monkeypatch.setattr("lenet_alexnet.runtime.links.PARTING", 0.1)
    first, second, heard = connected
    first.send(bye=True)
    first.close()
    second.wait(5)
    second.wait(5)
    assert heard == [[{"bye": True}], None]


def test_messages_come_in_parts_and_nonsense_ends_a_connection(connected):
    first, second, heard = connected
    (link,) = second.known.values()
    text = json.dumps({"state": {}}).encode() + b"\n"
    for part in (text[:5], text[5:] + text, b"[1]\n"):
        link.connection.sendall(part)
        first.wait(5)
    assert heard == [[], [{"state": {}}] * 2, None]
