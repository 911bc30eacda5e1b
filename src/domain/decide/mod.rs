//! From a request to one verdict: what each principal is asked, what policies see, and how answers combine.

pub mod call;
pub mod cedar_request;
pub mod challenge;
pub mod combine;
pub mod evaluate;
pub mod facts;
pub mod govern;
pub mod inputs;
pub mod listing;
pub mod tool_input;
pub mod verdict;
pub mod verify;
