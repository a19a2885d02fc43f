#include "drafts/drafters.h"

#include <algorithm>

namespace octavo {

namespace {

// Of a tenant: some hundred answers, less than a MiB with its index. Beyond it the older half is forgotten.
constexpr std::size_t most_shared_tokens = 1 << 16;
// Of an engine.
constexpr std::size_t most_tenants = 16;
// Of a text that begins like one that is known, so many tokens before it becomes another: enough to be found by.
constexpr int lead = 32;
// An own match no longer than this may be chance: other texts are asked, too.
constexpr int unsure = 4;
// No token: what comes after a text does not continue it.
constexpr std::int32_t border = -1;

}  // namespace

void SharedText::add(const std::int32_t* tokens, int count) {
  if (count < 2) return;
  if (tokens_.size() + static_cast<std::size_t>(count) + 1 > most_shared_tokens) {
    tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(tokens_.size() / 2));
    if (static_cast<std::size_t>(count) > most_shared_tokens / 2) {
      tokens += count - static_cast<int>(most_shared_tokens / 2);
      count = static_cast<int>(most_shared_tokens / 2);
    }
    index_.clear();
  }
  tokens_.insert(tokens_.end(), tokens, tokens + count);
  tokens_.push_back(border);
  index_.follow(tokens_.data(), static_cast<int>(tokens_.size()));
}

int SharedText::follow(const TextMatch& match, std::int32_t* out, int most) const {
  int count = 0;
  if (match.length > 0)
    for (std::size_t at = static_cast<std::size_t>(match.end); count < most && at < tokens_.size(); ++at) {
      if (tokens_[at] == border) break;
      out[count++] = tokens_[at];
    }
  return count;
}

void Drafters::open(int sequence, const std::string& salt) { sequences_[sequence].salt = salt; }

void Drafters::set_known(int sequence, int known) {
  const auto found = sequences_.find(sequence);
  if (found != sequences_.end()) found->second.known = known;
}

void Drafters::close(int sequence, const std::vector<std::int32_t>& tokens) {
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) return;
  const Followed followed = std::move(found->second);
  sequences_.erase(found);
  if (!followed.drafted) return;
  const int from = std::max(0, followed.known - lead);
  const int count = static_cast<int>(tokens.size()) - from;
  if (count > lead) shared(followed.salt).add(tokens.data() + from, count);
}

SharedText& Drafters::shared(const std::string& salt) {
  const auto found = std::find_if(texts_.begin(), texts_.end(), [&](const auto& entry) { return entry.first == salt; });
  if (found != texts_.end()) {
    texts_.splice(texts_.begin(), texts_, found);
  } else {
    texts_.emplace_front(salt, SharedText{});
    if (texts_.size() > most_tenants) texts_.pop_back();
  }
  return texts_.front().second;
}

void Drafters::propose(int sequence, const std::vector<std::int32_t>& tokens, std::int32_t last,
                       const Drafting& drafting, int room, std::int32_t* out, DraftReport& report) {
  Followed& followed = sequences_[sequence];
  followed.drafted = true;
  const int count = static_cast<int>(tokens.size());
  const Tail tail{tokens.data(), count, last};
  if (followed.index.indexed() > count) followed.index.clear();
  followed.index.follow(tokens.data(), count);
  const TextMatch own = followed.index.find(tokens.data(), tail);
  const int own_most =
      own.length == 0 ? 0 : std::clamp(drafting.own[static_cast<std::size_t>(own_class(own.length))], 0, room);
  if (own.length <= unsure) {
    const SharedText& text = shared(followed.salt);
    const TextMatch match = text.find(tail);
    if (match.length > 0) {
      const int confidence = shared_class(match.length);
      const int most = std::clamp(drafting.shared[static_cast<std::size_t>(confidence)], 0, room);
      const bool better = match.length > own.length ? most > 0 || own_most == 0 : most > 0 && own_most == 0;
      const int found = better ? text.follow(match, out, std::max(1, most)) : 0;
      if (found > 0) {
        report.source = DraftSource::shared, report.confidence = confidence, report.proposed = std::min(found, most);
        return;
      }
    }
  }
  if (own.length == 0) return;
  // A text that repeats itself goes on into what is guessed.
  const auto at = [&](int i) {
    return i < count ? tokens[static_cast<std::size_t>(i)] : i == count ? last : out[i - count - 1];
  };
  for (int i = 0; i < std::max(1, own_most); ++i) out[i] = at(own.end + i);
  report.source = DraftSource::own, report.confidence = own_class(own.length), report.proposed = own_most;
}

}  // namespace octavo
