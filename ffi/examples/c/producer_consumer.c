/* A producer and a consumer, and the message nobody can handle: it is tried again, becomes a dead letter, and is replayed once
 * the consumer has been mended. */

#include "common.h"

#include <stdatomic.h>
#include <stdbool.h>

#define READINGS 1000
#define BROKEN 500

static queue sums = QUEUE;
static atomic_bool mended;
static lnr_hClient consumer;

static void ignore(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)data, (void)size, (void)udata;
}

static void add(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    char text[16];
    (void)to, (void)from, (void)udata;
    snprintf(text, sizeof text, "%.*s", (int)size, data);
    if (strcmp(text, "broken") == 0) {
        if (!mended) {
            lnr_nack(consumer, 10, "not a number");
            return;
        }
        snprintf(text, sizeof text, "%d", BROKEN);
    }
    put(&sums, text);
}

static void show_letter(const lnr_dead_letter* letter, lnr_uData count) {
    printf("   number %llu from %s died after %u attempts: %s\n", (unsigned long long)letter->seq, letter->sender,
           (unsigned)letter->attempts, letter->reason);
    ++*(int*)count;
}

/* The letter is written a moment after the last attempt. */
static int letters(int expected) {
    int count = 0;
    for (int tries = 0; tries < LIMIT * 100; tries++) {
        count = 0;
        DO(consumer, lnr_list_dead_letters(consumer, NULL, show_letter, &count));
        if (count == expected) break;
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
    return count;
}

int main(int argc, char** argv) {
    const char* path = store(argc, argv);
    consumer = new_client("consumer-1", "readings", path);
    DO(consumer, lnr_run(consumer, add, NULL));
    lnr_hClient producer = new_client("producer-1", "meters", path);
    DO(producer, lnr_run(producer, ignore, NULL));

    printf("1. %d readings go out; number %d is not a number\n", READINGS, BROKEN);
    char text[16];
    for (int number = 0; number < READINGS; number++) {
        int length = snprintf(text, sizeof text, "%d", number);
        if (number == BROKEN) length = snprintf(text, sizeof text, "broken");
        DO(producer, lnr_send_to(producer, "readings", text, (size_t)length, TRUE));
    }
    long sum = 0;
    for (int count = 0; count < READINGS - 1; count++) sum += strtol(take(&sums), NULL, 10);
    printf("   %d readings came\n", READINGS - 1);

    puts("2. after ten attempts the broken one is a dead letter");
    CHECK(letters(1) == 1, "no dead letter");

    puts("3. the consumer is mended, and the letter replayed");
    mended = true;
    long long failed = 0;
    CHECK(lnr_replay_dead_letters(consumer, NULL, 0, &failed) == 1 && failed == 0, "not replayed");
    sum += strtol(take(&sums), NULL, 10);
    printf("   the sum is %ld\n", sum);
    CHECK(sum == (long)READINGS * (READINGS - 1) / 2, "the sum is wrong");
    CHECK(letters(0) == 0, "the letter is still there");

    lnr_delete_client(producer);
    lnr_delete_client(consumer);
    puts("done");
    return 0;
}
