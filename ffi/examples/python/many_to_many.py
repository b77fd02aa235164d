"""A chat: every node serves the topic and sends to all others. Messages are kept in memory unless a peer is slow to take them
(write-behind, the default), and each node's counters are shown at the end.

`python many_to_many.py`
"""

import collections
import contextlib
import queue

import liner
from common import Store, check, next_of

NAMES = ["ann", "bob", "cid", "eve"]
LINES = 5


def join(store: Store, name: str, heard: "queue.Queue[tuple]") -> liner.Client:
    """A node with a topic of its own, which nobody uses here, and the topic it shares with the others."""
    node = store.client(name, f"{name}-private")
    check(node.subscribe("chat"), node)
    check(node.run_ex(lambda line: heard.put((name, line.sender, line.data.decode()))), node)
    return node


def main(stack: contextlib.ExitStack) -> None:
    store = Store(stack)
    heard: "queue.Queue[tuple]" = queue.Queue()
    nodes = [join(store, name, heard) for name in NAMES]
    print(f"{len(nodes)} nodes in the chat:")
    for addr, name in nodes[0].list_addresses("chat") or []:
        print(f"   {name} at {addr}")

    # Who has joined is known within a tenth of a second; who cannot wait asks.
    for node in nodes:
        check(node.refresh_address_topic("chat"), node)
    for line in range(LINES):
        for node in nodes:
            # A node does not send to itself.
            check(node.send_all("chat", f"line {line}".encode()), node)

    heard_by = collections.defaultdict(list)
    for _ in range(len(NAMES) * (len(NAMES) - 1) * LINES):
        who, sender, text = next_of(heard)
        heard_by[who, sender].append(text)
    said = [f"line {line}" for line in range(LINES)]
    for (who, sender), lines in sorted(heard_by.items()):
        print(f"{who} heard {len(lines)} lines from {sender}")
        assert lines == said, f"{who} heard from {sender}: {lines}"
    assert len(heard_by) == len(NAMES) * (len(NAMES) - 1), "somebody was left out"

    for node in nodes:
        stats = node.stats() or {}
        print(f"{node.name}: accepted {stats['accepted']}, handled {stats['handled']}, {len(stats['links'])} links")
    print("done: everybody heard everybody, in order")


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        main(stack)
