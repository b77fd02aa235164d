"""The symbols of the shared library, called as C does: wrong handles, wrong strings, and values of truth."""

import ctypes
import pathlib
import re

import pytest

import liner
from waiting import wait_until

HEADER = pathlib.Path(__file__).resolve().parents[2] / "include" / "liner.h"

# A handle that is none: NULL, and numbers that look like handles or addresses.
NO_HANDLES = [None, 1, 2**31, 2**63 + 7, 0x7FFF12345678]


@pytest.fixture
def lib():
    """The library."""
    return liner._library()


@pytest.fixture
def handle(sqlite):
    """A client that runs."""
    sqlite.member("node", "orders")
    return sqlite.start("node").client._handle


def c_functions():
    """Name and number of parameters of each function that the header declares."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    declared = re.findall(r"\b(lnr_\w+)\(([^()]*)\)\s*;", text)
    return {name: 0 if words.strip() == "void" else words.count(",") + 1 for name, words in declared}


def test_the_module_knows_every_function_of_the_header():
    ours = {name: len(prototype) - 1 for name, prototype in liner._PROTOTYPES.items()}
    assert ours == c_functions()


def test_the_constants_are_those_of_the_header():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    declared = {name: int(value) for name, value in re.findall(r"\bLNR_(\w+) = (\d+)", text)}
    for name in ("ACK", "NACK"):
        declared.pop(name)
    assert {name: getattr(liner, name) for name in declared} == declared
    assert len(declared) == 12 + 9 + 3 + 2


def arguments(prototype, client):
    """A handle, and something valid for every other parameter."""
    made = [client]
    for kind in prototype[2:]:
        if kind is ctypes.c_char_p:
            made.append(b"billing")
        elif hasattr(kind, "_flags_") or issubclass(kind, ctypes._Pointer):
            made.append(kind())
        elif kind is ctypes.c_void_p:
            made.append(None)
        else:
            made.append(1)
    return made


def on_clients():
    """The functions whose first parameter is a handle."""
    without = ("lnr_new_", "lnr_set_log_cb", "lnr_set_max_", "lnr_set_compress_")
    return [
        name for name, prototype in liner._PROTOTYPES.items() if len(prototype) > 1 and not name.startswith(without)
    ]


@pytest.mark.parametrize("name", on_clients())
def test_a_handle_that_is_none_gives_failure(lib, name):
    prototype = liner._PROTOTYPES[name]
    counts = prototype[0] is ctypes.c_longlong
    failure = {ctypes.c_char_p: None, ctypes.c_longlong: -1}.get(prototype[0], 0)
    for number in NO_HANDLES:
        assert getattr(lib, name)(*arguments(prototype, number)) == failure, (number, counts)


@pytest.mark.parametrize("name", on_clients())
def test_a_deleted_handle_gives_failure(lib, name, tmp_path):
    path = str(tmp_path / "mesh.sqlite").encode()
    stale = lib.lnr_new_client_sqlite(b"node", b"orders", b"127.0.0.1:0", path, None)
    assert stale
    assert lib.lnr_delete_client(stale) == 1
    failure = {ctypes.c_char_p: None, ctypes.c_longlong: -1}.get(liner._PROTOTYPES[name][0], 0)
    assert getattr(lib, name)(*arguments(liner._PROTOTYPES[name], stale)) == failure


@pytest.mark.parametrize("wrong", [None, b"\xff\xfe"])
def test_strings_that_are_none_or_not_utf8_create_no_client(lib, tmp_path, wrong):
    right = [b"node", b"orders", b"127.0.0.1:0", str(tmp_path / "mesh.sqlite").encode()]
    for at in range(4):
        words = right[:at] + [wrong] + right[at + 1 :]
        assert lib.lnr_new_client_sqlite(*words, None) is None
        assert lib.lnr_new_client_redis(*words) is None
        assert lib.lnr_new_client(*words) is None
        assert lib.lnr_new_client_postgres(*words) is None
    assert lib.lnr_new_client_sqlite(*right, b"\xff\xfe") is None


@pytest.mark.parametrize("wrong", [None, b"\xff\xfe"])
def test_strings_that_are_none_or_not_utf8_fail_a_call(lib, handle, wrong):
    for call in (lib.lnr_subscribe, lib.lnr_unsubscribe, lib.lnr_refresh_address_topic):
        assert call(handle, wrong) == 0
        assert lib.lnr_last_error_code(handle) == liner.ERR_INVALID_ARG
    for send in (lib.lnr_send_to, lib.lnr_send_all):
        assert send(handle, wrong, b"x", 1, 1) == 0
        assert lib.lnr_last_error_code(handle) == liner.ERR_INVALID_ARG
    assert lib.lnr_send_ex(handle, wrong, b"x", 1, None) == 0
    assert lib.lnr_list_addresses(handle, wrong, liner._ADDR_CB(lambda *_: None), None) == 0


def test_null_data_and_null_callbacks_fail_a_call(lib, handle, sqlite):
    for send in (lib.lnr_send_to, lib.lnr_send_all):
        assert send(handle, b"billing", None, 3, 1) == 0
        assert lib.lnr_last_error_code(handle) == liner.ERR_INVALID_ARG
    assert lib.lnr_list_addresses(handle, b"orders", liner._ADDR_CB(), None) == 0
    assert lib.lnr_pending_by_peer(handle, liner._PENDING_CB(), None) == 0
    path = sqlite.constructor(sqlite.members()[0])[1][3].encode()
    other = lib.lnr_new_client_sqlite(b"other", b"billing", b"127.0.0.1:0", path, None)
    assert lib.lnr_run(other, liner._RECEIVE_CB(), None) == 0
    assert lib.lnr_last_error_code(other) == liner.ERR_INVALID_ARG
    assert lib.lnr_delete_client(other) == 1


def test_the_plain_receive_callback_gets_what_c_programs_get(lib, sqlite):
    sqlite.member("sender", "replies")
    sender = sqlite.start("sender")
    path = sqlite.constructor(sqlite.members()[0])[1][3].encode()
    plain = lib.lnr_new_client_sqlite(b"plain", b"orders", b"127.0.0.1:0", path, b"[]")
    came = []
    receive = liner._RECEIVE_CB(
        lambda to, from_, data, size, udata: came.append((to, from_, ctypes.string_at(data, size), udata))
    )
    assert lib.lnr_run(plain, receive, 1234) == 1
    assert sender.client.send_to("orders", b"a\0b", True)
    sqlite.wait_until_drained()
    wait_until(lambda: sender.client.pending_count() == 0, "the ack")
    assert lib.lnr_delete_client(plain) == 1
    assert came == [(b"orders", b"replies", b"a\0b", 1234)]


def test_truth_is_one_and_any_other_value_but_zero_is_taken_for_it(lib, sqlite):
    sqlite.member("node", "orders")
    sqlite.member("other", "billing")
    sqlite.introduce("other")
    client = sqlite.start("node").client
    handle = client._handle
    assert lib.lnr_is_running(handle) == 1
    assert lib.lnr_postgres_enabled() == 1
    assert lib.lnr_send_to(handle, b"billing", b"x", 1, 256) == 1
    assert lib.lnr_send_to(handle, b"billing", b"x", 1, -1) == 1
    assert client.pending_count() == 2
    assert lib.lnr_send_to(handle, b"billing", b"x", 1, 0) == 1
    assert client.pending_count() == 2


def test_reading_an_error_does_not_change_it(lib, handle):
    assert lib.lnr_send_to(handle, b"nobody", b"x", 1, 1) == 0
    for _ in range(3):
        assert lib.lnr_last_error_code(handle) == liner.ERR_NO_ADDR
        assert lib.lnr_last_error_message(handle) != b""
    assert lib.lnr_pending_count(handle) == 0
    assert lib.lnr_last_error_code(handle) == liner.OK
    assert lib.lnr_last_error_message(handle) == b""


def test_handles_are_not_given_out_twice(lib, tmp_path):
    path = str(tmp_path / "mesh.sqlite").encode()
    seen = set()
    for _ in range(20):
        handle = lib.lnr_new_client_sqlite(b"node", b"orders", b"127.0.0.1:0", path, None)
        assert handle and handle not in seen
        seen.add(handle)
        assert lib.lnr_delete_client(handle) == 1
        assert lib.lnr_delete_client(handle) == 0


def test_the_deprecated_constructor_makes_a_redis_client(lib, redis):
    handle = lib.lnr_new_client(b"node", b"orders", b"127.0.0.1:0", redis.url(4095).encode())
    assert handle
    assert lib.lnr_pending_count(handle) == 0
    assert lib.lnr_delete_client(handle) == 1
