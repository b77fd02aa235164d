"""Callbacks: their threads, their lifetime, and what becomes of exceptions in them."""

import gc
import logging
import os
import subprocess
import sys
import threading

import pytest

import liner
from waiting import wait_until


@pytest.fixture
def reported():
    """What the error hook is told."""
    told = []
    liner.set_error_hook(lambda error, where: told.append((error, where)))
    yield told
    liner.set_error_hook(None)


def test_a_client_that_nobody_refers_to_goes_on_receiving(sqlite):
    sqlite.member("sender", "replies")
    sender = sqlite.start("sender")
    path = sqlite.constructor(sqlite.members()[0])[1][3]
    came = []
    client = liner.Client.new_sqlite("listener", "orders", "127.0.0.1:0", path)
    assert client.run(lambda *message: came.append(message))
    client.set_status_callback(lambda *_: None)
    handle = client._handle
    del client
    gc.collect()
    for number in range(100):
        assert sender.client.send_to("orders", b"%d" % number, True)
    wait_until(lambda: len(came) == 100, "100 messages")
    liner._clients[handle].close()


def test_an_exception_is_a_nack_and_is_reported(pair, reported, caplog):
    sender, listener = pair
    failures = [ValueError("first"), KeyError("second")]

    def receive(to, from_, data):
        if failures:
            raise failures.pop(0)
        listener.keep(to, from_, data)

    with caplog.at_level(logging.ERROR, "liner"):
        listener.run(receive)
        assert sender.client.send_to("orders", b"one", True)
        assert sender.client.send_to("orders", b"two", True)
        assert listener.wait_for(2) == [b"one", b"two"]
    assert [type(error) for error, _ in reported] == [ValueError, KeyError]
    assert all("listener" in where for _, where in reported)
    logged = [record for record in caplog.records if record.name == "liner"]
    assert [record.exc_info[0] for record in logged] == [ValueError, KeyError]


def test_what_the_error_hook_raises_is_logged(pair, caplog):
    sender, listener = pair

    def hook(error, where):
        raise RuntimeError("hook")

    def receive(to, from_, data):
        if not caplog.records:
            raise ValueError("callback")
        listener.keep(to, from_, data)

    liner.set_error_hook(hook)
    try:
        with caplog.at_level(logging.ERROR, "liner"):
            listener.run(receive)
            assert sender.client.send_to("orders", b"one", True)
            listener.wait_for(1)
    finally:
        liner.set_error_hook(None)
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, RuntimeError]


def test_exceptions_in_status_and_log_callbacks_are_reported(pair, reported):
    sender, listener = pair

    def fail(*_):
        raise ValueError("callback")

    assert sender.client.set_status_callback(fail)
    assert liner.set_log_callback(fail)
    try:
        listener.run()
        assert sender.client.send_to("orders", b"one", True)
        wait_until(lambda: any("status" in where for _, where in reported), "the status callback")
        with liner.Client.new_sqlite("none", "nothing", "nonsense", os.devnull + "x") as broken:
            broken.run(fail)
    except liner.LinerError:
        pass
    finally:
        liner.set_log_callback(None)
    assert any("log" in where for _, where in reported)


def test_a_slow_callback_delays_neither_other_clients_nor_calls(sqlite):
    sqlite.member("sender", "replies")
    sqlite.member("slow", "orders")
    sqlite.member("quick", "billing")
    release = threading.Event()
    held = threading.Event()

    def hold(*_):
        held.set()
        assert release.wait(30)

    sqlite.open("slow").run(hold)
    quick, sender = sqlite.start("quick"), sqlite.start("sender")
    try:
        assert sender.client.send_to("orders", b"x", True)
        assert held.wait(30)
        for number in range(100):
            assert sender.client.send_to("billing", b"%d" % number, True)
        assert len(quick.wait_for(100)) == 100
        assert sender.client.send_to("orders", b"y", True)
        assert sender.client.pending_by_peer() != []
    finally:
        release.set()


def test_callbacks_of_a_client_run_one_at_a_time(sqlite):
    sqlite.member("listener", "orders")
    senders = [sqlite.member(f"sender-{number}", f"replies-{number}") for number in range(4)]
    busy, overlaps, came = threading.Lock(), [], []

    def receive(_, __, data):
        if not busy.acquire(blocking=False):
            overlaps.append(data)
            return
        came.append(data)
        busy.release()

    sqlite.open("listener").run(receive)
    nodes = [sqlite.start(member.name) for member in senders]
    for number in range(50):
        for node in nodes:
            assert node.client.send_to("orders", b"%d" % number, True)
    wait_until(lambda: len(came) + len(overlaps) == 200, "200 messages")
    assert overlaps == []


def test_no_callback_comes_after_stop_or_close(pair):
    sender, listener = pair
    after = []
    stopped = threading.Event()

    def receive(to, from_, data):
        if stopped.is_set():
            after.append(data)
        listener.keep(to, from_, data)

    for end in (listener.client.stop, listener.client.close):
        stopped.clear()
        listener.run(receive)
        for number in range(500):
            assert sender.client.send_to("orders", b"%d" % number, True)
        wait_until(lambda: len(listener.messages) > 5, "some messages")
        end()
        stopped.set()
        listener.messages.clear()
        # Whoever would call now has the time to do so.
        assert sender.client.send_ex("orders", b"last", durability=liner.SYNCED)
        assert after == []


def test_stop_waits_for_the_callback_that_runs(pair):
    sender, listener = pair
    entered, release, left, stopped = (threading.Event() for _ in range(4))

    def receive(*_):
        entered.set()
        assert release.wait(30)
        left.set()

    def stop():
        assert listener.client.stop()
        stopped.set()

    listener.run(receive)
    assert sender.client.send_to("orders", b"x", True)
    assert entered.wait(30)
    stopper = threading.Thread(target=stop)
    stopper.start()
    assert not stopped.wait(0.2)
    release.set()
    assert stopped.wait(30) and left.is_set()
    stopper.join()


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_callback_may_end_its_own_client_and_is_the_last(pair, end):
    sender, listener = pair
    done = threading.Event()

    def receive(to, from_, data):
        listener.keep(to, from_, data)
        getattr(listener.client, end)()
        done.set()

    listener.run(receive)
    for number in range(20):
        assert sender.client.send_to("orders", b"%d" % number, True)
    assert done.wait(30)
    wait_until(lambda: not listener.client.is_running(), "the end")
    assert sender.client.send_to("orders", b"later", True)
    assert listener.data() == [b"0"]


def test_a_callback_may_call_any_function_of_its_client(pair):
    sender, listener = pair
    answers = []

    def receive(to, from_, data):
        client = listener.client
        answers.append(client.subscribe("news"))
        answers.append(client.unsubscribe("news"))
        answers.append(client.list_addresses("orders") != [])
        answers.append(client.pending_count() == 0)
        answers.append(client.refresh_address_topic("replies"))
        answers.append(client.send_all(from_, data, True))
        answers.append(client.stats() is not None)
        listener.keep(to, from_, data)

    listener.run(receive)
    assert sender.client.send_to("orders", b"x", True)
    listener.wait_for(1)
    assert answers == [True] * 7
    assert sender.wait_for(1) == [b"x"]


def test_many_threads_may_use_one_client_and_make_others(sqlite):
    sqlite.member("listener", "orders")
    sqlite.member("sender", "replies")
    listener, sender = sqlite.start("listener"), sqlite.start("sender")
    path = sqlite.constructor(sqlite.members()[0])[1][3]
    errors = []

    def work(worker):
        try:
            for number in range(20):
                assert sender.client.send_to("orders", f"{worker} {number}".encode(), True)
                sender.client.last_error_message()
            with liner.Client.new_sqlite(f"worker-{worker}", f"work-{worker}", "127.0.0.1:0", path) as own:
                assert own.run(lambda *_: None), own.last_error_message()
                assert own.send_to("orders", f"{worker} own".encode(), True)
                wait_until(lambda: own.pending_count() == 0, "the ack")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(listener.wait_for(8 * 21))) == 8 * 21
    sqlite.wait_until_drained()


LEFT_OPEN = """
import os, sys, liner
if "LINER_LIBRARY" in os.environ:
    liner.loadLib(os.environ["LINER_LIBRARY"])
nodes = [liner.Client.new_sqlite(f"node-{n}", f"topic-{n}", "127.0.0.1:0", sys.argv[1]) for n in range(2)]
for node in nodes:
    assert node.run(lambda *_: None)
    node.set_status_callback(lambda *_: None)
for number in range(200):
    assert nodes[0].send_to("topic-1", b"%d" % number)
END
"""


@pytest.mark.parametrize(
    "end", ["", "raise SystemExit(0)", "os._exit(0) if os.fork() == 0 else os.wait()", "os.fork()"]
)
def test_a_program_that_closes_nothing_ends_in_good_order(tmp_path, end):
    command = [sys.executable, "-c", LEFT_OPEN.replace("END", end), str(tmp_path / "mesh.sqlite")]
    done = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stderr) == (0, "")
