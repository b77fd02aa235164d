/* What the examples share: the store their nodes are on, and waiting for what must come. */

#ifndef COMMON_H
#define COMMON_H

#include <liner.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* More than anything in an example takes, in seconds. */
#define LIMIT 10

#define CHECK(good, what)                                                                                              \
    do {                                                                                                               \
        if (!(good)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what);                                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Ends the example when a call has failed. */
#define DO(client, call) CHECK(call, lnr_last_error_message(client))

/* The SQLite file the nodes share: the first argument, or a new one. */
static const char* store(int argc, char** argv) {
    static char path[256];
    if (argc > 1) return argv[1];
    const char* dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/liner-XXXXXX", dir != NULL ? dir : "/tmp");
    CHECK(mkdtemp(path) != NULL, "no directory for the store");
    strcat(path, "/mesh.sqlite");
    return path;
}

static lnr_hClient new_client(const char* name, const char* topic, const char* path) {
    lnr_hClient client = lnr_new_client_sqlite(name, topic, "localhost:0", path, "");
    CHECK(client != NULL, "no client");
    return client;
}

/* What callbacks have seen, for the main thread to wait for: one line each. */
typedef struct queue {
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t put, taken;
    char lines[2048][64];
} queue;

#define QUEUE {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, {{0}}}

static void put(queue* q, const char* line) {
    pthread_mutex_lock(&q->lock);
    CHECK(q->put < 2048, "the queue is full");
    snprintf(q->lines[q->put++], sizeof q->lines[0], "%s", line);
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

/* The next line. */
static const char* take(queue* q) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIMIT;
    pthread_mutex_lock(&q->lock);
    while (q->taken == q->put) {
        CHECK(pthread_cond_timedwait(&q->more, &q->lock, &until) == 0, "what was waited for did not come");
    }
    const char* line = q->lines[q->taken++];
    pthread_mutex_unlock(&q->lock);
    return line;
}

#endif /* COMMON_H */
