//! What live authority costs: `cargo bench --bench control`.
//!
//! A server in a process of its own over a database on the disk, asked over gRPC: how soon a revocation
//! denies while others call, and how many writes it takes. In this process: what live facts cost a
//! decision, and what many stored delegations occupy and cost at the start.

#![allow(unsafe_code)] // An allocator that counts.

use std::alloc::{GlobalAlloc, Layout};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

mod company;
mod facts;
mod live;
mod stored;

/// Counts live bytes, to say what a delegation occupies.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes unchanged to the allocator that the server uses.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { mimalloc::MiMalloc.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    facts::measure(&runtime)?;
    stored::measure()?;
    runtime.block_on(live::measure())
}

/// Bytes that Rust has allocated and not freed. What SQLite allocates is not among them.
fn live_bytes() -> usize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

/// A folder on the disk, as the system's folder for such things may be memory.
fn scratch() -> Result<tempfile::TempDir, Fault> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// CPU seconds that all threads of a process have used so far.
fn cpu_seconds(process: &str) -> Result<f64, Fault> {
    // Nanoseconds on a CPU, which `stat` rounds to hundredths of a second; one file per thread.
    let mut nanoseconds = 0_u64;
    for thread in std::fs::read_dir(Path::new("/proc").join(process).join("task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().unwrap_or("0");
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
