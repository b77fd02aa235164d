/* Threads that create, use and delete clients, and touch those of other threads, all at once. */

#include "check.h"

#define THREADS 32
#define ROUNDS 3

static const char* dir;
static _Atomic uintptr_t shared[THREADS];
static _Atomic long received;

static void count(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)data, (void)size;
    received++;
    /* Whose it is may be gone by now. */
    lnr_send_to((lnr_hClient)shared[(uintptr_t)udata], from, to, strlen(to), FALSE);
}

static void* work(void* argument) {
    uintptr_t me = (uintptr_t)argument;
    char name[32], topic[32], other[32], file[32];
    snprintf(file, sizeof file, "stress%d.sqlite", (int)(me % 4));
    snprintf(name, sizeof name, "node%d", (int)me);
    snprintf(topic, sizeof topic, "topic%d", (int)me);
    for (int round = 0; round < ROUNDS; round++) {
        lnr_hClient client = client_on(dir, file, name, topic, "");
        shared[me] = (uintptr_t)client;
        CHECK(lnr_run(client, count, (lnr_uData)me) == TRUE);
        for (int at = 0; at < THREADS; at++) {
            uintptr_t peer = (me + (uintptr_t)at) % THREADS;
            snprintf(other, sizeof other, "topic%d", (int)peer);
            lnr_send_to(client, other, "data", 4, at % 2 == 0);
            /* The handle of another thread: in use, stale, or none at all. */
            lnr_hClient theirs = (lnr_hClient)shared[peer];
            lnr_is_running(theirs);
            lnr_last_error_message(theirs);
            if (at % 8 == 0) lnr_subscribe(theirs, "everyone");
            if (at % 8 == 1) lnr_send_all(theirs, "everyone", "data", 4, TRUE);
            if (peer % 8 == 5 && at % 16 == 3) lnr_stop(theirs);
        }
        lnr_pending_count(client);
        CHECK(lnr_delete_client(client) == TRUE);
        CHECK(lnr_delete_client(client) == FALSE);
    }
    return NULL;
}

static void swallow(const char* message, lnr_uData udata) { (void)message, (void)udata; }

int main(int argc, char** argv) {
    CHECK(argc == 2);
    dir = argv[1];
    CHECK(lnr_set_log_cb(swallow, NULL) == TRUE);
    pthread_t threads[THREADS];
    for (uintptr_t at = 0; at < THREADS; at++) CHECK(pthread_create(&threads[at], NULL, work, (void*)at) == 0);
    for (int at = 0; at < THREADS; at++) CHECK(pthread_join(threads[at], NULL) == 0);
    CHECK(lnr_set_log_cb(NULL, NULL) == TRUE);
    CHECK(received > 0);
    printf("%d threads, %ld messages\n", THREADS, received);
    return 0;
}
