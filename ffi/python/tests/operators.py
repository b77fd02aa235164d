"""What an operator sees in a store, and writes to it, from outside: another process, the store's own tools.

SQLite files are opened in a process of their own also because two SQLite libraries in one process (Python's and the one in
the shared library) release each other's locks.
"""

import json
import subprocess
import sys
import threading

from servers import checked, postgres_program, redis_program

SQLITE_SHELL = """
import json, sqlite3, sys
for line in sys.stdin:
    path, sql = json.loads(line)
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    try:
        rows = [[v.hex() if isinstance(v, bytes) else v for v in row] for row in connection.execute(sql)]
        print(json.dumps({"rows": rows}), flush=True)
    except sqlite3.Error as error:
        print(json.dumps({"error": str(error)}), flush=True)
    finally:
        connection.close()
"""


class SqliteShell:
    """A process that runs SQL in SQLite files."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SQLITE_SHELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def query(self, path, sql):
        """The rows of a statement; blobs as hexadecimal text."""
        with self._lock:
            self._process.stdin.write(json.dumps([str(path), sql]) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{sql}: {answer['error']}")
        return answer["rows"]

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def quoted(text):
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


class SqlTables:
    """The tables of a SQLite file or a PostgreSQL database."""

    def rows(self, sql):
        """The rows of a query, as lists of texts and numbers."""
        raise NotImplementedError

    def one(self, sql):
        """The only value of a query, or None."""
        rows = self.rows(sql)
        return rows[0][0] if rows else None

    def waiting(self, key=None):
        """How many messages wait, in all queues or in one."""
        where = "" if key is None else f" WHERE connection_key = {key}"
        return int(self.one(f"SELECT count(*) FROM conn_messages{where}"))

    def queued(self, key):
        """The stored rows of a lane as bytes, oldest first."""
        hexed = self.rows(f"SELECT {self.HEX} FROM conn_messages WHERE connection_key = {key} ORDER BY id")
        return [bytes.fromhex(row[0]) for row in hexed]

    def routes(self, topic):
        """Address and node of everybody who serves a topic."""
        return dict(self.rows(f"SELECT addr, client_name FROM topic_addr WHERE topic = {quoted(topic)}"))

    def add_route(self, topic, addr, name):
        """Says where a node serves a topic."""
        values = ", ".join(quoted(value) for value in (topic, addr, name))
        self.rows(f"INSERT INTO topic_addr (topic, addr, client_name) VALUES ({values})")

    def lane(self, composite):
        """The connection key of a lane, or None."""
        key = self.one(f"SELECT connection_key FROM conn_key_map WHERE composite = {quoted(composite)}")
        return None if key is None else int(key)

    def lanes(self):
        """The composites of all lanes."""
        return sorted(row[0] for row in self.rows("SELECT composite FROM conn_key_map"))

    def topic_key(self, topic):
        """The number of a topic, or None."""
        return self.one(f"SELECT k FROM topic_key WHERE topic = {quoted(topic)}")

    def sender_topic(self, key):
        """The topic that stands for a lane's sender."""
        return self.one(f"SELECT sender_topic FROM conn_sender WHERE connection_key = {key}")

    def handled(self, key):
        """The highest number that a lane's receiver has handled, or None."""
        value = self.one(f"SELECT v FROM conn_mess_number WHERE connection_key = {key}")
        return None if value is None else int(value)

    def listeners(self, sender_key):
        """Address and topic of those a sender has sent to."""
        sql = f"SELECT addr, listener_topic FROM sender_listener WHERE sender_key = {quoted(sender_key)}"
        return dict(self.rows(sql))

    def last_key(self):
        """The counter that connection keys come from."""
        return int(self.one("SELECT v FROM seq WHERE id = 1"))

    def columns(self, table):
        """The names of a table's columns."""
        raise NotImplementedError


DATA_TABLES = [
    "conn_messages",
    "conn_mess_number",
    "conn_sender",
    "topic_key",
    "conn_key_map",
    "sender_listener",
    "topic_addr",
]


class SqliteTables(SqlTables):
    """A SQLite file."""

    HEX = "hex(payload)"

    def __init__(self, shell, path):
        self._shell = shell
        self._path = path

    def rows(self, sql):
        return self._shell.query(self._path, sql)

    def columns(self, table):
        return [row[1] for row in self.rows(f"PRAGMA table_info({table})")]

    def clear_all(self):
        """Starts afresh, while no node runs."""
        for table in DATA_TABLES:
            self.rows(f"DELETE FROM {table}")
        self.rows("UPDATE seq SET v = 0")


class PostgresTables(SqlTables):
    """A PostgreSQL database, through psql."""

    HEX = "encode(payload, 'hex')"

    def __init__(self, url):
        self._url = url

    def rows(self, sql):
        words = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\x1f"]
        command = [postgres_program("psql"), *words, "--set=ON_ERROR_STOP=1", "--command", sql, self._url]
        return [line.split("\x1f") for line in checked(command).decode().splitlines()]

    def columns(self, table):
        sql = (
            f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        )
        return [row[0] for row in self.rows(sql)]

    def clear_all(self):
        """Starts afresh, while no node runs."""
        self.rows(f"TRUNCATE {', '.join(DATA_TABLES)}; UPDATE seq SET v = 0")


COUNT_QUEUES = """
local waiting = 0
for _, queue in ipairs(redis.call("KEYS", "lnr_connection:*:messages")) do
    waiting = waiting + redis.call("LLEN", queue)
end
return waiting
"""


class RedisKeys:
    """A Redis database, through redis-cli."""

    def __init__(self, url):
        self._url = url

    def cli(self, *words):
        """An answer as bytes."""
        command = [redis_program("redis-cli"), "--raw", "-u", self._url, *words]
        answer = checked(command)
        # The tool ends what it shows with a line break.
        return answer[:-1] if answer.endswith(b"\n") else answer

    def _lines(self, *words):
        return [line.decode() for line in self.cli(*words).split(b"\n") if line]

    def _value(self, key):
        return self.cli("GET", key).decode() or None

    def keys(self):
        """All keys of the database."""
        return sorted(self._lines("KEYS", "*"))

    def _pairs(self, key):
        lines = self._lines("HGETALL", key)
        return dict(zip(lines[::2], lines[1::2]))

    def waiting(self, key=None):
        """How many messages wait, in all queues or in one."""
        if key is not None:
            return int(self.cli("LLEN", f"lnr_connection:{key}:messages"))
        return int(self.cli("EVAL", COUNT_QUEUES, "0"))

    def queued(self, key):
        """The stored rows of a lane as bytes, oldest first."""
        count = self.waiting(key)
        return [self.cli("LINDEX", f"lnr_connection:{key}:messages", str(at)) for at in range(count)]

    def routes(self, topic):
        """Address and node of everybody who serves a topic."""
        return self._pairs(f"lnr_topic:{topic}:addr")

    def add_route(self, topic, addr, name):
        """Says where a node serves a topic."""
        self.cli("HSET", f"lnr_topic:{topic}:addr", addr, name)

    def lane(self, composite):
        """The connection key of a lane, or None."""
        key = self._value(f"lnr_connection:{composite}:key")
        return None if key is None else int(key)

    def lanes(self):
        """The composites of all lanes."""
        keys = [key for key in self.keys() if key.startswith("lnr_connection:") and key.endswith(":key")]
        return sorted(key[len("lnr_connection:") : -len(":key")] for key in keys)

    def topic_key(self, topic):
        """The number of a topic, or None."""
        return self._value(f"lnr_topic:{topic}:key")

    def sender_topic(self, key):
        """The topic that stands for a lane's sender."""
        return self._value(f"lnr_connection:{key}:sender")

    def handled(self, key):
        """The highest number that a lane's receiver has handled, or None."""
        value = self._value(f"lnr_connection:{key}:mess_number")
        return None if value is None else int(value)

    def listeners(self, sender_key):
        """Address and topic of those a sender has sent to."""
        return self._pairs(f"lnr_sender:{sender_key}:listener")

    def last_key(self):
        """The counter that connection keys come from."""
        return int(self._value("lnr_unique_key") or 0)

    def clear_all(self):
        """Starts afresh, while no node runs."""
        for key in self.keys():
            assert key.startswith("lnr_"), key
            self.cli("DEL", key)
