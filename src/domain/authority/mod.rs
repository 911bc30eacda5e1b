//! Live authority: what is lent to whom, for which task, with whose approval, until when.
//!
//! Start at [`state::Authority`], everything of one revision. [`grant`], [`task`] and [`approval`]
//! say what each of them is and when it holds, [`approvals`] which of them wait for whom, [`indexed`] who has part in them; [`stop`] is what nobody may
//! use; [`scope`] says which calls one covers, [`terms`] what a task says of single tools and places; [`session`], [`carried`] and [`usage`] are what has
//! happened so far, as a decision sees it; [`change`] is one write.
//!
//! Invariant: plain immutable values. Nothing here reads a clock, waits or stores; the form in which
//! names and times are written down is [`form`].

pub mod approval;
pub mod approval_index;
pub mod chain;
pub mod change;
pub mod delegation;
pub mod form;
pub mod indexed;
pub mod labels;
pub mod scope;
pub mod session;
pub mod state;
pub mod stop;
pub mod task;
pub mod terms;
pub mod usage;
