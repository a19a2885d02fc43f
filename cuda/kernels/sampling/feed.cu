// Tokens that the step before drew, put where this step reads them: among its ids, and behind the history that penalties
// look at. A thread a token; so a step can be given to the device before anybody knows what it continues.
#include "kernels/device.cuh"
#include "kernels/sampling/params_sample.h"

namespace octavo::gpu {
namespace {

constexpr int feed_threads = 64;

}  // namespace

OCTAVO_KERNEL(octavo_feed, FeedParams, feed_threads) {
  const int i = static_cast<int>(blockIdx.x) * feed_threads + static_cast<int>(threadIdx.x);
  if (i >= p.count) return;
  const Feed feed = p.feeds[i];
  const int token = max(p.tokens[feed.row], 0);  // what follows no token is nobody's, but is computed
  p.ids[feed.token] = token;
  if (feed.history >= 0) p.history[feed.history] = token;
}

}  // namespace octavo::gpu
