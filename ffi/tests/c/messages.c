/* Messages: headers, durabilities, subscriptions, nacks and dead letters, events, full queues, what waits for a restart. */

#include "check.h"

static const char* dir;

/* ---- headers and attempts ---- */

struct handler {
    inbox seen;
    /* Attempts up to this one are answered with a nack. */
    _Atomic int failing;
    lnr_hClient client;
};

static int handle(const lnr_delivery* delivery, lnr_uData udata) {
    struct handler* me = udata;
    char line[INBOX_LINE], headers[64] = "";
    CHECK(delivery->struct_size >= sizeof(lnr_delivery));
    for (size_t at = 0; at < delivery->header_count; at++) {
        const lnr_header* header = &delivery->headers[at];
        CHECK(header->value[header->value_size] == '\0');
        size_t used = strlen(headers);
        snprintf(headers + used, sizeof headers - used, "%s=%s;", header->key, header->value);
    }
    snprintf(line, sizeof line, "%s %s %s %.*s %s%u", delivery->to, delivery->from, delivery->sender, (int)delivery->size,
             delivery->data, headers, delivery->attempt);
    CHECK(delivery->redelivered || delivery->attempt == 1);
    inbox_put(&me->seen, line);
    CHECK(delivery->incarnation != 0 || delivery->seq == 0);
    if ((int)delivery->attempt > me->failing) return LNR_ACK;
    if (delivery->attempt == 1) return LNR_NACK;
    CHECK(lnr_nack(me->client, 1, "not yet") == TRUE);
    return LNR_ACK;
}

static void headers_and_attempts_arrive(void) {
    static struct handler handler = {INBOX, 2, NULL};
    lnr_hClient a = client_on(dir, "headers.sqlite", "a", "ta", "");
    lnr_hClient b = handler.client = client_on(dir, "headers.sqlite", "b", "tb", "");
    SUCCEEDS(b, lnr_set_receive_ex(b, handle, &handler));
    SUCCEEDS(b, lnr_run(b, NULL, NULL));
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    lnr_header headers[] = {{"trace", "7f", 2}, {"empty", NULL, 0}};
    lnr_send_options options = {sizeof options, headers, 2, FALSE, FALSE, LNR_SYNCED};
    SUCCEEDS(a, lnr_send_ex(a, "tb", "one", 3, &options));
    SUCCEEDS(a, send_text(a, "tb", "two", TRUE));
    inbox_wait(&handler.seen, 6);
    /* It was nacked twice, and the next message has waited for it. */
    const char* expected[] = {
        "tb ta a one trace=7f;empty=;1", "tb ta a one trace=7f;empty=;2", "tb ta a one trace=7f;empty=;3",
        "tb ta a two 1", "tb ta a two 2", "tb ta a two 3",
    };
    for (size_t at = 0; at < 6; at++) CHECK_LINE(handler.seen.lines[at], expected[at]);
    handler.failing = 0;
    lnr_send_options once = {sizeof once, NULL, 0, TRUE, TRUE, 0};
    SUCCEEDS(a, lnr_send_ex(a, "tb", "three", 5, &once));
    inbox_wait_for(&handler.seen, "tb ta a three 1");
    SUCCEEDS(a, lnr_send_ex(a, "tb", "four", 4, NULL));
    inbox_wait_for(&handler.seen, "tb ta a four 1");
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE);
}

/* ---- dead letters ---- */

static struct {
    long long id;
    int count;
} letters;

static void take_letter(const lnr_dead_letter* letter, lnr_uData udata) {
    CHECK(udata == &letters);
    CHECK(letter->struct_size >= sizeof(lnr_dead_letter));
    CHECK(letter->origin == LNR_DEAD_HANDLER && letter->attempts == 10);
    CHECK(strcmp(letter->to, "tb") == 0 && strcmp(letter->from, "ta") == 0);
    CHECK(strcmp(letter->sender, "a") == 0 && strcmp(letter->receiver, "b") == 0);
    CHECK(letter->size == 3 && memcmp(letter->data, "bad", 3) == 0);
    CHECK(letter->header_count == 1 && strcmp(letter->headers[0].key, "k") == 0);
    CHECK(strcmp(letter->reason, "never") == 0);
    CHECK(letter->incarnation != 0 && letter->seq > 0 && letter->died_ms > 1600000000000LL);
    letters.id = letter->id;
    letters.count++;
}

static struct picky {
    inbox seen;
    _Atomic int repaired;
    lnr_hClient client;
} picky = {INBOX, 0, NULL};

/* The plain callback can nack, too. */
static void be_picky(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)udata;
    if (size == 3 && memcmp(data, "bad", 3) == 0 && !picky.repaired) {
        CHECK(lnr_nack(picky.client, 1, "never") == TRUE);
        return;
    }
    char line[INBOX_LINE];
    snprintf(line, sizeof line, "%.*s", (int)size, data);
    inbox_put(&picky.seen, line);
}

static int listed(lnr_hClient client, const char* topic) {
    letters.count = 0;
    SUCCEEDS(client, lnr_list_dead_letters(client, topic, take_letter, &letters));
    return letters.count;
}

static void what_fails_too_often_is_a_dead_letter(void) {
    lnr_hClient a = client_on(dir, "letters.sqlite", "a", "ta", "");
    lnr_hClient b = picky.client = client_on(dir, "letters.sqlite", "b", "tb", "");
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    SUCCEEDS(b, lnr_run(b, be_picky, NULL));
    lnr_header header = {"k", "v", 1};
    lnr_send_options options = {sizeof options, &header, 1, FALSE, FALSE, LNR_COMMITTED};
    for (int at = 0; at < 2; at++) SUCCEEDS(a, lnr_send_ex(a, "tb", "bad", 3, &options));
    SUCCEEDS(a, send_text(a, "tb", "good", TRUE));
    /* The lane continues after them. */
    inbox_wait_for(&picky.seen, "good");
    EVENTUALLY(listed(b, NULL) == 2);
    CHECK(listed(b, "tb") == 2 && listed(b, "other") == 0);
    CHECK(listed(a, NULL) == 0);
    long long failed = -1;
    CHECK(lnr_replay_dead_letters(b, "tb", letters.id, &failed) == 0 && failed == 1);
    CHECK(listed(b, NULL) == 2);
    picky.repaired = 1;
    CHECK(lnr_replay_dead_letters(b, NULL, letters.id, &failed) == 1 && failed == 0);
    inbox_wait_for(&picky.seen, "bad");
    CHECK(listed(b, NULL) == 1);
    CHECK(lnr_purge_dead_letters(b, "other", 0) == 0);
    /* Also when it does not run. */
    SUCCEEDS(b, lnr_stop(b));
    CHECK(listed(b, NULL) == 1);
    CHECK(lnr_purge_dead_letters(b, NULL, letters.id) == 1);
    CHECK(listed(b, NULL) == 0);
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE);
}

/* ---- subscriptions and events ---- */

static void subscriptions_and_events(void) {
    static inbox b_seen = INBOX, c_seen = INBOX, status = INBOX;
    lnr_hClient a = client_on(dir, "topics.sqlite", "a", "ta", "");
    lnr_hClient b = client_on(dir, "topics.sqlite", "b", "tb", "");
    lnr_hClient c = client_on(dir, "topics.sqlite", "c", "tc", "");
    SUCCEEDS(a, lnr_set_status_cb(a, status_to_inbox, &status));
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    SUCCEEDS(b, lnr_subscribe(b, "news"));
    SUCCEEDS(b, lnr_run(b, to_inbox, &b_seen));
    SUCCEEDS(c, lnr_run(c, to_inbox, &c_seen));
    SUCCEEDS(a, lnr_refresh_address_topic(a, "news"));
    SUCCEEDS(c, lnr_subscribe(c, "news"));
    SUCCEEDS(c, lnr_subscribe(c, "news"));
    inbox_wait_for(&status, "3 news c");
    SUCCEEDS(a, lnr_send_all(a, "news", "all", 3, TRUE));
    inbox_wait_for(&b_seen, "news ta all");
    inbox_wait_for(&c_seen, "news ta all");
    SUCCEEDS(c, lnr_unsubscribe(c, "news"));
    inbox_wait_for(&status, "4 news c");
    SUCCEEDS(a, lnr_send_all(a, "news", "b only", 6, TRUE));
    inbox_wait_for(&b_seen, "news ta b only");
    SUCCEEDS(b, lnr_unsubscribe(b, "news"));
    SUCCEEDS(a, !lnr_refresh_address_topic(a, "news") && lnr_stop(a));
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    FAILS(a, send_text(a, "news", "x", TRUE), LNR_ERR_NO_ADDR);
    SUCCEEDS(a, send_text(a, "tb", "x", TRUE));
    inbox_wait_for(&status, "1 tb b");
    SUCCEEDS(b, lnr_stop(b));
    inbox_wait_for(&status, "5 tb b");
    inbox_wait_for(&status, "2 tb b");
    size_t before = inbox_count(&status);
    SUCCEEDS(b, lnr_run(b, to_inbox, &b_seen));
    inbox_wait(&status, before + 1);
    CHECK(inbox_count(&c_seen) == 1);
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE && lnr_delete_client(c) == TRUE);
}

/* ---- what waits ---- */

static long long waiting_for_b;

static void take_pending(const char* addr, const char* topic, const char* name, long long count, lnr_uData udata) {
    (void)addr;
    CHECK(udata == &waiting_for_b && strcmp(topic, "tb") == 0 && strcmp(name, "b") == 0);
    waiting_for_b = count;
}

#define WAITING 500

static void what_waits_comes_in_order_once(void) {
    static inbox seen = INBOX, more = INBOX;
    lnr_hClient a = client_on(dir, "offline.sqlite", "a", "ta", "");
    lnr_hClient b = client_on(dir, "offline.sqlite", "b", "tb", "");
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    SUCCEEDS(b, lnr_run(b, to_inbox, &seen));
    SUCCEEDS(a, send_text(a, "tb", "first", TRUE));
    inbox_wait(&seen, 1);
    EVENTUALLY(lnr_pending_count(a) == 0);
    SUCCEEDS(b, lnr_stop(b));
    char text[16];
    for (int at = 0; at < WAITING; at++) {
        snprintf(text, sizeof text, "%d", at);
        SUCCEEDS(a, send_text(a, "tb", text, TRUE));
    }
    /* At most once, it is no route any more, as soon as the sender has seen that. */
    EVENTUALLY(!send_text(a, "tb", "lost", FALSE));
    CHECK(lnr_last_error_code(a) == LNR_ERR_NO_ADDR);
    CHECK(lnr_pending_count(a) == WAITING);
    /* The sender starts again, too; what it has sent is still there. */
    CHECK(lnr_delete_client(a) == TRUE);
    a = client_on(dir, "offline.sqlite", "a", "ta", "");
    CHECK(lnr_pending_count(a) == WAITING);
    SUCCEEDS(a, lnr_pending_by_peer(a, take_pending, &waiting_for_b));
    CHECK(waiting_for_b == WAITING);
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    SUCCEEDS(a, send_text(a, "tb", "last", TRUE));
    SUCCEEDS(b, lnr_run(b, to_inbox, &more));
    inbox_wait(&more, WAITING + 1);
    for (int at = 0; at < WAITING; at++) {
        char line[INBOX_LINE];
        snprintf(line, sizeof line, "tb ta %d", at);
        CHECK(strcmp(more.lines[at], line) == 0);
    }
    CHECK(strcmp(more.lines[WAITING], "tb ta last") == 0);
    EVENTUALLY(lnr_pending_count(a) == 0);
    /* Cleared, it does not come. */
    SUCCEEDS(b, lnr_stop(b));
    SUCCEEDS(a, send_text(a, "tb", "forgotten", TRUE));
    SUCCEEDS(a, lnr_stop(a));
    CHECK(lnr_pending_count(a) == 1);
    SUCCEEDS(a, lnr_clear_stored_messages(a));
    CHECK(lnr_pending_count(a) == 0);
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    FAILS(a, send_text(a, "tb", "x", TRUE), LNR_ERR_NO_ADDR);
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE);
    CHECK(inbox_count(&seen) == 1 && inbox_count(&more) == WAITING + 1);
}

/* ---- files of their own ---- */

static void three_with_files_of_their_own(void) {
    static inbox seen[3] = {INBOX, INBOX, INBOX};
    const char* names[] = {"one", "two", "three"};
    const char* ports[] = {"0", "0", "0"};
    char peers[1024] = "", path[1024], addr[64];
    lnr_hClient clients[3];
    (void)ports;
    /* Each knows those before it; those learn of it when it connects. */
    for (int at = 0; at < 3; at++) {
        char json[1100];
        snprintf(json, sizeof json, "[%s]", peers);
        snprintf(path, sizeof path, "%s.sqlite", names[at]);
        clients[at] = client_on(dir, path, names[at], names[at], json);
        SUCCEEDS(clients[at], lnr_run(clients[at], to_inbox, &seen[at]));
        snprintf(addr, sizeof addr, "%s", lnr_published_addr(clients[at]));
        size_t used = strlen(peers);
        snprintf(peers + used, sizeof peers - used, "%s{\"topic\": \"%s\", \"addr\": \"%s\", \"client_name\": \"%s\"}",
                 used > 0 ? ", " : "", names[at], addr, names[at]);
    }
    SUCCEEDS(clients[2], send_text(clients[2], "one", "hello", TRUE));
    SUCCEEDS(clients[2], send_text(clients[2], "two", "hello", TRUE));
    SUCCEEDS(clients[1], send_text(clients[1], "one", "hello", TRUE));
    inbox_wait_for(&seen[0], "one three hello");
    inbox_wait_for(&seen[0], "one two hello");
    inbox_wait_for(&seen[1], "two three hello");
    SUCCEEDS(clients[0], send_text(clients[0], "three", "back", TRUE));
    inbox_wait_for(&seen[2], "three one back");
    for (int at = 0; at < 3; at++) EVENTUALLY(lnr_pending_count(clients[at]) == 0);
    for (int at = 0; at < 3; at++) CHECK(lnr_delete_client(clients[at]) == TRUE);
}

/* ---- full queues ---- */

static void a_full_queue_is_busy_and_says_so(void) {
    static inbox status = INBOX;
    /* An address that does not respond. */
    const char* peers = "[{\"topic\": \"far\", \"addr\": \"127.0.0.1:1\", \"client_name\": \"far\"}]";
    CHECK(lnr_set_max_send_queue(1) == TRUE);
    lnr_hClient a = client_on(dir, "busy.sqlite", "a", "ta", peers);
    SUCCEEDS(a, lnr_set_status_cb(a, status_to_inbox, &status));
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    CHECK(lnr_set_max_send_queue(0) == TRUE);
    double until = seconds() + PATIENCE;
    while (send_text(a, "far", "x", TRUE)) CHECK(seconds() < until);
    CHECK(lnr_last_error_code(a) == LNR_ERR_BUSY);
    inbox_wait_for(&status, "9 far ");
    inbox_wait_for(&status, "5 far far");
    CHECK(lnr_delete_client(a) == TRUE);
}

/* ---- large and compressed ---- */

static _Atomic size_t large_size;
static char* large;

static void take_large(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)udata;
    CHECK(memcmp(data, large, size) == 0);
    large_size = size;
}

static void a_large_message_arrives(void) {
    size_t size = (size_t)20 << 20;
    large = malloc(size);
    CHECK(large != NULL);
    for (size_t at = 0; at < size; at++) large[at] = (char)(at / 1000);
    lnr_hClient a = client_on(dir, "large.sqlite", "a", "ta", ""), b = client_on(dir, "large.sqlite", "b", "tb", "");
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    SUCCEEDS(b, lnr_run(b, take_large, NULL));
    SUCCEEDS(a, lnr_send_to(a, "tb", large, size, TRUE));
    EVENTUALLY(large_size == size);
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE);
    free(large);
}

int main(int argc, char** argv) {
    /* A second argument leaves out what is slow where every access of memory is checked. */
    CHECK(argc == 2 || argc == 3);
    dir = argv[1];
    headers_and_attempts_arrive();
    what_fails_too_often_is_a_dead_letter();
    subscriptions_and_events();
    what_waits_comes_in_order_once();
    three_with_files_of_their_own();
    a_full_queue_is_busy_and_says_so();
    if (argc == 2) a_large_message_arrives();
    puts("messages go where they should");
    return 0;
}
