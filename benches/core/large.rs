//! A world ten times as large as the others: `CALLGATE_BENCH_ONLY=large cargo bench --bench core`.

use crate::{Scene, check_that_both_outcomes_occur, in_turns, load, metric, size};

/// Prints what a decision over 100,000 policies and a million entities takes, that over what it takes in a small world,
/// and how long 10,000 policies and a million entities take to load.
pub fn measure() {
    let large = Scene::build(size(100_000), size(1_000_000));
    let small = Scene::build(100, 1_000);
    check_that_both_outcomes_occur(&small);
    check_that_both_outcomes_occur(&large);
    let (small_time, large_time) = in_turns(&small, &large);
    metric("core.decide.100000p_1000000e", large_time * 1e6, "us");
    metric("core.flatness_1000000e", large_time / small_time, "ratio");
    drop((small, large));
    load(10_000, 1_000_000);
}
