"""An OTLP/gRPC collector that keeps what it gets.

    otlp_receiver.py OUT [--address ADDRESS]

Prints the port it listens on, then appends to OUT one JSON object a line: {"signal": "traces" |
"metrics" | "logs", "headers": {...}, "request": <the export request>}.
"""

import argparse
import json
import threading
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Sink:
    def __init__(self, path):
        self._file = open(path, "a", encoding="utf-8")
        self._lock = threading.Lock()

    def keep(self, signal, request, context):
        line = {
            "signal": signal,
            "headers": {name: str(value) for name, value in context.invocation_metadata()},
            "request": MessageToDict(request),
        }
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, sink):
        self._sink = sink

    def Export(self, request, context):
        self._sink.keep("traces", request, context)
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, sink):
        self._sink = sink

    def Export(self, request, context):
        self._sink.keep("metrics", request, context)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, sink):
        self._sink = sink

    def Export(self, request, context):
        self._sink.keep("logs", request, context)
        return logs_service_pb2.ExportLogsServiceResponse()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--address", default="127.0.0.1:0")
    options = parser.parse_args()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), compression=grpc.Compression.NoCompression)
    sink = Sink(options.out)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(sink), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(sink), server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(sink), server)
    port = server.add_insecure_port(options.address)
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
