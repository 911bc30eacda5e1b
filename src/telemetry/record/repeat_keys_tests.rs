use std::io::{self, Write};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value as Json;

use crate::audit::decision_record::RecordedRequest;
use crate::domain::decide::verdict::ReasonCode;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::log_queue::{LogQueue, QueueLimits};
use crate::telemetry::export::losses::{LostSignal, RecordKind};
use crate::telemetry::fixtures::{RecordFixture, deny, tool_call};
use crate::telemetry::record::recorder::{Recorder, RecorderParts};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A reader of the log that takes lines while it is open.
#[derive(Clone, Default)]
struct Reader(Arc<Read>);

#[derive(Default)]
struct Read {
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    bytes: Vec<u8>,
}

impl Reader {
    fn turn(&self, is_open: bool) {
        self.0.state.lock().unwrap().is_open = is_open;
        self.0.turned.notify_all();
    }

    fn lines(&self) -> Vec<Json> {
        let text = String::from_utf8(self.0.state.lock().unwrap().bytes.clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock().unwrap();
        while !state.is_open {
            state = self.0.turned.wait(state).unwrap();
        }
        state.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A recorder, and the log it writes to.
struct Bench {
    recorder: Recorder,
    reader: Reader,
    sink: LogQueue,
    live: Arc<LiveGauges>,
}

impl Bench {
    fn new(lines: usize, lines_per_minute: u32) -> Self {
        let reader = Reader::default();
        let live = Arc::new(LiveGauges::default());
        let room = QueueLimits {
            lines,
            ..QueueLimits::default()
        };
        let sink = LogQueue::start(reader.clone(), room, Arc::clone(&live)).unwrap();
        let recorder = Recorder::new(RecorderParts {
            live: Arc::clone(&live),
            lines_per_minute: Some(lines_per_minute),
            sink: Some(sink.clone()),
            ..RecorderParts::default()
        });
        Self {
            recorder,
            reader,
            sink,
            live,
        }
    }

    /// Does the work with its log on, to the end.
    fn log(&self, work: impl FnOnce()) -> Vec<Json> {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(self.sink.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            work();
            self.reader.turn(true);
            self.sink.drain(PATIENCE);
            self.recorder.finish();
        });
        self.sink.drain(PATIENCE);
        self.reader.lines()
    }

    fn lost(&self, kind: RecordKind) -> u64 {
        let losses = self.live.losses.all();
        let of_kind = losses
            .iter()
            .filter(|it| it.signal == LostSignal::Log && it.kind == kind);
        of_kind.map(|it| it.count).sum()
    }
}

/// How many records the lines of a target stand for.
fn stand_for(lines: &[Json], target: &str) -> u64 {
    let ours = lines.iter().filter(|line| line["target"] == target);
    ours.map(|line| line["repeated"].as_u64().unwrap_or(1))
        .sum()
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Deny(usize),
    Refuse(usize),
    MinuteIsOver,
    Reads(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0usize..5).prop_map(Step::Deny),
        8 => (0usize..2).prop_map(Step::Refuse),
        1 => Just(Step::MinuteIsOver),
        2 => any::<bool>().prop_map(Step::Reads),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn lines_times_what_they_stand_for_and_losses_are_all_there_was(
        steps in steps(),
        room in 1usize..20,
        limit in 1u32..6,
    ) {
        let bench = Bench::new(room, limit);
        let asked = RecordFixture::with(deny(ReasonCode::Forbidden));
        let calls = [0, 1, 2, 3, 4].map(|number| {
            let mut call = tool_call();
            call.operation.server = format!("server-{number}").into();
            call
        });
        let (mut denied, mut refused) = (0, 0);
        let lines = bench.log(|| {
            for step in steps {
                match step {
                    Step::Deny(which) => {
                        let question = RecordedRequest::Call(&calls[which]);
                        bench.recorder.record(&asked.record(question));
                        denied += 1;
                    }
                    Step::Refuse(which) => {
                        let said = ["no right", "no such door"][which];
                        bench.recorder.rejection("grpc", RejectionKind::NotEntitled, said);
                        refused += 1;
                    }
                    Step::MinuteIsOver => {
                        bench.recorder.tick(Instant::now() + Duration::from_secs(61));
                    }
                    Step::Reads(is_open) => bench.reader.turn(is_open),
                }
            }
        });
        let in_log = stand_for(&lines, "callgate::decision");
        prop_assert_eq!(in_log + bench.lost(RecordKind::Decision), denied);
        let in_log = stand_for(&lines, "callgate::rejection");
        prop_assert_eq!(in_log + bench.lost(RecordKind::Rejection), refused);
        let reports = lines.iter().filter(|line| line["target"] == "callgate::losses");
        let told: u64 = reports.map(|line| line["count"].as_u64().unwrap()).sum();
        let lost: u64 = bench.live.losses.all().iter().map(|it| it.count).sum();
        prop_assert_eq!(told, lost, "the log tells all that it lost");
    }
}

#[test]
fn denies_that_differ_in_who_what_or_why_are_told_apart() {
    let bench = Bench::new(100, 1);
    let mut other_person = tool_call();
    other_person.actor_chain = None;
    let reasons = [ReasonCode::Forbidden, ReasonCode::NoPermit];
    let lines = bench.log(|| {
        for code in reasons {
            let asked = RecordFixture::with(deny(code));
            for call in [&tool_call(), &other_person] {
                for _ in 0..4 {
                    let record = asked.record(RecordedRequest::Call(call));
                    bench.recorder.record(&record);
                }
            }
        }
    });
    let again: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "denied again")
        .collect();
    assert_eq!(again.len(), 4, "{again:?}");
    for line in again {
        assert_eq!(line["repeated"], 3);
        assert_eq!(line["tool"], "create_issue");
        assert_eq!(line["server"], "github");
        assert_eq!(line["operation"], "tools/call");
        assert_eq!(line["subject"], r#"Mcp::Agent::"release""#);
        assert_eq!(line["caller"], "edge");
    }
}

#[test]
fn where_there_are_too_many_to_keep_apart_the_reason_is_still_told() {
    let asked = RecordFixture::with(deny(ReasonCode::ToolUnknown));
    let call = tool_call();
    let record = asked.record(RecordedRequest::Call(&call));
    let redaction = crate::telemetry::redact::redaction::Redaction::default();
    let denied = DenyKey::of(&record, &decision_mapping::log_fields(&record, &redaction));
    let bench = Bench::new(100, 1);
    let lines = bench.log(|| denied.shared().tell(7));
    let line = &lines[0];
    assert_eq!(line["repeated"], 7);
    assert_eq!(line["reason"], "TOOL_UNKNOWN");
    assert_eq!(line["adapter"], "grpc");
    assert!(
        line["tool"].is_null() && line["subject"].is_null(),
        "{line}"
    );
}
