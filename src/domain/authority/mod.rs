//! Authority: delegations, tasks, approvals and stops, and the history that decisions see.
//!
//! Start at [`state::Authority`], the authority at one revision. [`delegation`], [`task`] and [`approval`]
//! define the records and their validity, [`stated_identity`] how an approver was known, [`chain`] verifies delegation chains, [`approval_index`] finds
//! pending approvals, [`call_facts`] are the facts of a call that awaits one, [`indexed`] the records of a task or party, [`stop`] takes entities out of service, [`ownership`] tells an agent from another of its name. [`scope`] says which calls a record covers,
//! [`terms`] what a task says of single tools and resources. [`session`], [`labels`] and [`usage`] are the
//! history; [`change`] is a write.
//!
//! Invariant: immutable values without IO and clock; [`form`] defines how uids and times are
//! serialized.

pub mod approval;
pub mod approval_index;
pub mod call_facts;
pub mod chain;
pub mod change;
pub mod delegation;
pub mod form;
pub mod indexed;
pub mod labels;
pub mod ownership;
pub mod published;
pub mod scope;
pub mod session;
pub mod state;
pub mod stated_identity;
pub mod stop;
pub mod task;
pub mod terms;
pub mod usage;
