//! From a request to one verdict.
//!
//! Start at [`call::decide`], the decision on a call; [`govern`] decides changes of authority and [`listing`]
//! filters lists, and [`is_authorized`] decides Cedar's own requests. In order: [`inputs`] (what a decision reads), [`verify`] (is the evidence valid?),
//! [`cedar_request`] (which action, on which resource), [`facts`] and [`tool_input`] (what policies see),
//! [`evaluate`] (every principal and target), [`combine`] (all have to allow), [`challenge`] (would an approval
//! help?) and [`approving`] (may somebody give it? [`described_call`]
//! is the call on record), [`verdict`]. [`observe`] says which denies observe mode may waive; [`observer`] shows the Cedar
//! requests to tools that explain or test policies.

pub mod approving;
pub mod call;
pub mod cedar_request;
pub mod challenge;
pub mod combine;
pub mod described_call;
pub mod evaluate;
pub mod facts;
pub mod govern;
pub mod inputs;
pub mod is_authorized;
pub mod listing;
pub mod observe;
pub mod observer;
pub mod tool_input;
pub mod verdict;
pub mod verify;
