use super::*;

#[test]
fn tools_that_were_shown_with_another_definition_are_told_with_what_differs() {
    let tool = |tool: &str, fields: &[&str]| v1::ChangedTool {
        server: "files".to_owned(),
        tool: tool.to_owned(),
        gateway: "edge".to_owned(),
        fields: fields.iter().map(|&it| it.to_owned()).collect(),
        shown_at: None,
    };
    let status = |changed_tools| v1::GetStatusResponse {
        changed_tools,
        ..Default::default()
    };
    let told = text(&status(vec![
        tool("read", &["title", "description"]),
        tool("\u{202e}list", &[]),
    ]));
    let told = told.to_string();
    let line =
        "changed   files/read through edge: title, description; files/\\u{202e}list through edge\n";
    assert!(told.contains(line), "{told}");
    let told = text(&status(Vec::new())).to_string();
    assert!(!told.contains("changed"), "{told}");
}

#[test]
fn what_telemetry_lost_is_told_by_signal_kind_and_reason() {
    let loss = |signal: &str, kind: &str, reason: &str, count| v1::TelemetryLoss {
        signal: signal.to_owned(),
        kind: kind.to_owned(),
        reason: reason.to_owned(),
        count,
    };
    let status = |telemetry_losses| v1::GetStatusResponse {
        telemetry_losses,
        ..Default::default()
    };
    let told = text(&status(vec![
        loss("log", "decision", "queue_full", 12),
        loss("span", "control", "export_failed", 3),
    ]));
    let line = "  lost      log decision queue_full 12, span control export_failed 3\n";
    assert!(told.to_string().contains(line), "{told}");
    let told = text(&status(Vec::new())).to_string();
    assert!(!told.contains("lost"), "{told}");
}

#[test]
fn overload_is_told_with_its_limit_and_what_it_cost() {
    let status = |limit, is_limited, shed_requests, expired_requests| {
        let overload = v1::Overload {
            limit,
            is_limited,
            shed_requests,
            expired_requests,
        };
        let status = v1::GetStatusResponse {
            overload: Some(overload),
            ..Default::default()
        };
        text(&status).to_string()
    };
    let told = status(12, true, 340, 5);
    let line = "  overload  12 requests at once are answered in time, 340 requests shed, 5 too late before their turn\n";
    assert!(told.contains(line), "{told}");
    let told = status(1_024, false, 340, 0);
    assert!(told.contains("  overload  340 requests shed\n"), "{told}");
    let told = status(1_024, false, 0, 0);
    assert!(!told.contains("overload"), "{told}");
}

#[test]
fn a_decision_log_that_lacks_or_does_not_sign_something_is_a_fault() {
    let good = v1::AuditStatus {
        mode: "written".to_owned(),
        records: 514,
        signed_records: 514,
        ..Default::default()
    };
    assert!(!is_log_faulty(&good));
    assert!(!audit(&good).contains("LOST"), "{}", audit(&good));
    let lost = v1::AuditStatus {
        lost_records: 503,
        ..good.clone()
    };
    assert!(is_log_faulty(&lost));
    let told = audit(&lost);
    assert!(told.contains("; 503 RECORDS ARE LOST"), "{told}");
    let lost = v1::AuditStatus {
        lost_capsules: 7,
        ..good.clone()
    };
    assert!(is_log_faulty(&lost) && audit(&lost).contains("; 7 HAVE LOST THEIR CAPSULES"));
    let unsigned = v1::AuditStatus {
        tree_fault: "the disk is full".to_owned(),
        ..good.clone()
    };
    assert!(is_log_faulty(&unsigned));
    let told = "`audit/capsule.key` was gone, and is put back";
    let unsafe_keys = v1::AuditStatus {
        key_troubles: vec![told.to_owned()],
        ..good
    };
    assert!(is_log_faulty(&unsafe_keys));
    assert!(audit(&unsafe_keys).ends_with(&format!("; KEY: {told}")));
}

#[test]
fn what_is_not_enforced_is_told_with_what_it_let_pass() {
    let observed_with = |shown_entries| {
        observed(&v1::ObserveStatus {
            servers: vec!["slack".to_owned()],
            waived: 2,
            shown_entries,
            ..Default::default()
        })
    };
    let told = "NOT ENFORCED: server slack; 2 denies waived";
    assert_eq!(observed_with(0), told);
    let shown = ", 3 entries of lists shown that would be hidden";
    assert_eq!(observed_with(3), format!("{told}{shown}"));
}
