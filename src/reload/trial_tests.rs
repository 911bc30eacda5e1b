use std::os::unix::process::ExitStatusExt;

use super::*;
use crate::bundle::files::FileKind;

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// More than a pipe holds, so that who does not read it is written to in vain.
fn sources() -> Vec<SourceFile> {
    let source = |at: usize| SourceFile {
        kind: FileKind::Policies,
        file: format!("policies/{at}.cedar").into(),
        stem: "a".into(),
        text: "permit (principal, action, resource);\n"
            .repeat(5_000)
            .into(),
        digest: None,
    };
    (0..4).map(source).collect()
}

fn trial() -> TrialCompiler {
    TrialCompiler::new(&ReloadConfig::default())
}

#[test]
fn however_the_other_process_ends_it_ends_the_trial_and_nothing_else() {
    for (script, told) in [
        ("kill -KILL $$", "signal: 9 (SIGKILL)"),
        ("kill -SEGV $$", "signal: 11 (SIGSEGV)"),
        ("kill -ABRT $$", "signal: 6 (SIGABRT)"),
        ("exit 1", "exit status: 1"),
        ("cat >/dev/null; exit 139", "exit status: 139"),
        ("head -c 9000000 /dev/urandom; exit 2", "exit status: 2"),
    ] {
        let ended = run(shell(script), &sources(), SOON).expect("a process");
        let TrialEnd::Badly(status) = ended else {
            panic!("{script}: {ended:?}");
        };
        let fault = trial().crashed(status, &["policies/3.cedar".into()]);
        assert_eq!(&*fault.file, "policies/3.cedar");
        assert!(fault.message.contains(told), "{script}: {fault:?}");
    }
    let ended = run(shell("cat >/dev/null"), &sources(), SOON).expect("a process");
    assert!(matches!(ended, TrialEnd::Well), "{ended:?}");
}

#[test]
fn a_process_that_does_not_end_is_ended_at_the_deadline() {
    for script in [
        "exec sleep 600",
        "kill -STOP $$",
        "while :; do echo garbage; done",
    ] {
        let begun = Instant::now();
        let deadline = Duration::from_millis(200);
        let ended = run(shell(script), &sources(), deadline).expect("a process");
        assert!(matches!(ended, TrialEnd::TooLate), "{script}: {ended:?}");
        assert!(begun.elapsed() < SOON, "{script}");
    }
    let fault = trial().too_late(&["policies/3.cedar".into()]);
    assert_eq!(&*fault.file, "policies/3.cedar");
}

#[test]
fn a_program_that_cannot_be_started_is_no_trial() {
    let missing = Command::new("/nowhere/callgate");
    assert!(run(missing, &sources(), SOON).is_err());
}

#[test]
fn what_is_not_known_for_sure_is_said_as_such() {
    let status = ExitStatus::from_raw(9);
    let help = |found: &[Arc<str>]| trial().crashed(status, found).help.unwrap_or_default();
    assert!(help(&[]).contains("it may have been ended from outside"));
    let several = help(&["policies/1.cedar".into(), "policies/2.cedar".into()]);
    assert!(
        several.contains("it is one of policies/1.cedar, policies/2.cedar"),
        "{several}"
    );
}
