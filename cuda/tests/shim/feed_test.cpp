// What one step draws, as tokens of the next: each where it belongs, among ids and behind histories, and nothing else is
// touched.
#include <doctest.h>

#include <algorithm>

#include "emulator/device_array.h"
#include "ops/sample.h"
#include "schedules.h"

using namespace octavo;
using namespace octavo::testing;
using shim::DeviceArray;

TEST_CASE("feed: drawn tokens stand among the next step's ids, and behind histories") {
  for (const int count : {0, 1, 63, 64, 130}) {
    CAPTURE(count);
    // Rows in another order than tokens; every third token has a history, every fifth row drew none.
    std::vector<int> drawn(static_cast<std::size_t>(count)), ids(static_cast<std::size_t>(2 * count) + 3, 7),
        history(ids);
    std::vector<gpu::Feed> feeds;
    std::vector<int> expected_ids = ids, expected_history = history;
    for (int i = 0; i < count; ++i) drawn[static_cast<std::size_t>(i)] = i % 5 == 4 ? -1 - i % 2 : 100 + i;
    for (int i = 0; i < count; ++i) {
      const gpu::Feed feed{count - 1 - i, 2 * i + 1, i % 3 == 0 ? 2 * count - i : -1};
      const int token = std::max(drawn[static_cast<std::size_t>(feed.row)], 0);
      expected_ids[static_cast<std::size_t>(feed.token)] = token;
      if (feed.history >= 0) expected_history[static_cast<std::size_t>(feed.history)] = token;
      feeds.push_back(feed);
    }
    for_each_schedule([&] {
      const DeviceArray<int> tokens(drawn, "drawn"), to_ids(ids, "ids"), to_history(history, "history");
      const DeviceArray<gpu::Feed> given(feeds, "feeds");
      cuda::Launches launches;
      cuda::add_feed(launches, {tokens.get(), to_ids.get(), to_history.get(), given.get(), count});
      CHECK(launches.size() == (count > 0 ? 1 : 0));
      shim::run(launches);
      CHECK(to_ids.download() == expected_ids);
      CHECK(to_history.download() == expected_history);
    });
  }
}
