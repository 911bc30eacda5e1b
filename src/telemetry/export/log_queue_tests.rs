use std::sync::mpsc;

use super::*;

/// A reader that takes nothing until it is told to.
struct Stalled {
    gate: mpsc::Receiver<()>,
    is_open: bool,
    /// Fails so often before it takes anything.
    failures: u32,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_open {
            // A test that has ended opens it too.
            let _ = self.gate.recv();
            self.is_open = true;
        }
        if self.failures > 0 {
            self.failures -= 1;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        // A bit at a time, as a pipe may.
        let taken = bytes.len().min(7);
        self.written.lock().unwrap().extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    sink: LogQueue,
    live: Arc<LiveGauges>,
    gate: mpsc::Sender<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

fn bench(room: QueueLimits, failures: u32) -> Bench {
    let (gate, waiting) = mpsc::channel();
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let out = Stalled {
        gate: waiting,
        is_open: false,
        failures,
        written: Arc::clone(&written),
    };
    let live = Arc::new(LiveGauges::default());
    let sink = LogQueue::start(out, room, Arc::clone(&live)).unwrap();
    Bench {
        sink,
        live,
        gate,
        written,
    }
}

impl Bench {
    fn log(&self, target: &str, text: &str) {
        let mut writer = LineWriter {
            shared: &self.sink.0,
            place: LineClass::from_target(target),
        };
        writer.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Has the thread take a line in hand, so that what comes then waits.
    fn occupy(&self) {
        self.log("other", "occupied");
        while self.sink.0.lock().in_hand.is_empty() {
            thread::yield_now();
        }
    }

    fn open(&self) {
        self.gate.send(()).unwrap();
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.written.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn lost(&self) -> Vec<(RecordKind, LossReason, u64)> {
        let losses = self.live.losses.all();
        losses
            .iter()
            .map(|loss| (loss.kind, loss.reason, loss.count))
            .collect()
    }
}

fn small() -> QueueLimits {
    QueueLimits {
        lines: 10,
        bytes: 10_000,
        spare_percent: 20,
        reserved: 3,
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_finds_the_queue_full_is_counted_by_kind_and_the_rest_is_written() {
    let bench = bench(small(), 0);
    bench.occupy();
    for number in 0..15 {
        bench.log("callgate::decision", &format!("deny {number}"));
    }
    for number in 0..4 {
        bench.log("callgate::reload", &format!("else {number}"));
    }
    with_record_count(7, || bench.log("callgate::rejection", "seven"));
    assert_eq!(
        bench.lost(),
        [
            (RecordKind::Decision, LossReason::QueueFull, 5),
            (RecordKind::Rejection, LossReason::QueueFull, 7),
            (RecordKind::Other, LossReason::QueueFull, 2),
        ],
        "a flood leaves room for a few others"
    );
    bench.open();
    assert_eq!(bench.sink.drain(PATIENCE), 0);
    let lines = bench.lines();
    assert_eq!(lines.len(), 1 + 10 + 2, "{lines:?}");
    assert_eq!(lines[10], "deny 9");
    assert_eq!(lines[12], "else 1");
}

#[test]
fn bytes_have_a_limit_too() {
    let bench = bench(small(), 0);
    bench.occupy();
    for _ in 0..3 {
        bench.log("callgate::decision", &"x".repeat(4_999));
    }
    assert_eq!(
        bench.lost(),
        [(RecordKind::Decision, LossReason::QueueFull, 1)]
    );
    bench.open();
    bench.sink.drain(PATIENCE);
    bench.log("callgate::decision", &"y".repeat(4_999));
    bench.sink.drain(PATIENCE);
    assert_eq!(bench.lines().len(), 4, "the room is free again");
}

#[tokio::test]
async fn a_promised_line_is_never_dropped_and_overtakes_the_flood() {
    let bench = bench(small(), 3);
    bench.occupy();
    for number in 0..100 {
        bench.log("callgate::decision", &format!("deny {number}"));
    }
    let moment = Duration::from_millis(20);
    for number in 0..3 {
        let promise = bench.sink.reserve(moment).await.expect("there is room");
        bench.log("callgate::control", &format!("write {number}"));
        drop(promise);
    }
    assert!(
        bench.sink.reserve(moment).await.is_none(),
        "as many wait as are promised a place"
    );
    bench.open();
    let promise = bench.sink.reserve(PATIENCE).await;
    drop(promise.expect("what is written makes room"));
    bench.sink.drain(PATIENCE);
    let lines = bench.lines();
    assert_eq!(lines[0], "occupied", "failures tear no line");
    assert_eq!(lines[1..4], ["write 0", "write 1", "write 2"]);
    assert_eq!(lines.len(), 4 + 10);
    assert_eq!(
        bench.lost(),
        [(RecordKind::Decision, LossReason::QueueFull, 90)]
    );
}

#[tokio::test]
async fn a_promise_that_is_not_used_is_given_back() {
    let bench = bench(small(), 0);
    let moment = Duration::from_millis(20);
    let held: Vec<_> = (0..3).map(|_| bench.sink.try_reserve()).collect();
    assert!(held.iter().all(Option::is_some));
    assert!(bench.sink.reserve(moment).await.is_none());
    let waiting = bench.sink.clone();
    let waiting = tokio::spawn(async move { waiting.reserve(PATIENCE).await.is_some() });
    drop(held);
    assert!(waiting.await.unwrap(), "whoever waits is told");
}

#[test]
fn what_cannot_be_written_at_the_end_is_counted_once() {
    let bench = bench(small(), 0);
    bench.occupy();
    bench.log("callgate::control", "write");
    bench.log("callgate::losses", "lost");
    with_record_count(40, || bench.log("callgate::decision", "denied again"));
    assert!(bench.sink.is_reporting());
    assert_eq!(bench.sink.drain(Duration::from_millis(50)), 4);
    let expected = [
        (RecordKind::Decision, LossReason::Shutdown, 40),
        (RecordKind::Control, LossReason::Shutdown, 1),
        (RecordKind::Other, LossReason::Shutdown, 2),
    ];
    assert_eq!(bench.lost(), expected);
    assert!(!bench.sink.is_reporting());
    assert_eq!(bench.sink.drain(PATIENCE), 0, "there is nothing left");
    assert_eq!(bench.lost(), expected);
}
