#include "ops/sample.h"

#include "ops/grid.h"

namespace octavo::cuda {

namespace {

// As the kernels' own.
constexpr int scan_threads = 256, sample_threads = 512, threads_a_group = 16, feed_threads = 64;

}  // namespace

void add_sample(Launches& launches, const gpu::SampleParams& params, int rows) {
  if (rows == 0) return;
  const unsigned all = static_cast<unsigned>(rows);
  const Size3 grid{pieces(sample_groups(params.vocab), scan_threads / threads_a_group), all};
  launches.push_back(make_launch("octavo_sample_scan", grid, {scan_threads}, 0, params));
  launches.push_back(make_launch("octavo_sample", {all}, {sample_threads}, 0, params));
}

void add_feed(Launches& launches, const gpu::FeedParams& params) {
  if (params.count == 0) return;
  launches.push_back(make_launch("octavo_feed", {pieces(params.count, feed_threads)}, {feed_threads}, 0, params));
}

}  // namespace octavo::cuda
