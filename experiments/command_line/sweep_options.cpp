#include "experiments/command_line/sweep_options.hpp"

#include <CLI/CLI.hpp>

#include "experiments/command_line/set_option.hpp"

namespace blockwise {

void add_options(CLI::App& verb, SweepOptions& options) {
  verb.add_option("config", options.config,
                  "YAML file with a section `sweep`; with --member the sweep's folder")
      ->required();
  add_set_option(verb, options.assignments);
  verb.add_option("--output", options.output, "folder of the sweep, instead of the file's");
  verb.add_option("--jobs", options.jobs,
                  "members at a time; here the threads are divided. 0: one on every "
                  "thread, as far as memory holds them, or as many as Slurm starts")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  verb.add_option(
          "--launcher", options.launcher,
          "local: the members run here; slurm: as a job array, as sweep.slurm says, for example "
          "--launcher slurm --jobs 4 --set sweep.slurm.time=04:00:00")
      ->check(CLI::IsMember({"local", "slurm"}))
      ->capture_default_str();
  verb.add_flag("--export-only", options.export_only,
                "slurm: print the batch script of what has not ended, submit nothing");
  verb.add_option("--member", options.member, "run this one of a sweep that was prepared");
  verb.add_option("--lease", options.lease,
                  "seconds after which a member is taken over whose process on another machine "
                  "gives no sign of life")
      ->check(CLI::Range(Lease::kShortest, Lease::kLongest))
      ->capture_default_str();
  verb.add_flag("--requeue", options.requeue, "at SIGUSR1 put this job of Slurm's back")->group("");
  verb.add_flag("--dry-run", options.dry_run,
                "check everything and print the members, run nothing");
  verb.add_flag("--json", options.json, "machine-readable last word");
}

}  // namespace blockwise
