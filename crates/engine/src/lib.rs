//! Cedar's answers for any schema, at a cost that does not grow with the number of policies or
//! entities.
//!
//! Cedar's authorizer scans every policy on every request and wants all entities in one map. This
//! package compiles both into an immutable [`Snapshot`] and evaluates a request on the few policies
//! that can apply and the few entities those can see. The permits, forbids and errors are the ones of
//! Cedar's own scan; `tests/full_scan.rs` compares the two on random worlds.
//!
//! ```
//! use callgate_engine::cedar::{Context, Entity, EntityUID, parse_policyset};
//! use callgate_engine::{Query, Reach, Snapshot, SnapshotParts};
//!
//! let policies = r#"permit (principal == User::"ana", action == Action::"read", resource);"#;
//! let snapshot = Snapshot::build(SnapshotParts {
//!     policies: parse_policyset(policies)?,
//!     entities: Vec::<Entity>::new(),
//!     schema: None,
//!     reach: Reach::Unbounded,
//! })?;
//!
//! let (ana, ben): (EntityUID, EntityUID) = (r#"User::"ana""#.parse()?, r#"User::"ben""#.parse()?);
//! let query = Query {
//!     action: &r#"Action::"read""#.parse()?,
//!     resource: &r#"File::"plan""#.parse()?,
//!     context: &Context::empty(),
//!     overlays: &[],
//!     unknown: &[],
//! };
//! assert!(snapshot.evaluate(&query, &ana).is_allow());
//! assert!(!snapshot.evaluate(&query, &ben).is_allow());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a request is evaluated
//!
//! 1. [`Snapshot::check_scope`] and [`Snapshot::check_context`] hold the request against the schema.
//! 2. `index` finds the policies whose scope matches.
//! 3. `interpreter` evaluates their conditions, compiled by `condition`, on packed entities, seen through
//!    `view`. It answers only what is certain.
//! 4. What it leaves open, which is errors, goes to Cedar's own evaluator over the `slice` of the entities
//!    that the policies can reach.
//!
//! Entities are packed in `store`; [`Snapshot::list_entities`] pages through those of one type. [`cedar`]
//! holds every name that comes from Cedar's crates.
//!
//! Invariant: no async, no IO, no clock, no wire format. Evaluation is a function of its arguments.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::missing_errors_doc)]
#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unwrap_used)
)]

mod actions;
pub mod cedar;
mod condition;
mod conformance;
mod context;
mod error;
mod evaluate;
mod evaluation;
mod index;
mod inspect;
mod interner;
mod interpreter;
mod key;
mod like;
mod listing;
mod materialize;
pub mod obligation;
mod openness;
mod overlay;
mod packed;
mod policy;
mod reach;
mod request;
mod scope;
mod scratch;
mod shared_query;
mod slice;
mod snapshot;
mod store;
mod value;
mod view;

pub use context::{AttributeRef, ContextSource, collect_context};
pub use error::{BuildError, RequestError, StaleCursorError};
pub use evaluate::Query;
pub use evaluation::{Evaluations, PolicyError, PolicyEvaluation, PolicyList};
pub use listing::{Cursor, Page};
pub use materialize::{Candidate, MaterializedRequest};
pub use overlay::{AssertedEntity, Overlay};
pub use policy::PolicyInfo;
pub use reach::Reach;
pub use shared_query::{SharedParts, SharedQuery};
pub use snapshot::{Snapshot, SnapshotParts, StoredEntity};
pub use value::for_each_entity;
