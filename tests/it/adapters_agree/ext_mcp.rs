//! agentgateway's `ExtMcp`.

use callgate::proto::agentgateway::ext_mcp::ext_mcp_client::ExtMcpClient;
use callgate::proto::agentgateway::ext_mcp::mcp_request_result::Result as Outcome;
use callgate::proto::agentgateway::ext_mcp::mcp_response_result::Result as Judged;
use callgate::proto::agentgateway::ext_mcp::{McpRequest, McpResponse};
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::adapters_agree::call::{By, Call, Known, Question};
use crate::adapters_agree::company::Company;
use crate::adapters_agree::{Answer, Challenge, Door, listed};
use crate::support::wire::structure;

pub struct ExtMcp(ExtMcpClient<Channel>);

/// What the gateway's configuration makes of a request.
fn metadata(call: &Call, company: &Company) -> Json {
    let made = &company.made;
    let mut metadata = json!({
        "session": call.session,
        "task": call.task.map(|it| &made.tasks[it]),
        "source": call.address,
        "traceparent": call.traceparent,
        "jwt": call.token(),
    });
    if let Some(delegation) = call.delegation {
        metadata["grants"] = json!(made.delegations[delegation]);
    }
    if let Some(approval) = call.approval {
        metadata["approvals"] = json!(made.approvals[approval]);
    }
    if let (By::Agent(agent), Known::Named(_)) = (&call.by, &call.known) {
        metadata["agent"] = json!(agent);
        metadata["person"] = json!(call.person);
    }
    metadata
}

impl ExtMcp {
    /// What a server asks for inside the answer to a call.
    async fn ask_for_server(&mut self, company: &Company, call: &Call) -> Answer {
        let (method, params) = call.what.mcp();
        let asks = json!({"resultType": "input_required",
            "inputRequests": {"a": {"method": method, "params": params}}});
        let response = McpResponse {
            service_names: vec![call.server.to_owned()],
            method: "tools/call".to_owned(),
            metadata_context: Some(structure(&metadata(call, company))),
            mcp_response: asks.to_string().into(),
        };
        let answer = self.0.check_response(response).await;
        let data = match answer.expect("an answer").into_inner().result {
            Some(Judged::Pass(_)) => None,
            Some(Judged::Error(error)) => {
                let data = error.mcp_error.as_deref().expect("data");
                let data: Json = serde_json::from_slice(data).expect("JSON");
                Some((error.reason, data))
            }
            other => panic!("{other:?}"),
        };
        let codes = |data: &Json| -> Vec<String> {
            let reasons = data["authorization"]["reasons"].as_array();
            let reasons = reasons.expect("reasons").iter();
            reasons
                .map(|it| it["code"].as_str().expect("a code").to_owned())
                .collect()
        };
        Answer {
            is_allow: data.is_none(),
            reasons: Some(data.as_ref().map_or_else(Vec::new, |(_, data)| codes(data))),
            said: data.map(|(said, _)| company.made.named(&said)),
            obligations: None,
            challenge: None,
        }
    }
}

impl Door for ExtMcp {
    const HEARS_SERVERS: bool = true;

    const CONFIG: &'static str = r#"
[ext_mcp]
task_key = "task"
approvals_key = "approvals"
delegations_key = "grants"
[[ext_mcp.identity]]
from = "jwt"
key = "jwt"
claims = true
[[ext_mcp.identity]]
from = "keys"
agent = "agent"
person = "person"
verified = true
"#;

    async fn of(company: &Company) -> Self {
        Self(ExtMcpClient::new(company.server.channel().await))
    }

    /// The gateway keeps the id of a request to itself.
    fn sayable(question: Question) -> Option<Question> {
        let Question::Call(call) = question else {
            return None;
        };
        let known = match call.known {
            Known::Named(_) => Known::Named("metadata"),
            token => token,
        };
        Some(Question::Call(Call {
            known,
            id: None,
            ..call
        }))
    }

    async fn ask(&mut self, company: &Company, question: &Question) -> Answer {
        let Question::Call(call) = question else {
            unreachable!("it is asked about calls");
        };
        if call.what.is_servers() {
            return self.ask_for_server(company, call).await;
        }
        let (method, params) = call.what.mcp();
        let request = McpRequest {
            service_names: vec![call.server.to_owned()],
            method: method.to_owned(),
            metadata_context: Some(structure(&metadata(call, company))),
            mcp_request: Some(params.to_string().into()),
            headers: Vec::new(),
        };
        let answer = self.0.check_request(request).await;
        let answer = answer.expect("an answer").into_inner();
        let (is_allow, said, challenge) = match &answer.result {
            Some(Outcome::Pass(_)) => (true, None, None),
            Some(Outcome::Error(error)) => {
                let data = error.mcp_error.as_deref().expect("data");
                let data: Json = serde_json::from_slice(data).expect("JSON");
                (false, Some(error.reason.clone()), Challenge::of(&data))
            }
            other => panic!("{other:?}"),
        };
        let told = answer.metadata.as_ref();
        let told = told.unwrap_or_else(|| panic!("nothing was decided: {answer:?}"));
        Answer {
            is_allow,
            reasons: Some(listed(told, "reasons")),
            said: said.map(|said| company.made.named(&said)),
            obligations: Some(listed(told, "obligations")),
            challenge: Some(challenge),
        }
    }
}
