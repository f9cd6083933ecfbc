// A call that can fail does not pass for one that cannot.
// expect: ignoring return(ed)? (value|type)

#include <slat/mm/result.hpp>

using namespace slat;

Result<> unplug();

bool shut_down() {
#ifdef MISTAKE
  unplug();
  return true;
#else
  return bool(unplug());
#endif
}
