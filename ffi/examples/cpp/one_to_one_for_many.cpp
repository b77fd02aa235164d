// Work shared out: one node sends, many serve the topic, and each message goes to one of them. The messages come from a thread
// of the program.

#include "common.hpp"

#include <set>
#include <thread>

int main(int argc, char** argv) {
    return run_example([&] {
        const int worker_count = 3, task_count = 30;
        Store store(argc, argv);
        Queue<std::pair<std::string, std::string>> done;

        std::cout << worker_count << " workers serve one topic, with a callback each\n";
        std::vector<std::unique_ptr<Client>> workers;
        for (int number = 1; number <= worker_count; number++) {
            workers.push_back(std::make_unique<Client>(store, "worker-" + std::to_string(number), "tasks"));
            Client* worker = workers.back().get();
            worker->run([&done, worker](const Delivery& task) { done.put({worker->name, std::string(task.data)}); });
        }

        std::cout << "a thread sends " << task_count << " tasks, one to one worker each, in turn\n";
        Client boss(store, "boss", "office");
        boss.run();
        // Nodes with a live link come first: the turns are even once every link is up.
        boss.send_all("tasks", "say hello");
        for (int number = 0; number < worker_count; number++) done.take();

        std::string failed;
        std::thread sending([&] {
            try {
                for (int task = 0; task < task_count; task++) boss.send("tasks", std::to_string(task));
            } catch (const std::exception& error) {
                failed = error.what();
            }
        });
        std::map<std::string, int> by_worker;
        std::set<std::string> tasks;
        try {
            while (tasks.size() < task_count) {
                auto [worker, task] = done.take();
                by_worker[worker]++;
                check(tasks.insert(task).second, "a task was done twice");
            }
        } catch (...) {
            sending.join();
            throw;
        }
        sending.join();
        check(failed.empty(), failed);
        for (const auto& [worker, count] : by_worker) {
            std::cout << "   " << worker << " did " << count << " tasks\n";
            check(count == task_count / worker_count, "the tasks were not shared evenly");
        }
    });
}
