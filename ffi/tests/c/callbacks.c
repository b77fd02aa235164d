/* What callbacks may do: answer, block, stop and delete, their own client and others, and what no longer calls them. */

#include "check.h"

static const char* dir;

static void replies_find_their_way(void) {
    static inbox asked = INBOX, answered = INBOX;
    lnr_hClient a = client_on(dir, "reply.sqlite", "a", "ta", ""), b = client_on(dir, "reply.sqlite", "b", "tb", "");
    SUCCEEDS(a, lnr_run(a, to_inbox, &answered));
    SUCCEEDS(b, lnr_run(b, to_inbox, &asked));
    SUCCEEDS(a, send_text(a, "tb", "question", TRUE));
    inbox_wait_for(&asked, "tb ta question");
    SUCCEEDS(b, send_text(b, "ta", "answer", TRUE));
    inbox_wait_for(&answered, "ta tb answer");
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE);
}

/* ---- two that echo to each other ---- */

static struct echo {
    lnr_hClient client;
    _Atomic long taken;
} left, right;

/* Taken by both together. */
static _Atomic long echoes;

#define ECHOES 20000
#define SEEDS 200

static void echo(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    struct echo* me = udata;
    (void)to;
    me->taken++;
    if (++echoes < ECHOES) CHECK(lnr_send_to(me->client, from, data, size, TRUE) == TRUE);
}

static void two_that_echo_do_not_wait_for_each_other(void) {
    /* So little memory that most messages go through the store. */
    left.client = client_on(dir, "echo.sqlite", "left", "l", "");
    right.client = client_on(dir, "echo.sqlite", "right", "r", "");
    SUCCEEDS(left.client, lnr_run(left.client, echo, &left));
    SUCCEEDS(right.client, lnr_run(right.client, echo, &right));
    for (int at = 0; at < SEEDS; at++) SUCCEEDS(left.client, send_text(left.client, "r", "echo", TRUE));
    EVENTUALLY(echoes >= ECHOES);
    CHECK(left.taken > ECHOES / 4 && right.taken > ECHOES / 4);
    EVENTUALLY(lnr_pending_count(left.client) == 0 && lnr_pending_count(right.client) == 0);
    CHECK(lnr_delete_client(left.client) == TRUE && lnr_delete_client(right.client) == TRUE);
}

/* ---- stopping within a callback ---- */

struct stopper {
    lnr_hClient client;
    BOOL delete_it;
    inbox seen;
};

static void stop_in_callback(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    struct stopper* me = udata;
    (void)to, (void)from;
    CHECK(size == 1);
    CHECK((me->delete_it ? lnr_delete_client : lnr_stop)(me->client) == TRUE);
    CHECK(lnr_is_running(me->client) == FALSE);
    CHECK(lnr_send_to(me->client, from, data, size, TRUE) == FALSE);
    CHECK(lnr_run(me->client, stop_in_callback, udata) == FALSE);
    inbox_put(&me->seen, "stopped");
}

static void a_callback_that_stops_its_client_is_the_last(BOOL delete_it) {
    static struct stopper stoppers[2] = {{NULL, FALSE, INBOX}, {NULL, TRUE, INBOX}};
    struct stopper* stopper = &stoppers[delete_it];
    static inbox ignored = INBOX;
    const char* file = delete_it ? "delete.sqlite" : "stop.sqlite";
    lnr_hClient sender = client_on(dir, file, "sender", "s", "");
    stopper->client = client_on(dir, file, "stopper", "t", "");
    SUCCEEDS(sender, lnr_run(sender, to_inbox, &ignored));
    SUCCEEDS(stopper->client, lnr_run(stopper->client, stop_in_callback, stopper));
    for (int at = 0; at < 50; at++) SUCCEEDS(sender, send_text(sender, "t", "x", TRUE));
    inbox_wait(&stopper->seen, 1);
    if (delete_it) {
        CHECK(lnr_stop(stopper->client) == FALSE);
        stopper->client = client_on(dir, file, "stopper", "t", "");
    } else {
        SUCCEEDS(stopper->client, lnr_stop(stopper->client));
    }
    CHECK(inbox_count(&stopper->seen) == 1);
    /* What it has not seen comes when it runs again. */
    static inbox rest[2] = {INBOX, INBOX};
    SUCCEEDS(stopper->client, lnr_run(stopper->client, to_inbox, &rest[delete_it]));
    inbox_wait(&rest[delete_it], 49);
    EVENTUALLY(lnr_pending_count(sender) == 0);
    CHECK(lnr_delete_client(stopper->client) == TRUE && lnr_delete_client(sender) == TRUE);
    CHECK(inbox_count(&rest[delete_it]) == 49);
}

/* ---- two that stop each other ---- */

static struct crossed {
    lnr_hClient me, other;
    pthread_barrier_t* both;
    inbox done;
} crossed[2] = {{NULL, NULL, NULL, INBOX}, {NULL, NULL, NULL, INBOX}};

static void stop_the_other(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    struct crossed* me = udata;
    (void)to, (void)from, (void)data, (void)size;
    pthread_barrier_wait(me->both);
    CHECK(lnr_stop(me->other) == TRUE);
    inbox_put(&me->done, "stopped the other");
}

static void two_callbacks_that_stop_each_other_both_return(void) {
    static inbox ignored = INBOX;
    pthread_barrier_t both;
    pthread_barrier_init(&both, NULL, 2);
    lnr_hClient sender = client_on(dir, "crossed.sqlite", "sender", "s", "");
    const char* topics[2] = {"x", "y"};
    for (int at = 0; at < 2; at++) crossed[at].me = client_on(dir, "crossed.sqlite", topics[at], topics[at], "");
    for (int at = 0; at < 2; at++) {
        crossed[at].other = crossed[1 - at].me;
        crossed[at].both = &both;
        SUCCEEDS(crossed[at].me, lnr_run(crossed[at].me, stop_the_other, &crossed[at]));
    }
    SUCCEEDS(sender, lnr_run(sender, to_inbox, &ignored));
    for (int at = 0; at < 2; at++) SUCCEEDS(sender, send_text(sender, topics[at], "go", TRUE));
    for (int at = 0; at < 2; at++) inbox_wait(&crossed[at].done, 1);
    for (int at = 0; at < 2; at++) CHECK(lnr_delete_client(crossed[at].me) == TRUE);
    CHECK(lnr_delete_client(sender) == TRUE);
    pthread_barrier_destroy(&both);
}

/* ---- stopping from outside ---- */

static struct slow {
    inbox began;
    _Atomic int running, stopped;
} slow = {INBOX, 0, 0};

static void be_slow(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)data, (void)size, (void)udata;
    CHECK(slow.stopped == 0);
    slow.running = 1;
    inbox_put(&slow.began, "began");
    struct timespec pause = {0, 200000000};
    nanosleep(&pause, NULL);
    slow.running = 0;
}

static void stopping_waits_for_the_callback_and_none_comes_later(void) {
    static inbox ignored = INBOX;
    lnr_hClient sender = client_on(dir, "slow.sqlite", "sender", "s", "");
    lnr_hClient receiver = client_on(dir, "slow.sqlite", "receiver", "r", "");
    SUCCEEDS(sender, lnr_run(sender, to_inbox, &ignored));
    SUCCEEDS(receiver, lnr_run(receiver, be_slow, NULL));
    for (int at = 0; at < 20; at++) SUCCEEDS(sender, send_text(sender, "r", "x", TRUE));
    inbox_wait(&slow.began, 1);
    SUCCEEDS(receiver, lnr_stop(receiver));
    CHECK(slow.running == 0);
    slow.stopped = 1;
    /* One more message is handed to another client meanwhile: time in which a late callback would show. */
    static inbox other = INBOX;
    lnr_hClient another = client_on(dir, "slow.sqlite", "another", "o", "");
    SUCCEEDS(another, lnr_run(another, to_inbox, &other));
    SUCCEEDS(sender, send_text(sender, "o", "x", TRUE));
    inbox_wait(&other, 1);
    CHECK(lnr_delete_client(receiver) == TRUE && lnr_delete_client(another) == TRUE && lnr_delete_client(sender) == TRUE);
}

/* ---- a blocked callback holds up nobody else ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static inbox at_gate = INBOX;

static void wait_at_gate(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)data, (void)size, (void)udata;
    inbox_put(&at_gate, "here");
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void a_blocked_callback_delays_no_other_client_and_no_heartbeat(void) {
    static inbox other = INBOX, status = INBOX;
    lnr_hClient sender = client_on(dir, "gate.sqlite", "sender", "s", "");
    lnr_hClient blocked = client_on(dir, "gate.sqlite", "blocked", "b", "");
    lnr_hClient free_one = client_on(dir, "gate.sqlite", "free", "f", "");
    pthread_mutex_lock(&gate);
    SUCCEEDS(sender, lnr_set_status_cb(sender, status_to_inbox, &status));
    SUCCEEDS(sender, lnr_run(sender, ignore, NULL));
    SUCCEEDS(blocked, lnr_run(blocked, wait_at_gate, NULL));
    SUCCEEDS(free_one, lnr_run(free_one, to_inbox, &other));
    SUCCEEDS(sender, send_text(sender, "b", "x", TRUE));
    inbox_wait(&at_gate, 1);
    /* Longer than three heartbeats of 2 s: a peer that is given up would be reported. */
    double until = seconds() + 7;
    size_t sent = 0;
    while (seconds() < until) {
        SUCCEEDS(sender, send_text(sender, "f", "x", TRUE));
        SUCCEEDS(sender, send_text(sender, "b", "x", TRUE));
        inbox_wait(&other, ++sent);
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
    }
    CHECK(inbox_count(&at_gate) == 1);
    for (size_t at = 0; at < inbox_count(&status); at++) CHECK(status.lines[at][0] == '1');
    pthread_mutex_unlock(&gate);
    inbox_wait(&at_gate, sent + 1);
    CHECK(lnr_delete_client(sender) == TRUE && lnr_delete_client(blocked) == TRUE && lnr_delete_client(free_one) == TRUE);
}

/* ---- a status callback that replaces itself ---- */

static lnr_hClient watching;
static inbox watched = INBOX;

static void watch_later(int kind, const char* topic, const char* peer, const char* message, lnr_uData udata) {
    (void)kind, (void)topic, (void)peer, (void)message, (void)udata;
    inbox_put(&watched, "second");
}

static void watch_first(int kind, const char* topic, const char* peer, const char* message, lnr_uData udata) {
    (void)kind, (void)topic, (void)peer, (void)message, (void)udata;
    inbox_put(&watched, "first");
    CHECK(lnr_set_status_cb(watching, watch_later, NULL) == TRUE);
}

static void a_status_callback_may_replace_itself(void) {
    watching = client_on(dir, "watch.sqlite", "watching", "w", "");
    lnr_hClient peer = client_on(dir, "watch.sqlite", "peer", "p", "");
    SUCCEEDS(watching, lnr_set_status_cb(watching, watch_first, NULL));
    SUCCEEDS(watching, lnr_run(watching, ignore, NULL));
    SUCCEEDS(peer, lnr_run(peer, ignore, NULL));
    SUCCEEDS(watching, lnr_refresh_address_topic(watching, "p"));
    inbox_wait(&watched, 1);
    SUCCEEDS(peer, lnr_stop(peer));
    inbox_wait(&watched, 2);
    CHECK_LINE(watched.lines[0], "first");
    CHECK_LINE(watched.lines[1], "second");
    CHECK(lnr_delete_client(watching) == TRUE && lnr_delete_client(peer) == TRUE);
}

/* ---- every function, within a callback ---- */

static lnr_hClient busy_one;
static inbox busy = INBOX;

static void any_addr(const char* addr, const char* name, lnr_uData udata) { (void)addr, (void)name, (void)udata; }

static void any_pending(const char* addr, const char* topic, const char* name, long long count, lnr_uData udata) {
    (void)addr, (void)topic, (void)name, (void)count, (void)udata;
}

static void any_status(int kind, const char* topic, const char* peer, const char* message, lnr_uData udata) {
    (void)kind, (void)topic, (void)peer, (void)message, (void)udata;
}

static void call_everything(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    lnr_hClient c = busy_one;
    (void)to, (void)udata;
    CHECK(lnr_is_running(c) == TRUE && lnr_run(c, ignore, NULL) == TRUE);
    CHECK(lnr_send_to(c, from, data, size, TRUE) == TRUE && lnr_send_all(c, from, data, size, TRUE) == TRUE);
    CHECK(lnr_send_to(c, from, data, size, FALSE) == TRUE && lnr_send_all(c, from, data, size, FALSE) == TRUE);
    CHECK(lnr_set_durability(c, LNR_SYNCED) == TRUE && lnr_send_to(c, from, data, size, TRUE) == TRUE);
    CHECK(lnr_subscribe(c, "more") == TRUE && lnr_unsubscribe(c, "more") == TRUE);
    CHECK(lnr_refresh_address_topic(c, from) == TRUE);
    CHECK(lnr_list_addresses(c, from, any_addr, NULL) == TRUE);
    CHECK(lnr_pending_by_peer(c, any_pending, NULL) == TRUE && lnr_pending_count(c) >= 0);
    CHECK(lnr_set_status_cb(c, any_status, NULL) == TRUE && lnr_set_status_cb(c, NULL, NULL) == TRUE);
    CHECK(lnr_clear_stored_messages(c) == FALSE && lnr_stats_json(c) != NULL);
    CHECK(lnr_replay_dead_letters(c, NULL, 0, NULL) == 0 && lnr_purge_dead_letters(c, NULL, 0) == 0);
    lnr_hClient another = client_on(dir, "inner.sqlite", "inner", "inner", "");
    CHECK(lnr_run(another, ignore, NULL) == TRUE && lnr_delete_client(another) == TRUE);
    inbox_put(&busy, "called");
}

static void a_callback_may_call_everything(void) {
    static inbox answers = INBOX;
    lnr_hClient sender = client_on(dir, "everything.sqlite", "sender", "s", "");
    busy_one = client_on(dir, "everything.sqlite", "busy", "b", "");
    SUCCEEDS(sender, lnr_run(sender, to_inbox, &answers));
    SUCCEEDS(busy_one, lnr_run(busy_one, call_everything, NULL));
    for (int at = 0; at < 3; at++) SUCCEEDS(sender, send_text(sender, "b", "x", TRUE));
    inbox_wait(&busy, 3);
    inbox_wait(&answers, 9);
    CHECK(lnr_delete_client(busy_one) == TRUE && lnr_delete_client(sender) == TRUE);
}

int main(int argc, char** argv) {
    CHECK(argc == 2);
    dir = argv[1];
    replies_find_their_way();
    two_that_echo_do_not_wait_for_each_other();
    a_callback_that_stops_its_client_is_the_last(FALSE);
    a_callback_that_stops_its_client_is_the_last(TRUE);
    two_callbacks_that_stop_each_other_both_return();
    stopping_waits_for_the_callback_and_none_comes_later();
    a_status_callback_may_replace_itself();
    a_callback_may_call_everything();
    a_blocked_callback_delays_no_other_client_and_no_heartbeat();
    puts("callbacks do as they like");
    return 0;
}
