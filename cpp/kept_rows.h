// Weights that can be looked up by row. Apart from backend.h, which every kernel is compiled with.
#pragma once

namespace octavo {

class KeepsRows {
 public:
  virtual ~KeepsRows() = default;
  // Before rows are loaded: embed will read rows of this weight, which are kept for that as the file has them.
  virtual void keep_rows() = 0;
};

}  // namespace octavo
