//! `callgate replay` on what a server has put on record.

use callgate::proto::v1;
use serde_json::Value as Json;

use crate::replay::stage::{Files, Stage};
use crate::support::in_process::{call, call_for, context, entity};
use crate::support::worlds;

const CONFIG: &str = "without_callers = true\n";
const OBSERVED: &str = "without_callers = true\n[observe]\nservice = true\n";
/// In shadow, so that it changes nothing, and over facts, so that they are looked up.
const FACTS: &str = r#"
@id("calm") @mode("shadow") forbid (principal, action, resource)
when { context has usage && context.usage.last_minute > 3 && context has session };
"#;
const STRICTER: &str = r#"
@id("no_more_logs") @reason("enough") forbid (principal, action, resource == Mcp::Tool::"git/log")
when { context has session && context.session.calls > 1 };
"#;

/// Calls of several kinds, some of them in a session. Returns how many.
async fn ask(stage: &Stage) -> usize {
    let mut client = stage.server.client().await;
    let mut asked = 0;
    for round in 0..5 {
        for tool in ["log", "commit", "purge", "new_one"] {
            for mut request in [call(tool), call_for(tool, "bob"), call_for(tool, "ana")] {
                if round % 2 == 0 {
                    context(&mut request).workflow = Some(v1::Workflow {
                        session_id: "s".into(),
                        ..Default::default()
                    });
                }
                client.authorize(request).await.expect("an answer");
                asked += 1;
            }
        }
        let cedar = v1::IsAuthorizedRequest {
            principal: entity("Mcp::Agent", "coder"),
            action: entity("Mcp::Action", "govern"),
            resource: entity("Mcp::User", "bob"),
            ..Default::default()
        };
        client.is_authorized(cedar).await.expect("an answer");
        asked += 1;
    }
    asked
}

fn report(stage: &Stage, files: Files<'_>, exit: i32) -> Json {
    let ran = stage.replay(files, &["--output", "json"]);
    assert_eq!(ran.code, exit, "{}", ran.transcript());
    ran.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_that_decided_flips_nothing_and_another_flips_what_it_changes() {
    let stage = Stage::new(CONFIG, &[("facts.cedar", FACTS)]).await;
    let asked = ask(&stage).await;
    let same = report(&stage, &[("facts.cedar", FACTS)], 0);
    assert_eq!(same["replayed"], asked, "{same}");
    assert_eq!(same["same"], asked, "{same}");
    assert_eq!(same["same_bundle"], asked, "{same}");

    let files = [("facts.cedar", FACTS), ("stricter.cedar", STRICTER)];
    let stricter = report(&stage, &files, 4);
    let groups = stricter["flips"].as_array().expect("groups");
    assert!(!groups.is_empty(), "{stricter}");
    for group in groups {
        assert_eq!(group["was"]["decision"], "allow");
        assert_eq!(group["becomes"]["code"], "FORBIDDEN", "{group}");
        assert_eq!(
            group["becomes"]["policies"],
            serde_json::json!(["no_more_logs"])
        );
        assert_eq!(group["operations"][0][0], "tools/call git/log");
    }
    // The text says the same, for people.
    let told = stage.replay(&files, &[]);
    assert!(
        told.stdout.contains("deny FORBIDDEN by no_more_logs"),
        "{}",
        told.stdout
    );

    // A share is the same share each time.
    let share = |share: &str| {
        let ran = stage.replay(
            &[("facts.cedar", FACTS)],
            &["--sample", share, "--output", "json"],
        );
        ran.json()["records"].as_u64().expect("a number")
    };
    let half = share("0.5");
    assert_eq!(half, share("0.5"));
    assert!(half > 0 && half < asked as u64, "{half} of {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_capsules_nothing_is_guessed() {
    let stage = Stage::new(CONFIG, &[]).await;
    let asked = ask(&stage).await;
    // A policy over usage, which nobody read when it was decided.
    let counted = report(&stage, &[("facts.cedar", FACTS)], 1);
    // Cedar's own requests bring all that a policy can read.
    assert_eq!(counted["replayed"], 5, "{counted}");
    let incomplete = counted["not_replayed"]["incomplete"]
        .as_object()
        .expect("reasons");
    let incomplete: u64 = incomplete.values().filter_map(Json::as_u64).sum();
    assert_eq!(incomplete as usize, asked - 5, "{counted}");

    std::fs::remove_dir_all(stage.folder.path().join("capsules")).expect("they are there");
    let ran = stage.replay(&[], &[]);
    assert_eq!(ran.code, 1, "{}", ran.transcript());
    assert!(
        ran.stdout.contains(&format!("{asked} have no capsule")),
        "{}",
        ran.transcript()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_observed_is_allowed_once_the_proposal_is_applied() {
    let stage = Stage::new(OBSERVED, &[]).await;
    ask(&stage).await;
    let folder = worlds::small().write();
    // Below the directory it would be in force at once, by whatever name.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).expect("a link");
    for served in [folder.path(), &link] {
        let out = served.join("proposed");
        let args = ["--observed", "--out", out.to_str().expect("text")];
        let refused = stage.replay_in(folder.path(), &args);
        assert_eq!(refused.code, 1, "{}", refused.transcript());
        let said = refused.transcript();
        assert!(
            said.contains("--out") && said.contains("in force at once"),
            "{said}"
        );
        assert!(!out.exists());
    }
    let out = elsewhere.path().join("proposed");
    let out = out.to_str().expect("text");
    let args = ["--observed", "--out", out, "--output", "json"];
    let ran = stage.replay_in(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let proposal = ran.json();
    assert_eq!(proposal["tools"], 1, "{proposal}");
    assert!(proposal["allowed"].as_u64() > Some(0), "{proposal}");
    assert_eq!(proposal["not_replayed"], 0, "{proposal}");
    assert!(
        proposal["left"]["FORBIDDEN"]["count"].as_u64() > Some(0),
        "{proposal}"
    );
    assert!(proposal["left"].get("NO_PERMIT").is_none(), "{proposal}");
    assert!(
        proposal["left"].get("DELEGATOR_DENIED").is_none(),
        "{proposal}"
    );
    assert!(proposal["left"].get("TOOL_UNKNOWN").is_none(), "{proposal}");

    // What was proposed may have been edited.
    let again = stage.replay_in(folder.path(), &args);
    assert_eq!(again.code, 1, "{}", again.transcript());
    assert!(
        again.stdout.contains("is there already"),
        "{}",
        again.transcript()
    );
    let keyless = stage.replay_in(folder.path(), &["--key", "nowhere"]);
    assert_eq!(keyless.code, 1, "{}", keyless.transcript());
    assert!(
        keyless.stderr.contains("there is no capsule key `nowhere`"),
        "{}",
        keyless.transcript()
    );

    let other = elsewhere.path().join("other.key");
    std::fs::write(&other, "07".repeat(32)).expect("written");
    let other = ["--key", other.to_str().expect("text")];
    let sealed = stage.replay_in(folder.path(), &other);
    assert_eq!(sealed.code, 1, "{}", sealed.transcript());
    let said = "of these do not open: there is no key, another one";
    assert!(sealed.stdout.contains(said), "{}", sealed.transcript());
    // Nothing that could be read is not "nothing to propose".
    let sealed = stage.replay_in(folder.path(), &[&other[..], &["--observed"]].concat());
    assert_eq!(sealed.code, 1, "{}", sealed.transcript());
    let said = "none of the observed calls could be replayed";
    assert!(sealed.stderr.contains(said), "{}", sealed.transcript());
    // Without a key the capsules are there all the same.
    let key = stage.folder.path().join("capsule.key");
    let aside = elsewhere.path().join("capsule.key");
    std::fs::rename(&key, &aside).expect("moved");
    let keyless = stage.replay_in(folder.path(), &["--output", "json"]);
    assert_eq!(keyless.code, 1, "{}", keyless.transcript());
    let out = &keyless.json()["not_replayed"];
    assert_eq!(out["no_capsule"], 0, "{out}");
    assert!(
        out["sealed"].as_u64() > Some(0) && out["sealed"] == out["failed"],
        "{out}"
    );
    std::fs::copy(&aside, &key).expect("back");

    for name in ["observed.cedar", "tools/git.json"] {
        let proposed = elsewhere.path().join("proposed").join(name);
        std::fs::copy(proposed, folder.path().join(name)).expect("copied");
    }
    let again = stage
        .replay_in(folder.path(), &["--observed", "--output", "json"])
        .json();
    assert_eq!(again["allowed_already"], proposal["allowed"], "{again}");
    assert_eq!(again["permits"], 0, "{again}");
    assert_eq!(again["tools"], 0, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_flips_is_not_said_of_a_log_that_cannot_be_read_as_a_whole() {
    let stage = Stage::new(CONFIG, &[]).await;
    let asked = ask(&stage).await;
    stage.log.close();
    let whole = report(&stage, &[], 0);
    assert_eq!(
        (&whole["replayed"], &whole["unreadable"]),
        (&asked.into(), &0.into())
    );
    let segments = stage.folder.path().join("segments");
    let file = std::fs::read_dir(&segments).unwrap().next().unwrap();
    let file = file.unwrap().path();
    let content = std::fs::read(&file).unwrap();
    for damage in ["middle", "end", "beginning"] {
        let mut damaged = content.clone();
        match damage {
            "middle" => damaged[content.len() / 2] ^= 1,
            "end" => damaged.truncate(content.len() - 10),
            _ => {}
        }
        std::fs::write(&file, &damaged).unwrap();
        let moved = segments.join("00000000000000000001.log");
        if damage == "beginning" {
            // As if the oldest file were gone: this one begins with its second record.
            let length = u32::from_le_bytes(content[16..20].try_into().unwrap());
            let mut rest = content[..8].to_vec();
            rest.extend(1_u64.to_le_bytes());
            rest.extend(&content[24 + length as usize..]);
            std::fs::write(&moved, rest).unwrap();
            std::fs::remove_file(&file).unwrap();
        }
        let ran = stage.replay(&[], &[]);
        assert_eq!(ran.code, 1, "{damage}: {}", ran.transcript());
        let told = "not all of the log could be read";
        assert!(ran.stderr.contains(told), "{damage}: {}", ran.transcript());
        let told = "decisions that could be read with";
        assert!(ran.stdout.contains(told), "{damage}: {}", ran.transcript());
        let ran = stage.replay(&[], &["--observed"]);
        assert_eq!(ran.code, 1, "{damage}: {}", ran.transcript());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_flips_is_not_said_of_capsules_that_are_damaged_or_gone() {
    let stage = Stage::new(CONFIG, &[]).await;
    let asked = ask(&stage).await;
    stage.log.close();
    let capsules = stage.folder.path().join("capsules");
    let file = std::fs::read_dir(&capsules).unwrap().next().unwrap();
    let file = file.unwrap().path();
    let content = std::fs::read(&file).unwrap();
    for damage in ["bit", "end"] {
        let mut damaged = content.clone();
        match damage {
            "bit" => damaged[content.len() / 2] ^= 1,
            _ => damaged.truncate(content.len() - 10),
        }
        std::fs::write(&file, &damaged).unwrap();
        let ran = stage.replay(&[], &["--output", "json"]);
        assert_eq!(ran.code, 1, "{damage}: {}", ran.transcript());
        let told = "not all capsules could be read";
        assert!(ran.stderr.contains(told), "{damage}: {}", ran.transcript());
        let report = ran.json();
        let failed = report["not_replayed"]["failed"].as_u64();
        assert!(failed > Some(0), "{damage}: {report}");
        assert_eq!(
            report["not_replayed"]["no_capsule"], 0,
            "{damage}: {report}"
        );
        assert_eq!(
            report["replayed"].as_u64().zip(failed).map(|(a, b)| a + b),
            Some(asked as u64),
            "{damage}: {report}"
        );
    }
}

const HELD: &str = r#"
@id("held") @mode("enforce") @reason("nothing is committed") forbid (principal, action, resource == Mcp::Tool::"git/commit");
"#;
const RELEASED: &str = r#"
@id("held") @reason("nothing is committed") forbid (principal, action, resource == Mcp::Tool::"git/commit");
"#;
const OBLIGED: &str = r#"
@id("obliged") @obligation("redact") permit (principal, action in Mcp::Action::"call_read", resource);
"#;
const FREE: &str = r#"
@id("obliged") permit (principal, action in Mcp::Action::"call_read", resource);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_holds_less_is_weakened_and_one_that_holds_more_strengthened() {
    let config = ("callgate.toml", OBSERVED);
    let files = |held, obliged| [("held.cedar", held), ("obliged.cedar", obliged), config];
    let stage = Stage::new(OBSERVED, &files(HELD, OBLIGED)[..2]).await;
    let asked = ask(&stage).await;
    let same = report(&stage, &files(HELD, OBLIGED), 0);
    assert_eq!(same["same"], asked, "{same}");

    let released = report(&stage, &files(RELEASED, OBLIGED), 4);
    let obliged = report(&stage, &files(HELD, FREE), 4);
    for weaker in [&released, &obliged] {
        assert_eq!(weaker["flipped"], 0, "{weaker}");
        assert_eq!(weaker["strengthened"], 0, "{weaker}");
        assert_ne!(weaker["weakened"], 0, "{weaker}");
    }
    let group = &released["weakenings"][0];
    assert_eq!(group["was"]["enforced"], true, "{released}");
    assert_eq!(group["becomes"]["enforced"], false, "{released}");
    let group = &obliged["weakenings"][0];
    let lost = serde_json::json!(["log:full", "redact"]);
    assert_eq!(group["was"]["obligations"], lost, "{obliged}");
    assert_eq!(group["becomes"]["obligations"][1], Json::Null, "{obliged}");

    // What is enforced from now on holds more.
    let config = ("callgate.toml", CONFIG);
    let files = [("held.cedar", HELD), ("obliged.cedar", OBLIGED), config];
    let enforced = report(&stage, &files, 0);
    assert_eq!(enforced["flipped"], 0, "{enforced}");
    assert_eq!(enforced["weakened"], 0, "{enforced}");
    assert_ne!(enforced["strengthened"], 0, "{enforced}");
    let told = stage.replay(&files, &[]);
    assert!(
        told.stdout.contains("(only observed)  ->  deny"),
        "{}",
        told.stdout
    );
}
