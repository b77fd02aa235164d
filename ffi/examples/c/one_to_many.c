/* News for everybody: lnr_send_all goes to every node of a topic. A node that is away gets its copy when it comes back. */

#include "common.h"

static const char* const NAMES[] = {"ann", "bob", "eve"};
static queue seen = QUEUE;

static void read_news(const char* to, const char* from, const char* data, size_t size, lnr_uData name) {
    char line[64];
    (void)to, (void)from;
    snprintf(line, sizeof line, "%s reads %.*s", (const char*)name, (int)size, data);
    printf("   %s\n", line);
    put(&seen, line);
}

/* Waits until each of the first `count` nodes has read the news. */
static void all_read(const char* news, int from, int count) {
    char expected[64];
    for (int taken = 0; taken < count; taken++) {
        const char* line = take(&seen);
        int known = 0;
        for (int at = from; at < from + count; at++) {
            snprintf(expected, sizeof expected, "%s reads %s", NAMES[at], news);
            known += strcmp(line, expected) == 0;
        }
        CHECK(known == 1, "somebody should not have read this now");
    }
}

static void show_pending(const char* addr, const char* topic, const char* name, long long count, lnr_uData udata) {
    (void)addr, (void)udata;
    printf("   %lld of %s for %s\n", count, topic, name);
}

static void ignore(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)data, (void)size, (void)udata;
}

int main(int argc, char** argv) {
    const char* path = store(argc, argv);
    lnr_hClient readers[3];
    for (int at = 0; at < 3; at++) {
        readers[at] = new_client(NAMES[at], "readers", path);
        DO(readers[at], lnr_subscribe(readers[at], "news"));
        DO(readers[at], lnr_run(readers[at], read_news, (lnr_uData)NAMES[at]));
    }
    lnr_hClient press = new_client("press", "letters", path);
    DO(press, lnr_run(press, ignore, NULL));

    puts("1. the press sends to all who serve the topic");
    DO(press, lnr_send_all(press, "news", "first issue", 11, TRUE));
    all_read("first issue", 0, 3);

    puts("2. eve goes away; her copy waits");
    DO(readers[2], lnr_stop(readers[2]));
    DO(press, lnr_send_all(press, "news", "second issue", 12, TRUE));
    all_read("second issue", 0, 2);
    DO(press, lnr_pending_by_peer(press, show_pending, NULL));

    puts("3. eve is back, and gets it");
    DO(readers[2], lnr_run(readers[2], read_news, (lnr_uData)NAMES[2]));
    all_read("second issue", 2, 1);

    lnr_delete_client(press);
    for (int at = 0; at < 3; at++) lnr_delete_client(readers[at]);
    puts("done");
    return 0;
}
