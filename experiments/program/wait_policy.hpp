// How OpenMP's threads wait between two parallel regions.
#pragma once

namespace blockwise {

// Spinning for some 20 microseconds, which is longer than most gaps within a step, then asleep: to
// wake a thread up costs as much as a small model's operation (asleep at once, steps of 0.6 million
// parameters take 1.3 to 1.6 times as long), and to spin for milliseconds, as libgomp does by
// itself, costs up to a factor of 2 beside other work. libgomp reads GOMP_SPINCOUNT when it is
// loaded, so this has to come before; children (members of a sweep) inherit it. Whoever sets
// OMP_WAIT_POLICY or GOMP_SPINCOUNT is obeyed.
void spin_briefly();

}  // namespace blockwise
