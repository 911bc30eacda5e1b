//! What tests put into service.

use crate::bundle;
use crate::service::Service;
use crate::service::generation::LoadedBundle;
use crate::service::settings::ServiceSettings;
use crate::telemetry::export::span_tracer::SpanSampler;
use crate::telemetry::record::recorder::{Recorder, RecorderParts};
use crate::telemetry::span_fixtures::KeptSpans;

/// A directory that holds these policies and nothing else, as it is put into service.
pub(crate) fn policies(text: &str) -> LoadedBundle {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("policies.cedar"), text).expect("written");
    let bundle = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    }
}

/// A service without policies, in memory, that tells these spans.
pub(crate) fn service(spans: &KeptSpans) -> Service {
    let recorder = Recorder::new(RecorderParts {
        tracer: Some(spans.tracer(SpanSampler::ALWAYS_ON)),
        ..RecorderParts::default()
    });
    let service = Service::in_memory(ServiceSettings::default(), recorder).expect("a service");
    service.publish(policies("")).expect("published");
    service
}
