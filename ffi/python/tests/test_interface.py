"""What the functions of the module answer, where the store makes no difference."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

import liner
from waiting import free_port, wait_until


def test_the_version_has_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", liner.version())


def test_all_stores_are_there():
    assert liner.postgres_enabled()


@pytest.mark.parametrize("empty", range(4))
@pytest.mark.parametrize("constructor", ["new_redis", "new_sqlite", "new_postgres"])
def test_an_empty_argument_creates_no_client(tmp_path, constructor, empty):
    arguments = ["node", "orders", "127.0.0.1:0", str(tmp_path / "mesh.sqlite")]
    arguments[empty] = ""
    with pytest.raises(liner.LinerError):
        getattr(liner.Client, constructor)(*arguments)


def test_an_unreachable_store_creates_no_client(tmp_path):
    port = free_port()
    with pytest.raises(liner.LinerError):
        liner.Client("node", "orders", "127.0.0.1:0", f"redis://127.0.0.1:{port}/")
    with pytest.raises(liner.LinerError):
        liner.Client.new_postgres("node", "orders", "127.0.0.1:0", f"postgresql://liner@127.0.0.1:{port}/liner")
    with pytest.raises(liner.LinerError):
        liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(tmp_path / "missing" / "mesh.sqlite"))


def test_a_file_that_is_no_database_creates_no_client_and_stays_as_it_is(tmp_path):
    path = tmp_path / "mesh.sqlite"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(liner.LinerError, match="mesh.sqlite"):
        liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(path))
    assert path.read_bytes() == before


def test_the_exception_says_why_there_is_no_client(tmp_path):
    with pytest.raises(liner.LinerError, match="cannot create client 'node': topic: "):
        liner.Client.new_sqlite("node", "__#mine", "127.0.0.1:0", str(tmp_path / "mesh.sqlite"))


@pytest.mark.parametrize("peers", ["", "   ", "\n\t", "[]", " [ ] "])
def test_no_peers_seed_nothing(sqlite, tmp_path, peers):
    client = liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(tmp_path / "mesh.sqlite"), peers)
    assert sqlite.views()[0].rows("SELECT * FROM topic_addr") == []
    client.close()


@pytest.mark.parametrize("peers", ["{", "{}", "[1]", '[{"topic": "billing"}]', '"text"', "nonsense"])
def test_peers_that_are_no_such_array_create_no_client(tmp_path, peers):
    with pytest.raises(liner.LinerError):
        liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(tmp_path / "mesh.sqlite"), peers)


def test_before_run_nothing_is_sent(sqlite):
    sqlite.member("node", "orders")
    client = sqlite.open("node").client
    assert not client.is_running()
    for send in (client.send_to, client.send_all, client.send_ex):
        assert not send("billing", b"x")
        assert client.last_error_code() == liner.ERR_NOT_RUNNING
        assert client.last_error_message() != ""
    assert client.bound_listen_addr() is None
    assert client.published_addr() is None


def test_run_and_stop_may_be_repeated_and_set_ok(sqlite):
    sqlite.member("node", "orders")
    node = sqlite.start("node")
    assert node.client.is_running()
    assert not node.client.send_to("orders", b"x")
    assert node.client.last_error_code() == liner.ERR_SELF_TOPIC
    assert node.client.run(node.keep)
    assert (node.client.last_error_code(), node.client.last_error_message()) == (liner.OK, "")
    assert node.client.stop() and not node.client.is_running()
    assert node.client.stop()
    assert node.client.last_error_code() == liner.OK
    assert not node.client.send_to("billing", b"x")
    assert node.client.last_error_code() == liner.ERR_NOT_RUNNING
    node.run()
    assert node.client.is_running()


def test_the_own_topic_and_reserved_ones_are_refused(sqlite):
    sqlite.member("node", "orders")
    client = sqlite.start("node").client
    for call in (client.subscribe, client.unsubscribe):
        assert not call("orders")
        assert client.last_error_code() == liner.ERR_SELF_TOPIC
        assert not call("__#internal_channel")
        assert client.last_error_code() == liner.ERR_INTERNAL_TOPIC
    for send in (client.send_to, client.send_all):
        assert not send("orders", b"x")
        assert client.last_error_code() == liner.ERR_SELF_TOPIC


def test_empty_and_too_large_payloads_are_refused(sqlite, limits):
    sqlite.member("node", "orders")
    sqlite.member("other", "billing")
    sqlite.introduce("other")
    client = sqlite.start("node").client
    assert liner.set_max_message_size(1000)
    for data in (b"", b"x" * 1001):
        for send in (client.send_to, client.send_all):
            assert not send("billing", data)
            assert client.last_error_code() == liner.ERR_INVALID_ARG
    assert client.pending_count() == 0
    assert client.send_to("billing", b"x" * 900)


def test_limits_have_defaults_and_the_first_two_refuse_zero(limits):
    assert liner.get_max_message_size() == 1 << 30
    assert liner.get_compress_threshold() == 1 << 20
    assert liner.get_max_send_queue() == 0
    assert liner.set_max_message_size(5000) and liner.get_max_message_size() == 5000
    assert liner.set_compress_threshold(100) and liner.get_compress_threshold() == 100
    assert liner.set_max_send_queue(7) and liner.get_max_send_queue() == 7
    assert not liner.set_max_message_size(0) and liner.get_max_message_size() == 5000
    assert not liner.set_compress_threshold(0) and liner.get_compress_threshold() == 100
    assert liner.set_max_send_queue(0) and liner.get_max_send_queue() == 0


def test_an_address_that_is_taken_or_none_cannot_be_bound(sqlite, tmp_path):
    sqlite.member("node", "orders")
    taken = sqlite.start("node").client.bound_listen_addr()
    for addr in (taken, "nonsense", "203.0.113.1:0"):
        with liner.Client.new_sqlite("other", "billing", addr, str(tmp_path / "mesh.sqlite")) as other:
            assert not other.run(lambda *_: None)
            assert other.last_error_code() == liner.ERR_BIND, addr
            assert not other.is_running()
            assert other.published_addr() is None


def test_the_published_address_is_the_bound_one_as_text(tmp_path):
    port = free_port()
    with liner.Client.new_sqlite("node", "orders", f"localhost:{port}", str(tmp_path / "mesh.sqlite")) as client:
        assert client.run(lambda *_: None), client.last_error_message()
        assert client.bound_listen_addr() == f"127.0.0.1:{port}"
        assert client.published_addr() == f"127.0.0.1:{port}"
        assert client.list_addresses("orders") == [(f"127.0.0.1:{port}", "node")]
        assert client.stop()
        assert client.bound_listen_addr() == f"127.0.0.1:{port}", "kept"
        assert client.published_addr() is None


def test_an_advertised_address_is_published_with_the_bound_port_for_port_zero(tmp_path):
    with liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(tmp_path / "mesh.sqlite")) as client:
        assert client.advertise_addr() is None
        assert client.set_advertise_addr("localhost:0")
        assert client.advertise_addr() == "localhost:0"
        assert client.run(lambda *_: None), client.last_error_message()
        port = client.bound_listen_addr().rpartition(":")[2]
        assert port != "0"
        assert client.published_addr() == f"localhost:{port}", "host names are kept"
        assert client.list_addresses("orders") == [(f"localhost:{port}", "node")]
        assert not client.set_advertise_addr("localhost:9")
        assert client.last_error_code() == liner.ERR_ALREADY_RUNNING
        assert client.stop()
        assert client.set_advertise_addr(None)
        assert client.advertise_addr() is None
        assert client.run(lambda *_: None)
        assert client.published_addr() == client.bound_listen_addr()


def test_an_advertised_address_that_is_none_is_refused(sqlite):
    sqlite.member("node", "orders")
    client = sqlite.open("node").client
    assert client.set_advertise_addr("peer.example:2255")
    assert not client.set_advertise_addr("nonsense")
    assert client.last_error_code() == liner.ERR_INVALID_ARG
    assert client.advertise_addr() == "peer.example:2255"
    assert client.set_advertise_addr("")
    assert client.advertise_addr() is None


def test_messages_reach_a_node_by_the_name_it_advertises(tmp_path):
    path = str(tmp_path / "mesh.sqlite")
    came = threading.Event()
    with liner.Client.new_sqlite("a", "orders", "127.0.0.1:0", path) as a:
        assert a.set_advertise_addr("localhost:0")
        assert a.run(lambda *_: came.set())
        with liner.Client.new_sqlite("b", "billing", "127.0.0.1:0", path) as b:
            assert b.run(lambda *_: None)
            assert b.send_to("orders", b"x")
            assert came.wait(30)


def test_clearing_is_refused_while_running(sqlite):
    sqlite.member("node", "orders")
    node = sqlite.start("node")
    for clear in (node.client.clear_stored_messages, node.client.clear_addresses_of_topic):
        assert not clear()
        assert node.client.last_error_code() == liner.ERR_CLEAR_WHILE_RUNNING
    assert node.client.stop()
    assert node.client.clear_stored_messages() and node.client.clear_addresses_of_topic()
    assert node.client.last_error_code() == liner.OK
    node.run()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_payloads_may_be_any_bytes(sqlite, kind):
    sqlite.member("sender", "replies")
    sqlite.member("listener", "orders")
    listener, sender = sqlite.start("listener"), sqlite.start("sender")
    data = b"\0\xff NUL and more \0"
    assert sender.client.send_to("orders", kind(data), True)
    assert sender.client.send_all("orders", kind(data), False)
    assert listener.wait_for(2) == [data, data]


def test_what_is_no_payload_and_no_name_is_an_error_in_python(sqlite):
    sqlite.member("node", "orders")
    client = sqlite.start("node").client
    for data, given in (("text", "str"), (5, "int"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^data must be bytes, bytearray or memoryview, not {given}$"):
            client.send_to("billing", data)
        with pytest.raises(TypeError, match="^data must be bytes"):
            client.send_ex("billing", data)
    with pytest.raises(ValueError):
        client.send_to("bill\0ing", b"x")
    with pytest.raises(AttributeError):
        client.send_to(None, b"x")


def test_names_may_have_any_letters(sqlite):
    sqlite.member("sénder", "antwörten")
    sqlite.member("слушатель", "注文")
    listener, sender = sqlite.start("слушатель"), sqlite.start("sénder")
    assert sender.client.send_to("注文", b"x", True)
    listener.wait_for(1)
    assert listener.messages == [("注文", "antwörten", b"x")]


def test_a_closed_client_answers_failure(sqlite):
    sqlite.member("node", "orders")
    node = sqlite.start("node")
    node.client.close()
    node.client.close()
    assert not node.client.is_running()
    assert not node.client.run(node.keep)
    assert not node.client.send_to("billing", b"x")
    assert not node.client.stop()
    assert node.client.pending_count() == -1
    assert node.client.pending_by_peer() is None
    assert node.client.list_addresses("billing") is None
    assert node.client.stats() is None
    assert (node.client.last_error_code(), node.client.last_error_message()) == (0, "")


def test_a_with_block_closes_its_client(sqlite, tmp_path):
    with liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(tmp_path / "mesh.sqlite")) as client:
        assert client.run(lambda *_: None)
    assert not client.is_running()
    assert sqlite.views()[0].routes("orders") == {}


def test_when_close_returns_the_file_is_closed_and_has_everything(tmp_path):
    directory = tmp_path / "mesh"
    directory.mkdir()
    peers = json.dumps([{"topic": "billing", "addr": "127.0.0.1:1", "client_name": "billing-1"}])
    client = liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", str(directory / "mesh.sqlite"), peers)
    assert client.run(lambda *_: None)
    assert client.send_to("billing", b"x")
    client.close()
    assert [path.name for path in directory.iterdir()] == ["mesh.sqlite"]
    shutil.copy(directory / "mesh.sqlite", tmp_path / "copy.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.sqlite")) as copy:
        assert copy.execute("SELECT count(*) FROM conn_messages").fetchone() == (1,)


def test_a_newer_process_takes_the_name_at_once(sqlite):
    sqlite.member("node", "orders")
    older = sqlite.start("node")
    newer = liner.Client.new_sqlite("node", "orders", "127.0.0.1:0", sqlite.constructor(sqlite.members()[0])[1][3])
    assert newer.run(lambda *_: None), newer.last_error_message()
    wait_until(lambda: not older.client.is_running(), "the older one to end")
    assert newer.is_running()
    newer.close()


FAILING = """
import os, sys, liner
if "LINER_LIBRARY" in os.environ:
    liner.loadLib(os.environ["LINER_LIBRARY"])
lines = []
if sys.argv[1] == "callback":
    liner.set_log_callback(lines.append)
if sys.argv[1] == "restored":
    liner.set_log_callback(lines.append)
    liner.set_log_callback(None)
client = liner.Client.new_sqlite("node", "orders", "nonsense", sys.argv[2])
assert not client.run(lambda *_: None)
client.close()
print(len(lines))
"""


@pytest.mark.parametrize("sink", ["stderr", "callback", "restored"])
def test_failures_are_logged_to_stderr_or_to_the_callback(tmp_path, sink):
    command = [sys.executable, "-c", FAILING, sink, str(tmp_path / "mesh.sqlite")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    if sink == "callback":
        assert int(done.stdout) > 0
        assert done.stderr == ""
    else:
        assert int(done.stdout) == 0
        assert "nonsense" in done.stderr


BEYOND = """
import os, sys, liner
if "LINER_LIBRARY" in os.environ:
    liner.loadLib(os.environ["LINER_LIBRARY"])
lines = []
liner.set_log_callback(lines.append)
client = liner.Client.new_sqlite("node", "orders", sys.argv[1], sys.argv[2])
print(client.run(lambda *_: None), client.last_error_code() != liner.OK, len(lines))
client.close()
"""


@pytest.mark.parametrize(
    ("addr", "required", "expected"),
    [
        ("127.0.0.1:0", "1", "True False 0"),
        ("0.0.0.0:0", "", "True False 1"),
        ("0.0.0.0:0", "1", "False True 1"),
    ],
)
def test_listening_beyond_loopback_is_warned_of_once_or_refused(tmp_path, monkeypatch, addr, required, expected):
    monkeypatch.setenv("LINER_REQUIRE_LOOPBACK", required)
    command = [sys.executable, "-c", BEYOND, addr, str(tmp_path / "mesh.sqlite")]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip() == expected
