// How long a thread's turns on a CPU are, for threads that compute. They do so for milliseconds, on every CPU there may
// be; others have a moment's work: the main thread that passes tokens on, a client that reads them. When such a thread
// wakes up, Linux (since 6.12) lets it in at once if the turns of the one that runs are longer than its own, and else
// perhaps not before the next tick, 4 ms later. What each gets of a CPU altogether stays as it was.
#pragma once

namespace octavo::os {

// The calling thread's turns become longer than is usual. False where the system has no such setting.
bool take_long_turns();

}  // namespace octavo::os
