// The verbs of the program: what each does once its options are read. Adding one is a pair of files
// in command_line, a line in its verbs.cpp, and a file and a line here.
#pragma once

#include <string>

#include "experiments/command_line/verbs.hpp"

namespace blockwise {

// Each returns the exit code.
int run_verb(const TrainOptions& options);
int run_verb(const SweepOptions& options);
int run_verb(const ReportOptions& options);
int run_verb(const CurvesOptions& options);
int run_verb(const DataOptions& options);
int run_verb(const PlanOptions& options);
int run_verb(const EvalOptions& options);
int run_verb(const GenerateOptions& options);
int run_verb(const ExportOptions& options);
int run_verb(const SpectrumOptions& options);
int run_verb(const PartitionOptions& options);
int run_verb(const SearchLrOptions& options);
int run_verb(const BenchOptions& options);
int run_verb(const ReplayOptions& options);
int run_verb(const ListOptions& options);

// To standard error, where a plan or a result lacks something; nothing for an empty note.
void print_note(const std::string& note);

// The whole program: reads the words behind its name, runs the verb, turns errors into one line and
// an exit code (exit_code.hpp).
int run_program(int argc, char** argv);
// The same in a process that is the program already.
int run_words(int argc, char** argv);

}  // namespace blockwise
