/* Every function of the header, every error code a program can provoke by itself, and what bad arguments return. */

#include "check.h"

static const char* dir;

static void count_addr(const char* addr, const char* name, lnr_uData udata) {
    CHECK(strlen(addr) > 0 && strlen(name) > 0);
    ++*(int*)udata;
}

static void add_pending(const char* addr, const char* topic, const char* name, long long count, lnr_uData udata) {
    CHECK(addr != NULL && strlen(topic) > 0 && strlen(name) > 0);
    *(long long*)udata += count;
}

static void count_letter(const lnr_dead_letter* letter, lnr_uData udata) {
    (void)letter;
    ++*(int*)udata;
}

static int receive_ex(const lnr_delivery* delivery, lnr_uData udata) {
    (void)delivery, (void)udata;
    return LNR_ACK;
}

static void a_handle_that_is_none_fails_everywhere(lnr_hClient bad) {
    const char* x = "x";
    CHECK(lnr_run(bad, ignore, NULL) == FALSE);
    CHECK(lnr_stop(bad) == FALSE);
    CHECK(lnr_is_running(bad) == FALSE);
    CHECK(lnr_delete_client(bad) == FALSE);
    CHECK(lnr_send_to(bad, x, x, 1, TRUE) == FALSE);
    CHECK(lnr_send_all(bad, x, x, 1, TRUE) == FALSE);
    CHECK(lnr_send_ex(bad, x, x, 1, NULL) == FALSE);
    CHECK(lnr_subscribe(bad, x) == FALSE);
    CHECK(lnr_unsubscribe(bad, x) == FALSE);
    CHECK(lnr_refresh_address_topic(bad, x) == FALSE);
    CHECK(lnr_clear_stored_messages(bad) == FALSE);
    CHECK(lnr_clear_addresses_of_topic(bad) == FALSE);
    CHECK(lnr_last_error_code(bad) == LNR_OK);
    CHECK(lnr_last_error_message(bad) == NULL);
    CHECK(lnr_set_status_cb(bad, NULL, NULL) == FALSE);
    CHECK(lnr_list_addresses(bad, x, count_addr, NULL) == FALSE);
    CHECK(lnr_pending_count(bad) == -1);
    CHECK(lnr_pending_by_peer(bad, add_pending, NULL) == FALSE);
    CHECK(lnr_set_advertise_addr(bad, "h:1") == FALSE);
    CHECK(lnr_advertise_addr(bad) == NULL);
    CHECK(lnr_bound_listen_addr(bad) == NULL);
    CHECK(lnr_published_addr(bad) == NULL);
    CHECK(lnr_set_durability(bad, LNR_SYNCED) == FALSE);
    CHECK(lnr_durability(bad) == 0);
    CHECK(lnr_set_receive_ex(bad, receive_ex, NULL) == FALSE);
    CHECK(lnr_nack(bad, 0, x) == FALSE);
    CHECK(lnr_stats_json(bad) == NULL);
    CHECK(lnr_list_dead_letters(bad, NULL, count_letter, NULL) == FALSE);
    CHECK(lnr_replay_dead_letters(bad, NULL, 0, NULL) == -1);
    CHECK(lnr_purge_dead_letters(bad, NULL, 0) == -1);
}

static void clients_that_cannot_be_are_not_created(void) {
    char path[1024];
    snprintf(path, sizeof path, "%s/creation.sqlite", dir);
    const char* good[] = {"n", "t", "localhost:0", path};
    const char* bad[] = {NULL, "", "\xff\xfe"};
    for (size_t at = 0; at < 4; at++) {
        for (size_t how = 0; how < 3; how++) {
            const char* a[4];
            memcpy(a, good, sizeof a);
            a[at] = bad[how];
            CHECK(lnr_new_client_sqlite(a[0], a[1], a[2], a[3], "") == NULL);
            CHECK(lnr_new_client_redis(a[0], a[1], a[2], a[3]) == NULL);
            CHECK(lnr_new_client_postgres(a[0], a[1], a[2], a[3]) == NULL);
        }
    }
    const char* json[] = {"nonsense", "{}", "[{\"topic\": \"t\"}]", "\xff"};
    for (size_t at = 0; at < 4; at++) CHECK(lnr_new_client_sqlite("n", "t", "localhost:0", path, json[at]) == NULL);
    CHECK(lnr_new_client_sqlite("n", "t", "localhost:0", dir, "") == NULL);
    CHECK(lnr_new_client_sqlite("n", "__#internal_channel", "localhost:0", path, "") == NULL);
    CHECK(lnr_new_client_redis("n", "t", "localhost:0", "redis://127.0.0.1:1/") == NULL);
    CHECK(lnr_new_client_postgres("n", "t", "localhost:0", "postgresql://127.0.0.1:1/liner") == NULL);
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
    CHECK(lnr_new_client("n", "t", "localhost:0", "redis://127.0.0.1:1/") == NULL);
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
    CHECK(lnr_last_error_code(NULL) == LNR_ERR_STORE && strlen(lnr_last_error_message(NULL)) > 0);
    CHECK(lnr_new_client_sqlite("n", "", "localhost:0", path, "") == NULL);
    CHECK(lnr_last_error_code(NULL) == LNR_ERR_INVALID_ARG && strstr(lnr_last_error_message(NULL), "topic") != NULL);
    const char* nothing[] = {NULL, "", "  ", "[]"};
    for (size_t at = 0; at < 4; at++) {
        lnr_hClient client = lnr_new_client_sqlite("n", "t", "localhost:0", path, nothing[at]);
        CHECK(client != NULL);
        CHECK(lnr_last_error_code(NULL) == LNR_OK && lnr_last_error_message(NULL) == NULL);
        CHECK(lnr_delete_client(client) == TRUE);
    }
}

static void limits_of_the_process(void) {
    CHECK(lnr_get_max_message_size() == (size_t)1 << 30);
    CHECK(lnr_get_compress_threshold() == (size_t)1 << 20);
    CHECK(lnr_get_max_send_queue() == 0);
    CHECK(lnr_set_max_message_size(0) == FALSE);
    CHECK(lnr_set_compress_threshold(0) == FALSE);
    CHECK(lnr_set_max_message_size(4096) == TRUE && lnr_get_max_message_size() == 4096);
    CHECK(lnr_set_compress_threshold(100) == TRUE && lnr_get_compress_threshold() == 100);
    CHECK(lnr_set_max_send_queue(5) == TRUE && lnr_get_max_send_queue() == 5);
    CHECK(lnr_set_max_send_queue(0) == TRUE && lnr_get_max_send_queue() == 0);
    CHECK(lnr_set_max_message_size((size_t)1 << 30) == TRUE);
    CHECK(lnr_set_compress_threshold((size_t)1 << 20) == TRUE);
}

static void before_it_runs(lnr_hClient client) {
    int rows = 0;
    long long pending = 0;
    CHECK(lnr_is_running(client) == FALSE);
    CHECK(lnr_last_error_code(client) == LNR_OK);
    CHECK(strcmp(lnr_last_error_message(client), "") == 0);
    FAILS(client, send_text(client, "other", "x", TRUE), LNR_ERR_NOT_RUNNING);
    FAILS(client, lnr_send_all(client, "other", "x", 1, FALSE), LNR_ERR_NOT_RUNNING);
    FAILS(client, lnr_send_ex(client, "other", "x", 1, NULL), LNR_ERR_NOT_RUNNING);
    CHECK(lnr_stats_json(client) == NULL && lnr_last_error_code(client) == LNR_ERR_NOT_RUNNING);
    CHECK(lnr_replay_dead_letters(client, NULL, 0, NULL) == -1 && lnr_last_error_code(client) == LNR_ERR_NOT_RUNNING);
    CHECK(lnr_bound_listen_addr(client) == NULL && lnr_published_addr(client) == NULL);
    CHECK(lnr_pending_count(client) == 0);
    SUCCEEDS(client, lnr_pending_by_peer(client, add_pending, &pending));
    SUCCEEDS(client, lnr_list_addresses(client, "nobody's", count_addr, &rows));
    SUCCEEDS(client, lnr_list_dead_letters(client, NULL, count_letter, &rows));
    CHECK(lnr_purge_dead_letters(client, NULL, 0) == 0);
    CHECK(rows == 0 && pending == 0);
    FAILS(client, lnr_refresh_address_topic(client, "nobody's"), LNR_ERR_NO_ADDR);
    FAILS(client, lnr_subscribe(client, "own"), LNR_ERR_SELF_TOPIC);
    FAILS(client, lnr_unsubscribe(client, "own"), LNR_ERR_SELF_TOPIC);
    FAILS(client, lnr_subscribe(client, "__#internal_channel"), LNR_ERR_INTERNAL_TOPIC);
    FAILS(client, lnr_unsubscribe(client, "__#internal_channel"), LNR_ERR_INTERNAL_TOPIC);
    FAILS(client, lnr_subscribe(client, NULL), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_subscribe(client, ""), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_refresh_address_topic(client, "\xff"), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_list_addresses(client, NULL, count_addr, NULL), LNR_ERR_INVALID_ARG);
    SUCCEEDS(client, lnr_clear_stored_messages(client));
    SUCCEEDS(client, lnr_clear_addresses_of_topic(client));
    SUCCEEDS(client, lnr_stop(client));
    FAILS(client, lnr_run(client, NULL, NULL), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_nack(client, 0, NULL), LNR_ERR_INVALID_ARG);
}

static void addresses_and_levels(lnr_hClient client) {
    CHECK(lnr_advertise_addr(client) == NULL);
    FAILS(client, lnr_set_advertise_addr(client, "nonsense"), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_set_advertise_addr(client, "h:70000"), LNR_ERR_INVALID_ARG);
    SUCCEEDS(client, lnr_set_advertise_addr(client, "db.example:7000"));
    const char* advertised = lnr_advertise_addr(client);
    CHECK(strcmp(advertised, "db.example:7000") == 0);
    SUCCEEDS(client, lnr_set_advertise_addr(client, ""));
    CHECK(lnr_advertise_addr(client) == NULL);
    SUCCEEDS(client, lnr_set_advertise_addr(client, "localhost:0"));
    SUCCEEDS(client, lnr_set_advertise_addr(client, NULL));
    CHECK(strcmp(advertised, "db.example:7000") == 0);
    CHECK(lnr_durability(client) == LNR_WRITE_BEHIND);
    FAILS(client, lnr_set_durability(client, 0), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_set_durability(client, 4), LNR_ERR_INVALID_ARG);
    SUCCEEDS(client, lnr_set_durability(client, LNR_COMMITTED));
    CHECK(lnr_durability(client) == LNR_COMMITTED);
    SUCCEEDS(client, lnr_set_durability(client, LNR_WRITE_BEHIND));
}

static void while_it_runs(lnr_hClient client) {
    lnr_send_options options = {0};
    lnr_header header = {"", "v", 1};
    CHECK(lnr_is_running(client) == TRUE);
    SUCCEEDS(client, lnr_run(client, ignore, NULL));
    FAILS(client, lnr_set_advertise_addr(client, "localhost:0"), LNR_ERR_ALREADY_RUNNING);
    FAILS(client, lnr_set_receive_ex(client, receive_ex, NULL), LNR_ERR_ALREADY_RUNNING);
    FAILS(client, lnr_clear_stored_messages(client), LNR_ERR_CLEAR_WHILE_RUNNING);
    FAILS(client, lnr_clear_addresses_of_topic(client), LNR_ERR_CLEAR_WHILE_RUNNING);
    FAILS(client, send_text(client, "own", "x", TRUE), LNR_ERR_SELF_TOPIC);
    FAILS(client, lnr_send_all(client, "own", "x", 1, TRUE), LNR_ERR_SELF_TOPIC);
    FAILS(client, lnr_subscribe(client, "own"), LNR_ERR_SELF_TOPIC);
    FAILS(client, send_text(client, "__#internal_channel", "x", TRUE), LNR_ERR_INTERNAL_TOPIC);
    FAILS(client, lnr_subscribe(client, "__#internal_channel"), LNR_ERR_INTERNAL_TOPIC);
    FAILS(client, send_text(client, "nobody's", "x", TRUE), LNR_ERR_NO_ADDR);
    FAILS(client, send_text(client, "nobody's", "x", FALSE), LNR_ERR_NO_ADDR);
    FAILS(client, lnr_send_all(client, "nobody's", "x", 1, TRUE), LNR_ERR_NO_ADDR);
    FAILS(client, lnr_send_all(client, "nobody's", "x", 1, FALSE), LNR_ERR_NO_ADDR);
    FAILS(client, lnr_refresh_address_topic(client, "nobody's"), LNR_ERR_NO_ADDR);
    FAILS(client, send_text(client, "", "x", TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, send_text(client, NULL, "x", TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, send_text(client, "\xc3\x28", "x", TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_send_to(client, "other", "x", 0, TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_send_to(client, "other", NULL, 0, TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_send_to(client, "other", NULL, 5, TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_send_all(client, "other", "x", SIZE_MAX, TRUE), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_send_ex(client, "other", "x", 1, &options), LNR_ERR_INVALID_ARG);
    options.struct_size = sizeof options;
    options.durability = 9;
    FAILS(client, lnr_send_ex(client, "other", "x", 1, &options), LNR_ERR_INVALID_ARG);
    options.durability = 0;
    options.header_count = 1;
    FAILS(client, lnr_send_ex(client, "other", "x", 1, &options), LNR_ERR_INVALID_ARG);
    options.headers = &header;
    FAILS(client, lnr_send_ex(client, "other", "x", 1, &options), LNR_ERR_INVALID_ARG);
    CHECK(lnr_set_max_message_size(3) == TRUE);
    FAILS(client, send_text(client, "other", "four", TRUE), LNR_ERR_INVALID_ARG);
    CHECK(lnr_set_max_message_size((size_t)1 << 30) == TRUE);
    FAILS(client, lnr_pending_by_peer(client, NULL, NULL), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_list_addresses(client, "own", NULL, NULL), LNR_ERR_INVALID_ARG);
    FAILS(client, lnr_list_dead_letters(client, NULL, NULL, NULL), LNR_ERR_INVALID_ARG);
    CHECK(lnr_pending_count(client) == 0);
    CHECK(lnr_last_error_code(client) == LNR_OK);
    CHECK(strstr(lnr_stats_json(client), "\"accepted\":0") != NULL);
}

static void what_runs_stops_and_runs_again(lnr_hClient client) {
    SUCCEEDS(client, lnr_set_advertise_addr(client, "localhost:0"));
    SUCCEEDS(client, lnr_run(client, ignore, NULL));
    char bound[64], published[64];
    snprintf(bound, sizeof bound, "%s", lnr_bound_listen_addr(client));
    snprintf(published, sizeof published, "%s", lnr_published_addr(client));
    CHECK(strncmp(bound, "127.0.0.1:", 10) == 0);
    CHECK(strncmp(published, "localhost:", 10) == 0);
    CHECK(strcmp(published + 10, bound + 10) == 0);
    int rows = 0;
    SUCCEEDS(client, lnr_list_addresses(client, "own", count_addr, &rows));
    CHECK(rows == 1);
    while_it_runs(client);
    SUCCEEDS(client, lnr_stop(client));
    SUCCEEDS(client, lnr_stop(client));
    CHECK(lnr_is_running(client) == FALSE);
    CHECK(lnr_published_addr(client) == NULL);
    CHECK(strcmp(lnr_bound_listen_addr(client), bound) == 0);
    rows = 0;
    SUCCEEDS(client, lnr_list_addresses(client, "own", count_addr, &rows));
    CHECK(rows == 0);
    SUCCEEDS(client, lnr_set_advertise_addr(client, NULL));
    SUCCEEDS(client, lnr_clear_stored_messages(client));
    SUCCEEDS(client, lnr_run(client, ignore, NULL));
    CHECK(strcmp(lnr_published_addr(client), lnr_bound_listen_addr(client)) == 0);
}

static void an_address_in_use_is_not_taken(lnr_hClient running) {
    char path[1024];
    snprintf(path, sizeof path, "%s/bind.sqlite", dir);
    lnr_hClient taken = lnr_new_client_sqlite("n", "t", lnr_bound_listen_addr(running), path, "");
    FAILS(taken, lnr_run(taken, ignore, NULL), LNR_ERR_BIND);
    CHECK(lnr_is_running(taken) == FALSE && lnr_published_addr(taken) == NULL);
    CHECK(lnr_delete_client(taken) == TRUE);
    lnr_hClient nonsense = lnr_new_client_sqlite("n", "t", "nonsense", path, "");
    FAILS(nonsense, lnr_run(nonsense, ignore, NULL), LNR_ERR_BIND);
    CHECK(lnr_delete_client(nonsense) == TRUE);
    CHECK(lnr_delete_client(nonsense) == FALSE);
}

static void the_same_port_is_free_again_at_once(lnr_hClient running) {
    char path[1024], addr[64];
    snprintf(path, sizeof path, "%s/port.sqlite", dir);
    snprintf(addr, sizeof addr, "%s", lnr_bound_listen_addr(running));
    SUCCEEDS(running, lnr_stop(running));
    lnr_hClient client = lnr_new_client_sqlite("n", "t", addr, path, "");
    for (int round = 0; round < 10; round++) {
        SUCCEEDS(client, lnr_run(client, ignore, NULL));
        CHECK(strcmp(lnr_bound_listen_addr(client), addr) == 0);
        SUCCEEDS(client, lnr_stop(client));
    }
    CHECK(lnr_delete_client(client) == TRUE);
}

static char logged[1024];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_line(const char* message, lnr_uData udata) {
    pthread_mutex_lock(&log_lock);
    CHECK(udata == logged);
    snprintf(logged, sizeof logged, "%s", message);
    pthread_mutex_unlock(&log_lock);
}

static void what_fails_is_logged(lnr_hClient client) {
    CHECK(lnr_set_log_cb(keep_line, logged) == TRUE);
    FAILS(client, lnr_subscribe(client, "own"), LNR_ERR_SELF_TOPIC);
    CHECK(strstr(logged, lnr_last_error_message(client)) != NULL);
    CHECK(lnr_set_log_cb(NULL, NULL) == TRUE);
    logged[0] = '\0';
    FAILS(client, lnr_subscribe(client, "own"), LNR_ERR_SELF_TOPIC);
    CHECK(logged[0] == '\0');
}

static void* fail_often(void* client) {
    for (int at = 0; at < 100; at++) {
        FAILS(client, lnr_subscribe(client, "__#internal_channel"), LNR_ERR_INTERNAL_TOPIC);
        if (at % 2 == 0) lnr_stats_json(client);
    }
    CHECK(lnr_new_client_sqlite("", "t", "localhost:0", "x", "") == NULL);
    return NULL;
}

static void a_text_stays_whatever_other_threads_do_and_when_its_client_is_gone(void) {
    lnr_hClient client = client_on(dir, "texts.sqlite", "me", "own", "");
    SUCCEEDS(client, lnr_run(client, ignore, NULL));
    FAILS(client, lnr_subscribe(client, "own"), LNR_ERR_SELF_TOPIC);
    const char* why = lnr_last_error_message(client);
    const char* stats = lnr_stats_json(client);
    char why_then[1024], stats_then[4096];
    snprintf(why_then, sizeof why_then, "%s", why);
    snprintf(stats_then, sizeof stats_then, "%s", stats);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, fail_often, client) == 0 && pthread_join(other, NULL) == 0);
    CHECK(lnr_delete_client(client) == TRUE);
    CHECK(strcmp(why, why_then) == 0 && strcmp(stats, stats_then) == 0);
    CHECK(lnr_last_error_code(NULL) == LNR_OK);
}

static BOOL is_there(const char* name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE* file = fopen(path, "rb");
    if (file != NULL) fclose(file);
    return file != NULL;
}

static void a_deleted_client_has_closed_its_file(void) {
    for (int runs = 0; runs < 2; runs++) {
        lnr_hClient client = client_on(dir, "closed.sqlite", "me", "own", "");
        if (runs) SUCCEEDS(client, lnr_run(client, ignore, NULL));
        CHECK(is_there("closed.sqlite-wal"));
        CHECK(lnr_delete_client(client) == TRUE);
        CHECK(is_there("closed.sqlite") && !is_there("closed.sqlite-wal") && !is_there("closed.sqlite-shm"));
    }
}

static void a_network_is_opened_with_a_warning_or_not_at_all(void) {
    char path[1024];
    snprintf(path, sizeof path, "%s/open.sqlite", dir);
    lnr_hClient client = lnr_new_client_sqlite("n", "t", "0.0.0.0:0", path, "");
    CHECK(setenv("LINER_REQUIRE_LOOPBACK", "1", 1) == 0);
    FAILS(client, lnr_run(client, ignore, NULL), LNR_ERR_BIND);
    CHECK(unsetenv("LINER_REQUIRE_LOOPBACK") == 0);
    CHECK(lnr_set_log_cb(keep_line, logged) == TRUE);
    SUCCEEDS(client, lnr_run(client, ignore, NULL));
    CHECK(strstr(logged, "neither encrypted nor authenticated") != NULL);
    CHECK(lnr_set_log_cb(NULL, NULL) == TRUE);
    CHECK(strncmp(lnr_published_addr(client), "0.0.0.0:", 8) == 0);
    CHECK(lnr_delete_client(client) == TRUE);
}

int main(int argc, char** argv) {
    CHECK(argc == 2);
    dir = argv[1];
    CHECK(strchr(lnr_version(), '.') != NULL);
    CHECK(lnr_postgres_enabled() == TRUE);
    clients_that_cannot_be_are_not_created();
    limits_of_the_process();
    lnr_hClient client = client_on(dir, "contract.sqlite", "me", "own", "");
    a_handle_that_is_none_fails_everywhere(NULL);
    a_handle_that_is_none_fails_everywhere((lnr_hClient)(uintptr_t)1);
    a_handle_that_is_none_fails_everywhere((lnr_hClient)dir);
    before_it_runs(client);
    addresses_and_levels(client);
    what_runs_stops_and_runs_again(client);
    an_address_in_use_is_not_taken(client);
    what_fails_is_logged(client);
    the_same_port_is_free_again_at_once(client);
    a_network_is_opened_with_a_warning_or_not_at_all();
    a_text_stays_whatever_other_threads_do_and_when_its_client_is_gone();
    a_deleted_client_has_closed_its_file();
    CHECK(lnr_delete_client(client) == TRUE);
    a_handle_that_is_none_fails_everywhere(client);
    lnr_hClient next = client_on(dir, "contract.sqlite", "me", "own", "");
    CHECK(next != client);
    CHECK(lnr_delete_client(next) == TRUE);
    puts("every function returns what the header says");
    return 0;
}
