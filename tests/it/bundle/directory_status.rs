//! What is told of the directory on disk: its faults while the last good one serves, what a load brought and took away,
//! and whether it is what its manifest says.

use serde_json::Value as Json;

use crate::support::process::{Bundle, Server, wait_for};

/// `callgate status` for programs, with its exit code.
fn status(bundle: &Bundle, server: &Server) -> (Option<i32>, Json) {
    let endpoint = format!("http://{}", server.target());
    let output = bundle.run(&["status", "--output", "json", "--endpoint", &endpoint]);
    let said = serde_json::from_slice(&output.stdout);
    (output.status.code(), said.unwrap_or_default())
}

fn said(bundle: &Bundle, arguments: &[&str]) -> (Option<i32>, String) {
    let output = bundle.run(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn status_says_what_is_wrong_on_disk_and_what_serves() {
    let bundle = Bundle::notes();
    let server = Server::start(&bundle, &[]);
    let (code, good) = status(&bundle, &server);
    assert_eq!(code, Some(0), "{good}");
    assert_eq!(good["directory"]["revision"], "1", "{good}");
    assert!(good["directory"].get("faults").is_none(), "{good}");

    bundle.file("broken.cedar", "permit (principal");
    let faulty = wait_for("the fault", || {
        let (code, told) = status(&bundle, &server);
        (code == Some(3)).then_some(told)
    });
    let directory = &faulty["directory"];
    let fault = directory["faults"][0].as_str().unwrap();
    assert!(fault.starts_with("./policies/broken.cedar:1:"), "{fault}");
    assert_eq!(directory["revision"], "1");
    assert!(directory["failedAt"].is_string(), "{directory}");
    let endpoint = format!("http://{}", server.target());
    let (_, text) = said(&bundle, &["status", "--endpoint", &endpoint]);
    assert!(
        text.contains("  directory faulty at ")
            && text.contains("  fault     ./policies/broken.cedar:1:"),
        "{text}"
    );

    // Taken away again, and another file with it.
    bundle.file("more.cedar", "");
    std::fs::remove_file(bundle.policies().join("broken.cedar")).unwrap();
    let mended = wait_for("the mended directory", || {
        let (code, told) = status(&bundle, &server);
        (code == Some(0) && told["directory"]["revision"] == "2").then_some(told)
    });
    assert_eq!(
        mended["directory"]["came"],
        serde_json::json!(["more.cedar"])
    );
    std::fs::remove_file(bundle.policies().join("more.cedar")).unwrap();
    let gone = wait_for("the file to be gone", || {
        let (_, told) = status(&bundle, &server);
        (told["directory"]["revision"] == "3").then_some(told)
    });
    assert_eq!(gone["directory"]["went"], serde_json::json!(["more.cedar"]));
    let log = server.log();
    assert!(
        log.lines()
            .any(|line| line.contains(r#""went":"more.cedar""#)),
        "{log}"
    );
}

#[test]
fn a_directory_with_a_manifest_is_what_the_manifest_says() {
    let bundle = Bundle::notes();
    let (code, text) = said(&bundle, &["manifest", "policies"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "policies/manifest.sha256: 3 files listed\n")
    );
    assert_eq!(said(&bundle, &["check", "policies"]).0, Some(0));
    // It is what everybody else reads, too.
    let checked = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "manifest.sha256"])
        .current_dir(bundle.policies())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let server = Server::start(&bundle, &[]);
    bundle.file("half.cedar", "");
    let (code, text) = said(&bundle, &["check", "policies"]);
    assert_eq!(code, Some(3));
    assert!(
        text.contains("this file is not in `manifest.sha256`") && text.contains("half.cedar"),
        "{text}"
    );
    wait_for("the fault", || {
        (status(&bundle, &server).0 == Some(3)).then_some(())
    });
    assert_eq!(said(&bundle, &["manifest", "policies"]).0, Some(0));
    let good = wait_for("the whole directory", || {
        let (code, told) = status(&bundle, &server);
        (code == Some(0)).then_some(told)
    });
    assert_eq!(good["directory"]["revision"], "2", "{good}");
    std::fs::remove_file(bundle.policies().join("half.cedar")).unwrap();
    let (code, text) = said(&bundle, &["check", "policies"]);
    assert_eq!(code, Some(3));
    assert!(
        text.contains("`half.cedar` is listed but not there"),
        "{text}"
    );
}
