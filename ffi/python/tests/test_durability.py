"""What the module has beyond the plain calls: durability, headers, nacks, dead letters and statistics."""

import pytest

import liner
from waiting import wait_until


def test_write_behind_is_the_default_and_another_level_may_be_set(pair):
    client = pair[0].client
    assert client.durability() == liner.WRITE_BEHIND
    for level in (liner.SYNCED, liner.COMMITTED, liner.WRITE_BEHIND):
        assert client.set_durability(level)
        assert client.durability() == level
    for wrong in (0, 4, -1):
        assert not client.set_durability(wrong)
        assert client.last_error_code() == liner.ERR_INVALID_ARG
    assert client.durability() == liner.WRITE_BEHIND


@pytest.mark.parametrize("level", [liner.COMMITTED, liner.SYNCED])
def test_a_committed_send_is_in_the_store_when_it_returns(mesh, level):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    mesh.introduce("listener")
    client = mesh.start("sender").client
    assert client.set_durability(level)
    for number in range(1, 6):
        assert client.send_to("orders", b"x", True)
        assert mesh.waiting() == number


def test_one_message_may_be_committed_where_others_are_not(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    mesh.introduce("listener")
    sender = mesh.start("sender")
    assert sender.client.send_ex("orders", b"one", durability=liner.COMMITTED)
    assert mesh.waiting() == 1
    assert sender.client.send_to("orders", b"two")
    assert sender.client.send_ex("orders", b"three", durability=liner.SYNCED)
    assert mesh.waiting() == 3, "a commit carries what was sent before"
    assert mesh.start("listener").wait_for(3) == [b"one", b"two", b"three"]


def test_headers_come_as_they_were_given(pair):
    sender, listener = pair
    came = []
    assert listener.client.run_ex(came.append)
    pairs = [("trace", "abc"), ("trace", b"\0\xff"), ("empty", b""), ("é", bytearray(b"x"))]
    assert sender.client.send_ex("orders", b"one", pairs)
    assert sender.client.send_ex("orders", memoryview(b"two"), {"key": "value"})
    assert sender.client.send_ex("orders", b"three")
    wait_until(lambda: len(came) == 3, "three messages")
    assert came[0].headers == (("trace", b"abc"), ("trace", b"\0\xff"), ("empty", b""), ("é", b"x"))
    assert came[1].headers == (("key", b"value"),)
    assert came[2].headers == ()
    assert [delivery.data for delivery in came] == [b"one", b"two", b"three"]


def test_a_delivery_names_its_message(pair):
    sender, listener = pair
    came = []
    assert listener.client.run_ex(came.append)
    assert sender.client.send_to("orders", b"one", True)
    wait_until(lambda: came, "a message")
    assert sender.client.send_ex("orders", b"two", at_most_once=True)
    wait_until(lambda: len(came) == 2, "two messages")
    assert (came[0].to, came[0].from_, came[0].sender, came[0].data) == ("orders", "replies", "sender", b"one")
    assert (came[0].seq, came[0].attempt) == (1, 1)
    assert came[0].incarnation != 0
    assert (came[1].seq, came[1].redelivered) == (0, False)


def test_headers_that_are_too_large_are_refused(pair):
    client = pair[0].client
    assert not client.send_ex("orders", b"x", {"k" * 256: "v"})
    assert client.last_error_code() == liner.ERR_INVALID_ARG
    assert not client.send_ex("orders", b"x", {"": "v"})
    assert client.last_error_code() == liner.ERR_INVALID_ARG
    assert not client.send_ex("orders", b"x", {"k": b"v" * 65_536})
    assert client.last_error_code() == liner.ERR_INVALID_ARG
    assert client.pending_count() == 0


def test_send_ex_to_all_reaches_everybody(sqlite):
    sqlite.member("sender", "replies")
    for name in ("ann", "bob"):
        sqlite.member(name, "readers")
    nodes = [sqlite.start(name) for name in ("ann", "bob")]
    assert sqlite.start("sender").client.send_ex("readers", b"news", to_all=True)
    for node in nodes:
        assert node.wait_for(1) == [b"news"]


def test_a_nack_delivers_again_in_order_with_another_attempt(pair):
    sender, listener = pair
    attempts = []

    def receive(delivery):
        attempts.append((delivery.data, delivery.attempt))
        if delivery.data == b"one" and delivery.attempt < 3:
            raise liner.Nack("not yet", delay=0.001)

    assert listener.client.run_ex(receive)
    assert sender.client.send_to("orders", b"one", True)
    assert sender.client.send_to("orders", b"two", True)
    wait_until(lambda: len(attempts) == 4, "four deliveries")
    assert attempts == [(b"one", 1), (b"one", 2), (b"one", 3), (b"two", 1)]
    wait_until(lambda: sender.client.pending_count() == 0, "the acks")
    assert listener.client.stats()["nacked"] == 2


def test_nack_may_be_called_in_a_callback_and_nowhere_else(pair):
    sender, listener = pair
    answers = []

    def receive(to, from_, data):
        listener.keep(to, from_, data)
        if len(listener.messages) == 1:
            answers.append(listener.client.nack("again", 0.001))

    listener.run(receive)
    assert sender.client.send_to("orders", b"one", True)
    assert listener.wait_for(2) == [b"one", b"one"]
    assert answers == [True]
    assert not listener.client.nack("too late")
    assert listener.client.last_error_code() == liner.ERR_INVALID_ARG


def test_a_message_that_fails_ten_times_is_a_dead_letter_and_may_be_replayed(mesh):
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    mended = []
    listener = mesh.open("listener")

    def receive(delivery):
        if delivery.data == b"broken" and not mended:
            raise liner.Nack(f"attempt {delivery.attempt}", delay=0.0)
        listener.keep(delivery.to, delivery.from_, delivery.data)

    assert listener.client.run_ex(receive)
    sender = mesh.start("sender")
    assert sender.client.send_ex("orders", b"broken", {"trace": "7"})
    assert sender.client.send_to("orders", b"fine")
    assert listener.wait_for(1) == [b"fine"]
    (letter,) = wait_until(listener.client.list_dead_letters, "the dead letter")
    assert (letter.origin, letter.attempts, letter.reason) == (liner.DEAD_HANDLER, 10, "attempt 10")
    assert (letter.to, letter.from_, letter.sender, letter.receiver) == ("orders", "replies", "sender", "listener")
    assert (letter.data, letter.headers, letter.seq) == (b"broken", (("trace", b"7"),), 1)
    assert letter.id > 0 and letter.died_ms > 1_600_000_000_000
    assert listener.client.list_dead_letters("orders") == [letter]
    assert listener.client.list_dead_letters("billing") == []
    assert listener.client.replay_dead_letters("billing") == (0, 0)
    mended.append(True)
    assert listener.client.replay_dead_letters() == (1, 0)
    assert listener.wait_for(2) == [b"fine", b"broken"]
    assert listener.client.list_dead_letters() == []
    mesh.wait_until_drained()


def test_dead_letters_may_be_purged_one_or_all(pair):
    sender, listener = pair

    def receive(delivery):
        raise liner.Nack("never", delay=0.0)

    assert listener.client.run_ex(receive)
    for number in range(3):
        assert sender.client.send_to("orders", b"%d" % number)
    wait_until(lambda: len(listener.client.list_dead_letters()) == 3, "three dead letters")
    first, *_ = listener.client.list_dead_letters()
    assert first.data == b"0"
    assert listener.client.purge_dead_letters(id=first.id) == 1
    assert [letter.data for letter in listener.client.list_dead_letters()] == [b"1", b"2"]
    assert listener.client.replay_dead_letters() == (0, 2)
    assert listener.client.stop()
    assert listener.client.replay_dead_letters() is None
    assert listener.client.last_error_code() == liner.ERR_NOT_RUNNING
    assert listener.client.purge_dead_letters("billing") == 0
    assert listener.client.purge_dead_letters("orders") == 2, "whether or not it runs"
    assert listener.client.list_dead_letters() == []


def test_statistics_count_what_happened(pair):
    sender, listener = pair
    assert listener.client.stats() is None
    assert listener.client.last_error_code() == liner.ERR_NOT_RUNNING
    listener.run()
    for number in range(10):
        assert sender.client.send_to("orders", b"%d" % number, True)
    listener.wait_for(10)
    wait_until(lambda: sender.client.stats()["acked"] == 10, "ten acks")
    stats = sender.client.stats()
    assert (stats["accepted"], stats["pending"], stats["dropped"]) == (10, 0, 0)
    assert listener.client.stats()["handled"] == 10
