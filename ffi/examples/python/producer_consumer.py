"""A producer and a consumer, and the message nobody can handle: it is tried again, becomes a dead letter, and is replayed once
the consumer has been mended.

`python producer_consumer.py`
"""

import contextlib
import queue

import liner
from common import Store, check, next_of, until

READINGS = 1000
BROKEN = 500


class Consumer:
    """Adds up readings."""

    def __init__(self) -> None:
        self.mended = False
        self.sums: "queue.Queue[tuple]" = queue.Queue()

    def receive(self, reading: liner.Delivery) -> None:
        """Takes one reading."""
        if reading.data.isdigit():
            self.sums.put((int(reading.data),))
        elif self.mended:
            self.sums.put((BROKEN,))
        else:
            print(f"   the consumer cannot read message {reading.seq}, attempt {reading.attempt}")
            raise liner.Nack("not a number", delay=0.02)


def main(stack: contextlib.ExitStack) -> None:
    store = Store(stack)
    work = Consumer()
    consumer = store.client("consumer-1", "readings")
    check(consumer.run_ex(work.receive), consumer)
    producer = store.client("producer-1", "meters")
    check(producer.run(lambda *_: None), producer)

    print(f"1. {READINGS} readings go out; number {BROKEN} is not a number")
    for number in range(READINGS):
        check(producer.send_to("readings", b"broken" if number == BROKEN else b"%d" % number), producer)
    total = sum(next_of(work.sums)[0] for _ in range(READINGS - 1))
    print(f"   {READINGS - 1} readings came")

    print("2. after ten attempts the broken one is a dead letter")
    letters = until(consumer.list_dead_letters)
    for letter in letters:
        print(f"   number {letter.seq} from {letter.sender} died after {letter.attempts} attempts: {letter.reason}")
    assert [letter.data for letter in letters] == [b"broken"]

    print("3. the consumer is mended, and the letter replayed")
    work.mended = True
    replayed = consumer.replay_dead_letters()
    total += next_of(work.sums)[0]
    print(f"   replayed {replayed}; the sum is {total}")
    assert replayed == (1, 0) and consumer.list_dead_letters() == []
    assert total == sum(range(READINGS)), "the sum is wrong"


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        main(stack)
