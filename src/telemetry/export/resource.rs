//! The OpenTelemetry resource: which service and instance sends spans and metrics.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::telemetry::env::EnvLookup;

/// The resource. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, which the SDK reads, win over everything but a name in
/// the configuration.
pub(in crate::telemetry) fn resource(service_name: Option<&str>, var: EnvLookup<'_>) -> Resource {
    const NAME: Key = Key::from_static_str("service.name");
    const INSTANCE: Key = Key::from_static_str("service.instance.id");
    const VERSION: Key = Key::from_static_str("service.version");
    let from_env = Resource::builder().build();
    let is_named = var("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty())
        || from_env
            .get(&NAME)
            .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut ours = decoded(&var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    match service_name {
        Some(name) => ours.push(KeyValue::new(NAME, name.to_owned())),
        None if is_named => {}
        None => ours.push(KeyValue::new(NAME, "callgate")),
    }
    if from_env.get(&VERSION).is_none() {
        ours.push(KeyValue::new(VERSION, env!("CARGO_PKG_VERSION")));
    }
    if from_env.get(&INSTANCE).is_none() {
        ours.push(KeyValue::new(INSTANCE, Uuid::now_v7().to_string()));
    }
    Resource::builder().with_attributes(ours).build()
}

/// The attributes of the variable whose values are percent-encoded, which the SDK leaves as they are.
fn decoded(attributes: &str) -> Vec<KeyValue> {
    let pairs = attributes.split_terminator(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let plain = percent_decode_str(value).decode_utf8().ok()?;
        (plain != value).then(|| KeyValue::new(key.trim().to_owned(), plain.into_owned()))
    });
    pairs.collect()
}
