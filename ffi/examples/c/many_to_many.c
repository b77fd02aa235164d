/* A chat: every node serves the topic and sends to all others. Messages are kept in memory unless a peer is slow to take them
 * (write-behind, the default), and each node's counters are shown at the end. */

#include "common.h"

#define NODES 4
#define LINES 5

static const char* const NAMES[NODES] = {"ann", "bob", "cid", "eve"};
static queue heard = QUEUE;

static int index_of(const char* name) {
    for (int at = 0; at < NODES; at++) {
        if (strcmp(NAMES[at], name) == 0) return at;
    }
    return -1;
}

static int listen(const lnr_delivery* line, lnr_uData name) {
    char text[64];
    snprintf(text, sizeof text, "%d %d %.*s", index_of(name), index_of(line->sender), (int)line->size, line->data);
    put(&heard, text);
    return LNR_ACK;
}

static void show_addr(const char* addr, const char* name, lnr_uData udata) {
    (void)udata;
    printf("   %s at %s\n", name, addr);
}

int main(int argc, char** argv) {
    const char* path = store(argc, argv);
    lnr_hClient nodes[NODES];
    char text[64];
    for (int at = 0; at < NODES; at++) {
        /* A topic of its own, which nobody uses here, and the topic it shares with the others. */
        snprintf(text, sizeof text, "%s-private", NAMES[at]);
        nodes[at] = new_client(NAMES[at], text, path);
        DO(nodes[at], lnr_subscribe(nodes[at], "chat"));
        DO(nodes[at], lnr_set_receive_ex(nodes[at], listen, (lnr_uData)NAMES[at]) && lnr_run(nodes[at], NULL, NULL));
    }
    printf("%d nodes in the chat:\n", NODES);
    DO(nodes[0], lnr_list_addresses(nodes[0], "chat", show_addr, NULL));

    /* Who has joined is known within a tenth of a second; who cannot wait asks. */
    for (int at = 0; at < NODES; at++) DO(nodes[at], lnr_refresh_address_topic(nodes[at], "chat"));
    for (int line = 0; line < LINES; line++) {
        for (int at = 0; at < NODES; at++) {
            int length = snprintf(text, sizeof text, "%d", line);
            /* A node does not send to itself. */
            DO(nodes[at], lnr_send_all(nodes[at], "chat", text, (size_t)length, TRUE));
        }
    }

    int next[NODES][NODES] = {{0}};
    for (int count = 0; count < NODES * (NODES - 1) * LINES; count++) {
        int who, from, line;
        CHECK(sscanf(take(&heard), "%d %d %d", &who, &from, &line) == 3, "not a line");
        CHECK(who != from && next[who][from] == line, "a line out of order");
        next[who][from]++;
    }
    for (int who = 0; who < NODES; who++) {
        for (int from = 0; from < NODES; from++) {
            CHECK(who == from || next[who][from] == LINES, "somebody was left out");
        }
        printf("%s heard %d lines from each: %s\n", NAMES[who], LINES, lnr_stats_json(nodes[who]));
    }
    for (int at = 0; at < NODES; at++) lnr_delete_client(nodes[at]);
    puts("done: everybody heard everybody, in order");
    return 0;
}
