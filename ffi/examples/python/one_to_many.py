"""News for everybody: `send_all` goes to every node of a topic. A node that is away gets its copy when it comes back.

`python one_to_many.py`
"""

import contextlib
import queue
from typing import Tuple

import liner
from common import Store, check, next_of

News = Tuple[str, bytes]


def read_news(reader: liner.Client, seen: "queue.Queue[News]") -> None:
    """Subscribes a node to the news, in addition to its own topic."""

    def keep(topic: str, from_: str, data: bytes) -> None:
        print(f"   {reader.name} reads {data.decode()!r}")
        seen.put((reader.name, data))

    check(reader.subscribe("news"), reader)
    check(reader.run(keep), reader)


def all_read(seen: "queue.Queue[News]", text: bytes, names: "set[str]") -> None:
    """Waits until each of these nodes has read `text`."""
    while names:
        name, read = next_of(seen)
        assert read == text and name in names, f"{name} should not have read {read!r} now"
        names.remove(name)


def main(stack: contextlib.ExitStack) -> None:
    store = Store(stack)
    seen: "queue.Queue[News]" = queue.Queue()
    ann, bob, eve = (store.client(name, "readers") for name in ("ann", "bob", "eve"))
    for reader in (ann, bob, eve):
        read_news(reader, seen)
    press = store.client("press", "letters")
    check(press.run(lambda *_: None), press)

    print("1. the press sends to all who serve the topic")
    check(press.send_all("news", b"first issue"), press)
    all_read(seen, b"first issue", {"ann", "bob", "eve"})

    print("2. eve goes away; her copy waits")
    check(eve.stop(), eve)
    check(press.send_all("news", b"second issue"), press)
    all_read(seen, b"second issue", {"ann", "bob"})
    for _, topic, name, count in press.pending_by_peer() or []:
        print(f"   {count} of {topic} for {name}")

    print("3. eve is back, and gets it")
    read_news(eve, seen)
    all_read(seen, b"second issue", {"eve"})
    print("done")


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        main(stack)
