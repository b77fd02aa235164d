/* Loading at run time, unloading while threads are on their way out, forking, and ending with clients that still run. */

#define _GNU_SOURCE

#include "check.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

static const char* dir;

static void loaded_and_unloaded(void) {
    for (int round = 0; round < 3; round++) {
        void* library = dlopen("libliner_broker.so", RTLD_NOW);
        CHECK(library != NULL);
        /* ISO C has no conversion between pointers to data and to functions. */
        lnr_hClient (*create)(const char*, const char*, const char*, const char*, const char*);
        BOOL (*run)(lnr_hClient, lnr_receive_cb, lnr_uData);
        BOOL (*end)(lnr_hClient);
        *(void**)&create = dlsym(library, "lnr_new_client_sqlite");
        *(void**)&run = dlsym(library, "lnr_run");
        *(void**)&end = dlsym(library, "lnr_delete_client");
        CHECK(create != NULL && run != NULL && end != NULL);
        char path[1024];
        snprintf(path, sizeof path, "%s/unload.sqlite", dir);
        lnr_hClient client = create("n", "t", "localhost:0", path, "");
        CHECK(client != NULL && run(client, ignore, NULL) == TRUE && end(client) == TRUE);
        CHECK(dlclose(library) == 0);
    }
}

/* Two clients on a new file exchange a message. */
static void exchange(const char* file) {
    static inbox seen = INBOX;
    lnr_hClient a = client_on(dir, file, "a", "ta", ""), b = client_on(dir, file, "b", "tb", "");
    SUCCEEDS(b, lnr_run(b, to_inbox, &seen));
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    size_t before = inbox_count(&seen);
    SUCCEEDS(a, send_text(a, "tb", "x", TRUE));
    inbox_wait(&seen, before + 1);
    CHECK(lnr_delete_client(a) == TRUE && lnr_delete_client(b) == TRUE);
}

static void a_child_has_clients_of_its_own(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        exchange("child.sqlite");
        _exit(0);
    }
    exchange("parent.sqlite");
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void* send_for_ever(void* client) {
    for (;;) send_text(client, "tb", "x", TRUE);
    return NULL;
}

int main(int argc, char** argv) {
    CHECK(argc == 2);
    dir = argv[1];
    /* Before this process has threads of the library, as the header says. */
    a_child_has_clients_of_its_own();
    loaded_and_unloaded();
    static _Atomic long count;
    lnr_hClient a = client_on(dir, "end.sqlite", "a", "ta", ""), b = client_on(dir, "end.sqlite", "b", "tb", "");
    SUCCEEDS(a, lnr_run(a, ignore, NULL));
    SUCCEEDS(b, lnr_run(b, ignore, (lnr_uData)&count));
    pthread_t sending;
    CHECK(pthread_create(&sending, NULL, send_for_ever, a) == 0);
    EVENTUALLY(lnr_pending_count(a) >= 0 && strstr(lnr_stats_json(b), "\"handled\":0") == NULL);
    puts("it ends while everything runs");
    return 0;
}
