"""Who serves which topic: registering, subscribing, unsubscribing, and what a send finds."""

import threading

import liner
from waiting import wait_until


def subscribed(mesh, first):
    """A sender, and a listener that serves a further topic and has had a first message on it."""
    mesh.member("sender", "replies")
    mesh.member("listener", "orders", serves=("news",))
    listener = mesh.open("listener")
    assert listener.client.subscribe("news")
    listener.run()
    sender = mesh.start("sender")
    assert sender.client.send_to("news", first, True)
    listener.wait_for(1)
    return sender, listener


def test_run_registers_the_own_topic_and_stop_withdraws_it(shared):
    member = shared.member("node", "orders")
    node = shared.start("node")
    assert shared.view("node").routes("orders") == {member.addr: "node"}
    assert node.client.list_addresses("orders") == [(member.addr, "node")]
    assert node.client.stop()
    assert shared.view("node").routes("orders") == {}
    assert node.client.list_addresses("orders") == []


def test_a_topic_without_addresses_lists_as_empty_and_refreshes_as_no_addr(mesh):
    mesh.member("node", "orders")
    client = mesh.start("node").client
    assert client.list_addresses("nobody") == []
    assert client.last_error_code() == liner.OK
    assert not client.refresh_address_topic("nobody")
    assert client.last_error_code() == liner.ERR_NO_ADDR
    assert not client.send_to("nobody", b"x", True)
    assert client.last_error_code() == liner.ERR_NO_ADDR
    assert not client.send_all("nobody", b"x", False)
    assert client.last_error_code() == liner.ERR_NO_ADDR


def test_subscribing_before_run_and_after_registers_the_nodes_address(mesh):
    mesh.member("sender", "replies")
    member = mesh.member("listener", "orders", serves=("early", "late"))
    listener = mesh.open("listener")
    assert listener.client.subscribe("early")
    listener.run()
    assert listener.client.subscribe("late")
    for topic in ("early", "late"):
        assert mesh.view("listener").routes(topic) == {member.addr: "listener"}
    sender = mesh.start("sender")
    assert sender.client.send_to("early", b"one", True)
    assert sender.client.send_to("late", b"two", True)
    listener.wait_for(2)
    assert sorted(listener.messages) == [("early", "replies", b"one"), ("late", "replies", b"two")]
    mesh.wait_until_drained()


def test_a_peer_that_subscribes_while_the_sender_runs_is_found_without_refresh(shared):
    shared.member("sender", "replies")
    shared.member("listener", "orders")
    sender = shared.start("sender")
    listener = shared.start("listener")
    assert not sender.client.send_to("news", b"nobody", True)
    assert sender.client.last_error_code() == liner.ERR_NO_ADDR
    assert listener.client.subscribe("news")
    assert sender.client.send_to("news", b"one", True), "a miss looks into the store"
    assert listener.wait_for(1) == [b"one"]


def test_a_node_that_serves_a_topic_itself_finds_the_first_other_one(shared):
    shared.member("one", "ones")
    shared.member("two", "twos")
    one, two = shared.start("one"), shared.start("two")
    assert one.client.subscribe("chat")
    assert not one.client.send_to("chat", b"to nobody", True)
    assert one.client.last_error_code() == liner.ERR_NO_ADDR
    assert two.client.subscribe("chat")
    assert one.client.send_to("chat", b"hello", True), one.client.last_error_message()
    assert two.wait_for(1) == [b"hello"]
    shared.wait_until_drained()


def test_unsubscribing_ends_the_route_for_whoever_sends(mesh):
    sender, listener = subscribed(mesh, b"one")
    assert listener.client.unsubscribe("news")
    assert mesh.view("listener").routes("news") == {}, "the rows go before the call returns"
    if mesh.shared:
        assert not sender.client.refresh_address_topic("news"), "a refresh reads what is written"
        assert sender.client.last_error_code() == liner.ERR_NO_ADDR
    else:
        sender.wait_for_event(liner.PEER_UNSUBSCRIBED, "news")
    assert not sender.client.send_to("news", b"two", True)
    assert sender.client.last_error_code() == liner.ERR_NO_ADDR
    assert not sender.client.send_to("news", b"two", False)
    assert sender.client.send_to("orders", b"three", True), "its own topic goes on"
    assert listener.wait_for(2) == [b"one", b"three"]
    mesh.wait_until_drained()


def test_what_waited_for_an_unsubscribed_topic_comes_after_subscribing_again(mesh):
    sender, first = subscribed(mesh, b"handled")
    mesh.wait_until_drained()
    assert first.client.stop()
    for number in range(3):
        assert sender.client.send_to("news", b"%d" % number, True)
    wait_until(lambda: mesh.waiting() == 3, "three rows")
    assert first.client.unsubscribe("news")
    first.run()
    # On separate files the handshake says it; a marker on another lane shows that it is over.
    assert sender.client.send_to("orders", b"connected", True)
    wait_until(lambda: b"connected" in first.data(), "the link")
    assert first.data() == [b"handled", b"connected"]
    wait_until(lambda: sender.client.pending_count() == 3, "the ack of the marker; what waits stays counted")
    assert first.client.subscribe("news")
    assert first.wait_for(5)[2:] == [b"0", b"1", b"2"]
    mesh.wait_until_drained()


def test_a_subscription_that_a_restarted_node_has_not_repeated_yet_is_not_given_up(mesh):
    sender, first = subscribed(mesh, b"one")
    mesh.wait_until_drained()
    first.client.close()
    second = mesh.start("listener")
    assert sender.client.send_to("orders", b"connected", True)
    second.wait_for(1)
    assert sender.client.send_to("news", b"two", True), "the handshake did not say so"
    assert second.client.subscribe("news")
    assert second.wait_for(2) == [b"connected", b"two"]
    mesh.wait_until_drained()


def test_unsubscribing_takes_back_the_rows_of_an_earlier_process(shared):
    shared.member("sender", "replies")
    shared.member("listener", "orders")
    earlier = shared.spawn("listener", subscribe=["news"])
    earlier.kill()
    assert len(shared.view("listener").routes("news")) == 1
    shared.view("listener").add_route("news", "127.0.0.1:1", "listener")
    later = shared.start("listener")
    assert later.client.unsubscribe("news")
    assert shared.view("listener").routes("news") == {}
    sender = shared.start("sender")
    assert not sender.client.send_to("news", b"x", True)
    assert sender.client.last_error_code() == liner.ERR_NO_ADDR


def test_subscribing_and_unsubscribing_while_messages_come_loses_and_repeats_nothing(mesh):
    sender, listener = subscribed(mesh, b"first")
    stop = threading.Event()
    refused = []

    def toggle():
        while not stop.is_set():
            for change in (listener.client.unsubscribe, listener.client.subscribe):
                if not change("news"):
                    refused.append(listener.client.last_error_message())

    toggler = threading.Thread(target=toggle)
    toggler.start()
    accepted = [b"first"]
    try:
        for number in range(2000):
            data = b"%d" % number
            if sender.client.send_to("news", data, True):
                accepted.append(data)
    finally:
        stop.set()
        toggler.join()
    assert refused == []
    # The topic is subscribed to now; what waited meanwhile comes.
    assert listener.wait_for(len(accepted)) == accepted
    mesh.wait_until_drained()
    assert listener.data() == accepted


def test_an_operators_row_is_a_route_before_the_peer_ever_ran(shared):
    shared.member("sender", "replies")
    member = shared.member("listener", "orders")
    sender = shared.start("sender")
    port = member.addr.rpartition(":")[2]
    shared.view("sender").add_route("orders", f"localhost:{port}", "listener")
    assert sender.client.refresh_address_topic("orders")
    assert sender.client.send_to("orders", b"one", True)
    assert sender.client.pending_count() == 1
    listener = shared.start("listener")
    assert listener.wait_for(1) == [b"one"]
    # Two addresses of one name are one node.
    assert sender.client.send_all("orders", b"two", True)
    assert listener.wait_for(2) == [b"one", b"two"]
    shared.wait_until_drained()
    assert listener.data() == [b"one", b"two"]


def test_a_stopped_peer_without_a_lane_is_no_address(shared):
    shared.member("sender", "replies")
    shared.member("listener", "orders")
    listener = shared.start("listener")
    sender = shared.start("sender")
    assert listener.client.stop()
    assert not sender.client.send_to("orders", b"x", True)
    assert sender.client.last_error_code() == liner.ERR_NO_ADDR


def test_a_stopped_peer_with_a_lane_gets_at_least_once_and_no_at_most_once(shared):
    shared.member("sender", "replies")
    shared.member("listener", "orders")
    listener = shared.start("listener")
    sender = shared.start("sender")
    assert sender.client.send_to("orders", b"one", True)
    listener.wait_for(1)
    shared.wait_until_drained()
    assert listener.client.stop()
    wait_until(lambda: not sender.client.send_to("orders", b"dropped", False), "the sender to hear of it")
    assert sender.client.last_error_code() == liner.ERR_NO_ADDR
    sender.client.close()
    again = shared.start("sender")
    assert again.client.send_to("orders", b"two", True), "also after a restart of the sender"
    assert not again.client.send_to("orders", b"dropped", False)
    assert again.client.last_error_code() == liner.ERR_NO_ADDR
    listener.run()
    assert listener.wait_for(2) == [b"one", b"two"]


def test_clear_addresses_deletes_the_rows_of_the_own_topic_whoever_wrote_them(shared):
    shared.member("node", "orders")
    view = shared.view("node")
    view.add_route("orders", "127.0.0.1:1", "somebody")
    view.add_route("billing", "127.0.0.1:2", "other")
    node = shared.open("node")
    assert node.client.clear_addresses_of_topic()
    assert view.routes("orders") == {}
    assert view.routes("billing") == {"127.0.0.1:2": "other"}


def test_clear_stored_messages_deletes_what_this_sender_has_waiting_and_nothing_else(shared):
    for name, topic in (("sender", "replies"), ("other", "letters"), ("listener", "orders")):
        shared.member(name, topic)
    shared.introduce("listener")
    sender, other = shared.start("sender"), shared.start("other")
    assert sender.client.send_to("orders", b"cleared", True)
    assert other.client.send_to("orders", b"kept", True)
    assert sender.client.stop() and other.client.stop()
    assert shared.waiting() == 2
    assert sender.client.clear_stored_messages()
    assert sender.client.pending_count() == 0
    assert other.client.pending_count() == 1
    assert shared.waiting() == 1
    assert shared.view("sender").routes("orders") != {}, "routes of others stay"
    sender.run()
    assert sender.client.send_to("orders", b"fresh", True)
    other.run()
    listener = shared.start("listener")
    assert sorted(listener.wait_for(2)) == [b"fresh", b"kept"]
    shared.wait_until_drained()


def test_pending_by_peer_adds_up_to_pending_count(mesh):
    mesh.member("sender", "replies")
    orders, billing = mesh.member("one", "orders"), mesh.member("two", "billing")
    mesh.introduce("one")
    mesh.introduce("two")
    sender = mesh.open("sender")
    assert sender.client.pending_count() == 0
    assert sender.client.pending_by_peer() == []
    sender.run()
    for number in range(3):
        assert sender.client.send_to("orders", b"%d" % number, True)
    assert sender.client.send_to("billing", b"x", True)
    assert sender.client.pending_count() == 4
    expected = [(billing.addr, "billing", "two", 1), (orders.addr, "orders", "one", 3)]
    assert sorted(sender.client.pending_by_peer(), key=lambda row: row[1]) == expected
    sender.client.close()
    again = mesh.open("sender")
    assert again.client.pending_count() == 4, "before run, too"
    assert sorted(again.client.pending_by_peer(), key=lambda row: row[1]) == expected
