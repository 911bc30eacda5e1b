//! How many instructions and allocations one decision takes: `cargo bench --bench instructions`.
//!
//! Time depends on the machine and on whatever else it does; the number of instructions hardly does. The calls
//! of [`kinds`] are decided under Valgrind's callgrind, which has to be installed, over the shipped policies.
//!
//! ```text
//! cargo bench --bench instructions            # allocations of every kind, and of a whole `Authorize`
//! cargo bench --bench instructions --no-run   # then, with the program that it names, instructions, two dumps for each kind:
//! valgrind --tool=callgrind --dump-after='*warmed_up*' --dump-after='*counted_decisions*' PROGRAM --counted
//! ```
//!
//! `tests/instructions/count` holds the numbers of instructions against a baseline. [`service`] counts the allocations of a
//! whole `Authorize`.

#![allow(unsafe_code)] // An allocator that counts.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "../served/bundle.rs"]
mod bundle;
mod kinds;
mod service;

use kinds::{Case, Kind, World};

/// Decisions that are counted, and those before them that are not: what is made once is made then.
const DECISIONS: u64 = 100;
const WARM_UP: u64 = 50;

/// Counts allocations, and leaves them to the allocator of the server.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BELOW: mimalloc::MiMalloc = mimalloc::MiMalloc;

// SAFETY: every call goes to mimalloc unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { BELOW.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { BELOW.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { BELOW.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<ExitCode, service::Fault> {
    if let Some(code) = service::run_server() {
        return Ok(code);
    }
    if std::env::args().any(|argument| argument == "--counted") {
        count();
    } else {
        count_allocations();
        let each = service::per_authorize()?;
        println!("METRIC alloc.per_authorize {each:.1} per call");
    }
    Ok(ExitCode::SUCCESS)
}

/// Allocations of this process so far.
fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

fn world() -> World {
    World::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"))
}

/// What runs under callgrind: the calls of each kind.
fn count() {
    let world = world();
    for kind in Kind::ALL {
        let case = Case::new(kind, &world);
        for _ in 0..WARM_UP {
            black_box(world.answer(&case));
        }
        warmed_up();
        counted_decisions(&world, &case);
        println!("{} {DECISIONS}", kind.name());
    }
}

/// Callgrind writes down here what it has counted, and begins anew.
#[inline(never)]
fn warmed_up() {
    black_box(());
}

/// Callgrind knows this function by its name and counts nothing outside of it.
#[inline(never)]
fn counted_decisions(world: &World, case: &Case) {
    for _ in 0..DECISIONS {
        black_box(world.answer(black_box(case)));
    }
}

fn count_allocations() {
    let world = world();
    for kind in Kind::ALL {
        let case = Case::new(kind, &world);
        for _ in 0..WARM_UP {
            black_box(world.answer(&case));
        }
        let before = allocations();
        counted_decisions(&world, &case);
        let made = allocations() - before;
        let each = made as f64 / DECISIONS as f64;
        println!("METRIC alloc.{} {each:.1} per decision", kind.name());
    }
}
