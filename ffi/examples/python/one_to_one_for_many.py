"""Work shared out: one node sends, many serve the topic, and each message goes to one of them. The messages come from a thread
of the program.

`python one_to_one_for_many.py`
"""

import collections
import contextlib
import queue
import threading

import liner
from common import Store, check, next_of

WORKERS = 3
TASKS = 30


def main(stack: contextlib.ExitStack) -> None:
    store = Store(stack)
    done: "queue.Queue[tuple]" = queue.Queue()

    print(f"{WORKERS} workers serve one topic, with a callback each")
    for number in range(1, WORKERS + 1):
        worker = store.client(f"worker-{number}", "tasks")
        check(worker.run(lambda _, __, task, name=worker.name: done.put((name, task))), worker)

    print(f"a thread sends {TASKS} tasks, one to one worker each, in turn")
    boss = store.client("boss", "office")
    check(boss.run(lambda *_: None), boss)
    # Nodes with a live link come first: the turns are even once every link is up.
    check(boss.send_all("tasks", b"say hello"), boss)
    greeted = {next_of(done) for _ in range(WORKERS)}
    assert len(greeted) == WORKERS, greeted

    results = []
    sending = threading.Thread(
        target=lambda: results.extend(boss.send_to("tasks", b"task %d" % task) for task in range(TASKS))
    )
    sending.start()
    by_worker = collections.Counter()
    tasks = set()
    while len(tasks) < TASKS:
        worker, task = next_of(done)
        by_worker[worker] += 1
        tasks.add(task)
    sending.join()
    assert results == [True] * TASKS, boss.last_error_message()
    print(f"{len(tasks)} tasks done: {dict(sorted(by_worker.items()))}")
    assert set(by_worker.values()) == {TASKS // WORKERS}, "the tasks were not shared evenly"


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        main(stack)
