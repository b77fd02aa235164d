// A producer and a consumer, and the message nobody can handle: it is tried again, becomes a dead letter, and is replayed once
// the consumer has been mended.

#include "common.hpp"

#include <atomic>
#include <thread>

static int count_letters(const Client& client) {
    auto show = [](const lnr_dead_letter* letter, lnr_uData count) {
        std::cout << "   number " << letter->seq << " from " << letter->sender << " died after " << letter->attempts
                  << " attempts: " << letter->reason << "\n";
        ++*static_cast<int*>(count);
    };
    int count = 0;
    client.ok(lnr_list_dead_letters(client.handle, nullptr, show, &count));
    return count;
}

int main(int argc, char** argv) {
    return run_example([&] {
        const long readings = 1000, broken = 500;
        Store store(argc, argv);
        Queue<long> sums;
        std::atomic<bool> mended{false};
        Client consumer(store, "consumer-1", "readings"), producer(store, "producer-1", "meters");
        consumer.run([&](const Delivery& reading) {
            if (reading.data != "broken") {
                sums.put(std::stol(std::string(reading.data)));
            } else if (mended) {
                sums.put(broken);
            } else {
                throw std::runtime_error("not a number");
            }
        });
        producer.run();

        std::cout << "1. " << readings << " readings go out; number " << broken << " is not a number\n";
        for (long number = 0; number < readings; number++) {
            producer.send("readings", number == broken ? "broken" : std::to_string(number));
        }
        long sum = 0;
        for (long count = 0; count < readings - 1; count++) sum += sums.take();
        std::cout << "   " << readings - 1 << " readings came\n";

        std::cout << "2. after ten attempts the broken one is a dead letter\n";
        auto until = std::chrono::steady_clock::now() + LIMIT;
        // The letter is written a moment after the last attempt.
        while (count_letters(consumer) == 0) {
            check(std::chrono::steady_clock::now() < until, "no dead letter");
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }

        std::cout << "3. the consumer is mended, and the letter replayed\n";
        mended = true;
        check(lnr_replay_dead_letters(consumer.handle, nullptr, 0, nullptr) == 1, "not replayed");
        sum += sums.take();
        std::cout << "   the sum is " << sum << "\n";
        check(sum == readings * (readings - 1) / 2, "the sum is wrong");
        check(count_letters(consumer) == 0, "the letter is still there");
    });
}
