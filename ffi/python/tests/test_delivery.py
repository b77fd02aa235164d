"""Messages between nodes on each store: what comes, in which order, how often, and what is left in the store."""

import threading

import pytest

from waiting import wait_until


def pair(mesh):
    """A sender and a listener, declared."""
    return mesh.member("sender", "replies"), mesh.member("listener", "orders")


def test_a_message_comes_with_its_topic_and_the_senders_topic(mesh):
    pair(mesh)
    listener = mesh.start("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"one", True)
    listener.wait_for(1)
    assert listener.messages == [("orders", "replies", b"one")]
    mesh.wait_until_drained()


def test_two_clients_started_one_after_the_other_reach_each_other_without_refresh(shared):
    pair(shared)
    sender = shared.start("sender")
    listener = shared.start("listener")
    assert sender.client.send_to("orders", b"first", True), sender.client.last_error_message()
    assert listener.client.send_to("replies", b"second", True), listener.client.last_error_message()
    assert listener.wait_for(1) == [b"first"]
    assert sender.wait_for(1) == [b"second"]


def test_a_reply_from_inside_the_callback_has_a_route(mesh):
    pair(mesh)
    results = []
    listener = mesh.open("listener")
    listener.run(lambda to, from_, data: results.append(listener.client.send_to(from_, data[::-1], True)))
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"abc", True)
    sender.wait_for(1)
    assert sender.messages == [("replies", "orders", b"cba")]
    assert results == [True]
    mesh.wait_until_drained()


def test_a_burst_of_a_thousand_comes_in_order_once_and_leaves_nothing_stored(mesh):
    pair(mesh)
    listener = mesh.start("listener")
    sender = mesh.start("sender")
    sent = [b"message %d" % number for number in range(1000)]
    assert all(sender.client.send_to("orders", data, True) for data in sent)
    assert listener.wait_for(1000) == sent
    mesh.wait_until_drained()
    wait_until(lambda: sender.client.pending_count() == 0, "the last ack")
    assert listener.data() == sent


def test_at_most_once_messages_to_a_peer_that_is_there_come_in_order(mesh):
    pair(mesh)
    listener = mesh.start("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"connected", True)
    listener.wait_for(1)
    sent = [b"%d" % number for number in range(100)]
    assert all(sender.client.send_to("orders", data, False) for data in sent)
    assert listener.wait_for(101) == [b"connected", *sent]
    assert mesh.waiting() == 0


def test_at_most_once_waits_for_the_first_connection_to_a_peer_that_is_there(mesh):
    pair(mesh)
    listener = mesh.start("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"one", False)
    assert sender.client.send_to("orders", b"two", False)
    assert listener.wait_for(2) == [b"one", b"two"]


@pytest.mark.parametrize("size", [1, 1024, 2 * 1024 * 1024 + 1])
def test_a_payload_of_any_bytes_and_size_comes_whole(mesh, size):
    pair(mesh)
    listener = mesh.start("listener")
    sender = mesh.start("sender")
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert sender.client.send_to("orders", data, True)
    assert listener.wait_for(1) == [data]
    mesh.wait_until_drained()


def test_a_large_compressible_payload_waits_for_its_receiver(mesh):
    pair(mesh)
    mesh.introduce("listener")
    sender = mesh.start("sender")
    data = b"abcd" * (512 * 1024 + 1)
    assert sender.client.send_to("orders", data, True)
    wait_until(lambda: mesh.waiting() == 1, "the message in the store")
    listener = mesh.start("listener")
    assert listener.wait_for(1) == [data]
    mesh.wait_until_drained()


def test_what_was_sent_to_an_absent_listener_comes_in_order_when_it_is_there(mesh):
    pair(mesh)
    mesh.introduce("listener")
    sender = mesh.start("sender")
    sent = [b"message %03d" % number for number in range(100)]
    assert all(sender.client.send_to("orders", data, True) for data in sent)
    wait_until(lambda: mesh.waiting() == 100, "100 rows in the store")
    assert sender.client.pending_count() == 100
    listener = mesh.start("listener")
    assert listener.wait_for(100) == sent
    mesh.wait_until_drained()
    wait_until(lambda: sender.client.pending_count() == 0, "the last ack")


def test_a_restarted_listener_does_not_see_again_what_it_has_handled(mesh):
    pair(mesh)
    first = mesh.start("listener")
    sender = mesh.start("sender")
    for number in range(10):
        assert sender.client.send_to("orders", b"early %d" % number, True)
    first.wait_for(10)
    first.client.close()
    second = mesh.start("listener")
    assert sender.client.send_to("orders", b"late", True)
    assert second.wait_for(1) == [b"late"]
    mesh.wait_until_drained()
    assert second.data() == [b"late"]


def test_a_listener_gets_what_came_while_it_was_away(mesh):
    pair(mesh)
    first = mesh.start("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"early", True)
    first.wait_for(1)
    assert first.client.stop()
    for number in range(5):
        assert sender.client.send_to("orders", b"%d" % number, True), "a sender that has a lane keeps sending"
    wait_until(lambda: mesh.waiting() == 5, "5 rows in the store")
    first.run()
    assert first.wait_for(6) == [b"early", b"0", b"1", b"2", b"3", b"4"]
    mesh.wait_until_drained()


def test_a_restarted_sender_delivers_what_it_had_accepted_and_goes_on(mesh):
    pair(mesh)
    mesh.introduce("listener")
    first = mesh.start("sender")
    assert first.client.send_to("orders", b"one", True)
    assert first.client.send_to("orders", b"two", True)
    first.client.close()
    second = mesh.start("sender")
    assert second.client.pending_count() == 2
    assert second.client.send_to("orders", b"three", True), "the lane outlives the process"
    listener = mesh.start("listener")
    assert listener.wait_for(3) == [b"one", b"two", b"three"]
    mesh.wait_until_drained()


def test_at_most_once_to_an_absent_peer_is_accepted_and_never_stored(mesh):
    pair(mesh)
    mesh.introduce("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"dropped", False), "a registered peer that cannot be reached"
    assert sender.client.pending_count() == 0
    wait_until(lambda: sender.client.stats()["dropped"] == 1, "the count")
    sender.client.close()
    assert mesh.waiting() == 0
    listener = mesh.start("listener")
    again = mesh.start("sender")
    assert again.client.send_to("orders", b"kept", True)
    assert listener.wait_for(1) == [b"kept"]


def test_send_all_reaches_two_absent_listeners_when_they_come(mesh):
    mesh.member("sender", "replies")
    mesh.member("ann", "readers")
    mesh.member("bob", "readers")
    mesh.introduce("ann")
    mesh.introduce("bob")
    sender = mesh.start("sender")
    assert sender.client.send_all("readers", b"news", True)
    wait_until(lambda: mesh.waiting() == 2, "a copy for each")
    ann = mesh.start("ann")
    bob = mesh.start("bob")
    assert ann.wait_for(1) == [b"news"]
    assert bob.wait_for(1) == [b"news"]
    mesh.wait_until_drained()


def test_send_all_reaches_each_node_of_a_topic_once(mesh):
    mesh.member("sender", "replies")
    for name in ("ann", "bob", "eve"):
        mesh.member(name, "readers")
    nodes = [mesh.start(name) for name in ("ann", "bob", "eve")]
    sender = mesh.start("sender")
    for number in range(3):
        assert sender.client.send_all("readers", b"%d" % number, True)
    for node in nodes:
        assert node.wait_for(3) == [b"0", b"1", b"2"]
    mesh.wait_until_drained()


def test_send_to_takes_the_nodes_of_a_topic_in_turn(mesh):
    mesh.member("sender", "replies")
    mesh.member("ann", "workers")
    mesh.member("bob", "workers")
    nodes = [mesh.start("ann"), mesh.start("bob")]
    sender = mesh.start("sender")
    assert sender.client.send_all("workers", b"hello", True)
    for node in nodes:
        node.wait_for(1)
    for number in range(10):
        assert sender.client.send_to("workers", b"%d" % number, True)
    for node in nodes:
        assert len(node.wait_for(6)) == 6
    mesh.wait_until_drained()


def test_send_to_prefers_a_node_that_is_connected(mesh):
    mesh.member("sender", "replies")
    mesh.member("ann", "workers")
    mesh.member("bob", "workers")
    mesh.introduce("bob")
    ann = mesh.start("ann")
    sender = mesh.start("sender")
    assert sender.client.send_all("workers", b"hello", True)
    ann.wait_for(1)
    for number in range(5):
        assert sender.client.send_to("workers", b"%d" % number, True)
    assert ann.wait_for(6) == [b"hello", b"0", b"1", b"2", b"3", b"4"]


def test_a_reply_to_a_sender_that_has_left_comes_when_it_is_back(mesh):
    client, server = mesh.member("client", "answers"), mesh.member("server", "questions")
    mesh.introduce(server.name)
    mesh.introduce(client.name)
    asking = mesh.start("client")
    assert asking.client.send_to("questions", b"repeat", True)
    wait_until(lambda: mesh.waiting() == 1, "the question in the store")
    asking.client.close()
    answering = mesh.open("server")
    answered = threading.Event()

    def answer(_, from_, data):
        assert answering.client.send_to(from_, data, True)
        answered.set()

    answering.run(answer)
    back = mesh.start("client")
    assert back.wait_for(1) == [b"repeat"]
    assert answered.is_set()
    mesh.wait_until_drained()


def test_after_both_sides_closed_nothing_handled_is_left_stored(mesh):
    pair(mesh)
    for first_to_close in ("sender", "listener"):
        listener = mesh.start("listener")
        sender = mesh.start("sender")
        for number in range(50):
            assert sender.client.send_to("orders", b"%d" % number, True)
        listener.wait_for(50)
        closing = [sender, listener] if first_to_close == "sender" else [listener, sender]
        for node in closing:
            node.client.close()
        assert mesh.waiting() == 0


def test_two_nodes_that_echo_each_other_do_not_deadlock(mesh):
    mesh.member("ping", "pings")
    mesh.member("pong", "pongs")
    rounds = 200
    ping, pong = mesh.open("ping"), mesh.open("pong")
    finished = threading.Event()

    def pong_back(_, from_, data):
        assert pong.client.send_to(from_, data, True)

    def ping_on(to, from_, data):
        ping.keep(to, from_, data)
        if len(ping.messages) == rounds:
            finished.set()
        else:
            assert ping.client.send_to(from_, b"%d" % len(ping.messages), True)

    pong.run(pong_back)
    ping.run(ping_on)
    assert ping.client.send_to("pongs", b"0", True)
    assert finished.wait(30)
    assert ping.data() == [b"%d" % number for number in range(rounds)]
    mesh.wait_until_drained()


def test_what_memory_does_not_hold_goes_to_the_store_and_no_send_waits_for_a_peer(sqlite):
    pair(sqlite)
    sqlite.introduce("listener")
    sender = sqlite.start("sender")
    # A link holds 64 MiB in memory.
    sent = [b"%d " % number + bytes(1 << 20) for number in range(80)]
    assert all(sender.client.send_to("orders", data, True) for data in sent)
    assert sender.client.pending_count() == 80
    assert sqlite.start("listener").wait_for(80) == sent
    sqlite.wait_until_drained()
