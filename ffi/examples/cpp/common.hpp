// What the examples share: a client that ends with its scope, the store the nodes are on, and waiting for what must come.

#ifndef COMMON_HPP
#define COMMON_HPP

#include <liner.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

// More than anything in an example takes.
constexpr std::chrono::seconds LIMIT{10};

inline void check(bool good, const std::string& what) {
    if (!good) throw std::runtime_error(what);
}

// A directory with the SQLite file the nodes share, unless the program is given a file.
class Store {
public:
    Store(int argc, char** argv) {
        if (argc > 1) {
            path = argv[1];
            return;
        }
        std::string name = (std::filesystem::temp_directory_path() / "liner-XXXXXX").string();
        check(mkdtemp(name.data()) != nullptr, "no directory for the store");
        dir = name;
        path = (dir / "mesh.sqlite").string();
    }

    ~Store() {
        std::error_code ignored;
        if (!dir.empty()) std::filesystem::remove_all(dir, ignored);
    }

    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    std::string path;

private:
    std::filesystem::path dir;
};

// A message, good until its callback returns.
struct Delivery {
    explicit Delivery(const lnr_delivery& raw)
        : to(raw.to), from(raw.from), sender(raw.sender), data(raw.data, raw.size), seq(raw.seq), attempt(raw.attempt) {
        for (size_t at = 0; at < raw.header_count; at++) {
            headers.emplace(raw.headers[at].key, std::string(raw.headers[at].value, raw.headers[at].value_size));
        }
    }

    std::string_view to, from, sender, data;
    std::map<std::string, std::string> headers;
    uint64_t seq;
    uint32_t attempt;
};

// A node. Its functions throw where the library returns FALSE.
class Client {
public:
    using Handler = std::function<void(const Delivery&)>;

    Client(const Store& store, const std::string& name, const std::string& topic)
        : name(name), handle(lnr_new_client_sqlite(name.c_str(), topic.c_str(), "localhost:0", store.path.c_str(), "")) {
        check(handle != nullptr, name + ": no client");
    }

    ~Client() { lnr_delete_client(handle); }

    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // An exception in the handler means that the message is not handled: none may leave the callback itself.
    void run(Handler take) {
        handler = std::move(take);
        ok(lnr_set_receive_ex(handle, receive, this) && lnr_run(handle, nullptr, nullptr));
    }

    void run() {
        run([](const Delivery&) {});
    }

    void stop() { ok(lnr_stop(handle)); }
    void subscribe(const std::string& topic) { ok(lnr_subscribe(handle, topic.c_str())); }
    void refresh(const std::string& topic) { ok(lnr_refresh_address_topic(handle, topic.c_str())); }

    void send(const std::string& topic, std::string_view data, const std::map<std::string, std::string>& headers = {},
              int durability = 0) {
        std::vector<lnr_header> raw;
        for (const auto& [key, value] : headers) raw.push_back({key.c_str(), value.data(), value.size()});
        lnr_send_options options = {sizeof options, raw.data(), raw.size(), FALSE, FALSE, durability};
        ok(lnr_send_ex(handle, topic.c_str(), data.data(), data.size(), &options));
    }

    void send_all(const std::string& topic, std::string_view data) {
        ok(lnr_send_all(handle, topic.c_str(), data.data(), data.size(), TRUE));
    }

    std::string stats() const { return lnr_stats_json(handle); }

    void ok(bool done) const { check(done, name + ": " + lnr_last_error_message(handle)); }

    const std::string name;
    const lnr_hClient handle;

private:
    static int receive(const lnr_delivery* delivery, lnr_uData self) {
        auto* client = static_cast<Client*>(self);
        try {
            client->handler(Delivery(*delivery));
            return LNR_ACK;
        } catch (const std::exception& error) {
            lnr_nack(client->handle, 10, error.what());
            return LNR_NACK;
        }
    }

    Handler handler;
};

// What callbacks have seen, for the main thread to wait for.
template <class T>
class Queue {
public:
    void put(T value) {
        std::lock_guard<std::mutex> guard(lock);
        values.push_back(std::move(value));
        more.notify_one();
    }

    T take() {
        std::unique_lock<std::mutex> guard(lock);
        check(more.wait_for(guard, LIMIT, [this] { return !values.empty(); }), "what was waited for did not come");
        T value = std::move(values.front());
        values.pop_front();
        return value;
    }

private:
    std::mutex lock;
    std::condition_variable more;
    std::deque<T> values;
};

// Runs an example and says what went wrong.
template <class Example>
int run_example(Example example) {
    try {
        example();
        std::cout << "done" << std::endl;
        return 0;
    } catch (const std::exception& error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
}

#endif  // COMMON_HPP
