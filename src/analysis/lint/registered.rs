//! Lints of tools.

use callgate_engine::cedar::{Effect, Expr, ExprKind, Literal};

use crate::analysis::lint::code::Code;
use crate::analysis::lint::policies::Found;
use crate::analysis::lint::targets;
use crate::bundle::files::SourceFile;
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::Policies;
use crate::bundle::parse::registration::{ConfirmationStatus, Registration, ToolEntry};
use crate::bundle::validate::open_permits::annotation;
use crate::domain::request::target::TargetKind;
use crate::domain::request::visible::shown;

/// The label of what has read a secret.
const SECRET: &str = "secret";

/// Lints of registered tools.
pub(super) fn find(
    policies: &Policies,
    registrations: &[(&SourceFile, Registration)],
) -> Vec<Found> {
    let (reads_secret, reads_egress) = forbids_read(policies);
    let mut found = Vec::new();
    for (source, registration) in registrations {
        for (name, tool) in &registration.tools {
            let path = [Step::Key("tools"), Step::Key(name)];
            let server = &registration.server.name;
            for code in of_tool(tool, reads_secret, reads_egress) {
                let said = format!("`{server}/{name}`: {}", code.title());
                let place = json::diagnostic_at(source.origin(), &path, said).narrow();
                found.push((code, place));
            }
            let missing = targets::missing(server, name, tool);
            if !missing.is_empty() {
                let code = Code::TargetMissing;
                let names = missing.iter().map(|it| shown(it)).collect::<Vec<_>>();
                let names = names.join("`, `");
                let said = format!("`{server}/{name}`: {}: `{names}`", code.title());
                let place = json::diagnostic_at(source.origin(), &path, said).narrow();
                found.push((code, place));
            }
        }
    }
    found
}

fn of_tool(tool: &ToolEntry, reads_secret: bool, reads_egress: bool) -> Vec<Code> {
    let is_confirmed = tool.status == ConfirmationStatus::Confirmed;
    let is_drifted = tool.previous_digest.is_some();
    let applies = [
        (Code::ToolDrifted, is_drifted),
        (Code::ToolUnconfirmed, !is_confirmed && !is_drifted),
        (Code::ToolUnpinned, is_confirmed && tool.digest.is_none()),
        (
            Code::SecretWithoutRule,
            !reads_secret && tool.yields.iter().any(|label| label == SECRET),
        ),
        (Code::EgressWithoutRule, !reads_egress && tool.egress),
        (
            Code::PathLeavesMachine,
            is_confirmed && tool.egress && has_path(tool),
        ),
    ];
    let applies = applies.into_iter().filter(|(_, applies)| *applies);
    applies.map(|(code, _)| code).collect()
}

fn has_path(tool: &ToolEntry) -> bool {
    let kinds = tool.target_arguments.iter().map(|it| it.kind.as_deref());
    kinds
        .flatten()
        .any(|kind| kind == TargetKind::Path.as_str())
}

/// Whether some enforced forbid reads the label `secret`, and whether some reads `egress`.
fn forbids_read(policies: &Policies) -> (bool, bool) {
    let (mut secret, mut egress) = (false, false);
    let forbids = policies
        .set
        .all_templates()
        .filter(|it| it.effect() == Effect::Forbid && annotation(it, "mode") != Some("shadow"));
    for forbid in forbids {
        let condition = forbid.non_scope_constraints();
        for part in condition.into_iter().flat_map(|it| it.subexpressions()) {
            match part.expr_kind() {
                ExprKind::BinaryApp { arg1, arg2, .. } => {
                    secret |= reads_labels(arg1) && names_secret(arg2);
                    secret |= names_secret(arg1) && reads_labels(arg2);
                }
                ExprKind::GetAttr { attr, .. } => egress |= attr == "egress",
                _ => {}
            }
        }
    }
    (secret, egress)
}

/// Whether an operand is made of labels: those of a session, a delegation, a task, or what a tool yields.
fn reads_labels(operand: &Expr) -> bool {
    let is_labels = |part: &Expr| match part.expr_kind() {
        ExprKind::GetAttr { attr, .. } => matches!(attr.as_str(), "labels" | "yields"),
        _ => false,
    };
    operand.subexpressions().any(is_labels)
}

fn names_secret(operand: &Expr) -> bool {
    let is_secret = |part: &Expr| match part.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => text == SECRET,
        _ => false,
    };
    operand.subexpressions().any(is_secret)
}
