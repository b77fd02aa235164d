/* A question and its answer between two nodes: a callback that answers, headers, and an ack that waits until the answer is
 * stored. */

#include "common.h"

#define QUESTIONS 5

static lnr_hClient client, server;

/* A question counts as handled when its answer is stored: whatever crashes, there is an answer. */
static int square(const lnr_delivery* question, lnr_uData udata) {
    (void)udata;
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)question->size, question->data);
    long number = strtol(text, NULL, 10);
    int length = snprintf(text, sizeof text, "%ld", number * number);
    lnr_send_options options = {
        .struct_size = sizeof options,
        .headers = question->headers,
        .header_count = question->header_count,
        .durability = LNR_COMMITTED,
    };
    return lnr_send_ex(server, question->from, text, (size_t)length, &options) ? LNR_ACK : LNR_NACK;
}

static int take_answer(const lnr_delivery* answer, lnr_uData answers) {
    char line[64];
    const char* question = answer->header_count > 0 ? answer->headers[0].value : "?";
    snprintf(line, sizeof line, "question %s: %.*s", question, (int)answer->size, answer->data);
    put(answers, line);
    return LNR_ACK;
}

int main(int argc, char** argv) {
    static queue answers = QUEUE;
    const char* path = store(argc, argv);
    client = new_client("client-1", "client", path);
    server = new_client("server-1", "squares", path);
    DO(server, lnr_set_receive_ex(server, square, NULL) && lnr_run(server, NULL, NULL));
    DO(client, lnr_set_receive_ex(client, take_answer, &answers) && lnr_run(client, NULL, NULL));

    puts("client-1 asks server-1 for squares; answers come back to the client's own topic");
    for (int number = 1; number <= QUESTIONS; number++) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", number);
        lnr_header header = {"question", text, (size_t)length};
        lnr_send_options options = {.struct_size = sizeof options, .headers = &header, .header_count = 1};
        DO(client, lnr_send_ex(client, "squares", text, (size_t)length, &options));
    }
    for (int number = 1; number <= QUESTIONS; number++) {
        char expected[64];
        snprintf(expected, sizeof expected, "question %d: %d", number, number * number);
        const char* answer = take(&answers);
        printf("   %s\n", answer);
        CHECK(strcmp(answer, expected) == 0, "a wrong answer, or answers out of order");
    }
    lnr_delete_client(client);
    lnr_delete_client(server);
    puts("done: every question has its answer");
    return 0;
}
