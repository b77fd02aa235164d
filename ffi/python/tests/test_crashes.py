"""Nodes that are killed in the middle of their work, on each store."""

from waiting import wait_until


def test_a_killed_listener_gets_the_rest_in_order_and_nothing_handled_again(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    first = mesh.spawn("listener")
    sender = mesh.start("sender")
    sent = [b"%d" % number for number in range(300)]
    for data in sent[:100]:
        assert sender.client.send_to("orders", data, True)
    first.wait_for(100)
    # What is handled is taken off the queue; then the kill cannot make it come twice.
    wait_until(lambda: sender.client.pending_count() == 0, "100 acks")
    mesh.wait_until_drained()
    for data in sent[100:200]:
        assert sender.client.send_to("orders", data, True)
    first.kill()
    for data in sent[200:]:
        assert sender.client.send_to("orders", data, True)
    second = mesh.spawn("listener")
    came = second.read_until(b"299")
    # A crash may hide that something was handled, so the two may overlap; without a gap, and never before number 100.
    start = sent.index(came[0])
    assert 100 <= start <= 200
    assert came == sent[start:]
    handled_by_first = {message.data for message in first.messages}
    assert handled_by_first | set(came) == set(sent)
    mesh.wait_until_drained()


def test_a_killed_sender_loses_nothing_that_was_committed(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    mesh.introduce("listener")
    first = mesh.spawn("sender")
    assert first.tell(call="set_durability", arguments=[2]) is True
    for number in range(20):
        assert first.tell(call="send_to", arguments=["orders", str(number)]) is True
    first.kill()
    assert mesh.waiting() == 20
    second = mesh.spawn("sender")
    assert second.tell(call="pending_count", arguments=[]) == 20
    listener = mesh.start("listener")
    assert listener.wait_for(20) == [b"%d" % number for number in range(20)]
    mesh.wait_until_drained()


def test_a_killed_sender_loses_at_most_what_was_not_stored_yet(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    mesh.introduce("listener")
    first = mesh.spawn("sender")
    assert first.tell(call="send_to", arguments=["orders", "stored"]) is True
    wait_until(lambda: mesh.waiting() == 1, "write-behind is in the store soon")
    first.kill()
    mesh.spawn("sender")
    listener = mesh.start("listener")
    assert listener.wait_for(1) == [b"stored"]
    mesh.wait_until_drained()


def test_a_name_starts_again_at_once_after_a_kill(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    sender = mesh.start("sender")
    for number in range(3):
        listener = mesh.spawn("listener")
        assert sender.client.send_to("orders", b"%d" % number, True)
        assert listener.wait_for(1) == [b"%d" % number]
        wait_until(lambda: sender.client.pending_count() == 0, "the ack")
        mesh.wait_until_drained()
        listener.kill()


def test_both_sides_killed_lose_nothing_committed(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    listener = mesh.spawn("listener")
    sender = mesh.spawn("sender")
    assert sender.tell(call="set_durability", arguments=[2]) is True
    sent = [b"%d" % number for number in range(50)]
    for data in sent:
        assert sender.tell(call="send_to", arguments=["orders", data.decode()]) is True
    sender.kill()
    listener.kill()
    before = {message.data for message in listener.messages}
    again = mesh.spawn("listener")
    assert mesh.spawn("sender").tell(call="send_to", arguments=["orders", "end"]) is True
    after = again.read_until(b"end")[:-1]
    assert before | set(after) == set(sent)
    assert after == sent[len(sent) - len(after) :], "in order, without a gap"
    mesh.wait_until_drained()
