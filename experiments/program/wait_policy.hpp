// How OpenMP's threads wait between two parallel regions.
#pragma once

namespace blockwise {

// Asleep instead of spinning: spinning threads gain nothing on an idle machine here and cost a
// factor of 2 to 3 beside other work. libgomp reads OMP_WAIT_POLICY when it is loaded, so this has
// to come before; children (members of a sweep) inherit it. Whoever sets OMP_WAIT_POLICY or
// GOMP_SPINCOUNT is obeyed.
void wait_passively();

}  // namespace blockwise
