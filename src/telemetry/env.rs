//! The environment variables of OpenTelemetry: how they are looked up, and their names by signal.

/// Looks up an environment variable.
pub type EnvLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A kind of exported telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportSignal {
    Traces,
    Metrics,
}

impl ExportSignal {
    /// The variable that turns the signal on or off.
    pub(crate) fn exporter_variable(self) -> &'static str {
        match self {
            Self::Traces => "OTEL_TRACES_EXPORTER",
            Self::Metrics => "OTEL_METRICS_EXPORTER",
        }
    }

    fn infix(self) -> &'static str {
        match self {
            Self::Traces => "TRACES_",
            Self::Metrics => "METRICS_",
        }
    }
}

/// The name and value of the signal's own variable, or of the one for all signals.
pub(crate) fn signal_variable(
    signal: ExportSignal,
    suffix: &str,
    var: EnvLookup<'_>,
) -> Option<(String, String)> {
    [signal.infix(), ""].into_iter().find_map(|infix| {
        let name = format!("OTEL_EXPORTER_OTLP_{infix}{suffix}");
        var(&name).map(|value| (name, value))
    })
}
