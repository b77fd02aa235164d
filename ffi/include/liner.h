/*
 * liner: a brokerless messaging mesh, for C and C++.
 *
 * Link with libliner_broker (pkg-config: liner). docs/c.md is the guide; docs/guarantees.md lists the guarantees.
 *
 * A client is one node of the mesh, with a unique name and a topic of its own. Create it with a store (SQLite, PostgreSQL or
 * Redis), start it with `lnr_run`, send messages to the topics of other clients, and receive their messages.
 *
 * STRINGS are UTF-8 and end with NUL. Arguments are copied before the call returns. Everything that is passed to a callback is
 * valid until the callback returns.
 *
 * ARGUMENTS are checked. If a handle is NULL, deleted or unknown, or a string is NULL or not UTF-8, a function returns FALSE,
 * NULL or 0, or -1 if it returns a count. Handles are never reused, so a stale handle is harmless.
 *
 * ERRORS. A function that fails sets the last error of its client, a code and a message; one that succeeds sets LNR_OK. Read
 * them with `lnr_last_error_code` and `lnr_last_error_message`. These two, and functions that only return a setting or an
 * address, do not change it. Threads that share a client share its last error. The last error of creating a client is read
 * with NULL; each thread has its own.
 *
 * THREADS. Any thread may call any function at any time; calls for one client may overlap.
 *
 * CALLBACKS of one client (receive, status) run one after the other on a thread of the client. They may block: this delays only
 * the callbacks of that client. They may call every function for every client, for example reply with `lnr_send_to`, or stop
 * or delete their own client. `lnr_stop` and `lnr_delete_client` wait for a running callback; no callback runs after they
 * return. Called inside a callback of the same client, they return at once, and that callback is the last one. They also
 * return without waiting if two callbacks would otherwise wait for each other.
 * The callbacks of `lnr_list_addresses`, `lnr_pending_by_peer` and `lnr_list_dead_letters` run on the calling thread before
 * the function returns.
 *
 * FORKING. The threads of a client do not survive fork(). Create clients after the fork, in the process that uses them. A
 * child must not use the clients of its parent, and need not delete them.
 *
 * UNLOADING. Delete every client before dlclose().
 */

#ifndef LINER_H
#define LINER_H

#include <stddef.h>
#include <stdint.h>

#ifndef LINER_API
#define LINER_API
#endif

#ifndef LINER_DEPRECATED
#if defined(__GNUC__) || defined(__clang__)
#define LINER_DEPRECATED __attribute__((deprecated))
#elif defined(_MSC_VER)
#define LINER_DEPRECATED __declspec(deprecated)
#else
#define LINER_DEPRECATED
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** As wide as an int. The library returns TRUE or FALSE, and accepts any value but 0 as TRUE. */
typedef enum BOOL { FALSE = 0, TRUE = 1 } BOOL;

/** A client. */
typedef void* lnr_hClient;

/** User data of a callback. The library passes it on unchanged. */
typedef void* lnr_uData;

/** Returns the version of the library, "x.y.z". The string is static. */
LINER_API const char* lnr_version(void);

/* ---- errors ---- */

/** The codes that `lnr_last_error_code` returns. */
enum {
    LNR_OK = 0,
    /** The client does not run. */
    LNR_ERR_NOT_RUNNING = 1,
    /** The setting cannot be changed while the client runs. */
    LNR_ERR_ALREADY_RUNNING = 2,
    /** The topic is the client's own. */
    LNR_ERR_SELF_TOPIC = 3,
    /** The topic is reserved for the library: its name starts with "__#". */
    LNR_ERR_INTERNAL_TOPIC = 4,
    /** No client serves the topic. */
    LNR_ERR_NO_ADDR = 5,
    /** The client cannot listen on its address. */
    LNR_ERR_BIND = 6,
    /** The store failed, or did not respond in time. */
    LNR_ERR_STORE = 7,
    /** An argument is not valid: an empty or too large message, an invalid name, NULL. */
    LNR_ERR_INVALID_ARG = 8,
    /** `lnr_clear_*` was called while the client runs. */
    LNR_ERR_CLEAR_WHILE_RUNNING = 9,
    /** The client could not start its threads. */
    LNR_ERR_STARTUP = 10,
    /** A queue is full. A later call may succeed. */
    LNR_ERR_BUSY = 11
};

/**
 * Returns why the client's last call failed, on any thread, or LNR_OK if it succeeded. Returns 0 for an invalid handle.
 * For NULL, returns why this thread's last `lnr_new_client_*` failed, or LNR_OK.
 */
LINER_API int lnr_last_error_code(lnr_hClient client);

/**
 * Returns the message of the last error: "" if there was none, NULL for an invalid handle. For NULL, returns NULL if this
 * thread's last `lnr_new_client_*` succeeded.
 * The string is a copy for the calling thread, valid until that thread calls this function again or ends. Calls of other
 * threads do not change it, nor does deleting the client.
 */
LINER_API const char* lnr_last_error_message(lnr_hClient client);

/* ---- creating, running, deleting ---- */

/**
 * Creates a client on a Redis server (6.2 or later).
 * @param unique_name name of the node; after a restart, the node with this name gets the messages that wait for it
 * @param topic the client's own topic
 * @param localhost "host:port" to listen on; port 0 chooses a free port
 * @param redis_url "redis://user:password@host:6379/0", "rediss://..." with TLS
 * @return NULL if an argument is NULL, empty or an invalid name, or the server does not respond
 */
LINER_API lnr_hClient lnr_new_client_redis(const char* unique_name, const char* topic, const char* localhost,
                                           const char* redis_url);

/** The same as `lnr_new_client_redis`. */
LINER_API LINER_DEPRECATED lnr_hClient lnr_new_client(const char* unique_name, const char* topic, const char* localhost,
                                                      const char* redis_path);

/**
 * Creates a client on a PostgreSQL database, given as "postgresql://user:password@host:5432/database" or as "host=...
 * dbname=...". Otherwise as `lnr_new_client_redis`.
 */
LINER_API lnr_hClient lnr_new_client_postgres(const char* unique_name, const char* topic, const char* localhost,
                                              const char* postgres_url);

/** Returns whether the library was built with PostgreSQL. */
LINER_API BOOL lnr_postgres_enabled(void);

/**
 * Creates a client on a SQLite file. Creates the file if it does not exist. Clients on one machine may share a file, and find
 * each other through it. Clients with files of their own find the peers named in `receivers_json`:
 * @param receivers_json [{"topic": "...", "addr": "host:port", "client_name": "..."}, ...]; NULL, "" or [] for none
 * @return NULL also if the JSON is not such an array, or the file is not a database of this library
 */
LINER_API lnr_hClient lnr_new_client_sqlite(const char* unique_name, const char* topic, const char* localhost,
                                            const char* sqlite_path, const char* receivers_json);

/**
 * A callback for messages. Gets the topic addressed, the sender's own topic (the address for a reply), and `size` bytes of
 * `data`. When it returns, the message is handled and is not delivered again, unless the callback has called `lnr_nack`.
 */
typedef void (*lnr_receive_cb)(const char* to, const char* from, const char* data, size_t size, lnr_uData udata);

/**
 * Starts the client: listens, publishes its topic, and begins to send and to receive. Returns TRUE at once if the client runs
 * already.
 * @param receive_cb the callback for messages; may be NULL only after `lnr_set_receive_ex`
 *
 * A client with the same name that runs elsewhere on the same store is fenced and ends.
 */
LINER_API BOOL lnr_run(lnr_hClient client, lnr_receive_cb receive_cb, lnr_uData udata);

/**
 * Stops the client: ends the callbacks, waits up to 5 s for acks, writes unacked messages to the store, and withdraws the
 * client's addresses. Returns TRUE also if the client does not run. `lnr_run` starts it again.
 * Waits for a running callback without a time limit; see CALLBACKS above.
 */
LINER_API BOOL lnr_stop(lnr_hClient client);

/** Returns whether the client runs: from a successful `lnr_run` to `lnr_stop`, or until a newer process takes its name. */
LINER_API BOOL lnr_is_running(lnr_hClient client);

/**
 * Stops the client and frees it. The handle is no longer valid. A SQLite file is closed when this returns: if no other process
 * or client has it open, the "-wal" and "-shm" files are gone and the file itself is complete. If this is called inside a
 * callback of the client, the file is closed after the callback has returned.
 */
LINER_API BOOL lnr_delete_client(lnr_hClient client);

/* ---- sending ---- */

/**
 * Sends a message of `size` bytes to one of the clients that serve a topic, in turn; connected clients come first.
 * @param at_least_once_delivery TRUE: the message is kept until the receiver has handled it, over lost connections and
 *        restarts, as safely as `lnr_set_durability` says. FALSE: it is sent at most once, and dropped if the receiver cannot
 *        be reached.
 *
 * Never waits for a receiver to handle messages. At-least-once messages that exceed the memory limits go to the store. Waits at
 * most 30 s for a store that does not respond.
 */
LINER_API BOOL lnr_send_to(lnr_hClient client, const char* topic, const char* data, size_t size,
                           BOOL at_least_once_delivery);

/** Sends a message to every client that serves the topic, once to each. Otherwise as `lnr_send_to`. */
LINER_API BOOL lnr_send_all(lnr_hClient client, const char* topic, const char* data, size_t size,
                            BOOL at_least_once_delivery);

/** Levels of durability: what has happened to an at-least-once message when a send returns TRUE. */
enum {
    /** The message is in memory, and in the store within 50 ms unless it is acked first. The default, and the fastest level:
     *  only the death of this process within these 50 ms can lose the message. */
    LNR_WRITE_BEHIND = 1,
    /** The message is committed to the store: it survives the death of any process. */
    LNR_COMMITTED = 2,
    /** The message is committed and synced to disk: it survives a power loss. */
    LNR_SYNCED = 3
};

/** Sets the level of durability of later sends. Fails with LNR_ERR_INVALID_ARG for any other value. */
LINER_API BOOL lnr_set_durability(lnr_hClient client, int level);

/** Returns the level of durability; 0 for an invalid handle. */
LINER_API int lnr_durability(lnr_hClient client);

/** A header of a message: a name and a value that travel with the data. */
typedef struct lnr_header {
    /** 1 to 255 bytes. */
    const char* key;
    /** `value_size` bytes, at most 65,535. Need not end with NUL. May be NULL if `value_size` is 0. */
    const char* value;
    size_t value_size;
} lnr_header;

/** Options of `lnr_send_ex`. If every field but the first is zero: to one client, at least once, with the client's durability. */
typedef struct lnr_send_options {
    /** Set to sizeof(lnr_send_options). Later versions may have more fields. */
    size_t struct_size;
    /** All headers of a message have at most 64 KiB. */
    const lnr_header* headers;
    size_t header_count;
    /** TRUE sends to every client that serves the topic. */
    BOOL to_all;
    /** TRUE sends at most once. */
    BOOL at_most_once;
    /** LNR_WRITE_BEHIND, LNR_COMMITTED, LNR_SYNCED, or 0 for the level of `lnr_set_durability`. */
    int durability;
} lnr_send_options;

/** Sends a message with options: headers, mode and durability. `options` may be NULL. */
LINER_API BOOL lnr_send_ex(lnr_hClient client, const char* topic, const char* data, size_t size,
                           const lnr_send_options* options);

/* ---- receiving ---- */

/** A delivery of a message to `lnr_receive_ex_cb`. */
typedef struct lnr_delivery {
    /** The size of this struct in the library. A field exists if it lies within this size. */
    size_t struct_size;
    /** The topic addressed. */
    const char* to;
    /** The sender's own topic: the address for a reply. */
    const char* from;
    /** The sender's unique name. */
    const char* sender;
    const char* data;
    size_t size;
    /** In the order of the sender. Keys may repeat. Values end with NUL. */
    const lnr_header* headers;
    size_t header_count;
    /** (sender, from, to, incarnation, seq) is the message id: the same at each delivery, over restarts too. `seq` counts from 1
     *  within its lane. It is 0 for a message sent at most once, which has no id. */
    uint64_t incarnation;
    uint64_t seq;
    /** The number of this delivery, from 1. */
    uint32_t attempt;
    /** Whether the message may have been delivered before, for example to a process that crashed. Every message read from the
     *  sender's store carries the mark, even at its first delivery. */
    BOOL redelivered;
} lnr_delivery;

/** What `lnr_receive_ex_cb` returns. */
enum {
    /** The message is handled. */
    LNR_ACK = 0,
    /** The message is not handled and is delivered again later. After 10 failures it becomes a dead letter. Later messages on
     *  the same lane (from the same sender, to the same topic) wait for it; others do not. */
    LNR_NACK = 1
};

/** A callback for messages that returns LNR_ACK or LNR_NACK. Any other value counts as LNR_NACK. */
typedef int (*lnr_receive_ex_cb)(const lnr_delivery* delivery, lnr_uData udata);

/**
 * Sets a receive callback that replaces the one of `lnr_run`, which may then be NULL. NULL removes it.
 * Fails with LNR_ERR_ALREADY_RUNNING while the client runs.
 */
LINER_API BOOL lnr_set_receive_ex(lnr_hClient client, lnr_receive_ex_cb cb, lnr_uData udata);

/**
 * Nacks the message that the receive callback of this client has, whatever the callback returns. Works in both kinds of receive
 * callback.
 * @param delay_ms time until the message is delivered again, in milliseconds; a negative value is a backoff that doubles from
 *        0.1 s to 5 s with every failure
 * @param reason recorded if the message becomes a dead letter; may be NULL
 * @return FALSE with LNR_ERR_INVALID_ARG if it is called anywhere else
 */
LINER_API BOOL lnr_nack(lnr_hClient client, long long delay_ms, const char* reason);

/* ---- topics ---- */

/**
 * Subscribes to a topic: its messages are delivered to the client's receive callback. Before `lnr_run`, the subscription takes
 * effect when the client starts. It lasts until `lnr_unsubscribe`, over `lnr_stop` and `lnr_run`. Idempotent.
 */
LINER_API BOOL lnr_subscribe(lnr_hClient client, const char* topic);

/**
 * Unsubscribes from a topic, also if an earlier process with this name subscribed to it. Messages that wait for this client
 * stay with their senders and are delivered when it subscribes again.
 */
LINER_API BOOL lnr_unsubscribe(lnr_hClient client, const char* topic);

/** Reads the addresses of a topic from the store now. Not needed normally. Fails with LNR_ERR_NO_ADDR if it has none. */
LINER_API BOOL lnr_refresh_address_topic(lnr_hClient client, const char* topic);

/* ---- administration ---- */

/** Deletes the messages of this client that are not acked, and its remembered routes. Fails with LNR_ERR_CLEAR_WHILE_RUNNING
 *  while the client runs. */
LINER_API BOOL lnr_clear_stored_messages(lnr_hClient client);

/** Deletes all addresses of the client's own topic from the store, including those of other clients. Fails with
 *  LNR_ERR_CLEAR_WHILE_RUNNING while the client runs. */
LINER_API BOOL lnr_clear_addresses_of_topic(lnr_hClient client);

/** A callback for one address of a topic. */
typedef void (*lnr_addr_cb)(const char* addr, const char* unique_name, lnr_uData udata);

/** Calls `cb` for each address of a topic in the store. A topic without addresses is not an error. */
LINER_API BOOL lnr_list_addresses(lnr_hClient client, const char* topic, lnr_addr_cb cb, lnr_uData udata);

/** Returns the number of at-least-once messages of this client that are not acked yet, in memory or stored; -1 on error. */
LINER_API long long lnr_pending_count(lnr_hClient client);

/** A callback for the pending messages of one receiver and topic. `addr` is "" if no address is known. */
typedef void (*lnr_pending_cb)(const char* addr, const char* topic, const char* unique_name, long long count,
                               lnr_uData udata);

/** Calls `cb` for each receiver and topic with pending messages. */
LINER_API BOOL lnr_pending_by_peer(lnr_hClient client, lnr_pending_cb cb, lnr_uData udata);

/**
 * Sets the "host:port" to publish, if it differs from the address that the client listens on. Peers resolve a host name when
 * they connect. Port 0 is replaced by the port that the client listens on. NULL or "" removes the setting. Fails with
 * LNR_ERR_ALREADY_RUNNING while the client runs.
 */
LINER_API BOOL lnr_set_advertise_addr(lnr_hClient client, const char* addr);

/** Returns the address set by `lnr_set_advertise_addr`, or NULL. This string and those of the next two functions are valid
 *  until the client is deleted. */
LINER_API const char* lnr_advertise_addr(lnr_hClient client);

/** Returns the address that the client listens on, or listened on last; NULL before the first `lnr_run`. */
LINER_API const char* lnr_bound_listen_addr(lnr_hClient client);

/** Returns the published address; NULL while the client does not run. */
LINER_API const char* lnr_published_addr(lnr_hClient client);

/**
 * Returns the statistics of the client as a JSON object: accepted, delivered, handled, acked, redelivered, nacked,
 * dead_lettered, dropped, duplicates, pending and more, and its links by peer. Counters start at `lnr_run`. Returns NULL on
 * error; LNR_ERR_NOT_RUNNING if the client does not run. The string is valid until the calling thread calls this function
 * again or ends.
 */
LINER_API const char* lnr_stats_json(lnr_hClient client);

/* ---- dead letters ---- */

/** The origin of a dead letter. */
enum {
    /** This client received the message, and its callback failed too often. */
    LNR_DEAD_HANDLER = 1,
    /** This client sent the message, and the receiver refuses it because it is too large. */
    LNR_DEAD_REFUSED = 2
};

/** A message that could not be handled. */
typedef struct lnr_dead_letter {
    /** The size of this struct in the library. A field exists if it lies within this size. */
    size_t struct_size;
    /** The id in the store, above 0. */
    long long id;
    /** LNR_DEAD_HANDLER or LNR_DEAD_REFUSED. */
    int origin;
    /** The number of deliveries. */
    uint32_t attempts;
    /** As in `lnr_delivery`. */
    const char* to;
    const char* from;
    const char* sender;
    /** The unique name of the receiver. */
    const char* receiver;
    uint64_t incarnation;
    uint64_t seq;
    const char* data;
    size_t size;
    const lnr_header* headers;
    size_t header_count;
    /** The reason of the last failure. */
    const char* reason;
    /** The time at which it became a dead letter, in milliseconds since 1970. */
    long long died_ms;
} lnr_dead_letter;

/** A callback for one dead letter. */
typedef void (*lnr_dead_letter_cb)(const lnr_dead_letter* letter, lnr_uData udata);

/** Calls `cb` for each dead letter of this client, oldest first. `topic` may be NULL for all topics. */
LINER_API BOOL lnr_list_dead_letters(lnr_hClient client, const char* topic, lnr_dead_letter_cb cb, lnr_uData udata);

/**
 * Replays dead letters: those that the client's callback failed are delivered to it again, those that a receiver refused are
 * sent again. A dead letter that succeeds is deleted.
 * @param topic only dead letters addressed to this topic; NULL for all
 * @param id only the dead letter with this id; 0 for all
 * @param failed set to the number of dead letters that failed again and remain; may be NULL
 * @return the number that succeeded; -1 on error, for example if the client does not run. Inside a callback it returns 0 at
 *         once, and the replay happens afterwards.
 */
LINER_API long long lnr_replay_dead_letters(lnr_hClient client, const char* topic, long long id, long long* failed);

/** Deletes dead letters, selected as in `lnr_replay_dead_letters`. Returns the number deleted, -1 on error. */
LINER_API long long lnr_purge_dead_letters(lnr_hClient client, const char* topic, long long id);

/* ---- events ---- */

/** The kinds of events that `lnr_status_cb` reports. */
enum {
    /** A peer that serves `topic` is up, or is connected again. Events about peers are reported only for topics that this
     *  client has sent to, subscribed to or refreshed. */
    LNR_PEER_CONNECTED = 1,
    /** A peer that serves `topic` is gone. */
    LNR_PEER_DISCONNECTED = 2,
    /** A peer has subscribed to `topic`. */
    LNR_PEER_SUBSCRIBED = 3,
    /** A peer has unsubscribed from `topic`. */
    LNR_PEER_UNSUBSCRIBED = 4,
    /** The connection to a receiver is lost, or could not be made. The client tries again. */
    LNR_SENDER_ROUTE_LOST = 5,
    /** The store failed. Necessary writes are retried. */
    LNR_SENDER_STORE_ERROR = 6,
    /** An accepted message will not be delivered: it became a dead letter. */
    LNR_SENDER_SEND_ERROR = 7,
    /** The store failed while a message was received. */
    LNR_LISTENER_STORE_ERROR = 8,
    /** A send to `topic` found a queue full. */
    LNR_SENDER_BUSY = 9
};

/** A callback for events. `topic` and `peer` (a unique name) are "" if they do not apply. */
typedef void (*lnr_status_cb)(int kind, const char* topic, const char* peer, const char* message, lnr_uData udata);

/**
 * Sets the callback for events, or removes it if `cb` is NULL. May be called at any time. The callback runs on the client's
 * callback thread. The previous callback does not run after this returns, unless this is called inside a callback. If events
 * come faster than the callback handles them, the newest are discarded.
 */
LINER_API BOOL lnr_set_status_cb(lnr_hClient client, lnr_status_cb cb, lnr_uData udata);

/** A callback for log lines. */
typedef void (*lnr_log_cb)(const char* message, lnr_uData udata);

/**
 * Sets the callback for log lines (failures and warnings) of the whole process. NULL restores the default, stderr. It is called
 * on the thread of the call that failed or on a thread of the library, and may be called on several threads at the same time.
 * The previous callback does not run after this returns, unless this is called inside a callback.
 */
LINER_API BOOL lnr_set_log_cb(lnr_log_cb cb, lnr_uData udata);

/* ---- limits of the process ---- */

/** Sets the maximum size of a message, data and headers, in bytes; default 1 GiB. Sends observe a new value at once; everything
 *  else observes it from the next `lnr_run` of a client. Returns FALSE for 0. */
LINER_API BOOL lnr_set_max_message_size(size_t bytes);
/** Returns the maximum size of a message, in bytes. */
LINER_API size_t lnr_get_max_message_size(void);

/** Sets the size in bytes above which messages are compressed in transit; default 1 MiB. Read by `lnr_run`. Returns FALSE for
 *  0. */
LINER_API BOOL lnr_set_compress_threshold(size_t bytes);
/** Returns the size above which messages are compressed, in bytes. */
LINER_API size_t lnr_get_compress_threshold(void);

/** Sets how many messages per receiver are held in memory; further sends fail with LNR_ERR_BUSY. The default, 0, is no such
 *  limit: sends that find memory full (64 MiB or 65,536 messages per receiver) then wait until the store has taken some of it.
 *  Read by `lnr_run`. */
LINER_API BOOL lnr_set_max_send_queue(size_t messages);
/** Returns how many messages per receiver are held in memory; 0 for no limit. */
LINER_API size_t lnr_get_max_send_queue(void);

#ifdef __cplusplus
}
#endif

#endif /* LINER_H */
