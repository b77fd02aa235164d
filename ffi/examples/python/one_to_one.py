"""A question and its answer between two nodes: a callback that answers, headers, and an ack that waits until the answer is stored.

`python one_to_one.py`
"""

import contextlib
import queue

import liner
from common import Store, check, next_of


def main(stack: contextlib.ExitStack) -> None:
    store = Store(stack)
    client = store.client("client-1", "client")
    server = store.client("server-1", "squares")

    def square(question: liner.Delivery) -> None:
        """A question counts as handled when its answer is stored: whatever crashes, there is an answer."""
        answer = str(int(question.data) ** 2).encode()
        if not server.send_ex(question.from_, answer, question.headers, durability=liner.COMMITTED):
            raise liner.Nack(server.last_error_message())

    answers: "queue.Queue[tuple]" = queue.Queue()
    check(server.run_ex(square), server)
    check(client.run_ex(lambda answer: answers.put((dict(answer.headers)["question"], answer.data))), client)

    for number in range(1, 6):
        check(client.send_ex("squares", b"%d" % number, {"question": str(number)}), client)
    for number in range(1, 6):
        question, answer = next_of(answers)
        print(f"   question {question.decode()}: {number} squared is {answer.decode()}")
        assert (question, answer) == (b"%d" % number, b"%d" % number**2), "a wrong answer, or answers out of order"
    print("done: every question has its answer")


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        main(stack)
