"""liner for Python: a brokerless messaging mesh with at-least-once delivery.

A `Client` is one node of the mesh, with a unique name and a topic of its own. Create it with a store, start it with `run`, send
messages to the topics of other clients, and receive their messages::

    import liner

    def on_message(to: str, from_: str, data: bytes) -> None:
        print(f"{from_} says {data!r}")

    with liner.Client.new_sqlite("orders-1", "orders", "127.0.0.1:0", "mesh.sqlite") as orders:
        orders.run(on_message)
        orders.send_to("billing", b"invoice 7")

**Errors.** A constructor that fails raises `LinerError`. A method that fails returns `False` (`None` if it returns a value, -1 if it
returns a count); `last_error_code` and `last_error_message` then say why. An argument of a wrong type raises `TypeError`, a string
with a NUL raises `ValueError`.

**Threads.** Any thread may call any method at any time. The callbacks of one client run one after the other on a thread of the
library; they may block, and may call any method of any client. `stop` and `close` wait for a running callback. Called inside a
callback of the same client, they return at once, and that callback is the last.

**Exceptions in a callback** are logged (logger `liner`) and passed to the hook of `set_error_hook`. In a receive callback, an
exception is a nack: the message is delivered again after a backoff, and becomes a dead letter after ten failures.

**Lifetime.** A client lives until `close`, the end of its `with` block or the end of the interpreter, whether or not the program
keeps a reference to it. Clients do not survive `os.fork`: create them in the process that uses them. Do not open the SQLite file of
a running client with Python's `sqlite3` in the same process: two SQLite libraries in one process release each other's locks.
"""

import atexit
import ctypes
import json
import logging
import os
import pathlib
import sys
import threading
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_longlong, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

# The codes that `Client.last_error_code` returns.
OK = 0
ERR_NOT_RUNNING = 1
ERR_ALREADY_RUNNING = 2
ERR_SELF_TOPIC = 3
ERR_INTERNAL_TOPIC = 4
ERR_NO_ADDR = 5
ERR_BIND = 6
ERR_STORE = 7
ERR_INVALID_ARG = 8
ERR_CLEAR_WHILE_RUNNING = 9
ERR_STARTUP = 10
ERR_BUSY = 11

# The kinds of events that a status callback gets.
PEER_CONNECTED = 1
PEER_DISCONNECTED = 2
PEER_SUBSCRIBED = 3
PEER_UNSUBSCRIBED = 4
SENDER_ROUTE_LOST = 5
SENDER_STORE_ERROR = 6
SENDER_SEND_ERROR = 7
LISTENER_STORE_ERROR = 8
SENDER_BUSY = 9

# Levels of durability. When an at-least-once send returns, the message is: in memory and within 50 ms in the store; committed to
# the store; committed and synced to disk.
WRITE_BEHIND = 1
COMMITTED = 2
SYNCED = 3

# The origin of a dead letter: the receiver's callback failed too often, or the receiver refuses the message.
DEAD_HANDLER = 1
DEAD_REFUSED = 2

Data = Union[bytes, bytearray, memoryview]
HeaderValue = Union[str, Data]
Headers = Union[Mapping[str, HeaderValue], Iterable[Tuple[str, HeaderValue]]]

_log = logging.getLogger("liner")


class LinerError(Exception):
    """The library is not found, or a client could not be created."""


class Nack(Exception):
    """Raised by a receive callback to have its message delivered again. It is not logged as an exception.

    `reason` is recorded if the message becomes a dead letter. `delay` is the time until the message is delivered again, in seconds;
    None for a backoff that doubles from 0.1 s to 5 s with every failure.
    """

    def __init__(self, reason: str = "", delay: Optional[float] = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class Delivery(NamedTuple):
    """A delivery of a message to the callback of `Client.run_ex`."""

    to: str
    """The topic addressed."""
    from_: str
    """The sender's own topic: the address for a reply."""
    sender: str
    """The sender's unique name."""
    data: bytes
    headers: Tuple[Tuple[str, bytes], ...]
    """In the order of the sender. Keys may repeat."""
    incarnation: int
    """(sender, from_, to, incarnation, seq) is the message id: the same at each delivery, over restarts too."""
    seq: int
    """Counts from 1 within its lane; 0 for a message sent at most once, which has no id."""
    attempt: int
    """The number of this delivery, from 1."""
    redelivered: bool
    """Whether the message may have been delivered before, for example to a process that crashed. Every message read from the sender's
    store carries the mark, even at its first delivery."""


class DeadLetter(NamedTuple):
    """A message that could not be handled. Fields with the same name are as in `Delivery`."""

    id: int
    """The id in the store."""
    origin: int
    """`DEAD_HANDLER` or `DEAD_REFUSED`."""
    attempts: int
    to: str
    from_: str
    sender: str
    receiver: str
    """The unique name of the receiver."""
    incarnation: int
    seq: int
    data: bytes
    headers: Tuple[Tuple[str, bytes], ...]
    reason: str
    """The reason of the last failure."""
    died_ms: int
    """The time at which it became a dead letter, in milliseconds since 1970."""


ReceiveCallback = Callable[[str, str, bytes], Any]
DeliveryCallback = Callable[[Delivery], Any]
StatusCallback = Callable[[int, str, str, str], Any]
LogCallback = Callable[[str], Any]
ErrorHook = Callable[[BaseException, str], Any]


# ---- the shared library ----


class _Header(Structure):
    _fields_ = [("key", c_char_p), ("value", c_void_p), ("value_size", c_size_t)]


class _SendOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("headers", POINTER(_Header)),
        ("header_count", c_size_t),
        ("to_all", c_int),
        ("at_most_once", c_int),
        ("durability", c_int),
    ]


class _Delivery(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("to", c_char_p),
        ("from_", c_char_p),
        ("sender", c_char_p),
        ("data", c_void_p),
        ("size", c_size_t),
        ("headers", POINTER(_Header)),
        ("header_count", c_size_t),
        ("incarnation", c_uint64),
        ("seq", c_uint64),
        ("attempt", c_uint32),
        ("redelivered", c_int),
    ]


class _DeadLetter(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("id", c_longlong),
        ("origin", c_int),
        ("attempts", c_uint32),
        ("to", c_char_p),
        ("from_", c_char_p),
        ("sender", c_char_p),
        ("receiver", c_char_p),
        ("incarnation", c_uint64),
        ("seq", c_uint64),
        ("data", c_void_p),
        ("size", c_size_t),
        ("headers", POINTER(_Header)),
        ("header_count", c_size_t),
        ("reason", c_char_p),
        ("died_ms", c_longlong),
    ]


_RECEIVE_CB = ctypes.CFUNCTYPE(None, c_char_p, c_char_p, c_void_p, c_size_t, c_void_p)
_RECEIVE_EX_CB = ctypes.CFUNCTYPE(c_int, POINTER(_Delivery), c_void_p)
_STATUS_CB = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_char_p, c_char_p, c_void_p)
_LOG_CB = ctypes.CFUNCTYPE(None, c_char_p, c_void_p)
_ADDR_CB = ctypes.CFUNCTYPE(None, c_char_p, c_char_p, c_void_p)
_PENDING_CB = ctypes.CFUNCTYPE(None, c_char_p, c_char_p, c_char_p, c_longlong, c_void_p)
_DEAD_LETTER_CB = ctypes.CFUNCTYPE(None, POINTER(_DeadLetter), c_void_p)

_SEND = (c_int, c_void_p, c_char_p, c_char_p, c_size_t, c_int)
_ON_TOPIC = (c_int, c_void_p, c_char_p)
_ON_CLIENT = (c_int, c_void_p)
_TEXT_OF_CLIENT = (c_char_p, c_void_p)
_SET_LIMIT = (c_int, c_size_t)
_GET_LIMIT = (c_size_t,)

# Result and parameters of every function.
_PROTOTYPES: Dict[str, Tuple[Any, ...]] = {
    "lnr_version": (c_char_p,),
    "lnr_postgres_enabled": (c_int,),
    "lnr_new_client": (c_void_p, c_char_p, c_char_p, c_char_p, c_char_p),
    "lnr_new_client_redis": (c_void_p, c_char_p, c_char_p, c_char_p, c_char_p),
    "lnr_new_client_postgres": (c_void_p, c_char_p, c_char_p, c_char_p, c_char_p),
    "lnr_new_client_sqlite": (c_void_p, c_char_p, c_char_p, c_char_p, c_char_p, c_char_p),
    "lnr_run": (c_int, c_void_p, _RECEIVE_CB, c_void_p),
    "lnr_stop": _ON_CLIENT,
    "lnr_is_running": _ON_CLIENT,
    "lnr_delete_client": _ON_CLIENT,
    "lnr_send_to": _SEND,
    "lnr_send_all": _SEND,
    "lnr_send_ex": (c_int, c_void_p, c_char_p, c_char_p, c_size_t, POINTER(_SendOptions)),
    "lnr_set_durability": (c_int, c_void_p, c_int),
    "lnr_durability": _ON_CLIENT,
    "lnr_set_receive_ex": (c_int, c_void_p, _RECEIVE_EX_CB, c_void_p),
    "lnr_nack": (c_int, c_void_p, c_longlong, c_char_p),
    "lnr_subscribe": _ON_TOPIC,
    "lnr_unsubscribe": _ON_TOPIC,
    "lnr_refresh_address_topic": _ON_TOPIC,
    "lnr_clear_stored_messages": _ON_CLIENT,
    "lnr_clear_addresses_of_topic": _ON_CLIENT,
    "lnr_last_error_code": _ON_CLIENT,
    "lnr_last_error_message": _TEXT_OF_CLIENT,
    "lnr_set_status_cb": (c_int, c_void_p, _STATUS_CB, c_void_p),
    "lnr_set_log_cb": (c_int, _LOG_CB, c_void_p),
    "lnr_list_addresses": (c_int, c_void_p, c_char_p, _ADDR_CB, c_void_p),
    "lnr_pending_count": (c_longlong, c_void_p),
    "lnr_pending_by_peer": (c_int, c_void_p, _PENDING_CB, c_void_p),
    "lnr_set_advertise_addr": _ON_TOPIC,
    "lnr_advertise_addr": _TEXT_OF_CLIENT,
    "lnr_bound_listen_addr": _TEXT_OF_CLIENT,
    "lnr_published_addr": _TEXT_OF_CLIENT,
    "lnr_stats_json": _TEXT_OF_CLIENT,
    "lnr_list_dead_letters": (c_int, c_void_p, c_char_p, _DEAD_LETTER_CB, c_void_p),
    "lnr_replay_dead_letters": (c_longlong, c_void_p, c_char_p, c_longlong, POINTER(c_longlong)),
    "lnr_purge_dead_letters": (c_longlong, c_void_p, c_char_p, c_longlong),
    "lnr_set_max_message_size": _SET_LIMIT,
    "lnr_get_max_message_size": _GET_LIMIT,
    "lnr_set_compress_threshold": _SET_LIMIT,
    "lnr_get_compress_threshold": _GET_LIMIT,
    "lnr_set_max_send_queue": _SET_LIMIT,
    "lnr_get_max_send_queue": _GET_LIMIT,
}

_lib: Optional[ctypes.CDLL] = None
_loading = threading.Lock()


def _open(path: str) -> ctypes.CDLL:
    """Loads a library and declares its functions."""
    try:
        lib = ctypes.CDLL(path)
        for name, (result, *parameters) in _PROTOTYPES.items():
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = parameters
    except (OSError, AttributeError) as error:
        raise LinerError(f"cannot load the liner library: {error}") from error
    return lib


def loadLib(path: Union[str, "os.PathLike[str]"]) -> None:
    """Loads the shared library from a path. Existing clients keep the library they were created with.

    Without this call, the library is loaded at first use: from the directory of this module, or else by the system's loader.
    """
    global _lib
    with _loading:
        _lib = _open(os.fspath(path))


def _library() -> ctypes.CDLL:
    """Returns the library; loads it at first use."""
    global _lib
    with _loading:
        if _lib is None:
            name = {"win32": "liner_broker.dll", "darwin": "libliner_broker.dylib"}.get(
                sys.platform, "libliner_broker.so"
            )
            local = pathlib.Path(__file__).resolve().with_name(name)
            _lib = _open(str(local) if local.exists() else name)
        return _lib


def _text(text: str) -> bytes:
    """Encodes a string for the library."""
    encoded = text.encode("utf-8")
    if b"\0" in encoded:
        raise ValueError("embedded null character")
    return encoded


def _str(text: Optional[bytes]) -> str:
    """Decodes a string of the library."""
    return text.decode("utf-8") if text else ""


def _bytes(data: Data, what: str = "data") -> bytes:
    """Converts a payload for the library."""
    if isinstance(data, bytes):
        return data
    try:
        return bytes(memoryview(data))
    except TypeError:
        given = type(data).__name__
        raise TypeError(f"{what} must be bytes, bytearray or memoryview, not {given}") from None


def _headers(array: Any, count: int) -> Tuple[Tuple[str, bytes], ...]:
    """Copies the headers of a message."""
    return tuple((_str(array[at].key), ctypes.string_at(array[at].value, array[at].value_size)) for at in range(count))


# ---- callbacks ----

# The open clients, by handle. The user data of a callback is the client's handle, and the callback functions live as long as this
# module, so no callback uses an object that was collected.
_clients: Dict[int, "Client"] = {}
_log_callback: Optional[LogCallback] = None
_error_hook: Optional[ErrorHook] = None


def set_error_hook(hook: Optional[ErrorHook]) -> None:
    """Sets a hook for exceptions in callbacks, in addition to the logger `liner`: `hook(exception, where)`. None removes it.

    `where` names the callback. The hook runs on the thread of the callback. An exception in the hook is logged.
    """
    global _error_hook
    _error_hook = hook


def _report(error: BaseException, where: str) -> None:
    """Logs an exception of a callback and passes it to the hook."""
    _log.error("%s raised %r", where, error, exc_info=error)
    if _error_hook is not None:
        try:
            _error_hook(error, where)
        except BaseException as another:  # nothing may pass into the library
            _log.error("the error hook raised %r", another, exc_info=another)


def _delivery(raw: _Delivery) -> Delivery:
    """Copies a delivery."""
    return Delivery(
        _str(raw.to),
        _str(raw.from_),
        _str(raw.sender),
        ctypes.string_at(raw.data, raw.size),
        _headers(raw.headers, raw.header_count),
        raw.incarnation,
        raw.seq,
        raw.attempt,
        bool(raw.redelivered),
    )


@_RECEIVE_EX_CB
def _on_delivery(raw: Any, handle: int) -> int:
    """Returns 0 (ack) if the message is handled, or else 1 (nack)."""
    client = _clients.get(handle)
    if client is None or client._receive is None:
        return 1
    try:
        client._receive(_delivery(raw.contents))
    except Nack as nack:
        client.nack(nack.reason, nack.delay)
        return 1
    except BaseException as error:  # nothing may pass into the library
        _report(error, f"the receive callback of {client.name}")
        client.nack(repr(error))
        return 1
    return 0


@_STATUS_CB
def _on_status(kind: int, topic: bytes, peer: bytes, message: bytes, handle: int) -> None:
    client = _clients.get(handle)
    callback = client._status if client is not None else None
    if client is None or callback is None:
        return
    try:
        callback(kind, _str(topic), _str(peer), _str(message))
    except BaseException as error:  # nothing may pass into the library
        _report(error, f"the status callback of {client.name}")


@_LOG_CB
def _on_log(message: bytes, _: Any) -> None:
    callback = _log_callback
    if callback is None:
        return
    try:
        callback(_str(message))
    except BaseException as error:  # nothing may pass into the library
        _report(error, "the log callback")


@atexit.register
def _close_all() -> None:
    """Closes all clients, so that no callback runs after the interpreter has ended."""
    for client in list(_clients.values()):
        client.close()
    if _log_callback is not None:
        set_log_callback(None)


def _forget_all() -> None:
    """Forgets all clients in a child process, since their threads do not survive a fork."""
    global _log_callback
    _log_callback = None
    for client in _clients.values():
        client._handle = None
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


# ---- the process ----


def version() -> str:
    """Returns the version of the library, "x.y.z"."""
    return _str(_library().lnr_version())


def postgres_enabled() -> bool:
    """Returns whether the library was built with PostgreSQL."""
    return bool(_library().lnr_postgres_enabled())


def set_log_callback(callback: Optional[LogCallback]) -> bool:
    """Sets the callback for log lines (failures and warnings) of the whole process. None restores the default, stderr.

    It is called on the thread of the call that failed or on a thread of the library, and may be called on several threads at the
    same time.
    """
    global _log_callback
    if callback is not None:
        _log_callback = callback
    done = bool(_library().lnr_set_log_cb(_on_log if callback is not None else _LOG_CB(), None))
    if callback is None:
        _log_callback = None
    return done


def set_max_message_size(size: int) -> bool:
    """Sets the maximum size of a message, data and headers, in bytes; default 1 GiB. Set it before `Client.run`. Returns False for
    0."""
    return bool(_library().lnr_set_max_message_size(size))


def get_max_message_size() -> int:
    """Returns the maximum size of a message, in bytes."""
    return int(_library().lnr_get_max_message_size())


def set_compress_threshold(size: int) -> bool:
    """Sets the size in bytes above which messages are compressed in transit; default 1 MiB. Set it before `Client.run`. Returns False
    for 0."""
    return bool(_library().lnr_set_compress_threshold(size))


def get_compress_threshold() -> int:
    """Returns the size above which messages are compressed, in bytes."""
    return int(_library().lnr_get_compress_threshold())


def set_max_send_queue(messages: int) -> bool:
    """Sets how many messages per receiver are held in memory; further sends fail with `ERR_BUSY`. 0, the default, is no limit. Set it
    before `Client.run`."""
    return bool(_library().lnr_set_max_send_queue(messages))


def get_max_send_queue() -> int:
    """Returns how many messages per receiver are held in memory; 0 for no limit."""
    return int(_library().lnr_get_max_send_queue())


# ---- clients ----


class Client:
    """A node of the mesh. `Client(...)` creates a client on Redis, as does `new_redis`.

    `uniqName` is the name of the node: after a restart, the node with this name gets the messages that wait for it. `topic` is its
    own topic. `localhost` is the "host:port" to listen on; port 0 chooses a free port.
    """

    def __init__(self, uniqName: str, topic: str, localhost: str, redisPath: str) -> None:
        """Creates a client on a Redis server: "redis://user:password@host:6379/0", "rediss://..." with TLS."""
        self._create("lnr_new_client_redis", uniqName, topic, localhost, redisPath)

    @classmethod
    def new_redis(cls, uniqName: str, topic: str, localhost: str, url: str) -> "Client":
        """Creates a client on a Redis server: "redis://user:password@host:6379/0", "rediss://..." with TLS."""
        return cls(uniqName, topic, localhost, url)

    @classmethod
    def new_sqlite(cls, uniqName: str, topic: str, localhost: str, path: str, receivers_json: str = "") -> "Client":
        """Creates a client on a SQLite file. Creates the file if it does not exist.

        Clients on one machine may share a file, and find each other through it. Clients with files of their own find the peers in
        `receivers_json`: a JSON array of {"topic", "addr", "client_name"}.
        """
        client = cls.__new__(cls)
        client._create("lnr_new_client_sqlite", uniqName, topic, localhost, path, receivers_json)
        return client

    @classmethod
    def new_postgres(cls, uniqName: str, topic: str, localhost: str, url: str) -> "Client":
        """Creates a client on a PostgreSQL database: "postgresql://user:password@host:5432/database"."""
        client = cls.__new__(cls)
        client._create("lnr_new_client_postgres", uniqName, topic, localhost, url)
        return client

    def _create(self, constructor: str, name: str, *arguments: str) -> None:
        self._lib = _library()
        self._handle: Optional[int] = None
        self._receive: Optional[DeliveryCallback] = None
        self._status: Optional[StatusCallback] = None
        self.name = name
        """The node's unique name."""
        handle = getattr(self._lib, constructor)(_text(name), *map(_text, arguments))
        if not handle:
            # For NULL, this is why this thread's last attempt to create a client failed.
            why = _str(self._lib.lnr_last_error_message(None)) or "the log says why"
            raise LinerError(f"cannot create client {name!r}: {why}")
        self._handle = handle
        _clients[handle] = self
        self._lib.lnr_set_receive_ex(handle, _on_delivery, handle)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Stops the client and frees it. Later calls fail. Idempotent.

        A SQLite file is closed when this returns. If a callback of the client calls it, the file is closed after the callback has
        returned.
        """
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.lnr_delete_client(handle)
            _clients.pop(handle, None)

    def run(self, callback: ReceiveCallback) -> bool:
        """Starts the client: listens, publishes its topic, and begins to send and to receive.

        Messages are passed to `callback(to, from_, data)`. `to` is the topic addressed, `from_` the sender's own topic, the address for
        a reply. When the callback returns, the message is handled and is not delivered again; an exception is a nack. Returns True at
        once if the client runs already; it then keeps its callback.
        """
        return self.run_ex(lambda delivery: callback(delivery.to, delivery.from_, delivery.data))

    def run_ex(self, callback: DeliveryCallback) -> bool:
        """Like `run`, with a callback that gets a `Delivery`: `callback(delivery)`."""
        if not self.is_running():
            self._receive = callback
        return bool(self._lib.lnr_run(self._handle, _RECEIVE_CB(), None))

    def nack(self, reason: str = "", delay: Optional[float] = None) -> bool:
        """Nacks the message that the receive callback of this client has, whatever the callback does then. See `Nack`."""
        milliseconds = -1 if delay is None else max(0, round(delay * 1000))
        # The reason may be the text of any exception.
        return bool(
            self._lib.lnr_nack(self._handle, milliseconds, reason.encode("utf-8", "replace").replace(b"\0", b"?"))
        )

    def stop(self) -> bool:
        """Stops the client: ends the callbacks, waits up to 5 s for acks, writes unacked messages to the store, and withdraws the
        client's addresses. Returns True also if the client does not run. `run` starts it again."""
        return bool(self._lib.lnr_stop(self._handle))

    def is_running(self) -> bool:
        """Returns whether the client runs: from a successful `run` to `stop`, or until a newer process takes its name."""
        return bool(self._lib.lnr_is_running(self._handle))

    def send_to(self, topic: str, data: Data, at_least_once_delivery: bool = True) -> bool:
        """Sends a message to one of the clients that serve a topic, in turn; connected clients come first.

        At least once: the message is kept until the receiver has handled it, as safely as `set_durability` says. At most once: it is
        dropped if the receiver cannot be reached. Never waits for a receiver; waits at most 30 s for a store that does not respond.
        """
        payload = _bytes(data)
        mode = 1 if at_least_once_delivery else 0
        return bool(self._lib.lnr_send_to(self._handle, _text(topic), payload, len(payload), mode))

    def send_all(self, topic: str, data: Data, at_least_once_delivery: bool = True) -> bool:
        """Sends a message to every client that serves the topic, once to each. Otherwise as `send_to`."""
        payload = _bytes(data)
        mode = 1 if at_least_once_delivery else 0
        return bool(self._lib.lnr_send_all(self._handle, _text(topic), payload, len(payload), mode))

    def send_ex(
        self,
        topic: str,
        data: Data,
        headers: Optional[Headers] = None,
        *,
        to_all: bool = False,
        at_most_once: bool = False,
        durability: int = 0,
    ) -> bool:
        """Sends a message with headers (keys of at most 255 bytes, 64 KiB in all) or with its own durability (0 for the client's)."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        values = [
            (_text(key), value.encode("utf-8") if isinstance(value, str) else _bytes(value, "a header's value"))
            for key, value in pairs
        ]
        # The array points into `values`, which live until the call has returned.
        array = (_Header * len(values))(
            *(_Header(key, ctypes.cast(c_char_p(value), c_void_p), len(value)) for key, value in values)
        )
        payload = _bytes(data)
        size = ctypes.sizeof(_SendOptions)
        options = _SendOptions(size, array, len(values), to_all, at_most_once, durability)
        return bool(self._lib.lnr_send_ex(self._handle, _text(topic), payload, len(payload), byref(options)))

    def set_durability(self, level: int) -> bool:
        """Sets the level of durability of later sends: `WRITE_BEHIND` (default), `COMMITTED` or `SYNCED`."""
        return bool(self._lib.lnr_set_durability(self._handle, level))

    def durability(self) -> int:
        """Returns the level of durability; 0 for a closed client."""
        return int(self._lib.lnr_durability(self._handle))

    def subscribe(self, topic: str) -> bool:
        """Subscribes to a topic, until `unsubscribe`, over `stop` and `run`. Before `run`, it takes effect when the client starts."""
        return bool(self._lib.lnr_subscribe(self._handle, _text(topic)))

    def unsubscribe(self, topic: str) -> bool:
        """Unsubscribes from a topic. Messages that wait for this client stay with their senders until it subscribes again."""
        return bool(self._lib.lnr_unsubscribe(self._handle, _text(topic)))

    def refresh_address_topic(self, topic: str) -> bool:
        """Reads the addresses of a topic from the store now. Not needed normally. Fails with `ERR_NO_ADDR` if it has none."""
        return bool(self._lib.lnr_refresh_address_topic(self._handle, _text(topic)))

    def clear_stored_messages(self) -> bool:
        """Deletes the messages of this client that are not acked, and its remembered routes. Fails while the client runs."""
        return bool(self._lib.lnr_clear_stored_messages(self._handle))

    def clear_addresses_of_topic(self) -> bool:
        """Deletes all addresses of the client's own topic, including those of other clients. Fails while the client runs."""
        return bool(self._lib.lnr_clear_addresses_of_topic(self._handle))

    def set_advertise_addr(self, addr: Optional[str]) -> bool:
        """Sets the "host:port" to publish, if it differs from the address that the client listens on. Fails while the client runs.

        Peers resolve a host name when they connect. Port 0 is replaced by the port that the client listens on. None or "" removes the
        setting.
        """
        return bool(self._lib.lnr_set_advertise_addr(self._handle, _text(addr or "")))

    def advertise_addr(self) -> Optional[str]:
        """Returns the address set by `set_advertise_addr`, or None."""
        return _str(self._lib.lnr_advertise_addr(self._handle)) or None

    def bound_listen_addr(self) -> Optional[str]:
        """Returns the address that the client listens on, or listened on last; None before the first `run`."""
        return _str(self._lib.lnr_bound_listen_addr(self._handle)) or None

    def published_addr(self) -> Optional[str]:
        """Returns the published address; None while the client does not run."""
        return _str(self._lib.lnr_published_addr(self._handle)) or None

    def list_addresses(self, topic: str) -> Optional[List[Tuple[str, str]]]:
        """Returns the addresses of a topic in the store, as (address, unique name); None on error."""
        rows: List[Tuple[str, str]] = []
        row = _ADDR_CB(lambda addr, name, _: rows.append((_str(addr), _str(name))))
        return rows if self._lib.lnr_list_addresses(self._handle, _text(topic), row, None) else None

    def pending_count(self) -> int:
        """Returns the number of at-least-once messages that are not acked yet, in memory or stored; -1 on error."""
        return int(self._lib.lnr_pending_count(self._handle))

    def pending_by_peer(self) -> Optional[List[Tuple[str, str, str, int]]]:
        """Returns (address, topic, unique name, count) for each receiver and topic with pending messages; None on error.

        The address is "" if none is known.
        """
        rows: List[Tuple[str, str, str, int]] = []
        row = _PENDING_CB(lambda addr, topic, name, count, _: rows.append((_str(addr), _str(topic), _str(name), count)))
        return rows if self._lib.lnr_pending_by_peer(self._handle, row, None) else None

    def stats(self) -> Optional[Dict[str, Any]]:
        """Returns the statistics of the client since `run`; None if it does not run."""
        raw = self._lib.lnr_stats_json(self._handle)
        return json.loads(raw) if raw else None

    def list_dead_letters(self, topic: Optional[str] = None) -> Optional[List[DeadLetter]]:
        """Returns the dead letters of this client, oldest first; None on error. With `topic`, only those addressed to it."""
        rows: List[DeadLetter] = []
        row = _DEAD_LETTER_CB(lambda raw, _: rows.append(_dead_letter(raw.contents)))
        chosen = None if topic is None else _text(topic)
        return rows if self._lib.lnr_list_dead_letters(self._handle, chosen, row, None) else None

    def replay_dead_letters(self, topic: Optional[str] = None, id: int = 0) -> Optional[Tuple[int, int]]:
        """Replays dead letters: all, those addressed to `topic`, or the one with this id.

        Returns how many succeeded and how many failed again and remain; None on error, for example if the client does not run. Inside
        a callback it returns (0, 0) at once, and the replay happens afterwards.
        """
        failed = c_longlong(0)
        chosen = None if topic is None else _text(topic)
        done = self._lib.lnr_replay_dead_letters(self._handle, chosen, id, byref(failed))
        return None if done < 0 else (done, failed.value)

    def purge_dead_letters(self, topic: Optional[str] = None, id: int = 0) -> int:
        """Deletes dead letters, selected as in `replay_dead_letters`. Returns the number deleted, -1 on error."""
        return int(self._lib.lnr_purge_dead_letters(self._handle, None if topic is None else _text(topic), id))

    def set_status_callback(self, callback: Optional[StatusCallback]) -> bool:
        """Sets the callback for events: `callback(kind, topic, peer, message)`, with `PEER_...`, `SENDER_...` and `LISTENER_...` as kinds.

        May be called at any time; None removes the callback. It runs on the same thread as the receive callback.
        """
        if callback is not None:
            self._status = callback
        done = bool(self._lib.lnr_set_status_cb(self._handle, _on_status if callback else _STATUS_CB(), self._handle))
        if callback is None:
            self._status = None
        return done

    def last_error_code(self) -> int:
        """Returns why the client's last call failed, on any thread: `ERR_...`, or `OK` if it succeeded."""
        if self._handle is None:
            return OK
        return int(self._lib.lnr_last_error_code(self._handle))

    def last_error_message(self) -> str:
        """Returns the message of the last error; "" if there was none."""
        if self._handle is None:
            return ""
        return _str(self._lib.lnr_last_error_message(self._handle))


def _dead_letter(raw: _DeadLetter) -> DeadLetter:
    """Copies a dead letter."""
    return DeadLetter(
        raw.id,
        raw.origin,
        raw.attempts,
        _str(raw.to),
        _str(raw.from_),
        _str(raw.sender),
        _str(raw.receiver),
        raw.incarnation,
        raw.seq,
        ctypes.string_at(raw.data, raw.size),
        _headers(raw.headers, raw.header_count),
        _str(raw.reason),
        raw.died_ms,
    )
