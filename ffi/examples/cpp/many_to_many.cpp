// A chat: every node serves the topic and sends to all others. Messages are kept in memory unless a peer is slow to take them
// (write-behind, the default), and each node's counters are shown at the end.

#include "common.hpp"

int main(int argc, char** argv) {
    return run_example([&] {
        const std::vector<std::string> names = {"ann", "bob", "cid", "eve"};
        const size_t lines = 5;
        Store store(argc, argv);
        Queue<std::array<std::string, 3>> heard;
        std::vector<std::unique_ptr<Client>> nodes;
        for (const auto& name : names) {
            // A topic of its own, which nobody uses here, and the topic it shares with the others.
            nodes.push_back(std::make_unique<Client>(store, name, name + "-private"));
            nodes.back()->subscribe("chat");
            nodes.back()->run([&heard, &name](const Delivery& line) {
                heard.put({name, std::string(line.sender), std::string(line.data)});
            });
        }
        // Who has joined is known within a tenth of a second; who cannot wait asks.
        for (auto& node : nodes) node->refresh("chat");
        for (size_t line = 0; line < lines; line++) {
            // A node does not send to itself.
            for (auto& node : nodes) node->send_all("chat", "line " + std::to_string(line));
        }

        std::map<std::pair<std::string, std::string>, size_t> next;
        for (size_t count = 0; count < names.size() * (names.size() - 1) * lines; count++) {
            auto [who, from, text] = heard.take();
            size_t line = next[{who, from}]++;
            check(text == "line " + std::to_string(line), who + " heard from " + from + " out of order: " + text);
        }
        check(next.size() == names.size() * (names.size() - 1), "somebody was left out");
        for (auto& node : nodes) std::cout << node->name << ": " << node->stats() << "\n";
    });
}
