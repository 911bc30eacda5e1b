//! The directory with a proposal allows nothing beyond what was observed, and what it allowed before.

use callgate_engine::cedar::EntityUID;
use proptest::prelude::*;
use serde_json::json;

use super::world_tests::{Asked, Decider, adopted, files, of_client, proposal, reverse, tool_on};
use crate::domain::fixtures::{agent, person};
use crate::domain::request::call_context::{
    ActorChain, CallContext, Initiator, Operation, Subject,
};
use crate::domain::request::operation::{ClientOperation, OperationKind, ResourceOperation};

/// One permit that is there, and one whose conditions none of the calls meets.
const POLICIES: &str = r#"
    @id("reads") permit (principal == Mcp::User::"alice", action in Mcp::Action::"call_read", resource in Mcp::Server::"wiki");
    @id("audits") permit (principal, action in Mcp::Action::"call_tool", resource == Mcp::Tool::"wiki/pay")
    when { context has purpose && context.purpose == "audit" };
    @id("no_wipe") forbid (principal, action, resource == Mcp::Tool::"notes/wipe");
"#;

const SERVERS: [&str; 2] = ["notes", "wiki"];
const PATHS: [&str; 3] = ["/work/a", "/work/b", "/etc/c"];
/// `append` is not registered.
const TOOLS: [&str; 5] = ["list", "save", "wipe", "pay", "append"];

/// A call, as it is made up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    /// 0 the helper, 1 the planner, 2 Alice, 3 Bob.
    subject: usize,
    /// 0 nobody, 1 Alice, 2 Bob.
    root: usize,
    /// Whether the planner stands between them.
    is_through: bool,
    server: usize,
    what: What,
    is_by_ui: bool,
    /// Identity verified, chain verified, in a session.
    had: [bool; 3],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// The tool, and the path that it acts upon.
    Tool(usize, Option<usize>),
    /// The resource, read or subscribed to.
    Resource(usize, bool),
    /// The server calls the tool.
    Reverse(usize),
    Roots,
}

impl Made {
    fn is_of_server(&self) -> bool {
        matches!(self.what, What::Reverse(_) | What::Roots)
    }

    fn asked(&self) -> Asked {
        let server = SERVERS[self.server];
        let operation = match &self.what {
            What::Reverse(name) => return self.with_circumstances(reverse(server, TOOLS[*name])),
            What::Roots => {
                let roots = OperationKind::OnClient(ClientOperation::ListRoots);
                return self.with_circumstances(of_client(server, roots));
            }
            What::Tool(name, path) => {
                let arguments = match path {
                    Some(path) => json!({ "path": PATHS[*path] }),
                    None => json!({}),
                };
                tool_on(server, TOOLS[*name], arguments)
            }
            What::Resource(path, is_read) => {
                let operation = match is_read {
                    true => ResourceOperation::Read,
                    false => ResourceOperation::Subscribe,
                };
                let uri = format!("file://{}", PATHS[*path]);
                let kind = OperationKind::OnResource {
                    operation,
                    uri: uri.into(),
                };
                Operation::new(Initiator::Client, server, kind)
            }
        };
        let subject = Subject::verified(self.subject(), "jwt");
        let mut call = CallContext::new(subject, operation);
        call.actor_chain = self.root().map(ActorChain::verified_from);
        if let (Some(chain), true) = (&mut call.actor_chain, self.is_through()) {
            chain.actors = vec![agent("planner")];
        }
        if self.is_by_ui {
            call.operation.initiator = Initiator::Ui;
        }
        self.with_circumstances(call)
    }

    fn with_circumstances(&self, mut call: CallContext) -> Asked {
        let [is_verified, is_chain_verified, is_in_session] = self.had;
        call.subject.identity.verified = is_verified;
        if let Some(chain) = &mut call.actor_chain {
            chain.verified = is_chain_verified;
        }
        Asked {
            call,
            is_in_session,
        }
    }

    fn subject(&self) -> EntityUID {
        match self.subject {
            0 => agent("helper"),
            1 => agent("planner"),
            2 => person("alice"),
            _ => person("bob"),
        }
    }

    fn root(&self) -> Option<EntityUID> {
        match self.root {
            1 if self.subject != 2 => Some(person("alice")),
            2 if self.subject != 3 => Some(person("bob")),
            _ => None,
        }
    }

    fn is_through(&self) -> bool {
        self.is_through && self.subject == 0
    }

    /// Who has to be permitted.
    fn principals(&self) -> Vec<EntityUID> {
        if self.is_of_server() {
            let own = crate::domain::schema::server_uid(&SERVERS[self.server].into());
            let others = [agent("helper"), person("alice")];
            let others = others.into_iter().filter(|_| self.what != What::Roots);
            return std::iter::once(own).chain(others).collect();
        }
        let actors = self.is_through().then(|| agent("planner"));
        let actors = actors.filter(|_| self.root().is_some());
        std::iter::once(self.subject())
            .chain(actors)
            .chain(self.root())
            .collect()
    }

    /// Whether it differs in nothing but its target and in what it had.
    fn is_like(&self, other: &Self) -> bool {
        let of = |it: &Self| match &it.what {
            // The tool decides on what it acts.
            What::Tool(name, path) => What::Tool(*name, path.map(|_| 0)),
            What::Resource(..) | What::Reverse(_) | What::Roots => it.what.clone(),
        };
        let is_of_server = self.is_of_server();
        of(self) == of(other)
            && self.server == other.server
            && (is_of_server
                || (self.is_by_ui == other.is_by_ui
                    && self.root() == other.root()
                    && (self.is_through() && self.root().is_some())
                        == (other.is_through() && other.root().is_some())))
    }

    /// What a permit may demand of it.
    fn had(&self) -> [bool; 3] {
        let [is_verified, is_chain_verified, is_in_session] = self.had;
        let has_chain = match self.is_of_server() {
            true => self.what != What::Roots,
            false => self.root().is_some(),
        };
        [is_verified, is_chain_verified && has_chain, is_in_session]
    }

    /// Whether everybody who takes part was observed in such calls, on this target, and it has what all of these had.
    fn is_covered_by(&self, observed: &[Self]) -> bool {
        self.principals().iter().all(|principal| {
            let of_principal = observed
                .iter()
                .filter(|it| it.is_like(self) && it.principals().contains(principal));
            let like: Vec<&Self> = of_principal.collect();
            let same_target = like.iter().any(|it| it.what == self.what);
            let had = self.had();
            let all_had = |which: usize| like.iter().all(|it| it.had()[which]);
            same_target && (0..3).all(|which| had[which] || !all_had(which))
        })
    }
}

fn made() -> impl Strategy<Value = Made> {
    let what = prop_oneof![
        4 => (0..TOOLS.len(), 0..PATHS.len()).prop_map(|(name, path)| {
            // Of the tools only `save` acts upon a path.
            What::Tool(name, (TOOLS[name] == "save").then_some(path))
        }),
        1 => Just(What::Tool(1, None)),
        2 => (0..PATHS.len(), any::<bool>()).prop_map(|(path, is_read)| What::Resource(path, is_read)),
        2 => (0..4usize).prop_map(What::Reverse),
        1 => Just(What::Roots),
    ];
    let often = || prop::bool::weighted(0.8);
    let who = (0..4usize, 0..3usize, prop::bool::weighted(0.2));
    let had = (often(), often(), often());
    (who, 0..SERVERS.len(), what, prop::bool::weighted(0.2), had).prop_map(
        |((subject, root, is_through), server, what, is_by_ui, had)| Made {
            subject,
            root,
            is_through,
            server,
            what,
            is_by_ui,
            had: [had.0, had.1, had.2],
        },
    )
}

/// A call, and what may be put in place of one of its parts.
fn changed() -> impl Strategy<Value = (prop::sample::Index, Made, [bool; 6])> {
    (any::<prop::sample::Index>(), made(), any::<[bool; 6]>())
}

/// A call of which some parts are those of another one.
fn change(call: &Made, other: &Made, which: [bool; 6]) -> Made {
    let mut call = call.clone();
    let [subject, root, server, what, by_ui, had] = which;
    if subject {
        call.subject = other.subject;
        call.is_through = other.is_through;
    }
    if root {
        call.root = other.root;
    }
    if server {
        call.server = other.server;
    }
    if what {
        call.what = other.what.clone();
    }
    if by_ui {
        call.is_by_ui = other.is_by_ui;
    }
    if had {
        call.had = other.had;
    }
    call
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_proposal_allows_nothing_beyond_what_was_observed(
        calls in prop::collection::vec(made(), 1..8),
        others in prop::collection::vec(changed(), 80),
    ) {
        let files = files(POLICIES);
        let before = Decider::new(&files);
        let asked: Vec<Asked> = calls.iter().map(Made::asked).collect();
        let proposal = proposal(&files, &asked);
        let after = Decider::new(&adopted(&files, &proposal));
        let allowed = calls.iter().filter(|it| after.allows(it.asked())).count();
        let already = calls.iter().filter(|it| before.allows(it.asked())).count();
        prop_assert_eq!(allowed as u64, proposal.allowed + already as u64);
        for call in &calls {
            // Nothing else hinders what does neither wipe nor pay for an audit.
            let is_hindered = match call.what {
                What::Tool(name, _) | What::Reverse(name) => name == 2 || name == 3,
                What::Resource(..) | What::Roots => false,
            };
            prop_assert!(is_hindered || after.allows(call.asked()), "{:?}\n{}", call, proposal.policies);
        }
        for (index, other, which) in &others {
            let call = change(index.get(&calls), other, *which);
            let is_beyond = !call.is_covered_by(&calls) && !before.allows(call.asked());
            // Alice may read the wiki already, so that only her agents were missing there.
            let is_reading = call.server == 1 && matches!(call.what, What::Tool(0, _));
            prop_assert!(
                !is_beyond || is_reading || !after.allows(call.asked()),
                "{:?} is allowed\n{}", call, proposal.policies
            );
        }
    }
}
