//! What the measurements of a running server share: the directory that is served, the server in a process of its
//! own with its CPU time, a receiver of its spans, and the clients that ask.

pub mod bundle;
pub mod collector;
pub mod load;
pub mod process;
pub mod turns;

/// Why nothing could be measured.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Rounds of measurements, one of each thing that is compared.
pub const ROUNDS: usize = 7;
/// Calls in one measurement of CPU time are kept in flight by so many askers.
pub const IN_FLIGHT: usize = 32;
/// Latency is measured by few askers, so that it is not queueing that is measured.
pub const QUIET_IN_FLIGHT: usize = 2;

/// So many calls, or a few if only the measurement itself is tried (`CALLGATE_BENCH_TRY`).
pub fn calls(usual: usize) -> usize {
    match std::env::var_os("CALLGATE_BENCH_TRY") {
        Some(_) => usual / 100,
        None => usual,
    }
}

/// Prints one result.
pub fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

/// The one in the middle.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
