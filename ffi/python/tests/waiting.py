"""Waiting for conditions, and ports to listen on."""

import itertools
import os
import socket
import time

# More than anything in a test takes on a busy machine. Only a test that fails waits as long.
DEADLINE = 30.0

# How long to wait before a condition is looked at again: at first, and at most. Some looks cost a process.
FIRST_PAUSE = 0.002
LAST_PAUSE = 0.1

# Below the ports that systems give to outgoing connections, and another part of the range for each test process.
_PORTS = itertools.count(10_000 + os.getpid() * 97 % 15_000)


def wait_until(condition, what, deadline=DEADLINE):
    """Waits until `condition()` is true, and returns what it returned."""
    end = time.monotonic() + deadline
    pause = FIRST_PAUSE
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"waited {deadline} s for {what}"
        time.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE)


def free_port():
    """A port that nobody listens on, never the same twice."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
