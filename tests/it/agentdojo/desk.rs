//! One piece of work of one agent, on a service of its own: no count of another one matters.

use std::time::Duration;

use callgate::control::approvals::{ApprovalRequest, CallApproval};
use callgate::control::delegations::NewDelegation;
use callgate::control::tasks::NewTask;
use callgate::domain::authority::scope::Scope;
use callgate::domain::authority::terms::TaskTerms;
use callgate::domain::decide::verdict::ReasonCode;
use callgate::domain::ids::{DelegationId, SessionId, TaskId};
use callgate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use callgate::domain::schema::AccessLevel;

use crate::agentdojo::prompt;
use crate::agentdojo::suite::{Call, Sequence, Suite};
use crate::policies::rows::uid;
use crate::support::direct::Direct;

const AGENT: &str = "assistant";
const PERSON: &str = "emma";

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Allowed,
    Approved,
    Denied,
}

/// What a call carries.
#[derive(Debug, Clone, Copy)]
pub struct Carries {
    pub session: Option<&'static str>,
    /// The task, and what was delegated for it; else what the agent's token says is all there is: for whom.
    pub task: bool,
}

/// What a call of the user's own task carries.
pub const HONEST: Carries = Carries {
    session: Some("one"),
    task: true,
};

pub struct Desk<'s> {
    suite: &'s Suite,
    direct: Direct,
    task: TaskId,
    delegation: DelegationId,
}

impl<'s> Desk<'s> {
    /// The person opens a task, naming its tools if so, and delegates what the task needs.
    pub async fn open(suite: &'s Suite, user_task: &Sequence, lists_tools: bool) -> Self {
        let direct = Direct::in_memory(suite.load.clone());
        let person = direct.author(&uid("User", PERSON));
        let tools = user_task.tools();
        let ends = direct.now() + Duration::from_secs(3_600);
        let task = NewTask {
            agent: uid("Agent", AGENT),
            person: uid("User", PERSON),
            purpose: user_task.prompt.as_str().into(),
            scope: lists_tools.then(|| Scope {
                tools: tools
                    .iter()
                    .map(|name| uid("Tool", &format!("{}/{name}", suite.server)))
                    .collect(),
                ..everything(AccessLevel::Write)
            }),
            terms: match lists_tools {
                true => prompt::terms(suite, &tools, &user_task.prompt),
                false => TaskTerms::default(),
            },
            call_budget: None,
            steps: Vec::new(),
            deadline: ends,
        };
        let task = direct.control.open_task(&person, task).await;
        let task = task.unwrap_or_else(|error| panic!("{error:?}"));
        let task = task.value.task.id.clone();
        let delegation = NewDelegation {
            to: uid("Agent", AGENT),
            scope: Scope {
                servers: vec![uid("Server", &suite.server)],
                ..everything(AccessLevel::Write)
            },
            task: Some(task.clone()),
            parent: None,
            max_redelegations: 0,
            not_before: None,
            expires_at: ends,
        };
        let delegation = direct.control.grant_delegation(&person, delegation).await;
        let delegation = delegation.unwrap_or_else(|error| panic!("{error:?}"));
        let delegation = delegation.value.delegation.id.clone();
        Self {
            suite,
            direct,
            task,
            delegation,
        }
    }

    fn context(&self, call: &Call, carries: Carries) -> CallContext {
        let operation =
            Operation::call_tool(&*self.suite.server, &*call.name, call.arguments.clone());
        let subject = Subject::verified(uid("Agent", AGENT), "jwt");
        let mut context = CallContext::new(subject, operation);
        context.workflow.session_id = carries.session.map(SessionId::from);
        if carries.task {
            context.workflow.task_id = Some(self.task.clone());
            context.actor_chain = Some(ActorChain::from_delegation_ids(vec![
                self.delegation.clone(),
            ]));
        } else {
            context.actor_chain = Some(ActorChain::verified_from(uid("User", PERSON)));
        }
        context
    }

    /// A call that nobody would approve.
    pub async fn is_allowed(&self, call: &Call, carries: Carries) -> bool {
        let context = self.context(call, carries);
        self.direct.decide(&context).await.is_allow()
    }

    /// A call of the user's own task: she approves it if she is asked to.
    pub async fn make(&self, call: &Call) -> Outcome {
        let mut context = self.context(call, HONEST);
        let decision = self.direct.decide(&context).await;
        if decision.is_allow() {
            return Outcome::Allowed;
        }
        let is_asked = decision
            .reasons
            .iter()
            .any(|reason| reason.code == ReasonCode::ApprovalRequired);
        if !is_asked {
            return Outcome::Denied;
        }
        let request = ApprovalRequest {
            call: context.clone(),
            challenge: None,
        };
        let agent = self.direct.author(&uid("Agent", AGENT));
        let asked = self.direct.control.request_approval(&agent, request).await;
        let asked = asked.unwrap_or_else(|error| panic!("{error:?}"));
        let asked = &asked.value.approval;
        let yes = CallApproval {
            id: asked.id.clone(),
            digest: asked.digest.clone(),
            uses: 1,
            comment: None,
        };
        let person = self.direct.author(&uid("User", PERSON));
        if self
            .direct
            .control
            .approve_call(&person, yes)
            .await
            .is_err()
        {
            return Outcome::Denied;
        }
        context.approval_ids = vec![asked.id.clone()];
        if self.direct.decide(&context).await.is_allow() {
            Outcome::Approved
        } else {
            Outcome::Denied
        }
    }
}

fn everything(access: AccessLevel) -> Scope {
    Scope {
        tools: Vec::new(),
        servers: Vec::new(),
        groups: Vec::new(),
        access,
        targets: Vec::new(),
    }
}
