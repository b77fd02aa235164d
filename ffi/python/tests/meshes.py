"""Nodes of a test and the store they share, or the stores they have each.

A test declares its nodes first: nodes with a file each have to be told of all others.
"""

import collections
import json
import pathlib
import queue
import subprocess
import sys
import threading

import liner
from operators import PostgresTables, RedisKeys, SqliteTables
from waiting import DEADLINE, free_port, wait_until

Message = collections.namedtuple("Message", "to from_ data")

# Where a node's processes and its peers look for it.
Member = collections.namedtuple("Member", "name topic addr serves")

PEER = pathlib.Path(__file__).with_name("peer.py")


class Node:
    """A client of this process that keeps what it receives."""

    def __init__(self, client, name):
        self.client = client
        self.name = name
        self.messages = []
        self.events = []

    def keep(self, to, from_, data):
        """The receive callback."""
        self.messages.append(Message(to, from_, data))

    def keep_event(self, kind, topic, peer, message):
        """The status callback."""
        self.events.append((kind, topic, peer, message))

    def run(self, callback=None):
        """Runs the client, with a callback that keeps messages unless another is given."""
        assert self.client.run(callback or self.keep), self.client.last_error_message()
        return self

    def data(self):
        """The payloads that came."""
        return [message.data for message in list(self.messages)]

    def wait_for(self, count):
        """Waits until so many messages have come, and returns the payloads."""
        wait_until(lambda: len(self.messages) >= count, f"message {count} of {self.name}; came: {self.data()[-3:]}")
        return self.data()

    def wait_for_event(self, kind, topic=None):
        """Waits until an event of this kind has come."""

        def came():
            return [event for event in list(self.events) if event[0] == kind and topic in (None, event[1])]

        return wait_until(came, f"an event {kind} of {topic}; came: {self.events}")[0]


class Process:
    """A node in a process of its own, which writes a line of JSON for whatever happens."""

    def __init__(self, arguments):
        command = [sys.executable, str(PEER), json.dumps(arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines = queue.Queue()
        self.messages = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.next("running"), "the peer does not run"

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put({"what": "ended"})

    def next(self, what):
        """Waits for the next line of this kind; messages that come meanwhile are kept."""
        while True:
            line = self._lines.get(timeout=DEADLINE)
            self._keep(line)
            if line["what"] == what:
                return line
            assert line["what"] != "ended", f"the peer ended before it said {what}"

    def _keep(self, line):
        if line["what"] == "received":
            self.messages.append(Message(line["to"], line["from"], line["data"].encode("latin-1")))

    def wait_for(self, count):
        """Waits until so many messages have come, and returns the payloads."""
        while len(self.messages) < count:
            self.next("received")
        return [message.data for message in self.messages]

    def read_until(self, data):
        """Waits until this payload has come, and returns the payloads up to it."""
        while not self.messages or self.messages[-1].data != data:
            self.next("received")
        return [message.data for message in self.messages]

    def tell(self, **command):
        """Has it do something, and returns its answer."""
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self.next("did")["result"]

    def kill(self):
        """Ends it in the middle of whatever it does. What it had said that it received is kept."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        while not self._lines.empty():
            self._keep(self._lines.get())


class Mesh:
    """The nodes of a test."""

    # Whether all nodes share the store.
    shared = True

    def __init__(self):
        self._members = {}
        self._nodes = []
        self._processes = []

    def constructor(self, member):
        """The name of a constructor of `liner.Client`, and its arguments."""
        raise NotImplementedError

    def view(self, name):
        """What an operator sees in the store of a node."""
        raise NotImplementedError

    def views(self):
        """All stores."""
        raise NotImplementedError

    def member(self, name, topic, serves=()):
        """Declares a node, and what it will subscribe to."""
        self._members[name] = Member(name, topic, f"127.0.0.1:{free_port()}", tuple(serves))
        return self._members[name]

    def members(self):
        """All declared nodes."""
        return list(self._members.values())

    def open(self, name):
        """A client of a declared node."""
        method, arguments = self.constructor(self._members[name])
        node = Node(getattr(liner.Client, method)(*arguments), name)
        node.client.set_status_callback(node.keep_event)
        self._nodes.append(node)
        return node

    def start(self, name, callback=None):
        """A client that runs."""
        return self.open(name).run(callback)

    def spawn(self, name, **options):
        """A node in a process of its own."""
        method, arguments = self.constructor(self._members[name])
        process = Process({"constructor": method, "arguments": arguments, **options})
        self._processes.append(process)
        return process

    def introduce(self, name):
        """Makes a node known that has never run: an operator adds its routes."""
        member = self._members[name]
        for topic in (member.topic, *member.serves):
            self.view(name).add_route(topic, member.addr, name)

    def waiting(self):
        """How many messages wait in all stores."""
        return sum(view.waiting() for view in self.views())

    def wait_until_drained(self):
        """Waits until nothing waits in any store."""
        wait_until(lambda: self.waiting() == 0, f"empty queues; {self.waiting()} wait")

    def close(self):
        """Ends all nodes."""
        for process in self._processes:
            process.kill()
        for node in self._nodes:
            node.client.close()


class SqliteMesh(Mesh):
    """One SQLite file."""

    def __init__(self, shell, directory):
        super().__init__()
        self._path = directory / "mesh.sqlite"
        self._view = SqliteTables(shell, self._path)

    def constructor(self, member):
        return "new_sqlite", [member.name, member.topic, member.addr, str(self._path), ""]

    def view(self, name):
        self._make()
        return self._view

    def views(self):
        return [self._view]

    def _make(self):
        """A client of the file makes its tables; an operator who is first needs one."""
        if not self._path.exists():
            liner.Client.new_sqlite("founder", "founders", "127.0.0.1:0", str(self._path), "").close()


class IsolatedMesh(Mesh):
    """A SQLite file for each node, told of all others."""

    shared = False

    def __init__(self, shell, directory):
        super().__init__()
        self._shell = shell
        self._directory = directory

    def seeds(self, member):
        """The other nodes, as a node is told of them."""
        others = [other for other in self.members() if other.name != member.name]
        return [
            {"topic": topic, "addr": other.addr, "client_name": other.name}
            for other in others
            for topic in (other.topic, *other.serves)
            if topic != member.topic
        ]

    def constructor(self, member):
        path = self._directory / f"{member.name}.sqlite"
        return "new_sqlite", [member.name, member.topic, member.addr, str(path), json.dumps(self.seeds(member))]

    def view(self, name):
        return SqliteTables(self._shell, self._directory / f"{name}.sqlite")

    def views(self):
        paths = [self._directory / f"{member.name}.sqlite" for member in self.members()]
        return [SqliteTables(self._shell, path) for path in paths if path.exists()]

    def introduce(self, name):
        """Everybody is told of everybody."""


class PostgresMesh(Mesh):
    """One PostgreSQL database."""

    def __init__(self, server, database):
        super().__init__()
        self._url = server.url(database)
        self._view = PostgresTables(self._url)
        PostgresTables(server.url("postgres")).rows(f"CREATE DATABASE {database}")

    def constructor(self, member):
        return "new_postgres", [member.name, member.topic, member.addr, self._url]

    def view(self, name):
        if not self._view.columns("topic_addr"):
            liner.Client.new_postgres("founder", "founders", "127.0.0.1:0", self._url).close()
        return self._view

    def views(self):
        return [self._view]


class RedisMesh(Mesh):
    """One Redis database."""

    def __init__(self, server, database):
        super().__init__()
        self._url = server.url(database)
        self._view = RedisKeys(self._url)

    def constructor(self, member):
        return "new_redis", [member.name, member.topic, member.addr, self._url]

    def view(self, name):
        return self._view

    def views(self):
        return [self._view]
