//! `[limits]`: limits on everything that comes from outside.
//!
//! Every limit has a default, a range, a unit in its name where it has one, and says when a change takes effect.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

/// Makes [`Limits`], its defaults and its ranges from one table.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $default:literal in $low:literal..=$high:literal;)+) => {
        /// Limits on everything that comes from outside.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: u32,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// Name, value and valid range of each limit.
            pub fn table(&self) -> Vec<(&'static str, u32, RangeInclusive<u32>)> {
                vec![$((stringify!($name), self.$name, $low..=$high),)+]
            }
        }
    };
}

limits! {
    /// Bytes of one request message. Restart.
    message_bytes: 1_048_576 in 4_096..=67_108_864;
    /// Bytes of a request's headers. Restart.
    header_bytes: 16_384 in 4_096..=1_048_576;
    /// Bytes of an id or a name: entities, servers, tools, tasks, scopes. Reloaded.
    id_bytes: 1_024 in 16..=65_536;
    /// Bytes of other text: URIs, a purpose, a message to a person. Reloaded.
    text_bytes: 16_384 in 64..=1_048_576;
    /// Levels of nesting in JSON: arguments, claims, contexts, forms. Reloaded.
    json_depth: 32 in 1..=100;
    /// Items of any list without a limit of its own: scopes, approvals, names of arguments. Reloaded.
    list_items: 256 in 1..=10_000;
    /// Actors between the root of a delegation and its subject; each adds one Cedar request. Reloaded.
    actors: 16 in 0..=64;
    /// Requests in one batch. Reloaded.
    batch: 256 in 1..=10_000;
    /// Tools in one filter, and names a sampling request may offer. Reloaded.
    tools: 1_000 in 1..=100_000;
    /// Requests in flight in the whole server; one more is shed with RESOURCE_EXHAUSTED. Reloaded.
    concurrent_requests: 1_024 in 1..=1_000_000;
    /// `AuthorizeStream` streams open in the whole server; one more is shed. Reloaded.
    open_streams: 1_024 in 1..=1_000_000;
    /// Percent of `concurrent_requests`, `bodies_mib`, `open_streams` and `watchers` that one caller may hold while
    /// there are others. Reloaded.
    caller_share_percent: 75 in 1..=100;
    /// MiB of request bodies in the whole server, from their first byte until the answer; what goes beyond is
    /// refused with RESOURCE_EXHAUSTED. Reloaded.
    bodies_mib: 256 in 1..=65_536;
    /// Longest time for one message to arrive, from its headers or its first byte on. Reloaded.
    body_ms: 5_000 in 100..=60_000;
    /// HTTP/2 streams of one connection. Restart.
    streams_per_connection: 1_024 in 1..=100_000;
    /// Connections in the whole server. Restart.
    connections: 4_096 in 1..=1_000_000;
    /// Percent of `connections` that may be open without an authenticated request; one more closes the oldest of them.
    /// Restart.
    stranger_connections_percent: 25 in 1..=100;
    /// Longest time from a connection to its first request, TLS handshake included. Restart.
    first_request_ms: 30_000 in 100..=600_000;
    /// Longest time without a request on a connection that has had one. Restart.
    idle_ms: 900_000 in 1_000..=86_400_000;
    /// Health and reflection calls in flight in the whole server; one more ends the oldest. Reloaded.
    public_calls: 64 in 1..=10_000;
    /// Health and reflection calls in flight on one connection, watches included; one more is rejected. Reloaded.
    public_calls_per_connection: 8 in 1..=1_000;
    /// Longest time for one health or reflection call, watches excepted. Reloaded.
    public_call_ms: 10_000 in 100..=600_000;
    /// `Watch` streams of health in the whole server; one more is rejected. Authenticated callers may open as many
    /// again. Reloaded.
    health_watches: 256 in 1..=100_000;
    /// Longest time for one response, from the request's headers on; a client may ask for less. Reloaded.
    deadline_ms: 2_000 in 1..=60_000;
    /// Tolerated clock skew of token issuers, in seconds, before and after a token's validity. Reloaded.
    clock_skew_seconds: 60 in 0..=300;
    /// Longest wait for a required revision; less than `deadline_ms`. Restart.
    stale_wait_ms: 500 in 0..=59_999;
    /// Longest TLS handshake. Restart.
    handshake_ms: 10_000 in 100..=60_000;
    /// Interval of keepalive pings on an idle connection. Restart.
    keepalive_ms: 60_000 in 1_000..=3_600_000;
    /// Longest time from the stop signal to the end of the process. Restart.
    drain_ms: 10_000 in 0..=600_000;
    /// Days that a delegation may last. Reloaded.
    delegation_days: 90 in 1..=3_650;
    /// Length of a chain of redelegations. Reloaded.
    max_redelegations: 4 in 0..=64;
    /// Hours that a task may last. Reloaded.
    task_hours: 168 in 1..=8_760;
    /// Steps of one task. Reloaded.
    task_steps: 64 in 0..=1_000;
    /// Tools, servers, groups and targets in one scope, together. Reloaded.
    scope_items: 256 in 1..=10_000;
    /// Minutes that an approval may be valid, from the request on. Reloaded.
    approval_minutes: 60 in 1..=10_080;
    /// Default validity of a challenge, in seconds. Restart.
    approval_valid_seconds: 900 in 10..=604_800;
    /// Uses that one approval may allow. Reloaded.
    approval_uses: 10 in 1..=10_000;
    /// Delegations that are stored. Reloaded.
    delegations: 1_000_000 in 1..=100_000_000;
    /// Entities stored through the control API. Reloaded.
    stored_entities: 1_000_000 in 1..=100_000_000;
    /// Tasks that are open. Reloaded.
    open_tasks: 100_000 in 1..=10_000_000;
    /// Pending approvals. Reloaded.
    pending_approvals: 100_000 in 1..=10_000_000;
    /// Pending approvals of one agent. Reloaded.
    pending_approvals_per_agent: 1_000 in 1..=100_000;
    /// Sessions in memory; all others are in the store alone. Restart.
    sessions: 1_000_000 in 1..=100_000_000;
    /// Percent of `sessions` that may be ended before their first call. Reloaded.
    ended_unbegun_percent: 10 in 1..=50;
    /// Actors, and pairs of an actor and a tool or a person, whose calls are counted. Restart.
    usage_entries: 1_000_000 in 1_000..=100_000_000;
    /// Tasks, delegations and pairs of an agent and a person whose labels are remembered. Restart.
    carriers: 1_000_000 in 1..=100_000_000;
    /// Places whose labels are remembered, including their containers. Beyond that, labels of further writes count for
    /// every place. Restart.
    places: 1_000_000 in 1..=100_000_000;
    /// Minutes for which a tool is denied to calls through a gateway after a list there has shown a definition that
    /// differs from the pinned one. Restart.
    changed_definition_minutes: 15 in 1..=1_440;
    /// Items on one page of a list. Reloaded.
    page_size: 1_000 in 1..=10_000;
    /// Candidates that one page of a list examines, however few match. Reloaded.
    list_candidates: 10_000 in 100..=100_000;
    /// Candidates that one page of a search examines. Reloaded.
    search_candidates: 2_000 in 1..=10_000;
    /// `WatchApprovals` and `WatchChanges` streams open in the whole server; one more is shed. Reloaded.
    watchers: 256 in 1..=100_000;
    /// Writes in flight in the whole server; one more is shed with RESOURCE_EXHAUSTED. Restart.
    writes_under_way: 1_024 in 1..=100_000;
    /// Idempotency keys that are remembered; a request with one more is rejected. Restart.
    idempotency_keys: 1_000_000 in 1..=100_000_000;
    /// Idempotency keys of one caller that are remembered. Restart.
    idempotency_keys_per_caller: 250_000 in 1..=100_000_000;
    /// Bytes of an idempotency key. Reloaded.
    key_bytes: 128 in 16..=1_024;
}

impl Limits {
    /// Tolerated clock skew of token issuers.
    pub fn clock_skew(&self) -> Duration {
        Duration::from_secs(self.clock_skew_seconds.into())
    }

    /// Bytes of request bodies in the whole server.
    pub fn body_bytes(&self) -> usize {
        (self.bodies_mib as usize).saturating_mul(1 << 20)
    }

    /// Connections without an authenticated request.
    pub fn stranger_connections(&self) -> usize {
        let of_all = u64::from(self.connections) * u64::from(self.stranger_connections_percent);
        usize::try_from(of_all / 100).unwrap_or(usize::MAX).max(1)
    }

    /// The limits that need a restart to change.
    pub fn fixed_at_start(&self) -> [u32; 20] {
        [
            self.message_bytes,
            self.header_bytes,
            self.streams_per_connection,
            self.connections,
            self.stranger_connections_percent,
            self.first_request_ms,
            self.idle_ms,
            self.stale_wait_ms,
            self.handshake_ms,
            self.keepalive_ms,
            self.drain_ms,
            self.approval_valid_seconds,
            self.sessions,
            self.carriers,
            self.usage_entries,
            self.idempotency_keys,
            self.idempotency_keys_per_caller,
            self.places,
            self.changed_definition_minutes,
            self.writes_under_way,
        ]
    }
}
