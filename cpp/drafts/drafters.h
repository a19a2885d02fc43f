// Guesses that cost no computation: what followed the last tokens when they stood before, in the sequence itself or in
// texts of the same tenant that were computed lately (logs, templates, retrieved documents). A guess is a function of
// tokens alone; whether it was right is for the draws to say.
#pragma once
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "drafts/drafting.h"
#include "drafts/ngram_index.h"

namespace octavo {

// The latest texts of a tenant, one after the other.
class SharedText {
 public:
  // A text's end is nobody's continuation.
  void add(const std::int32_t* tokens, int count);
  TextMatch find(const Tail& tail) const { return index_.find(tokens_.data(), tail); }
  // What follows a match: returns how many tokens of it.
  int follow(const TextMatch& match, std::int32_t* out, int most) const;

 private:
  std::vector<std::int32_t> tokens_;
  NgramIndex index_;
};

class Drafters {
 public:
  // Sequences of one salt share texts.
  void open(int sequence, const std::string& salt);
  const std::string& salt(int sequence) { return sequences_[sequence].salt; }
  // The sequence is gone. tokens: what it held; the first `known` of them came out of the cache, so somebody said them
  // before.
  void close(int sequence, const std::vector<std::int32_t>& tokens);
  void set_known(int sequence, int known);

  // Guesses at what follows tokens and last: out[0] is one whenever report.source says whose; report.proposed of them, as
  // many as drafting and room allow, are to be computed. out[max_drafts]
  void propose(int sequence, const std::vector<std::int32_t>& tokens, std::int32_t last, const Drafting& drafting,
               int room, std::int32_t* out, DraftReport& report);

 private:
  struct Followed {
    std::string salt;
    NgramIndex index;
    int known = 0;
    bool drafted = false;
  };
  SharedText& shared(const std::string& salt);

  std::unordered_map<int, Followed> sequences_;
  // Most recently used first.
  std::list<std::pair<std::string, SharedText>> texts_;
};

}  // namespace octavo
