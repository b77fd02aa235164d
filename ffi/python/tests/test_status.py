"""What the status callback is told, and when."""

import liner
from meshes import RedisMesh
from servers import Redis
from waiting import wait_until


def ready(mesh):
    """A sender that has sent to a listener."""
    mesh.member("sender", "replies")
    mesh.member("listener", "orders", serves=("news",))
    listener = mesh.start("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"hello", True)
    listener.wait_for(1)
    return sender, listener


def test_a_peer_that_comes_and_goes_is_told_of(mesh):
    sender, listener = ready(mesh)
    assert sender.wait_for_event(liner.PEER_CONNECTED, "orders")[2] == "listener"
    assert listener.client.stop()
    assert sender.wait_for_event(liner.PEER_DISCONNECTED, "orders")[2] == "listener"
    sender.events.clear()
    listener.run()
    assert sender.wait_for_event(liner.PEER_CONNECTED, "orders")[2] == "listener"


def test_a_peer_that_subscribes_and_unsubscribes_is_told_of(mesh):
    sender, listener = ready(mesh)
    sender.client.refresh_address_topic("news")
    assert listener.client.subscribe("news")
    assert sender.wait_for_event(liner.PEER_SUBSCRIBED, "news")[2] == "listener"
    assert listener.client.unsubscribe("news")
    assert sender.wait_for_event(liner.PEER_UNSUBSCRIBED, "news")[2] == "listener"


def test_peers_of_topics_that_a_client_has_nothing_to_do_with_are_not_told_of(shared):
    sender, listener = ready(shared)
    sender.client.refresh_address_topic("news")
    # What is told comes in order: once the later event is there, the earlier one would be, too.
    assert listener.client.subscribe("gossip")
    assert listener.client.subscribe("news")
    sender.wait_for_event(liner.PEER_SUBSCRIBED, "news")
    assert [event for event in sender.events if event[1] == "gossip"] == []


def test_a_lost_connection_and_a_peer_that_cannot_be_reached_are_told_of(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    listener = mesh.spawn("listener")
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"hello", True)
    listener.wait_for(1)
    listener.kill()
    kind, _, peer, message = sender.wait_for_event(liner.SENDER_ROUTE_LOST)
    assert peer == "listener"
    assert message != ""


def test_a_full_queue_is_busy_and_told_of_and_other_peers_are_unaffected(mesh, limits):
    liner.set_max_send_queue(3)
    mesh.member("sender", "replies")
    mesh.member("away", "orders")
    mesh.member("here", "billing")
    mesh.introduce("away")
    here = mesh.start("here")
    sender = mesh.start("sender")
    wait_until(lambda: not sender.client.send_to("orders", b"x", True), "a full queue")
    assert sender.client.last_error_code() == liner.ERR_BUSY
    assert sender.wait_for_event(liner.SENDER_BUSY)[1] == "orders"
    assert sender.client.send_to("billing", b"x", True)
    assert here.wait_for(1) == [b"x"]


def test_a_store_that_fails_is_told_of_and_all_goes_on_when_it_is_back():
    server = Redis()
    nodes = []
    try:
        server.start()
        mesh = RedisMesh(server, 0)
        sender, listener = ready(mesh)
        nodes = [mesh]
        port = server.port
        server.stop()
        assert sender.client.send_to("orders", b"while away", True), "write-behind goes on"
        sender.wait_for_event(liner.SENDER_STORE_ERROR)
        listener.wait_for_event(liner.LISTENER_STORE_ERROR)
        server.start(port)
        assert listener.wait_for(2) == [b"hello", b"while away"]
        mesh.wait_until_drained()
    finally:
        for mesh in nodes:
            mesh.close()
        server.remove()


def test_a_message_that_its_receiver_refuses_is_told_of_and_kept_as_a_dead_letter(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    listener = mesh.spawn("listener", max_message_size=1000)
    sender = mesh.start("sender")
    assert sender.client.send_to("orders", b"x" * 5000, True)
    assert sender.client.send_to("orders", b"small", True)
    assert sender.wait_for_event(liner.SENDER_SEND_ERROR)[2] == "listener"
    assert listener.wait_for(1) == [b"small"]
    letters = sender.client.list_dead_letters()
    assert [(letter.origin, letter.to, letter.receiver, len(letter.data)) for letter in letters] == [
        (liner.DEAD_REFUSED, "orders", "listener", 5000)
    ]
    mesh.wait_until_drained()


def test_a_callback_that_was_removed_is_told_nothing(sqlite):
    sender, listener = ready(sqlite)
    sender.wait_for_event(liner.PEER_CONNECTED)
    assert sender.client.set_status_callback(None)
    told = len(sender.events)
    assert listener.client.stop()
    again = []
    wait_until(lambda: not sender.client.send_to("orders", b"x", False), "the sender to hear of it")
    assert sender.client.set_status_callback(lambda *event: again.append(event))
    listener.run()
    wait_until(lambda: again, "an event for the new callback")
    assert len(sender.events) == told
