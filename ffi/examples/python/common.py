"""What the examples share: the store they run on, and waiting for what must come."""

import argparse
import contextlib
import queue
import tempfile
import time
from typing import Any, Callable

import liner

# More than anything in an example takes, in seconds.
LIMIT = 10


class Store:
    """The store an example's nodes share: a SQLite file of its own, or what `--store` names.

    `--store mesh.sqlite`, `--store postgresql://user:pass@host/database`, `--store redis://user:pass@host/0`
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--store")
        self._stack = stack
        self.name = parser.parse_args().store or stack.enter_context(tempfile.TemporaryDirectory()) + "/mesh.sqlite"

    def client(self, name: str, topic: str) -> liner.Client:
        """A client on it, closed at the end."""
        if self.name.startswith("postgres"):
            create = liner.Client.new_postgres
        elif self.name.startswith("redis"):
            create = liner.Client.new_redis
        else:
            create = liner.Client.new_sqlite
        return self._stack.enter_context(create(name, topic, "127.0.0.1:0", self.name))


def check(done: bool, client: liner.Client) -> None:
    """Ends the example when a call has failed."""
    if not done:
        raise SystemExit(f"{client.name}: {client.last_error_message()}")


def next_of(seen: "queue.Queue[tuple]") -> tuple:
    """The next thing that a callback has seen."""
    try:
        return seen.get(timeout=LIMIT)
    except queue.Empty:
        raise SystemExit(f"nothing came for {LIMIT} s") from None


def until(ask: Callable[[], Any]) -> Any:
    """Calls until the result is not empty."""
    end = time.monotonic() + LIMIT
    while not ask():
        if time.monotonic() > end:
            raise SystemExit(f"nothing for {LIMIT} s")
        time.sleep(0.01)
    return ask()
