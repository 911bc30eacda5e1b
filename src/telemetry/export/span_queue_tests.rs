use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::telemetry::env::ExportSignal;
use crate::telemetry::export::exporters::MonitoredExporter;
use crate::telemetry::export::losses::{Losses, LostSignal, RecordKind};
use crate::telemetry::export::span_counts::SpanCounts;

/// A collector that does not answer until it is told what: how many spans it drops, or that it fails.
#[derive(Debug)]
struct Slow {
    answers: Mutex<mpsc::Receiver<Option<u64>>>,
    rejected: Arc<AtomicU64>,
}

impl SpanBatchExporter for Slow {
    async fn export(&self, _: &EncodedSpans) -> OTelSdkResult {
        // Without a test it takes everything.
        match self.answers.lock().unwrap().recv().unwrap_or(Some(0)) {
            Some(rejected) => {
                self.rejected.fetch_add(rejected, Ordering::Relaxed);
                Ok(())
            }
            None => Err(OTelSdkError::InternalFailure("down".to_owned())),
        }
    }
}

struct Bench {
    queue: SpanQueue,
    live: Arc<LiveGauges>,
    answers: mpsc::Sender<Option<u64>>,
}

fn bench(room: usize) -> Bench {
    let (answers, waiting) = mpsc::channel();
    let live = Arc::new(LiveGauges::default());
    let rejected: Arc<AtomicU64> = Arc::default();
    let slow = Slow {
        answers: Mutex::new(waiting),
        rejected: Arc::clone(&rejected),
    };
    let watched =
        MonitoredExporter::new(slow, ExportSignal::Traces, &live).with_rejected_count(rejected);
    let delay = Duration::from_millis(DEFAULT_DELAY);
    let queue = SpanQueue::with_limits(watched, &live, room, room as u64, delay).unwrap();
    Bench {
        queue,
        live,
        answers,
    }
}

impl Bench {
    fn spans(&self, name: &'static str, count: usize) {
        let sink = self.queue.sink();
        for _ in 0..count {
            sink.push(name.as_bytes(), name.starts_with("control "));
        }
    }

    /// Spans that were exported, and what was lost.
    fn ends(&self) -> (u64, Vec<(RecordKind, LossReason, u64)>) {
        let losses = self.live.losses.all();
        let lost = losses.iter().map(|it| (it.kind, it.reason, it.count));
        let exported = self.live.spans.exported.load(Ordering::Relaxed);
        (exported, lost.collect())
    }
}

#[test]
fn what_the_queue_does_not_take_is_counted_and_writes_keep_a_place() {
    let bench = bench(16);
    bench.spans("authorize tools/call", 30);
    bench.spans("control OpenTask", 3);
    let (_, lost) = bench.ends();
    // The first batch may be on its way already, which makes room for as many again.
    let dropped: u64 = lost.iter().map(|it| it.2).sum();
    assert!((1..=17).contains(&dropped), "{lost:?}");
    for _ in 0..10 {
        bench.answers.send(Some(0)).unwrap();
    }
    bench.queue.shutdown(Duration::from_secs(5)).unwrap();
    let (exported, at_the_end) = bench.ends();
    assert_eq!(at_the_end, lost, "nothing else is lost");
    assert_eq!(exported + dropped, 33);
}

#[test]
fn a_collector_that_fails_or_drops_is_counted() {
    let bench = bench(64);
    bench.spans("authorize tools/call", 5);
    bench.spans("control OpenTask", 2);
    bench.answers.send(None).unwrap();
    bench.queue.force_flush().unwrap_err();
    bench.spans("authorize tools/call", 5);
    bench.answers.send(Some(2)).unwrap();
    bench.queue.force_flush().unwrap();
    let expected = [
        (RecordKind::Decision, LossReason::ExportFailed, 5),
        (RecordKind::Decision, LossReason::Rejected, 2),
        (RecordKind::Control, LossReason::ExportFailed, 2),
    ];
    assert_eq!(bench.ends(), (3, expected.to_vec()));
}

#[test]
fn an_export_that_panics_has_failed_and_the_next_is_made() {
    struct Panics(AtomicU64);

    impl SpanBatchExporter for Panics {
        async fn export(&self, _: &EncodedSpans) -> OTelSdkResult {
            assert_ne!(self.0.fetch_add(1, Ordering::Relaxed), 0, "as asked");
            Ok(())
        }
    }

    let live = Arc::new(LiveGauges::default());
    let panics = Panics(AtomicU64::new(0));
    let watched = MonitoredExporter::new(panics, ExportSignal::Traces, &live);
    let delay = Duration::from_millis(DEFAULT_DELAY);
    let queue = SpanQueue::with_limits(watched, &live, 10, 10, delay).unwrap();
    queue.sink().push(b"first", false);
    let first = queue.force_flush();
    assert!(first.is_err_and(|error| error.to_string().contains("as asked")));
    queue.sink().push(b"second", true);
    assert!(queue.force_flush().is_ok());
    let ended = [&live.spans.failed, &live.spans.exported].map(|it| it.load(Ordering::Relaxed));
    assert_eq!(ended, [1, 1]);
}

#[test]
fn what_is_still_open_at_the_end_is_counted_once() {
    let bench = bench(64);
    bench.spans("authorize tools/call", 4);
    bench.spans("control OpenTask", 1);
    let moment = Duration::from_millis(50);
    bench.queue.shutdown(moment).unwrap_err();
    let expected = [
        (RecordKind::Decision, LossReason::Shutdown, 4),
        (RecordKind::Control, LossReason::Shutdown, 1),
    ];
    assert_eq!(bench.ends(), (0, expected.to_vec()));
    // What comes back afterwards changes nothing.
    bench.answers.send(Some(0)).unwrap();
    std::thread::sleep(moment);
    bench.live.spans.discard_open(&bench.live.losses);
    assert_eq!(bench.ends(), (0, expected.to_vec()));
}

#[test]
fn batches_are_full_or_late_and_hold_every_span_in_order() {
    #[derive(Debug)]
    struct Kept(mpsc::Sender<EncodedSpans>);
    impl SpanBatchExporter for Kept {
        async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
            self.0.send(batch.clone()).unwrap();
            Ok(())
        }
    }
    let (kept, batches) = mpsc::channel();
    let live = Arc::new(LiveGauges::default());
    let watched = MonitoredExporter::new(Kept(kept), ExportSignal::Traces, &live);
    let delay = Duration::from_millis(50);
    let queue = SpanQueue::with_limits(watched, &live, 64, 4, delay).unwrap();
    let sink = queue.sink();
    for number in 0_u8..10 {
        sink.push(&[number], number == 9);
    }
    let (mut bytes, mut sizes) = (Vec::new(), Vec::new());
    while sizes.iter().sum::<u64>() < 10 {
        let batch = batches.recv_timeout(Duration::from_secs(10)).unwrap();
        bytes.extend_from_slice(batch.bytes());
        sizes.push(batch.counts().sum());
        assert_eq!(
            batch.counts().writes,
            u64::from(sizes.iter().sum::<u64>() == 10)
        );
    }
    assert_eq!(sizes[..2], [4, 4], "a full batch does not wait");
    let expected: Vec<u8> = (0..10).flat_map(|number| [0x12, 1, number]).collect();
    assert_eq!(bytes, expected);
    queue.shutdown(Duration::from_secs(5)).unwrap();
    sink.push(&[1], false);
    let lost = live.losses.all();
    assert_eq!((lost[0].reason, lost[0].count), (LossReason::Shutdown, 1));
}

#[test]
fn a_batch_and_the_queue_are_bounded_in_bytes() {
    /// Notes the sizes of batches, each once it may.
    struct Sizes(mpsc::Sender<usize>, Mutex<mpsc::Receiver<()>>);
    impl SpanBatchExporter for Sizes {
        async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
            // Without a test it takes everything.
            let _ = self.1.lock().unwrap().recv();
            let _ = self.0.send(batch.bytes().len());
            Ok(())
        }
    }
    let (sizes, batches) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let live = Arc::new(LiveGauges::default());
    let exporter = Sizes(sizes, Mutex::new(may_go));
    let watched = MonitoredExporter::new(exporter, ExportSignal::Traces, &live);
    let delay = Duration::from_millis(DEFAULT_DELAY);
    let queue = SpanQueue::with_limits(watched, &live, 1_000, 500, delay).unwrap();
    let sink = queue.sink();
    // Large spans, as many as there is room for by their number.
    let large = vec![b'x'; 100 << 10];
    for _ in 0..800 {
        sink.push(&large, false);
    }
    let losses = live.losses.all();
    let expected = (RecordKind::Decision, LossReason::QueueFull);
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0].kind, losses[0].reason), expected);
    let kept = 800 - losses[0].count;
    let bytes = usize::try_from(kept).unwrap() * large.len();
    // One batch more is under way.
    let most = room_in_bytes(1_000) + MAX_BATCH_BYTES;
    assert!(
        bytes <= most && bytes > room_in_bytes(1_000) / 2,
        "{kept} spans"
    );
    sink.push(b"control OpenTask", true);
    assert_eq!(live.losses.all(), losses, "writes keep a place");
    drop(go);
    queue.shutdown(Duration::from_secs(20)).unwrap();
    let sizes: Vec<usize> = batches.try_iter().collect();
    assert!(
        sizes.iter().all(|size| *size <= MAX_BATCH_BYTES + 4_096),
        "{sizes:?}"
    );
    assert_eq!(live.spans.exported.load(Ordering::Relaxed), kept + 1);
    assert_eq!(queue.shared.lock().bytes, 0);
}

#[test]
fn the_queue_is_as_long_as_the_variable_says_within_bounds() {
    let room = |text: &'static str| queue_length(&move |_| Some(text.to_owned()));
    assert_eq!(room("100"), 100);
    assert_eq!(room("0"), 1);
    assert_eq!(room("999999999999"), LONGEST_QUEUE);
    assert_eq!(room("many"), DEFAULT_QUEUE);
}

proptest! {
    #[test]
    fn every_span_has_one_end(steps in prop::collection::vec((0u8..5, 0u64..20), 0..200)) {
        let (flow, losses) = (SpanCounts::default(), Losses::default());
        let (mut queue, mut recorded) = (SpanBatch::default(), 0);
        for (step, count) in steps {
            let batch = match step {
                0 | 1 => {
                    let is_write = step == 1;
                    recorded += 1;
                    if flow.admit(is_write, 16) {
                        queue.writes += u64::from(is_write);
                        queue.decisions += u64::from(!is_write);
                        prop_assert!(queue.sum() <= 16);
                    } else {
                        losses.add(LostSignal::Span, RecordKind::Decision, LossReason::QueueFull, 1);
                    }
                    continue;
                }
                _ => std::mem::take(&mut queue),
            };
            flow.taken(batch);
            match step {
                2 => flow.exported(batch, count, &losses),
                3 => flow.failed(batch, &losses),
                _ => flow.discard_open(&losses),
            }
        }
        flow.discard_open(&losses);
        flow.discard_open(&losses);
        let lost: u64 = losses.all().iter().map(|loss| loss.count).sum();
        prop_assert_eq!(flow.exported.load(Ordering::Relaxed) + lost, recorded);
    }
}

#[test]
fn a_short_queue_is_exported_before_it_is_full() {
    #[derive(Debug)]
    struct Prompt;
    impl SpanBatchExporter for Prompt {
        async fn export(&self, _: &EncodedSpans) -> OTelSdkResult {
            Ok(())
        }
    }
    for (room, batch) in [("512", "512"), ("256", "512"), ("2", "1"), ("1", "1")] {
        let live = Arc::new(LiveGauges::default());
        let watched = MonitoredExporter::new(Prompt, ExportSignal::Traces, &live);
        let var = |name: &str| match name {
            QUEUE_VARIABLE => Some(room.to_owned()),
            BATCH_VARIABLE => Some(batch.to_owned()),
            // Longer than the test.
            DELAY_VARIABLE => Some("600000".to_owned()),
            _ => None,
        };
        let queue = SpanQueue::start(watched, &live, &var).unwrap();
        let length: u64 = room.parse().unwrap();
        let half = (length / 2).max(1);
        let sink = queue.sink();
        // As many as are a batch, and no more until they are gone.
        for _ in 0..half {
            sink.push(b"authorize", length == 1);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while live.spans.exported.load(Ordering::Relaxed) < half {
            assert!(Instant::now() < deadline, "{room}: nothing is exported");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(live.losses.all(), []);
    }
    assert_eq!(most_in_batch(512, 2_048), 512);
    assert_eq!(most_in_batch(0, 2_048), 1);
}
