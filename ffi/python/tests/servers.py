"""Private PostgreSQL and Redis servers on free ports, in temporary directories, that end with the test process."""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import threading

from waiting import free_port

# Ends the server when its input does (so when the test process ends, however that happens), and itself when the server does.
GUARD = """signal=$1; shift; exec 3<&0; "$@" </dev/null & server=$!
    { cat <&3 >/dev/null; kill -$signal $server; } 2>/dev/null &
    wait $server"""

# How often a server is started whose port somebody else was quicker to take.
STARTS = 5


class Missing(Exception):
    """A server that tests need is not installed, or does not start."""


def postgres_program(name):
    """Where a program of PostgreSQL is."""
    newest_first = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(newest_first + [os.environ.get("PATH", "")]))
    if found is None:
        raise Missing(f"no {name} found: scripts/test installs PostgreSQL")
    return found


def redis_program(name):
    """Where a program of Redis is."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"no {name} found: scripts/test installs Redis")
    return found


def checked(command, **options):
    """Runs a command to its end and returns what it wrote."""
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode != 0:
        raise Missing(f"{command[0]}: exit code {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Server:
    """A server that says in its log that it is ready."""

    # Ends it and all its processes at once.
    SIGNAL = ""

    def __init__(self, prefix):
        self.directory = tempfile.mkdtemp(prefix=prefix)
        self.port = 0
        self._guard = None

    def command(self):
        """The words that start it."""
        raise NotImplementedError

    def start(self, port=None):
        """Starts it, on a free port unless one is named, and waits until it takes connections."""
        said = []
        for _ in range(STARTS):
            self.port = port or free_port()
            self._guard = subprocess.Popen(
                ["sh", "-c", GUARD, "sh", self.SIGNAL, *self.command()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )
            said = []
            for line in self._guard.stdout:
                said.append(line.decode(errors="replace"))
                if "ready to accept connections" in said[-1].lower():
                    # Read on, so that the server does not stand still when the pipe is full.
                    threading.Thread(target=self._guard.stdout.read, daemon=True).start()
                    return
            self.stop()
        raise Missing(f"{self.command()[0]} did not start: {''.join(said)}")

    def stop(self):
        """Ends it without a word to its clients; `start` starts it again."""
        if self._guard is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def remove(self):
        """Ends it for good."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Postgres(Server):
    """A PostgreSQL server, as another user than root, which it refuses."""

    SIGNAL = "QUIT"

    def __init__(self):
        super().__init__("liner-python-postgres-")
        self._user = []
        if os.geteuid() == 0:
            try:
                postgres = pwd.getpwnam("postgres")
            except KeyError:
                raise Missing("PostgreSQL refuses to run as root, and there is no user postgres") from None
            os.chown(self.directory, postgres.pw_uid, postgres.pw_gid)
            self._user = ["setpriv", f"--reuid={postgres.pw_uid}", f"--regid={postgres.pw_gid}", "--clear-groups"]
        words = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=liner", "--pgdata=data"]
        checked([*self._user, postgres_program("initdb"), *words], cwd=self.directory)

    def command(self):
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=300", "unix_socket_directories="]
        words = [word for setting in settings for word in ("-c", setting)]
        return [*self._user, postgres_program("postgres"), "-D", "data", "-p", str(self.port), *words]

    def url(self, database):
        """The connection string of one of its databases."""
        return f"postgresql://liner@127.0.0.1:{self.port}/{database}"


class Redis(Server):
    """A Redis server with a database for every test."""

    SIGNAL = "KILL"

    def __init__(self):
        super().__init__("liner-python-redis-")

    def command(self):
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--databases", "4096"]
        return [redis_program("redis-server"), *words, "--appendonly", "yes", "--appendfsync", "always"]

    def url(self, database):
        """The connection string of one of its databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"
