// News for everybody: send_all goes to every node of a topic. A node that is away gets its copy when it comes back.

#include "common.hpp"

#include <set>

using News = std::pair<std::string, std::string>;

static void read_news(Client& reader, Queue<News>& seen) {
    reader.run([&](const Delivery& news) {
        std::cout << "   " << reader.name << " reads " << news.data << std::endl;
        seen.put({reader.name, std::string(news.data)});
    });
}

// Waits until each of these nodes has read the news.
static void all_read(Queue<News>& seen, const std::string& text, std::set<std::string> names) {
    while (!names.empty()) {
        auto [name, read] = seen.take();
        check(read == text && names.erase(name) == 1, name + " should not have read " + read + " now");
    }
}

int main(int argc, char** argv) {
    return run_example([&] {
        Store store(argc, argv);
        Queue<News> seen;
        Client ann(store, "ann", "readers"), bob(store, "bob", "readers"), eve(store, "eve", "readers");
        for (Client* reader : {&ann, &bob, &eve}) {
            reader->subscribe("news");
            read_news(*reader, seen);
        }
        Client press(store, "press", "letters");
        press.run();

        std::cout << "1. the press sends to all who serve the topic" << std::endl;
        press.send_all("news", "first issue");
        all_read(seen, "first issue", {"ann", "bob", "eve"});

        std::cout << "2. eve goes away; her copy waits" << std::endl;
        eve.stop();
        press.send_all("news", "second issue");
        all_read(seen, "second issue", {"ann", "bob"});
        long long waiting = lnr_pending_count(press.handle);
        std::cout << "   " << waiting << " for eve" << std::endl;

        std::cout << "3. eve is back, and gets it" << std::endl;
        read_news(eve, seen);
        all_read(seen, "second issue", {"eve"});
    });
}
