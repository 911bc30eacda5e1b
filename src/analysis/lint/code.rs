//! The codes of lints, each with its page.

use serde::Serialize;

/// A lint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// `@allow` names no lint.
    UnknownLint,
    /// A forbid computes, on numbers or times, and can overflow.
    ForbidCanErr,
    /// A permit computes, on numbers or times, and can overflow.
    PermitCanErr,
    /// Another policy says the same or more.
    PolicyShadowed,
    /// Anybody may do anything.
    PermitEverything,
    /// Anybody may change something, and no person is asked.
    WidePermit,
    /// An action that others are in is compared with `==`.
    ActionExact,
    /// A policy without `@id`.
    PolicyWithoutId,
    /// A permit without `@owner`.
    PermitWithoutOwner,
    /// A forbid without `@reason`.
    ForbidWithoutReason,
    /// A tool brings secrets, and no forbid reads that label.
    SecretWithoutRule,
    /// A tool can carry data out, and no forbid reads that.
    EgressWithoutRule,
    /// A tool that nobody has confirmed.
    ToolUnconfirmed,
    /// A tool that its server has changed.
    ToolDrifted,
    /// A confirmed tool without a pinned definition.
    ToolUnpinned,
    /// An argument that an import would propose as a target, and that is none.
    TargetMissing,
    /// A tool that can carry data out has a target that is a path.
    PathLeavesMachine,
    /// A tool has the definition of another one, and a forbid is about that one and not about this.
    SiblingLeftOut,
    /// An agent or a user is not active, and no forbid of calls reads that.
    InactiveWithoutRule,
    /// A group that nothing refers to.
    GroupUnused,
    /// Another entity that nothing refers to.
    EntityUnused,
}

/// The page of [`Code::PathLeavesMachine`].
const PATH_LEAVES_MACHINE: &str = "A path means the same place on every server: `/srv/shop` of one is `/srv/shop` of another. A tool that carries data out and has a \
    target of the kind `path` most likely writes on another machine, where the same path is another place. Whoever names the path in a \
    task, a delegation or places.json for files of this machine then permits sending to it. Register the argument as a `url` with a `base` \
    (`https://files.example.com/{share}`), or as an `id` of the server. If the tool only \
    writes files of this machine, its `egress` is false; if it does both, whoever names the path names the tool, too: allow the lint.";

/// The page of [`Code::SiblingLeftOut`].
const SIBLING_LEFT_OUT: &str = "Two servers list a tool with the very same definition, so it does the same in both. A forbid names the one: by its action, by \
    the tool, its server, or a group that it is in; what it forbids there is not forbidden here. Most likely the server was \
    registered after the policies were written: put it into the groups of the other one (`groups` of `server` in its \
    registration, or `callgate import tools … --group NAME`), or let the policy hang on a group instead of a name.";

/// The page of [`Code::InactiveWithoutRule`].
const INACTIVE_WITHOUT_RULE: &str = "`active` of an agent or a user decides nothing by itself: a forbid of calls has to read `principal.active`, as \
    `kill_switch.agent` and `kill_switch.person` of the shipped policies do. Until then it may do what it might do before. What \
    holds at once and without a policy is `callgate stop`.";

/// The page of [`Code::EntityUnused`].
const ENTITY_UNUSED: &str = "No policy, entity, link or tool names it, it is in nothing, and no policy reads an attribute or a tag that it has: without it \
    every decision would be the same. Most likely its parents were forgotten, its name is misspelt somewhere, or it is \
    left over. Agents, servers, tools and gateways are left out, since they are known by being there.";

impl Code {
    /// Every lint.
    pub const ALL: [Self; 21] = [
        Self::UnknownLint,
        Self::ForbidCanErr,
        Self::PermitCanErr,
        Self::PolicyShadowed,
        Self::PermitEverything,
        Self::WidePermit,
        Self::ActionExact,
        Self::PolicyWithoutId,
        Self::PermitWithoutOwner,
        Self::ForbidWithoutReason,
        Self::SecretWithoutRule,
        Self::EgressWithoutRule,
        Self::ToolUnconfirmed,
        Self::ToolDrifted,
        Self::ToolUnpinned,
        Self::TargetMissing,
        Self::PathLeavesMachine,
        Self::SiblingLeftOut,
        Self::InactiveWithoutRule,
        Self::GroupUnused,
        Self::EntityUnused,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownLint => "unknown-lint",
            Self::ForbidCanErr => "forbid-can-err",
            Self::PermitCanErr => "permit-can-err",
            Self::PolicyShadowed => "policy-shadowed",
            Self::PermitEverything => "permit-everything",
            Self::WidePermit => "wide-permit",
            Self::ActionExact => "action-exact",
            Self::PolicyWithoutId => "policy-without-id",
            Self::PermitWithoutOwner => "permit-without-owner",
            Self::ForbidWithoutReason => "forbid-without-reason",
            Self::SecretWithoutRule => "secret-without-rule",
            Self::EgressWithoutRule => "egress-without-rule",
            Self::ToolUnconfirmed => "tool-unconfirmed",
            Self::ToolDrifted => "tool-drifted",
            Self::ToolUnpinned => "tool-unpinned",
            Self::TargetMissing => "target-missing",
            Self::PathLeavesMachine => "path-leaves-machine",
            Self::SiblingLeftOut => "sibling-left-out",
            Self::InactiveWithoutRule => "inactive-without-rule",
            Self::GroupUnused => "group-unused",
            Self::EntityUnused => "entity-unused",
        }
    }

    /// The lint of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// What it is, in a line.
    pub fn title(self) -> &'static str {
        match self {
            Self::UnknownLint => "`@allow` names a lint that does not exist",
            Self::ForbidCanErr => "a forbid computes, and fails where the result is too large",
            Self::PermitCanErr => "a permit computes, and fails where the result is too large",
            Self::PolicyShadowed => {
                "another policy of the same effect says the same or more, and adds to answers (`@obligation`, `@mode(\"enforce\")`) what this one adds"
            }
            Self::PermitEverything => "everybody may do everything",
            Self::WidePermit => "everybody may change something, and no person is asked",
            Self::ActionExact => {
                "`==` leaves out the typed tools, whose own actions are in this one"
            }
            Self::PolicyWithoutId => "the policy has no `@id`",
            Self::PermitWithoutOwner => "nobody answers for the permit: it has no `@owner`",
            Self::ForbidWithoutReason => "the forbid does not say why: it has no `@reason`",
            Self::SecretWithoutRule => {
                "a tool brings secrets, and no enforced forbid looks for `secret` among labels"
            }
            Self::EgressWithoutRule => {
                "a tool can carry data out, and no enforced forbid reads `egress`"
            }
            Self::ToolUnconfirmed => "nobody has confirmed the tool; until then it counts as admin",
            Self::ToolDrifted => "the server has changed the tool since it was confirmed",
            Self::ToolUnpinned => "the tool is confirmed without a pinned definition",
            Self::TargetMissing => "an argument looks like the name of a target, and is none",
            Self::PathLeavesMachine => "a tool can carry data out, and its target is a path",
            Self::SiblingLeftOut => {
                "a forbid is about a tool, and leaves out another one with the same definition"
            }
            Self::InactiveWithoutRule => "it is not active, and no forbid of calls reads that",
            Self::GroupUnused => "no policy, entity or tool refers to the group",
            Self::EntityUnused => "nobody refers to the entity, and nothing tells it apart",
        }
    }

    /// Its page: what it means, and what to do.
    pub fn page(self) -> &'static str {
        match self {
            Self::UnknownLint => {
                "A misspelt name allows nothing, without any error. `callgate check --explain` lists all names."
            }
            Self::ForbidCanErr => {
                "Cedar's integers, dates and durations have 64 bits: a sum, difference, product or negation beyond that is an error, and so \
                 is the result of `offset`, `durationSince` or `toDate`. Cedar passes over a policy that fails, so the forbid would not forbid. Callgate denies whatever fails, so nothing gets through; but \
                 calls are denied for a reason that nobody meant. Compare without computing, or bound the operands first: `a < 1000 && a * 2 > b`, \
                 `now < datetime(\"9999-12-31\") && now.offset(duration(\"1d\")) > t`. `callgate prove` tells whether it can really happen, with a request that shows it."
            }
            Self::PermitCanErr => {
                "A sum, difference, product or negation beyond 64 bits is an error, so is such a result of `offset`, `durationSince` or \
                 `toDate`, and Callgate denies whatever fails, also if another \
                 policy permits it. Compare without computing, or bound the operands first. `callgate prove` tells whether it can really happen."
            }
            Self::PolicyShadowed => {
                "Either both policies are the same, or the other one has the same scope and no conditions, and it has whatever \
                 obligations and mark `@mode(\"enforce\")` this one has. The policy adds nothing to any answer. Take one away, or make \
                 them differ. `callgate prove` also finds policies that are shadowed for less visible reasons."
            }
            Self::PermitEverything => {
                "The permit has neither a scope nor conditions. Every agent may call every tool that no forbid names, those that are \
                 registered later included. Name who may do what."
            }
            Self::WidePermit => {
                "A permit of writing or admin calls whose scope names no principal, and whose conditions read neither the principal, an \
                 approval, a task nor a delegation. Every agent may use it, by itself. Name a group in the scope, or ask for a person: \
                 `when { context has approval }`, `principal is Mcp::User`."
            }
            Self::ActionExact => {
                "A tool that is registered with `\"typed\": true` is asked about under an action of its own, which is in `call_read`, \
                 `call_write` or `call_admin`. `action == Mcp::Action::\"call_admin\"` does not match it, so a forbid forbids too little, \
                 and a permit permits less than it says. Write `action in`. A policy about one tool that is not typed may say `==`."
            }
            Self::PolicyWithoutId => {
                "Decisions, logs and tests name policies by their id. Without `@id` it is the file's name and a number, and changes \
                 when another policy is put before it: records of before then name another policy. Write `@id(\"area.rule\")` before \
                 the policy, and keep it for good."
            }
            Self::PermitWithoutOwner => {
                "A permit opens something, and somebody has to answer for that: `@owner(\"team\")`. The owner stands in decisions and in \
                 the report of `check`."
            }
            Self::ForbidWithoutReason => {
                "The reason is what the agent and its user are told. Without one they learn that a policy forbids the call, and not why: \
                 `@reason(\"…\")`."
            }
            Self::SecretWithoutRule => {
                "The label `secret` marks sessions that have read a secret. It protects nothing by itself: an enforced forbid has to \
                 look for it among labels, as `sessions.secrets_stay` of the shipped policies does."
            }
            Self::EgressWithoutRule => {
                "`egress` marks tools that can carry data out. It protects nothing by itself: an enforced forbid has to read \
                 `resource.egress`, as `sessions.no_way_out` of the shipped policies does."
            }
            Self::ToolUnconfirmed => {
                "An import proposes what a tool may do; a person has to look at it and set `\"status\": \"confirmed\"`. Until then the tool \
                 counts as admin, with egress, restricted and untrusted. `callgate import tools` shows what to look at."
            }
            Self::ToolDrifted => {
                "The definition that was confirmed is not the one that the server shows now. Calls are denied until a person has looked at \
                 the difference and confirmed it."
            }
            Self::ToolUnpinned => {
                "Without a `digest` nobody notices when the server changes what the tool says of itself, which is how tools are turned \
                 against their users. Import the server's list of tools: that pins the definitions."
            }
            Self::TargetMissing => {
                "An import would propose the argument as a target by its name: a path, a URL, an address, whom a message goes to. The confirmed entry does not have \
                 it in `target_arguments`, so no policy about places sees it, and nothing holds its value against the rules of its kind. Add it, \
                 or allow the lint if the argument names nothing that is acted upon."
            }
            Self::PathLeavesMachine => PATH_LEAVES_MACHINE,
            Self::SiblingLeftOut => SIBLING_LEFT_OUT,
            Self::InactiveWithoutRule => INACTIVE_WITHOUT_RULE,
            Self::GroupUnused => {
                "Nothing is in the group, and no policy names it: most likely it is misspelt somewhere, or left over. Groups that only \
                 the control interface fills can be allowed by name of this lint."
            }
            Self::EntityUnused => ENTITY_UNUSED,
        }
    }

    /// How to allow it.
    pub fn how_to_allow(self) -> &'static str {
        match self.is_of_policies() {
            true => {
                "on the policy: `@allow(\"CODE\")`; everywhere: `[bundle] allow = [\"CODE\"]` in callgate.toml"
            }
            false => "`[bundle] allow = [\"CODE\"]` in callgate.toml",
        }
    }

    /// Whether it is found on policies.
    pub fn is_of_policies(self) -> bool {
        self < Self::SecretWithoutRule && self != Self::UnknownLint
    }
}
