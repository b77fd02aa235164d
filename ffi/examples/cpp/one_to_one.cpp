// A question and its answer between two nodes: a callback that answers, headers, and an ack that waits until the answer is
// stored.

#include "common.hpp"

int main(int argc, char** argv) {
    return run_example([&] {
        Store store(argc, argv);
        Queue<std::pair<std::string, std::string>> answers;
        Client client(store, "client-1", "client"), server(store, "server-1", "squares");

        // A question counts as handled when its answer is stored: whatever crashes, there is an answer.
        server.run([&](const Delivery& question) {
            long number = std::stol(std::string(question.data));
            server.send(std::string(question.from), std::to_string(number * number), question.headers, LNR_COMMITTED);
        });
        client.run([&](const Delivery& answer) {
            answers.put({answer.headers.at("question"), std::string(answer.data)});
        });

        std::cout << "client-1 asks server-1 for squares; answers come back to the client's own topic\n";
        for (long number = 1; number <= 5; number++) {
            client.send("squares", std::to_string(number), {{"question", std::to_string(number)}});
        }
        for (long number = 1; number <= 5; number++) {
            auto [question, answer] = answers.take();
            std::cout << "   question " << question << ": " << number << " squared is " << answer << "\n";
            bool good = question == std::to_string(number) && answer == std::to_string(number * number);
            check(good, "a wrong answer, or answers out of order");
        }
    });
}
