//! How many instructions and allocations one decision takes: `cargo bench --bench instructions`.
//!
//! Time depends on the machine and on whatever else it does; the number of instructions hardly does. The calls
//! of [`kinds`] are decided under Valgrind's callgrind, which has to be installed, over the shipped policies.
//!
//! ```text
//! cargo bench --bench instructions                         # allocations of every kind
//! cargo bench --bench instructions --no-run                # then, with the program that it names, one kind:
//! valgrind --tool=callgrind --zero-before='*counted_decisions*' --dump-after='*counted_decisions*' PROGRAM --counted typed_write
//! ```
//!
//! `authorize` is a whole call of the service ([`whole_call`]), counted with all of its threads.

#![allow(unsafe_code)] // An allocator that counts.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

mod kinds;
mod whole_call;

use kinds::{Case, Kind, World};
use whole_call::WholeCall;

/// Decisions that are counted, and those before them that are not: what is made once is made then.
const DECISIONS: u64 = 100;
const WARM_UP: u64 = 50;
/// The same of whole calls: batches of the threads that record them come in more evenly.
const CALLS: u64 = 3_200;
const WARM_UP_CALLS: u64 = 640;
/// The kind that is a whole call.
const AUTHORIZE: &str = "authorize";

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

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--counted");
    let counted = arguments.nth(1);
    if counted.as_deref() == Some(AUTHORIZE) {
        return count_calls();
    }
    match counted.and_then(|name| Kind::ALL.into_iter().find(|kind| kind.name() == name)) {
        Some(kind) => count(kind),
        None => allocations(),
    }
}

fn world() -> World {
    World::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"))
}

/// What runs under callgrind: the calls of one kind.
fn count(kind: Kind) {
    let world = world();
    let case = Case::new(kind, &world);
    for _ in 0..WARM_UP {
        black_box(world.answer(&case));
    }
    counted_decisions(&world, &case);
    println!("{DECISIONS} decisions");
}

/// What runs under callgrind: whole calls.
fn count_calls() {
    let whole = whole_call();
    counted_decisions_of(|| whole.ask(CALLS));
    println!("{CALLS} decisions");
}

fn whole_call() -> WholeCall {
    let whole = WholeCall::start(Path::new(env!("CARGO_MANIFEST_DIR")));
    whole.check();
    whole.ask(WARM_UP_CALLS);
    whole
}

/// As [`counted_decisions`], of whatever is given.
#[inline(never)]
fn counted_decisions_of(calls: impl FnOnce()) {
    calls();
    // Not the last thing, so that the call above is no jump.
    black_box(());
}

/// Callgrind knows this function by its name and counts nothing outside of it.
#[inline(never)]
fn counted_decisions(world: &World, case: &Case) {
    for _ in 0..DECISIONS {
        black_box(world.answer(black_box(case)));
    }
}

fn allocations() {
    let world = world();
    for kind in Kind::ALL {
        let case = Case::new(kind, &world);
        for _ in 0..WARM_UP {
            black_box(world.answer(&case));
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        counted_decisions(&world, &case);
        let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
        let each = made as f64 / DECISIONS as f64;
        println!("METRIC alloc.{} {each:.1} per decision", kind.name());
    }
    let whole = whole_call();
    let of = |calls: &dyn Fn()| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        calls();
        (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / CALLS as f64
    };
    let each = of(&|| whole.ask(CALLS)) - of(&|| whole.ask_nobody(CALLS));
    println!("METRIC alloc.per_authorize {each:.1} per call");
}
