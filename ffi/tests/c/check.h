/* What the test programs share: checks that say where they failed, and an inbox to wait for messages with. */

#ifndef CHECK_H
#define CHECK_H

#include "liner.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Nothing that is waited for takes so long, in seconds. */
#define PATIENCE 30

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Checks that a call succeeds, and says why it did not. */
#define SUCCEEDS(client, call)                                                                                         \
    do {                                                                                                               \
        if ((call) != TRUE) {                                                                                          \
            fprintf(stderr, "%s:%d: %s: %d %s\n", __FILE__, __LINE__, #call, lnr_last_error_code(client),              \
                    lnr_last_error_message(client));                                                                   \
            exit(1);                                                                                                   \
        }                                                                                                              \
        CHECK(lnr_last_error_code(client) == LNR_OK);                                                                  \
        CHECK(strcmp(lnr_last_error_message(client), "") == 0);                                                        \
    } while (0)

/* Checks that a call fails as it should. */
#define FAILS(client, call, code)                                                                                      \
    do {                                                                                                               \
        CHECK((call) == FALSE);                                                                                        \
        if (lnr_last_error_code(client) != (code)) {                                                                   \
            fprintf(stderr, "%s:%d: %s: %d %s\n", __FILE__, __LINE__, #call, lnr_last_error_code(client),              \
                    lnr_last_error_message(client));                                                                   \
            exit(1);                                                                                                   \
        }                                                                                                              \
        CHECK(strlen(lnr_last_error_message(client)) > 0);                                                             \
    } while (0)

#define CHECK_LINE(is, should_be)                                                                                      \
    do {                                                                                                               \
        if (strcmp(is, should_be) != 0) {                                                                              \
            fprintf(stderr, "%s:%d: \"%s\" is not \"%s\"\n", __FILE__, __LINE__, is, should_be);                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* For what nobody announces. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        double until_ = seconds() + PATIENCE;                                                                          \
        while (!(condition)) {                                                                                         \
            CHECK(seconds() < until_ && #condition != NULL);                                                           \
            struct timespec pause_ = {0, 1000000};                                                                     \
            nanosleep(&pause_, NULL);                                                                                  \
        }                                                                                                              \
    } while (0)

#define INBOX_LINES 4096
#define INBOX_LINE 160

/* Lines of text, such as "to from data", in the order they came. */
typedef struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t count;
    char lines[INBOX_LINES][INBOX_LINE];
} inbox;

#define INBOX {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, {{0}}}

static inline void inbox_put(inbox* in, const char* line) {
    pthread_mutex_lock(&in->lock);
    CHECK(in->count < INBOX_LINES);
    snprintf(in->lines[in->count], INBOX_LINE, "%s", line);
    in->count++;
    pthread_cond_broadcast(&in->more);
    pthread_mutex_unlock(&in->lock);
}

/* Waits until there are `count` lines. */
static inline void inbox_wait(inbox* in, size_t count) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    pthread_mutex_lock(&in->lock);
    while (in->count < count) {
        if (pthread_cond_timedwait(&in->more, &in->lock, &until) != 0) {
            fprintf(stderr, "only %zu of %zu lines came\n", in->count, count);
            for (size_t at = 0; at < in->count; at++) fprintf(stderr, "  %s\n", in->lines[at]);
            exit(1);
        }
    }
    pthread_mutex_unlock(&in->lock);
}

/* Waits for a line, wherever it stands. */
static inline void inbox_wait_for(inbox* in, const char* line) {
    for (size_t at = 0;; at++) {
        inbox_wait(in, at + 1);
        if (strcmp(in->lines[at], line) == 0) return;
    }
}

static inline size_t inbox_count(inbox* in) {
    pthread_mutex_lock(&in->lock);
    size_t count = in->count;
    pthread_mutex_unlock(&in->lock);
    return count;
}

/* A receive callback; `udata` is an inbox. */
static inline void to_inbox(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    char line[INBOX_LINE];
    snprintf(line, sizeof line, "%s %s %.*s", to, from, (int)size, data);
    inbox_put((inbox*)udata, line);
}

/* A status callback; `udata` is an inbox. */
static inline void status_to_inbox(int kind, const char* topic, const char* peer, const char* message, lnr_uData udata) {
    char line[INBOX_LINE];
    CHECK(message != NULL);
    snprintf(line, sizeof line, "%d %s %s", kind, topic, peer);
    inbox_put((inbox*)udata, line);
}

static inline void ignore(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)data, (void)size, (void)udata;
}

/* A client on the file `name` in `dir`. */
static inline lnr_hClient client_on(const char* dir, const char* file, const char* name, const char* topic,
                                    const char* peers) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    lnr_hClient client = lnr_new_client_sqlite(name, topic, "localhost:0", path, peers);
    CHECK(client != NULL);
    return client;
}

static inline BOOL send_text(lnr_hClient client, const char* topic, const char* text, BOOL at_least_once) {
    return lnr_send_to(client, topic, text, strlen(text), at_least_once);
}

#endif /* CHECK_H */
