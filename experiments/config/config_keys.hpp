// What each key of a configuration is to a run that goes on: part of the mathematics that its rows
// stand for, or not.
#pragma once

#include <string_view>

namespace blockwise {

enum class KeyKind {
  defining,   // another value is another run; every key that is not named below
  length,     // trainer.steps and schedule.steps: how far it goes
  content,    // the path of a file or folder: another one with the same content is the same. No
              // step depends on data.validations and data.test: these may also come and go
  curvature,  // of `hessian`: of what the file's rows of curvature stand for, where it has them
  free        // when it evaluates and saves, where it writes, how it computes, other commands' keys
};

KeyKind key_kind(std::string_view path);

}  // namespace blockwise
