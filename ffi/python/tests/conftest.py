"""The meshes that tests run on, and the servers below them.

LINER_LIBRARY names a library to test instead of the one that is installed with the module. A server that is missing or does not
start fails the tests that need it.
"""

import itertools
import os

import pytest

import liner
from meshes import IsolatedMesh, PostgresMesh, RedisMesh, SqliteMesh
from operators import SqliteShell
from servers import Postgres, Redis

STORES = ["sqlite", "isolated", "postgres", "redis"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def library():
    """The library under test."""
    if "LINER_LIBRARY" in os.environ:
        liner.loadLib(os.environ["LINER_LIBRARY"])


@pytest.fixture(scope="session")
def shell():
    """A process that looks into SQLite files."""
    process = SqliteShell()
    yield process
    process.close()


def started(server):
    """A server for all tests of this process."""
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    yield from started(Postgres())


@pytest.fixture(scope="session")
def redis():
    """A Redis server."""
    yield from started(Redis())


@pytest.fixture
def make_mesh(request, tmp_path):
    """Makes meshes on a kind of store, and ends their nodes with the test."""
    made = []

    def make(store):
        if store == "sqlite":
            mesh = SqliteMesh(request.getfixturevalue("shell"), tmp_path)
        elif store == "isolated":
            mesh = IsolatedMesh(request.getfixturevalue("shell"), tmp_path)
        elif store == "postgres":
            mesh = PostgresMesh(request.getfixturevalue("postgres"), f"mesh{next(_numbers)}")
        else:
            mesh = RedisMesh(request.getfixturevalue("redis"), next(_numbers))
        made.append(mesh)
        return mesh

    yield make
    for mesh in made:
        mesh.close()


@pytest.fixture(params=STORES)
def mesh(request, make_mesh):
    """Nodes on each kind of store."""
    return make_mesh(request.param)


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def shared(request, make_mesh):
    """Nodes on each kind of store that nodes can share."""
    return make_mesh(request.param)


@pytest.fixture
def sqlite(make_mesh):
    """Nodes on one SQLite file, for what does not depend on the store."""
    return make_mesh("sqlite")


@pytest.fixture
def isolated(make_mesh):
    """Nodes with a SQLite file each."""
    return make_mesh("isolated")


@pytest.fixture
def limits():
    """Limits of the process, set back after the test."""
    before = (liner.get_max_message_size(), liner.get_compress_threshold(), liner.get_max_send_queue())
    yield
    liner.set_max_message_size(before[0])
    liner.set_compress_threshold(before[1])
    liner.set_max_send_queue(before[2])


@pytest.fixture
def pair(sqlite):
    """A sender that runs and a listener that does not yet."""
    sqlite.member("sender", "replies")
    sqlite.member("listener", "orders")
    sqlite.introduce("listener")
    return sqlite.start("sender"), sqlite.open("listener")
