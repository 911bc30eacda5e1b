use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_sdk::Resource;
use prost::Message as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::telemetry::export::log_queue::with_record_count;
use crate::telemetry::fixtures::lookup;

fn queue(variables: &[(&str, &str)]) -> (LogRecords, Arc<LiveGauges>) {
    let live = Arc::new(LiveGauges::default());
    (LogRecords::new(&live, &lookup(variables)), live)
}

fn log(records: &LogRecords, lines: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(records.layer());
    tracing::subscriber::with_default(subscriber, lines);
}

fn waiting(records: &LogRecords) -> Vec<LogRecord> {
    let queue = records.0.lock();
    let decode = |record: &QueuedRecord| LogRecord::decode(&record.bytes[..]).unwrap();
    queue.records.iter().map(decode).collect()
}

fn lost(live: &LiveGauges, kind: RecordKind, reason: LossReason) -> u64 {
    live.losses.count(LostSignal::LogRecord, kind, reason)
}

#[test]
fn a_line_becomes_a_record_with_its_fields_and_its_trace() {
    let (records, _) = queue(&[]);
    log(&records, || {
        tracing::warn!(
            target: "callgate::decision",
            decision = "deny",
            took_us = 42_u64,
            huge = u64::MAX,
            enforced = false,
            trace_id = %"0af7651916cd43dd8448eb211c80319c",
            span_id = %"b7ad6b7169203331",
            long = "ä".repeat(5_000),
            "authorization decision"
        );
        tracing::info!(target: "h2::client", "not ours");
    });
    let found = waiting(&records);
    let [record] = &found[..] else {
        panic!("{found:?}");
    };
    let text = |text: &str| Some(Any::StringValue(text.to_owned()));
    let body = record.body.clone().and_then(|body| body.value);
    assert_eq!(body, text("authorization decision"));
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (13, "WARN")
    );
    assert_eq!(record.trace_id[..3], [0x0a, 0xf7, 0x65]);
    assert_eq!(record.span_id[..3], [0xb7, 0xad, 0x6b]);
    assert!(record.time_unix_nano > 0 && record.observed_time_unix_nano > 0);
    let attribute = |key: &str| {
        let found = record.attributes.iter().find(|it| it.key == key);
        found
            .and_then(|it| it.value.clone())
            .and_then(|it| it.value)
    };
    assert_eq!(attribute("decision"), text("deny"));
    assert_eq!(attribute("took_us"), Some(Any::IntValue(42)));
    assert_eq!(attribute("huge"), text(&u64::MAX.to_string()));
    assert_eq!(attribute("enforced"), Some(Any::BoolValue(false)));
    assert_eq!(attribute("callgate.log.target"), text("callgate::decision"));
    assert_eq!((attribute("trace_id"), attribute("span_id")), (None, None));
    let Some(Any::StringValue(long)) = attribute("long") else {
        panic!("no text");
    };
    assert!(long.ends_with('…') && long.len() <= MAX_TEXT + '…'.len_utf8());
}

#[test]
fn what_finds_no_room_is_counted_for_as_many_as_it_stands_for() {
    let (records, live) = queue(&[("OTEL_BLRP_MAX_QUEUE_SIZE", "8")]);
    log(&records, || {
        for _ in 0..7 {
            tracing::info!(target: "callgate::decision", "fits");
        }
        with_record_count(30, || {
            tracing::info!(target: "callgate::decision", "denied again");
        });
        tracing::info!(target: "callgate::control", "a write has its place");
        tracing::info!(target: "callgate::control", "and one has none");
    });
    assert_eq!(waiting(&records).len(), 8);
    assert_eq!(lost(&live, RecordKind::Decision, LossReason::QueueFull), 30);
    assert_eq!(lost(&live, RecordKind::Control, LossReason::QueueFull), 1);
    records.ignore();
    log(
        &records,
        || tracing::info!(target: "callgate::decision", "not sent"),
    );
    assert_eq!(waiting(&records).len(), 0);
}

#[test]
fn a_batch_is_half_of_a_short_queue() {
    let of = |room, batch| {
        let (records, _) = queue(&[
            ("OTEL_BLRP_MAX_QUEUE_SIZE", room),
            ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", batch),
        ]);
        records.0.batch
    };
    assert_eq!(of("512", "512"), 256);
    assert_eq!(of("2048", "512"), 512);
    assert_eq!(of("1", "512"), 1);
}

#[test]
fn a_batch_and_the_queue_are_bounded_in_bytes() {
    let (records, live) = queue(&[]);
    let long = "x".repeat(MAX_TEXT);
    log(&records, || {
        for _ in 0..1_800 {
            tracing::info!(
                target: "callgate::decision",
                a = long, b = long, c = long, d = long, e = long, f = long, g = long, h = long,
                "long"
            );
        }
        tracing::info!(target: "callgate::control", "a write keeps its place");
    });
    let kept = waiting(&records).len();
    let bytes = records.0.lock().bytes;
    assert!(bytes <= room_in_bytes(2_048), "{bytes} bytes wait");
    let lost = lost(&live, RecordKind::Decision, LossReason::QueueFull);
    assert_eq!(kept as u64 + lost, 1_801);
    assert!(lost > 0 && kept > 100, "{kept} are kept");
    let (mut sent, mut batches) = (0, 0);
    while let Some(batch) = records.0.take_batch() {
        // With the tag and the length of each.
        let in_hand = records.0.lock().in_hand.len();
        assert!(batch.len() <= MAX_BATCH_BYTES + 8 * in_hand);
        sent += in_hand;
        batches += 1;
    }
    assert_eq!(sent, kept);
    assert!(batches > 2);
    assert_eq!(records.0.lock().bytes, 0);
}

#[test]
fn a_batch_is_what_prost_would_write() {
    let (records, _) = queue(&[]);
    log(&records, || {
        tracing::info!(target: "callgate::decision", "one");
        tracing::info!(target: "callgate::control", "two");
    });
    let resource = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "callgate"))
        .build();
    let scope = InstrumentationScope::builder("callgate")
        .with_version("1")
        .build();
    let each = waiting(&records);
    let mut encoded = Vec::new();
    for record in &records.0.lock().records {
        push_record(&mut encoded, &record.bytes);
    }
    let mut out = Vec::new();
    ExportFrame::new(&resource, &scope).write(&encoded, &mut out);
    let decoded = ResourceLogs::decode(&out[..]).unwrap();
    assert_eq!(decoded.scope_logs[0].log_records, each);
    let scope = decoded.scope_logs[0].scope.as_ref().unwrap();
    assert_eq!(
        (scope.name.as_str(), scope.version.as_str()),
        ("callgate", "1")
    );
    assert_eq!(
        decoded.resource.as_ref().unwrap().attributes[0].key,
        "service.name"
    );
    assert_eq!(decoded.encode_to_vec(), out);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_every_line_and_each_is_counted() {
    let (records, live) = queue(&[("OTEL_BLRP_SCHEDULE_DELAY", "20")]);
    let gone = {
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", bound.local_addr().unwrap())
    };
    let config = TelemetryConfig {
        endpoint: Some(gone),
        ..TelemetryConfig::default()
    };
    log(
        &records,
        || tracing::info!(target: "callgate::list", "before the start"),
    );
    let sender = records
        .start(&config, ExportFrame::default(), &lookup(&[]))
        .unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while lost(&live, RecordKind::List, LossReason::ExportFailed) == 0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log(
        &records,
        || tracing::info!(target: "callgate::control", "at the end"),
    );
    sender.finish(Duration::from_secs(5)).await;
    let at_the_end = [LossReason::ExportFailed, LossReason::Shutdown]
        .map(|reason| lost(&live, RecordKind::Control, reason));
    assert_eq!(at_the_end.iter().sum::<u64>(), 1);
    log(
        &records,
        || tracing::info!(target: "callgate::control", "after it"),
    );
    assert_eq!(
        live.losses.all().iter().map(|loss| loss.count).sum::<u64>(),
        2
    );
}
