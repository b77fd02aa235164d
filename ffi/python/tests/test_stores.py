"""The tables and keys that operators look into and write to, on each store that nodes can share."""

from waiting import wait_until

TABLES = {
    "seq": ["id", "v"],
    "topic_addr": ["topic", "addr", "client_name"],
    "topic_key": ["topic", "k"],
    "conn_key_map": ["composite", "connection_key"],
    "conn_sender": ["connection_key", "sender_topic"],
    "conn_mess_number": ["connection_key", "v"],
    "conn_messages": ["id", "connection_key", "payload"],
    "sender_listener": ["sender_key", "addr", "listener_topic", "client_name"],
}


def test_the_tables_have_the_columns_that_queries_name(make_mesh):
    for store in ("sqlite", "postgres"):
        mesh = make_mesh(store)
        mesh.member("node", "orders")
        mesh.start("node")
        for table, columns in TABLES.items():
            assert set(columns) <= set(mesh.view("node").columns(table)), table


def test_every_redis_key_has_the_prefix(make_mesh):
    mesh = make_mesh("redis")
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    listener, sender = mesh.start("listener"), mesh.start("sender")
    listener.client.subscribe("news")
    assert sender.client.send_to("news", b"x", True)
    listener.wait_for(1)
    listener.client.stop()
    sender.client.stop()
    keys = mesh.view("sender").keys()
    assert keys
    assert all(key.startswith("lnr_") for key in keys)


def test_a_lane_is_found_under_its_composite_with_all_an_operator_looks_for(shared):
    shared.member("sender", "replies")
    member = shared.member("listener", "orders")
    shared.introduce("listener")
    view = shared.view("sender")
    sender = shared.start("sender")
    assert sender.client.send_to("orders", b"one", True)
    key = view.lane("sender:replies:listener")
    assert key is not None, "the lane is committed before the send returns"
    assert view.sender_topic(key) == "replies"
    assert view.last_key() >= key
    assert view.topic_key("replies") is not None
    assert sender.client.send_to("orders", b"two", True)
    wait_until(lambda: view.waiting(key) == 2, "a row for each message")
    assert all(row[0] >= 0x80 for row in view.queued(key))
    listener = shared.start("listener")
    listener.wait_for(2)
    wait_until(lambda: view.waiting(key) == 0, "no rows")
    wait_until(lambda: view.handled(key) == 2, "the number of the last message handled")
    wait_until(lambda: view.listeners("sender:replies") == {member.addr: "orders"}, "the remembered listener")


def test_a_subscription_has_a_lane_of_its_own(shared):
    shared.member("sender", "replies")
    shared.member("listener", "orders")
    listener = shared.start("listener")
    assert listener.client.subscribe("news")
    sender = shared.start("sender")
    assert sender.client.send_to("news", b"one", True)
    assert sender.client.send_to("orders", b"two", True)
    listener.wait_for(2)
    lanes = shared.view("sender").lanes()
    assert "sender:replies:listener:news" in lanes
    assert "sender:replies:listener" in lanes


def test_names_with_separators_are_encoded_in_composites_and_nowhere_else(shared):
    shared.member("sen:der", "re%plies")
    member = shared.member("list:ener", "orders")
    view = shared.view("sen:der")
    listener = shared.start("list:ener")
    sender = shared.start("sen:der")
    assert sender.client.send_to("orders", b"one", True)
    listener.wait_for(1)
    assert listener.messages == [("orders", "re%plies", b"one")]
    key = view.lane("sen%3Ader:re%25plies:list%3Aener")
    assert key is not None, view.lanes()
    assert view.sender_topic(key) == "re%plies"
    assert view.routes("orders") == {member.addr: "list:ener"}
    wait_until(lambda: view.listeners("sen%3Ader:re%25plies") == {member.addr: "orders"}, "the remembered listener")


def test_a_store_that_an_operator_emptied_works_as_new(shared):
    shared.member("sender", "replies")
    shared.member("listener", "orders")
    listener, sender = shared.start("listener"), shared.start("sender")
    assert sender.client.send_to("orders", b"one", True)
    listener.wait_for(1)
    listener.client.close()
    assert sender.client.send_to("orders", b"forgotten", True)
    sender.client.close()
    assert shared.waiting() == 1
    shared.view("sender").clear_all()
    listener, sender = shared.start("listener"), shared.start("sender")
    assert sender.client.pending_count() == 0
    for number in range(3):
        assert sender.client.send_to("orders", b"%d" % number, True)
    assert listener.wait_for(3) == [b"0", b"1", b"2"]
    shared.wait_until_drained()
    assert 0 < shared.view("sender").lane("sender:replies:listener") <= shared.view("sender").last_key()


def test_tables_that_a_harness_made_before_us_are_used(make_mesh):
    mesh = make_mesh("postgres")
    mesh.member("sender", "replies")
    mesh.member("listener", "orders")
    for statement in (
        "CREATE TABLE seq (id INTEGER PRIMARY KEY, v BIGINT NOT NULL)",
        "INSERT INTO seq VALUES (1, 0)",
        "CREATE TABLE topic_addr (topic TEXT, addr TEXT, client_name TEXT NOT NULL, PRIMARY KEY (topic, addr))",
        "INSERT INTO topic_addr VALUES ('orders', '127.0.0.1:1', 'elsewhere')",
    ):
        mesh.views()[0].rows(statement)
    listener, sender = mesh.start("listener"), mesh.start("sender")
    assert len(sender.client.list_addresses("orders")) == 2
    assert listener.client.stop() and listener.client.clear_addresses_of_topic()
    listener.run()
    assert sender.client.refresh_address_topic("orders")
    assert sender.client.send_all("orders", b"one", True)
    assert listener.wait_for(1) == [b"one"]
