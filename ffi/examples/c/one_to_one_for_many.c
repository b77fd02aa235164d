/* Work shared out: one node sends, many serve the topic, and each message goes to one of them. The messages come from a thread
 * of the program. */

#include "common.h"

#define WORKERS 3
#define TASKS 30

static queue done = QUEUE;

static void work(const char* to, const char* from, const char* data, size_t size, lnr_uData worker) {
    char line[64];
    (void)to, (void)from;
    snprintf(line, sizeof line, "%d %.*s", (int)(size_t)worker, (int)size, data);
    put(&done, line);
}

static void ignore(const char* to, const char* from, const char* data, size_t size, lnr_uData udata) {
    (void)to, (void)from, (void)data, (void)size, (void)udata;
}

static void* send_tasks(void* boss) {
    for (int task = 0; task < TASKS; task++) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", task);
        DO(boss, lnr_send_to(boss, "tasks", text, (size_t)length, TRUE));
    }
    return NULL;
}

int main(int argc, char** argv) {
    const char* path = store(argc, argv);
    lnr_hClient workers[WORKERS];
    printf("%d workers serve one topic, with a callback each\n", WORKERS);
    for (size_t at = 0; at < WORKERS; at++) {
        char name[16];
        snprintf(name, sizeof name, "worker-%d", (int)at + 1);
        workers[at] = new_client(name, "tasks", path);
        DO(workers[at], lnr_run(workers[at], work, (lnr_uData)at));
    }

    printf("a thread sends %d tasks, one to one worker each, in turn\n", TASKS);
    lnr_hClient boss = new_client("boss", "office", path);
    DO(boss, lnr_run(boss, ignore, NULL));
    /* Nodes with a live link come first: the turns are even once every link is up. */
    DO(boss, lnr_send_all(boss, "tasks", "0", 1, TRUE));
    for (int at = 0; at < WORKERS; at++) take(&done);

    pthread_t sending;
    CHECK(pthread_create(&sending, NULL, send_tasks, boss) == 0, "no thread");
    int by_worker[WORKERS] = {0}, times[TASKS] = {0};
    for (int count = 0; count < TASKS; count++) {
        int worker, task;
        CHECK(sscanf(take(&done), "%d %d", &worker, &task) == 2 && task >= 0 && task < TASKS, "not a task");
        by_worker[worker]++;
        CHECK(++times[task] == 1, "a task was done twice");
    }
    pthread_join(sending, NULL);
    for (int at = 0; at < WORKERS; at++) {
        printf("   worker-%d did %d tasks\n", at + 1, by_worker[at]);
        CHECK(by_worker[at] == TASKS / WORKERS, "the tasks were not shared evenly");
    }
    lnr_delete_client(boss);
    for (int at = 0; at < WORKERS; at++) lnr_delete_client(workers[at]);
    puts("done");
    return 0;
}
