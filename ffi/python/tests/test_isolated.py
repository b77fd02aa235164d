"""Nodes with a SQLite file each, which their peers are told of by `receivers_json`."""

from waiting import wait_until


def test_four_nodes_that_are_told_of_each_other_deliver_at_least_once(isolated):
    names = ["ann", "bob", "cid", "eve"]
    for name in names:
        isolated.member(name, f"to-{name}")
    nodes = {name: isolated.start(name) for name in names}
    for sender in names:
        for receiver in names:
            if sender != receiver:
                for number in range(10):
                    data = f"{sender} {number}".encode()
                    assert nodes[sender].client.send_to(f"to-{receiver}", data, True)
    for receiver, node in nodes.items():
        node.wait_for(30)
        for sender in names:
            if sender != receiver:
                came = [message for message in node.messages if message.from_ == f"to-{sender}"]
                assert came == [
                    (f"to-{receiver}", f"to-{sender}", f"{sender} {number}".encode()) for number in range(10)
                ]
    isolated.wait_until_drained()
    wait_until(lambda: all(node.client.pending_count() == 0 for node in nodes.values()), "the last acks")


def test_send_all_reaches_three_seeded_nodes_that_come_later(isolated):
    isolated.member("sender", "replies")
    for name in ("ann", "bob", "cid"):
        isolated.member(name, "readers")
    sender = isolated.start("sender")
    for number in range(5):
        assert sender.client.send_all("readers", b"%d" % number, True)
    wait_until(lambda: isolated.waiting() == 15, "five copies for each")
    nodes = [isolated.start(name) for name in ("ann", "bob", "cid")]
    for node in nodes:
        assert node.wait_for(5) == [b"0", b"1", b"2", b"3", b"4"]
    isolated.wait_until_drained()


def test_many_senders_reach_one_listener(isolated):
    isolated.member("listener", "orders")
    senders = [f"sender-{number}" for number in range(3)]
    for name in senders:
        isolated.member(name, f"replies-{name}")
    listener = isolated.start("listener")
    for name in senders:
        assert isolated.start(name).client.send_to("orders", name.encode(), True)
    assert sorted(listener.wait_for(3)) == [name.encode() for name in senders]
    assert {message.from_ for message in listener.messages} == {f"replies-{name}" for name in senders}


def test_a_killed_node_gets_what_three_peers_kept_for_it(isolated):
    isolated.member("listener", "orders")
    senders = ["ann", "bob", "cid"]
    for name in senders:
        isolated.member(name, f"replies-{name}")
    first = isolated.spawn("listener")
    nodes = {name: isolated.start(name) for name in senders}
    for name, node in nodes.items():
        assert node.client.send_to("orders", f"{name} 0".encode(), True)
    first.wait_for(3)
    isolated.wait_until_drained()
    wait_until(lambda: all(node.client.pending_count() == 0 for node in nodes.values()), "three acks")
    first.kill()
    for name, node in nodes.items():
        for number in range(1, 4):
            assert node.client.send_to("orders", f"{name} {number}".encode(), True)
    second = isolated.start("listener")
    second.wait_for(9)
    for name in senders:
        came = [message.data for message in second.messages if message.from_ == f"replies-{name}"]
        assert came == [f"{name} {number}".encode() for number in range(1, 4)]
    isolated.wait_until_drained()


def test_seeds_are_catalogue_rows_and_survive_clearing(isolated):
    isolated.member("node", "orders")
    other = isolated.member("other", "billing")
    node = isolated.open("node")
    assert isolated.view("node").routes("billing") == {other.addr: "other"}
    assert node.client.list_addresses("billing") == [(other.addr, "other")]
    node.run()
    assert node.client.send_to("billing", b"cleared", True)
    assert node.client.stop() and node.client.clear_stored_messages()
    assert node.client.pending_count() == 0
    assert isolated.view("node").routes("billing") == {other.addr: "other"}
    node.run()
    assert node.client.send_to("billing", b"kept", True)
    assert isolated.start("other").wait_for(1) == [b"kept"]
