// The state of a long computation as numbers and arrays by name, so that a stopped one goes on with
// the same bits. The computation says what belongs to it, and checks what it finds; where that is
// kept is its caller's concern (core/io/hdf5_state.hpp keeps it in a group of an HDF5 file).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace blockwise {

class StateWriter {
 public:
  virtual ~StateWriter() = default;
  virtual void number(const std::string& name, std::int64_t value) const = 0;
  // float32 or float64, of any shape, as it is.
  virtual void array(const std::string& name, const at::Tensor& values, const char* doc) const = 0;
};

// Throws InputError for what is not there or damaged.
class StateReader {
 public:
  virtual ~StateReader() = default;
  virtual bool has_array(const std::string& name) const = 0;
  virtual std::int64_t number(const std::string& name) const = 0;
  virtual std::vector<std::int64_t> shape(const std::string& name) const = 0;
  // Into a contiguous tensor on the host, of the shape found. InputError for another type.
  virtual void read(const std::string& name, const at::Tensor& into) const = 0;
  // For sentences: the state, and something of it by its name.
  virtual std::string place() const = 0;
  std::string place_of(const std::string& name) const { return place() + "/" + name; }
};

// [count] in float64.
void write_values(const StateWriter& state, const std::string& name,
                  const std::vector<double>& values, const char* doc);

// What does not fit a process is an InputError with its place:

// into a tensor that is there, of the same shape and type;
void read_into(const StateReader& state, const std::string& name, const at::Tensor& tensor);
// one-dimensional float64, of any length or of this one;
std::vector<double> read_values(const StateReader& state, const std::string& name);
std::vector<double> read_values(const StateReader& state, const std::string& name,
                                std::int64_t count);
// this number, or one of [0, most].
void expect_number(const StateReader& state, const std::string& name, std::int64_t value);
std::int64_t read_count(const StateReader& state, const std::string& name, std::int64_t most);

}  // namespace blockwise
