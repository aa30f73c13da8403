"""A listening socket that processes share: the one with the fewest connections takes the next."""

import contextlib
import socket
import time

import pytest

from common.listening import PATIENCE_S, listen


@pytest.fixture
def listening():
    with listen("127.0.0.1", 0, processes=2) as one:
        one.listen(8)
        one.setblocking(False)
        yield one


@pytest.fixture
def opened():
    """What is closed at the end."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def connect(listening, opened):
    return lambda: opened.enter_context(socket.create_connection(listening.getsockname(), timeout=5))


@pytest.fixture
def take(listening, opened):
    """take(place): the connection that the process at that place takes; None if it leaves it to the other."""

    def taken(place):
        listening.place = place
        try:
            return opened.enter_context(listening.accept()[0])
        except BlockingIOError:
            return None

    return taken


def test_the_process_with_the_fewest_connections_takes_the_next(connect, take):
    for taker, other in ((0, 1), (1, 0)):
        connect()
        connection = take(taker)
        assert connection is not None
        connect()
        assert take(taker) is None
        second = take(other)
        assert second is not None
        connection.close()
        second.close()


def test_a_closed_connection_counts_no_more(connect, take):
    connect()
    first = take(0)
    first.close()
    first.close()
    connect()
    assert take(0) is not None


def test_a_connection_that_the_other_does_not_take_is_taken_all_the_same(connect, take):
    connect()
    assert take(0) is not None
    connect()
    assert take(0) is None
    time.sleep(2 * PATIENCE_S)
    assert take(0) is not None
    # The next one is left to the other again.
    connect()
    assert take(0) is None
    assert take(1) is not None


def test_a_connection_works_as_any_other(connect, take):
    client = connect()
    with take(0) as connection:
        client.sendall(b"ask")
        connection.setblocking(True)
        assert connection.recv(10) == b"ask"
        connection.sendall(b"answer")
        assert client.recv(10) == b"answer"
    assert client.recv(10) == b""
