/*
 * liner: a brokerless messaging mesh, for C and C++.
 *
 * Link with libliner_broker (pkg-config: liner). The guide is docs/c.md; what is promised is in docs/guarantees.md.
 *
 * A client is one node of the mesh. It has a name that no other node has, and a topic of its own. Create it on a store
 * (SQLite, PostgreSQL, Redis), `lnr_run` it, then send to the topics of other clients and receive what they send.
 *
 * STRINGS are UTF-8 and end with NUL. What is passed in is copied before the call returns. A string that is passed to a
 * callback, and everything else a callback gets, is valid until the callback returns.
 *
 * ARGUMENTS are checked. A NULL or unknown handle (deleted, or never given out) makes a function return FALSE, NULL or 0
 * (-1 where it counts something), and so does NULL or invalid UTF-8 where a string is needed. A handle's value is never
 * given out twice, so a stale one stays harmless.
 *
 * ERRORS. A function that fails leaves a code and a text with its client, for `lnr_last_error_code` and
 * `lnr_last_error_message`; one that succeeds sets LNR_OK. Reading either does not change it. Threads that share a client see
 * each other's. What creating a client leaves is found under NULL, by each thread its own.
 *
 * THREADS. Any thread may call any function at any time; calls for one client may overlap.
 *
 * CALLBACKS of one client (receive, status) run one after the other on a thread that belongs to the client. There they may
 * block as long as they like, which delays nothing but that client's callbacks, and may call every function for every
 * client: answer with `lnr_send_to`, stop or delete their own client. `lnr_stop` and `lnr_delete_client` wait for the
 * callback that runs, and after they have returned none runs any more. Called inside a callback of the same client, they
 * return at once instead, and that callback is the last one. They also return without waiting where two callbacks would
 * otherwise wait for each other.
 * The callbacks of `lnr_list_addresses`, `lnr_pending_by_peer` and `lnr_list_dead_letters` run on the calling thread before
 * the function returns.
 *
 * FORKING. The threads of a client do not survive fork(). Create clients after the fork, in the process that uses them; a
 * child must not use, and need not delete, what its parent has created.
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

/** As wide as an int. The library returns TRUE or FALSE, and takes any value but 0 for TRUE. */
typedef enum BOOL { FALSE = 0, TRUE = 1 } BOOL;

/** A client. */
typedef void* lnr_hClient;

/** Whatever the program wants to find again in its callback. The library only hands it on. */
typedef void* lnr_uData;

/** The version of the library, "x.y.z". Never freed. */
LINER_API const char* lnr_version(void);

/* ---- errors ---- */

/** What `lnr_last_error_code` answers. */
enum {
    LNR_OK = 0,
    /** The client does not run. */
    LNR_ERR_NOT_RUNNING = 1,
    /** This can be set only while the client does not run. */
    LNR_ERR_ALREADY_RUNNING = 2,
    /** The topic is the client's own. */
    LNR_ERR_SELF_TOPIC = 3,
    /** The topic belongs to the library: its name starts with "__#". */
    LNR_ERR_INTERNAL_TOPIC = 4,
    /** Nobody serves the topic. */
    LNR_ERR_NO_ADDR = 5,
    /** The client's address cannot be listened on. */
    LNR_ERR_BIND = 6,
    /** The store failed, or did not answer in time. */
    LNR_ERR_STORE = 7,
    /** An argument is not valid: an empty or too large message, a name that is none, NULL. */
    LNR_ERR_INVALID_ARG = 8,
    /** `lnr_clear_*` is for clients that do not run. */
    LNR_ERR_CLEAR_WHILE_RUNNING = 9,
    /** The client could not start its threads. */
    LNR_ERR_STARTUP = 10,
    /** A queue is full; later there may be room. */
    LNR_ERR_BUSY = 11
};

/**
 * Why the client's last call failed, or LNR_OK; whichever thread made that call. 0 for a handle that is none.
 * For NULL: why this thread's last `lnr_new_client_*` gave none, or LNR_OK.
 */
LINER_API int lnr_last_error_code(lnr_hClient client);

/**
 * The same in words: "" when there was no error, NULL for a handle that is none, and for NULL when there is a client.
 * The text is a copy for the calling thread, valid until that thread calls this function again or ends. Calls of other threads
 * and deleting the client leave it as it is.
 */
LINER_API const char* lnr_last_error_message(lnr_hClient client);

/* ---- creating, running, ending ---- */

/**
 * Creates a client on a Redis server (6.2 or later).
 * @param unique_name name of the node; the same name is the same node after a restart, with what waits for it
 * @param topic the client's own topic
 * @param localhost "host:port" to listen on; port 0 takes a free one
 * @param redis_url "redis://user:password@host:6379/0", "rediss://..." with TLS
 * @return NULL when an argument is NULL, empty or no name, or the server does not answer
 */
LINER_API lnr_hClient lnr_new_client_redis(const char* unique_name, const char* topic, const char* localhost,
                                           const char* redis_url);

/** Same as `lnr_new_client_redis`. */
LINER_API LINER_DEPRECATED lnr_hClient lnr_new_client(const char* unique_name, const char* topic, const char* localhost,
                                                      const char* redis_path);

/**
 * Creates a client on a PostgreSQL database, given as "postgresql://user:password@host:5432/database" or as "host=...
 * dbname=...". Otherwise as `lnr_new_client_redis`.
 */
LINER_API lnr_hClient lnr_new_client_postgres(const char* unique_name, const char* topic, const char* localhost,
                                              const char* postgres_url);

/** Whether the library was built with PostgreSQL. */
LINER_API BOOL lnr_postgres_enabled(void);

/**
 * Creates a client on a SQLite file, which is made if it is not there. Clients of one machine may share a file, and find each
 * other in it. Clients with files of their own need to be told of their peers:
 * @param receivers_json [{"topic": "...", "addr": "host:port", "client_name": "..."}, ...]; NULL, "" or [] for none
 * @return NULL also when the JSON is not such an array, or the file is no database of this library
 */
LINER_API lnr_hClient lnr_new_client_sqlite(const char* unique_name, const char* topic, const char* localhost,
                                            const char* sqlite_path, const char* receivers_json);

/**
 * Takes a message: its topic, the sender's own topic (an answer goes there), and `size` bytes of `data`. When it returns, the
 * message counts as handled and is not delivered again, unless it has called `lnr_nack`.
 */
typedef void (*lnr_receive_cb)(const char* to, const char* from, const char* data, size_t size, lnr_uData udata);

/**
 * Listens, publishes the client's topic and starts to send and to receive. TRUE at once when the client runs already.
 * @param receive_cb takes the messages; it may be NULL only after `lnr_set_receive_ex`
 *
 * A client of the same name that runs elsewhere on the same store is ended by this.
 */
LINER_API BOOL lnr_run(lnr_hClient client, lnr_receive_cb receive_cb, lnr_uData udata);

/**
 * Ends the callbacks, waits up to 5 s for peers to confirm what was sent, writes what they have not confirmed to the store,
 * and withdraws the client's addresses. TRUE also when the client does not run. `lnr_run` starts it again.
 * Waits for a callback that runs as long as that takes; see CALLBACKS above.
 */
LINER_API BOOL lnr_stop(lnr_hClient client);

/** Whether the client runs: from a successful `lnr_run` to `lnr_stop`, or until a newer process took its name. */
LINER_API BOOL lnr_is_running(lnr_hClient client);

/**
 * Stops the client and frees it. The handle is no longer valid. A SQLite file is closed when this returns: if nobody else has it
 * open, "-wal" and "-shm" are gone, and all is in the file itself. Inside a callback, that follows.
 */
LINER_API BOOL lnr_delete_client(lnr_hClient client);

/* ---- sending ---- */

/**
 * Sends `size` bytes to one of the clients that serve a topic, in turn, those that are connected first.
 * @param at_least_once_delivery TRUE: kept until the receiver has handled it, over lost connections and restarts, as safe as
 *        `lnr_set_durability` says. FALSE: sent at most once; dropped when the receiver cannot be reached.
 *
 * Never waits for a receiver to handle anything. Over the limits of memory, at-least-once messages go to the store. Waits at
 * most 30 s for a store that does not answer.
 */
LINER_API BOOL lnr_send_to(lnr_hClient client, const char* topic, const char* data, size_t size,
                           BOOL at_least_once_delivery);

/** Sends to every client that serves the topic, once each. */
LINER_API BOOL lnr_send_all(lnr_hClient client, const char* topic, const char* data, size_t size,
                            BOOL at_least_once_delivery);

/** When an at-least-once message counts as sent. */
enum {
    /** It is in memory, and within 50 ms in the store, unless its receiver was faster. What a client does by default: the
     *  fastest, safe from everything but the death of this process within these 50 ms. */
    LNR_WRITE_BEHIND = 1,
    /** It is committed to the store: safe from the death of any process. */
    LNR_COMMITTED = 2,
    /** It is committed, and on the disk: safe from a loss of power. */
    LNR_SYNCED = 3
};

/** Sets the level for all that the client sends from now on. FALSE with LNR_ERR_INVALID_ARG when it is none of the three. */
LINER_API BOOL lnr_set_durability(lnr_hClient client, int level);

/** The level in force; 0 for a handle that is none. */
LINER_API int lnr_durability(lnr_hClient client);

/** A header of a message: a name and a value that travel with the data. */
typedef struct lnr_header {
    /** 1 to 255 bytes. */
    const char* key;
    /** `value_size` bytes, at most 65,535; need not end with NUL, and may be NULL when there are none. */
    const char* value;
    size_t value_size;
} lnr_header;

/** How `lnr_send_ex` sends. Zero in every field but the first is: to one client, at least once, as the client is set. */
typedef struct lnr_send_options {
    /** sizeof(lnr_send_options): later versions may have more fields. */
    size_t struct_size;
    /** All headers of a message have at most 64 KiB. */
    const lnr_header* headers;
    size_t header_count;
    /** TRUE: to every client that serves the topic. */
    BOOL to_all;
    /** TRUE: at most once. */
    BOOL at_most_once;
    /** LNR_WRITE_BEHIND, LNR_COMMITTED, LNR_SYNCED, or 0 for what `lnr_set_durability` has set. */
    int durability;
} lnr_send_options;

/** Sends with headers, or with a durability of its own. `options` may be NULL. */
LINER_API BOOL lnr_send_ex(lnr_hClient client, const char* topic, const char* data, size_t size,
                           const lnr_send_options* options);

/* ---- receiving ---- */

/** A message as `lnr_receive_ex_cb` gets it. */
typedef struct lnr_delivery {
    /** Size of this struct in the library; a field is there if it lies within. */
    size_t struct_size;
    /** The topic it was sent to. */
    const char* to;
    /** The sender's own topic: where an answer goes. */
    const char* from;
    /** The sender's unique name. */
    const char* sender;
    const char* data;
    size_t size;
    /** In the order they were given; keys may repeat. Values end with NUL here. */
    const lnr_header* headers;
    size_t header_count;
    /** (sender, from, to, incarnation, seq) names the message for good, over redelivery and restarts. `seq` counts from 1
     *  within its lane; it is 0 for a message sent at most once, which has no name. */
    uint64_t incarnation;
    uint64_t seq;
    /** How often it was handed over, this time included. */
    uint32_t attempt;
    /** It may have been handed over before, for example by a process that crashed. Set on all that was read from the sender's
     *  store, also where it comes for the first time. */
    BOOL redelivered;
} lnr_delivery;

/** What `lnr_receive_ex_cb` returns. */
enum {
    /** The message is handled. */
    LNR_ACK = 0,
    /** It is not: deliver it again later. After 10 failures it becomes a dead letter. Later messages on the same lane (from
     *  the same sender, to the same topic) wait, others do not. */
    LNR_NACK = 1
};

/** Takes a message and answers LNR_ACK or LNR_NACK; any other value counts as LNR_NACK. */
typedef int (*lnr_receive_ex_cb)(const lnr_delivery* delivery, lnr_uData udata);

/**
 * Sets the callback that takes messages in place of the one given to `lnr_run`, which may then be NULL; NULL removes it.
 * FALSE with LNR_ERR_ALREADY_RUNNING while the client runs.
 */
LINER_API BOOL lnr_set_receive_ex(lnr_hClient client, lnr_receive_ex_cb cb, lnr_uData udata);

/**
 * Within a receive callback of this client, of either kind: the message is not handled, whatever the callback returns.
 * @param delay_ms how long to wait before it is delivered again, in milliseconds; below 0 for a wait that doubles from 0.1 s to
 *        5 s with every failure
 * @param reason kept with the dead letter the message may become; may be NULL
 * @return FALSE with LNR_ERR_INVALID_ARG anywhere else
 */
LINER_API BOOL lnr_nack(lnr_hClient client, long long delay_ms, const char* reason);

/* ---- topics ---- */

/**
 * Serves one more topic: its messages come to the client's callback. Before `lnr_run` the topic is served from then on. The
 * subscription lasts until `lnr_unsubscribe`, also over `lnr_stop` and `lnr_run`. Repeating it is fine.
 */
LINER_API BOOL lnr_subscribe(lnr_hClient client, const char* topic);

/**
 * Serves a topic no more, whichever process of this name subscribed to it. What waits for this client stays with its senders
 * until it subscribes again.
 */
LINER_API BOOL lnr_unsubscribe(lnr_hClient client, const char* topic);

/** Reads the addresses of a topic from the store, now. Not needed normally. FALSE with LNR_ERR_NO_ADDR when it has none. */
LINER_API BOOL lnr_refresh_address_topic(lnr_hClient client, const char* topic);

/* ---- administration ---- */

/** Deletes what this client has sent and its receivers have not handled, and the routes it remembers. Not while it runs. */
LINER_API BOOL lnr_clear_stored_messages(lnr_hClient client);

/** Deletes all addresses of the client's own topic from the store, those of other clients too. Not while it runs. */
LINER_API BOOL lnr_clear_addresses_of_topic(lnr_hClient client);

/** One address of a topic. */
typedef void (*lnr_addr_cb)(const char* addr, const char* unique_name, lnr_uData udata);

/** Calls `cb` for each address that the store has for a topic. A topic without any is no error. */
LINER_API BOOL lnr_list_addresses(lnr_hClient client, const char* topic, lnr_addr_cb cb, lnr_uData udata);

/** How many at-least-once messages of this client its receivers have not handled yet, in memory or stored; -1 on error. */
LINER_API long long lnr_pending_count(lnr_hClient client);

/** What waits for one receiver and topic. `addr` is "" when none is known. */
typedef void (*lnr_pending_cb)(const char* addr, const char* topic, const char* unique_name, long long count,
                               lnr_uData udata);

/** Calls `cb` for each receiver and topic that something waits for. */
LINER_API BOOL lnr_pending_by_peer(lnr_hClient client, lnr_pending_cb cb, lnr_uData udata);

/**
 * Sets the "host:port" that peers are told, where it differs from the one that is listened on. A host name is resolved by
 * those who connect; port 0 is replaced by the port that is listened on. NULL or "" takes it back. Not while the client runs.
 */
LINER_API BOOL lnr_set_advertise_addr(lnr_hClient client, const char* addr);

/** What was set, or NULL. Valid until the client is deleted, as are the next two. */
LINER_API const char* lnr_advertise_addr(lnr_hClient client);

/** Where the client listens, or listened last; NULL before the first `lnr_run`. */
LINER_API const char* lnr_bound_listen_addr(lnr_hClient client);

/** What peers are told; NULL while the client does not run. */
LINER_API const char* lnr_published_addr(lnr_hClient client);

/**
 * What the client counts and holds, as a JSON object: accepted, delivered, handled, acked, redelivered, nacked, dead_lettered,
 * dropped, duplicates, pending and more, and its links by peer. Counters run from `lnr_run`. NULL on error, with
 * LNR_ERR_NOT_RUNNING for a client that does not run. Valid until the calling thread calls this function again or ends.
 */
LINER_API const char* lnr_stats_json(lnr_hClient client);

/* ---- dead letters ---- */

/** Where a message died. */
enum {
    /** This client's callback failed it too often. */
    LNR_DEAD_HANDLER = 1,
    /** This client sent it, and its receiver refuses it for good: it is too large there. */
    LNR_DEAD_REFUSED = 2
};

/** A message that could not be handled. */
typedef struct lnr_dead_letter {
    /** Size of this struct in the library; a field is there if it lies within. */
    size_t struct_size;
    /** Its number in the store, above 0. */
    long long id;
    /** LNR_DEAD_HANDLER or LNR_DEAD_REFUSED. */
    int origin;
    /** How often it was handed over. */
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
    /** The last reason given. */
    const char* reason;
    /** When it died, in milliseconds since 1970. */
    long long died_ms;
} lnr_dead_letter;

typedef void (*lnr_dead_letter_cb)(const lnr_dead_letter* letter, lnr_uData udata);

/** Calls `cb` for each dead letter of this client, oldest first. `topic` may be NULL for all topics. */
LINER_API BOOL lnr_list_dead_letters(lnr_hClient client, const char* topic, lnr_dead_letter_cb cb, lnr_uData udata);

/**
 * Tries dead letters again: those of its own callback are handed to it, those that a receiver refused are sent again. One that
 * succeeds is no dead letter any more.
 * @param topic only those addressed to it; NULL for all
 * @param id only this one; 0 for all
 * @param failed gets how many failed again and stay; may be NULL
 * @return how many succeeded, -1 on error, as for a client that does not run. Inside a callback it returns 0 at once, and the
 *         letters are tried afterwards.
 */
LINER_API long long lnr_replay_dead_letters(lnr_hClient client, const char* topic, long long id, long long* failed);

/** Deletes dead letters, chosen as in `lnr_replay_dead_letters`. Answers how many, -1 on error. */
LINER_API long long lnr_purge_dead_letters(lnr_hClient client, const char* topic, long long id);

/* ---- events ---- */

/** The kinds of events that `lnr_status_cb` reports. */
enum {
    /** A peer that serves `topic` has come up, or is connected again. Peer events come only for topics that this client has
     *  sent to, subscribed to or refreshed. */
    LNR_PEER_CONNECTED = 1,
    /** It has gone. */
    LNR_PEER_DISCONNECTED = 2,
    /** A peer has subscribed to `topic`. */
    LNR_PEER_SUBSCRIBED = 3,
    /** A peer has unsubscribed from it. */
    LNR_PEER_UNSUBSCRIBED = 4,
    /** A connection that this client sends on is lost, or could not be made; it is tried again. */
    LNR_SENDER_ROUTE_LOST = 5,
    /** The store failed; what must be written is tried again. */
    LNR_SENDER_STORE_ERROR = 6,
    /** A message was accepted, and will not be delivered: it became a dead letter. */
    LNR_SENDER_SEND_ERROR = 7,
    /** The store failed while something was received. */
    LNR_LISTENER_STORE_ERROR = 8,
    /** A send to `topic` found a queue full. */
    LNR_SENDER_BUSY = 9
};

/** `topic` and `peer` (a unique name) are "" where they say nothing. */
typedef void (*lnr_status_cb)(int kind, const char* topic, const char* peer, const char* message, lnr_uData udata);

/**
 * Sets the callback for events, at any time; NULL removes it. It runs on the client's callback thread. When this returns, the
 * callback before it does not run any more, unless this was called inside it. Of events that come faster than they are taken,
 * the newest are left out.
 */
LINER_API BOOL lnr_set_status_cb(lnr_hClient client, lnr_status_cb cb, lnr_uData udata);

typedef void (*lnr_log_cb)(const char* message, lnr_uData udata);

/**
 * Sets who gets the lines that otherwise go to stderr: what failed, and warnings; NULL restores stderr. One for the whole
 * process. It is called on the thread of the call that failed or on one of the library's own, on several at a time too.
 * When this returns, the callback before it does not run any more, unless this was called inside one.
 */
LINER_API BOOL lnr_set_log_cb(lnr_log_cb cb, lnr_uData udata);

/* ---- limits of the process ---- */

/** Largest message sent or taken, data and headers, in bytes; default 1 GiB. Lowering it holds for sends at once, all else from
 *  the next `lnr_run` of a client. FALSE for 0. */
LINER_API BOOL lnr_set_max_message_size(size_t bytes);
LINER_API size_t lnr_get_max_message_size(void);

/** Larger messages are compressed on the way, in bytes; default 1 MiB. Read by `lnr_run`. FALSE for 0. */
LINER_API BOOL lnr_set_compress_threshold(size_t bytes);
LINER_API size_t lnr_get_compress_threshold(void);

/** Messages per receiver that memory holds; above, sends fail with LNR_ERR_BUSY. 0, the default, is no such limit: then sends
 *  that find memory full (64 MiB or 65,536 messages a receiver) wait for the store to take some of it. Read by `lnr_run`. */
LINER_API BOOL lnr_set_max_send_queue(size_t messages);
LINER_API size_t lnr_get_max_send_queue(void);

#ifdef __cplusplus
}
#endif

#endif /* LINER_H */
