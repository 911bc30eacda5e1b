//! What a decision costs, and how that grows: `cargo bench --bench core`.
//!
//! Prints lines `METRIC <name> <value> <unit>`. Machines differ and are noisy, so what counts are the
//! ratios, both sides of which are measured alternately in one run.
//!
//! `CALLGATE_BENCH_ONLY` is `large` or `reload`. [`large`] takes minutes and gigabytes, and is measured only when asked
//! for. With `CALLGATE_BENCH_TRY` loads and these two are a hundredth of their size, to try the measurement itself.

#![allow(unsafe_code)] // An allocator that counts.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use callgate::analysis::access::{self, AccessQuery};
use callgate::analysis::replay::candidate::Candidate;
use callgate::analysis::replay::{CutLists, RecordedCapsule, RecordedDecision, replay};
use callgate::audit::capsule_content::MissingFacts;
use callgate::audit::capsule_content::encode::{CallCapsule, DecidedWith};
use callgate::audit::capsule_content::entities::ReachableEntities;
use callgate::authn::caller::Caller;
use callgate::bundle;
use callgate::config::claims::ClaimMapping;
use callgate::domain::authority::state::Authority;
use callgate::domain::decide::call::decide;
use callgate::domain::decide::inputs::{History, Requester};
use callgate::{CallContext, Snapshot};
use callgate_engine::cedar::{
    Authorizer, Entities, Entity, Extensions, NoEntitiesSchema, PolicySet, Request, TCComputation,
};
use callgate_engine::{Reach, SnapshotParts};

mod large;
mod reload;
mod world;

use world::Question;

/// Counts live bytes, to say what a policy and an entity occupy.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What the server allocates with.
static BELOW: mimalloc::MiMalloc = mimalloc::MiMalloc;

// SAFETY: every call goes to mimalloc unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { BELOW.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { BELOW.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(size, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { BELOW.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live_bytes() -> usize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

/// Seconds that one of `runs` takes.
fn time(runs: usize, mut work: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    for run in 0..runs {
        work(run);
    }
    start.elapsed().as_secs_f64() / runs as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

struct Scene {
    snapshot: Snapshot,
    calls: Vec<CallContext>,
}

impl Scene {
    fn build(policies: usize, entities: usize) -> Self {
        let snapshot = world::snapshot(policies, entities);
        Self {
            snapshot,
            calls: world::calls(policies, entities, 512),
        }
    }

    /// Seconds for one decision about an agent's call for a person.
    fn time_decisions(&self, runs: usize) -> f64 {
        let caller = Caller::local();
        let claims = ClaimMapping::default();
        let asker = Requester {
            caller: &caller,
            claims: &claims,
        };
        let now = SystemTime::now();
        time(runs, |run| {
            let call = &self.calls[run % self.calls.len()];
            black_box(decide(&self.snapshot, call, asker, now));
        })
    }
}

fn main() {
    match std::env::var("CALLGATE_BENCH_ONLY").as_deref() {
        Ok("large") => large::measure(),
        Ok("reload") => reload::measure(),
        _ => usual(),
    }
}

/// So many, or a few if only the measurement itself is tried.
fn size(usual: usize) -> usize {
    match std::env::var_os("CALLGATE_BENCH_TRY") {
        Some(_) => usual / 100,
        None => usual,
    }
}

fn usual() {
    let start = Instant::now();
    let large = Scene::build(10_000, 100_000);
    metric(
        "core.build_unchecked.10000p_100000e",
        start.elapsed().as_secs_f64(),
        "s",
    );
    let small = Scene::build(100, 1_000);
    check_that_both_outcomes_occur(&small);
    check_that_both_outcomes_occur(&large);
    flatness(&small, &large);
    against_full_scan(&large);
    replaying(&large);
    upsert(&large);
    memory();
    load(10_000, 100_000);
    reload::measure();
    access();
}

/// What a capsule costs where a decision is made, and how many are replayed in a second on two threads.
fn replaying(scene: &Scene) {
    let (caller, authority) = (Caller::local(), Authority::default());
    let entities = ReachableEntities::default();
    let now = SystemTime::now();
    let capsule = |call: &CallContext| {
        let with = DecidedWith {
            policy_set_digest: "sha256:bench",
            caller: &caller,
            now,
            authority: &authority,
            entities: &entities,
        };
        let (history, missing) = (History::default(), MissingFacts::default());
        let capsule = CallCapsule {
            with,
            call,
            history,
            missing,
        };
        capsule.encode().unwrap_or_default()
    };
    let count = scene.calls.len();
    let encode = time(100_000, |run| {
        black_box(capsule(&scene.calls[run % count]));
    });
    metric("capsule.encode", encode * 1e6, "us");
    let claims = ClaimMapping::default();
    let requester = Requester {
        caller: &caller,
        claims: &claims,
    };
    let record = |index: usize| {
        let call = &scene.calls[index % count];
        let verdict = decide(&scene.snapshot, call, requester, now);
        RecordedDecision {
            index: index as u64,
            decision_id: index.to_string(),
            at: now,
            is_allow: verdict.is_allow(),
            is_enforced: true,
            shown: 0,
            codes: verdict
                .reasons
                .iter()
                .map(|it| it.code.as_str().into())
                .collect(),
            policies: verdict
                .determining_policies
                .iter()
                .map(|it| it.id.clone())
                .collect(),
            obligations: Vec::new(),
            cut: CutLists::default(),
            capsule: RecordedCapsule::Kept(capsule(call)),
        }
    };
    let records: Vec<RecordedDecision> = (0..100_000).map(record).collect();
    let candidate = Candidate::new(
        scene.snapshot.clone(),
        claims.clone(),
        "sha256:bench".into(),
    );
    let samples = (0..5).map(|_| {
        let records = records.clone();
        let start = Instant::now();
        let report = replay(&candidate, records.into_iter(), 2, |_| {});
        assert_eq!((report.replayed, report.same), (100_000, 100_000));
        100_000.0 / start.elapsed().as_secs_f64()
    });
    metric("capsule.replay_per_s", median(samples.collect()), "1/s");
}

/// What a start or a change of the files costs: everything read, parsed, checked and compiled.
fn load(policies: usize, entities: usize) {
    let name = format!("load.{policies}p_{entities}e");
    let (policies, entities) = (size(policies), size(entities));
    let dir = tempfile::tempdir().expect("a temporary directory");
    world::write(dir.path(), policies, entities, 1_000);
    let start = Instant::now();
    let bundle = bundle::load(dir.path()).expect("the world is sound");
    let seconds = start.elapsed().as_secs_f64();
    assert!(bundle.counts.policies >= policies && bundle.counts.entities >= entities);
    metric(&name, seconds, "s");
}

/// Who can call what, in the company that comes with the program.
fn access() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = bundle::load(&dir).expect("the shipped policies are in order");
    let query = AccessQuery::default();
    let report = access::access(&bundle, &query).expect("a report");
    let pairs = report.rows.len() * report.tools.len();
    let seconds = (0..5).map(|_| {
        time(1, |_| {
            black_box(access::access(&bundle, &query)).expect("a report");
        })
    });
    metric(
        "access.pairs_per_s",
        pairs as f64 / median(seconds.collect()),
        "1/s",
    );
}

/// A benchmark of nothing but denials would flatter.
fn check_that_both_outcomes_occur(scene: &Scene) {
    let caller = Caller::local();
    let claims = ClaimMapping::default();
    let asker = Requester {
        caller: &caller,
        claims: &claims,
    };
    let now = SystemTime::now();
    let allowed = |call: &&CallContext| decide(&scene.snapshot, call, asker, now).is_allow();
    let allows = scene.calls.iter().filter(allowed).count();
    assert!(
        allows * 4 > scene.calls.len(),
        "only {allows} of {} are allowed",
        scene.calls.len()
    );
    assert!(allows < scene.calls.len(), "nothing is denied");
}

/// Seconds of one decision in each, measured in turns.
fn in_turns(small: &Scene, large: &Scene) -> (f64, f64) {
    let mut small_times = Vec::new();
    let mut large_times = Vec::new();
    for _ in 0..21 {
        small_times.push(small.time_decisions(1_000));
        large_times.push(large.time_decisions(1_000));
    }
    (median(small_times), median(large_times))
}

fn flatness(small: &Scene, large: &Scene) {
    let (small_time, large_time) = in_turns(small, large);
    metric("core.decide.100p_1ke", small_time * 1e6, "us");
    metric("core.decide.10000p_100000ke", large_time * 1e6, "us");
    metric("core.flatness", large_time / small_time, "ratio");
}

fn against_full_scan(scene: &Scene) {
    let policies = world::policies(10_000);
    let entities = Entities::from_entities(
        world::entities(10_000, 100_000),
        None::<&NoEntitiesSchema>,
        TCComputation::ComputeNow,
        Extensions::all_available(),
    )
    .expect("the world's entities are sound");
    let questions = world::questions(&scene.calls);
    let authorizer = Authorizer::new();
    let scan = |question: &Question| {
        let request = Request::new_unchecked(
            question.principal.clone().into(),
            question.action.clone().into(),
            question.resource.clone().into(),
            Some(question.context.clone()),
        );
        authorizer.is_authorized(request, &policies, &entities)
    };
    let mut ratios = Vec::new();
    let mut scan_times = Vec::new();
    for round in 0..7 {
        let scan_time = time(10, |run| {
            black_box(scan(&questions[(round * 10 + run) % questions.len()]));
        });
        let engine_time = time(2_000, |run| {
            let question = &questions[run % questions.len()];
            black_box(
                scene
                    .snapshot
                    .evaluate(&question.query(), &question.principal),
            );
        });
        scan_times.push(scan_time);
        ratios.push(scan_time / engine_time);
    }
    metric("core.full_scan.10000p", median(scan_times) * 1e6, "us");
    metric("core.vs_full_scan.10000p", median(ratios), "times");
}

fn upsert(scene: &Scene) {
    let changed: Vec<Entity> = world::tools_with_six_attributes(500);
    let mut snapshot = scene.snapshot.clone();
    let samples = (0..5).map(|_| {
        time(100, |run| {
            let entity = changed[run % changed.len()].clone();
            snapshot = snapshot.upsert([entity]).expect("the entity is sound");
        })
    });
    metric(
        "engine.upsert_one.100000e",
        median(samples.collect()) * 1e3,
        "ms",
    );
}

/// Bytes that stay in use once `make` is done, while what it made lives.
fn bytes_of<T>(make: impl FnOnce() -> T) -> usize {
    let before = live_bytes();
    let made = make();
    let bytes = live_bytes() - before;
    drop(made);
    bytes
}

fn memory() {
    const TOOLS: usize = 100_000;
    let tools = || SnapshotParts {
        policies: PolicySet::new(),
        entities: world::tools_with_six_attributes(TOOLS),
        schema: None,
        reach: Reach::Level(2),
    };
    let bytes = bytes_of(|| Snapshot::build(tools()).expect("the tools are sound"));
    metric("mem.bytes_per_entity", bytes as f64 / TOOLS as f64, "bytes");

    const POLICIES: usize = 10_000;
    let policies = || SnapshotParts {
        policies: world::policies(POLICIES),
        entities: Vec::<Entity>::new(),
        schema: None,
        reach: Reach::Level(2),
    };
    let bytes = bytes_of(|| Snapshot::build(policies()).expect("there is nothing to be unsound"));
    metric(
        "mem.bytes_per_policy",
        bytes as f64 / POLICIES as f64,
        "bytes",
    );
}
