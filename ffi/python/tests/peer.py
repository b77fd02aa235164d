"""A node in a process of its own, for tests that kill it: it tells what it receives, and does what it is told.

Both are lines of JSON, on standard output and standard input. The end of the input ends it in good order.
"""

import json
import os
import sys
import threading

import liner


def main():
    """Runs the node that the only argument describes."""
    told = json.loads(sys.argv[1])
    if "LINER_LIBRARY" in os.environ:
        liner.loadLib(os.environ["LINER_LIBRARY"])
    if "max_message_size" in told:
        liner.set_max_message_size(told["max_message_size"])
    lock = threading.Lock()

    def tell(**line):
        with lock:
            print(json.dumps(line), flush=True)

    client = getattr(liner.Client, told["constructor"])(*told["arguments"])

    def receive(to, from_, data):
        tell(what="received", to=to, **{"from": from_}, data=data.decode("latin-1"))

    for topic in told.get("subscribe", []):
        client.subscribe(topic)
    if not client.run(receive):
        sys.exit(client.last_error_message())
    tell(what="running")
    for line in sys.stdin:
        command = json.loads(line)
        arguments = [word.encode("latin-1") if at == 1 else word for at, word in enumerate(command["arguments"])]
        tell(what="did", result=getattr(client, command["call"])(*arguments))
    client.close()


if __name__ == "__main__":
    main()
