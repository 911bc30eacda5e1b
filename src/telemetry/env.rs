//! The environment variables of OpenTelemetry: how they are looked up, and their names by signal.

/// Looks up an environment variable.
pub type EnvLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A kind of exported telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportSignal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Log lines.
    Logs,
}

impl ExportSignal {
    /// All signals.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// The signal as the specification names it, and as it is in the path of OTLP/HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// What is exported, in log lines.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metrics",
            Self::Logs => "log lines",
        }
    }

    /// The path of the RPC of OTLP/gRPC.
    pub(crate) fn rpc(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// The variable that turns the signal on or off.
    pub(crate) fn exporter_variable(self) -> &'static str {
        match self {
            Self::Traces => "OTEL_TRACES_EXPORTER",
            Self::Metrics => "OTEL_METRICS_EXPORTER",
            Self::Logs => "OTEL_LOGS_EXPORTER",
        }
    }

    /// The part of the signal's own variables between `OTEL_EXPORTER_OTLP_` and what they set.
    pub(crate) fn infix(self) -> &'static str {
        match self {
            Self::Traces => "TRACES_",
            Self::Metrics => "METRICS_",
            Self::Logs => "LOGS_",
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
