// Recording: parameters and a sequence of their gradients from any program, as a safetensors file:
//   param/NAME         the parameter before the first step
//   grad/STEP/NAME     its gradient at step 1, 2, ...; every parameter has one at every step
//   curvature/STEP/NAME   optional: an estimate of the Hessian's diagonal before that step, without
//                      a negative value, for rules that take one
//   random/DRAW/NAME   optional: what a rule draws for the parameter, draw 1, 2, ..., in the shape
//                      in which it draws; NAME is * for what it draws for all of them at once; see
//                      random_draws.hpp
//   schedule           [steps], optional: factors of the learning rate
// Any floating-point dtype; values are taken as float32. Draws of whole numbers have an integer
// dtype. What a parameter is to its model is said in the file's metadata, or by the caller, never
// read from its name:
//   role/NAME          one of role_names(); `other` where nothing is said: a hidden matrix where
//                      the parameter has two axes or more, otherwise a vector
//   heads/NAME         number of attention heads, for rules that follow them: groups of rows of a
//                      query, key or value, of columns of an attention_output
//   layer/NAME         number of its layer, from 0 on, for rules that go by layers; without it the
//                      parameter is in none
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/parameters/parameter_layout.hpp"

namespace blockwise {

struct Recording {
  struct Step {
    std::vector<at::Tensor> gradients;  // by parameter of the layout
    std::vector<at::Tensor> curvature;  // the same; undefined where none is recorded
    double rate = 1.0;                  // factor of the learning rate
  };
  ParameterLayout layout;
  std::vector<at::Tensor> weights;
  std::vector<Step> steps;
  std::map<std::string, at::Tensor> draws;  // by key, random/DRAW/NAME
  std::string path;
};

// said: `role/NAME`, `heads/NAME` and `layer/NAME`, over the file's metadata. Tensors share the
// file's mapping. Throws InputError by file and tensor for what is no recording.
Recording read_recording(const std::filesystem::path& path,
                         const std::map<std::string, std::string>& said = {});

}  // namespace blockwise
