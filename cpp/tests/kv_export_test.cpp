// Blocks as bytes: exported from one engine, taken into another, on every instruction set and type of the cache; and
// what wrong ones may do.
#include <doctest.h>

#include "error.h"
#include "tests/model/small_model.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

std::vector<std::uint8_t> export_blocks(Engine& engine, int sequence) {
  const int full = engine.kv().length(sequence) / kv_block_tokens;
  std::vector<std::uint8_t> bytes(engine.block_bytes() * static_cast<std::size_t>(full));
  engine.kv_export(sequence, 0, full, bytes.data());
  return bytes;
}

}  // namespace

TEST_CASE("blocks that one backend exported another goes on with, as if it had computed them") {
  std::vector<std::shared_ptr<Model>> models = {load(plain, nullptr)};
  for (const char* const isa : tested_isas()) models.push_back(load(plain, isa));
  for (const KvDtype dtype : kv_dtypes) {
    CAPTURE(traits(dtype).name);
    std::vector<std::uint8_t> first;
    Drawn expected;
    for (const auto& model : models) {
      CAPTURE(model->backend().isa());
      Engine source(model, options(1, dtype));
      Request r = begin(source, 3, 40);
      while (r.drawn.tokens.size() < 20) step(source, {&r}, 16);
      const std::vector<std::uint8_t> bytes = export_blocks(source, r.sequence);
      REQUIRE(bytes.size() == 3 * source.block_bytes());
      if (first.empty()) first = bytes, expected = r.drawn;
      CHECK(bytes == first);
      Engine target(model, options(1, dtype));
      const int sequence = target.kv().create("");
      CHECK(target.kv_import(sequence, r.tokens.data(), 48, first.data()));
      CHECK(export_blocks(target, sequence) == first);
      target.release(sequence);
      CHECK(target.kv().stats().cached == 3);
      Request again = begin(target, 3, 40);
      CHECK(target.kv().match(again.sequence, again.tokens.data(), 40) == 32);
      again.fed = 32;
      while (again.drawn.tokens.size() < 20) step(target, {&again}, 16);
      CHECK(again.drawn == expected);
      CHECK(target.kv().check() == "");
    }
  }
}

TEST_CASE("imported blocks that are wrong change the results, and no bits of them do more than that") {
  const auto reference = load(plain, nullptr), cpu = load(plain, *cpu_isas());
  for (const KvDtype dtype : kv_dtypes) {
    Engine source(cpu, options(1, dtype));
    Request r = begin(source, 4, 40);
    while (r.drawn.tokens.size() < 1) step(source, {&r}, 40);
    for (const int fill : {0x00, 0x7C, 0x80, 0xFF}) {  // f16: zeros, large numbers, tiny ones, NaN
      for (const auto& model : {reference, cpu}) {
        Engine target(model, options(1, dtype));
        const std::vector<std::uint8_t> bytes(2 * target.block_bytes(), static_cast<std::uint8_t>(fill));
        Request again = begin(target, 4, 40);
        REQUIRE(target.kv_import(again.sequence, again.tokens.data(), 32, bytes.data()));
        REQUIRE(target.kv().reserve(again.sequence, 8));
        target.submit({{{again.sequence, 8, 1, false, -1}}, {again.tokens.begin() + 32, again.tokens.end()}});
        REQUIRE(target.wait());
        const SampleRow& row = target.result().rows[0];
        CHECK((row.token == -1 || std::bit_cast<std::uint32_t>(row.logprob) != r.drawn.logprob_bits[0]));
        CHECK(target.kv().check() == "");
      }
    }
  }
}

TEST_CASE(
    "an import takes no block that a queued copy still concerns, and is refused or has no effect when it cannot be") {
  Engine engine(load(plain, nullptr), {1, 4, 32, true});
  Request r = begin(engine, 5, 20);
  step(engine, {&r}, 20);
  std::vector<std::uint8_t> block(engine.block_bytes());
  engine.kv_export(r.sequence, 0, 1, block.data());
  const auto original = block;
  const int fork = engine.kv().fork(r.sequence);
  REQUIRE(engine.kv().reserve(fork, 1));  // queues a copy into a block that is given back at once
  engine.release(fork);
  const int sequence = engine.kv().create("other");
  const auto tokens = prompt_of(6, 64);
  // Finite numbers: the reference keeps values, not the bits of a NaN.
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::uint8_t>(i * 7 & 0x3B);
  REQUIRE(engine.kv_import(sequence, tokens.data(), 16, block.data()));
  step(engine, {&r}, 1);
  std::vector<std::uint8_t> back(block.size());
  engine.kv_export(sequence, 0, 1, back.data());
  CHECK(back == block);
  CHECK_FALSE(engine.kv_import(sequence, tokens.data(), 32, block.data()));  // four blocks: three are taken
  CHECK_THROWS_AS(engine.kv_import(sequence, tokens.data(), 15, block.data()), Error);
  CHECK_THROWS_AS(engine.kv_import(r.sequence, tokens.data(), 16, block.data()), Error);  // it ends within a block
  CHECK_THROWS_AS(engine.kv_export(sequence, 0, 2, back.data()), Error);
  CHECK_THROWS_AS(engine.kv_export(sequence, -1, 1, back.data()), Error);
  engine.kv_export(r.sequence, 0, 1, back.data());
  CHECK(back == original);
  CHECK(engine.kv().check() == "");
}
