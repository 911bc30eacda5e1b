"""An OTLP/HTTP collector (Protobuf) that keeps what it gets.

    otlp_http_receiver.py OUT [--address ADDRESS]

Prints the port it listens on, then appends to OUT one JSON object a line: {"signal": "traces" | "metrics" |
"logs", "headers": {...}, "request": <the export request>}. It is strict: another path, method, content type or encoding
gets the status that the specification has for it.
"""

import argparse
import gzip
import http.server
import json
import threading

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

SIGNALS = {
    "/v1/traces": ("traces", trace_service_pb2.ExportTraceServiceRequest, trace_service_pb2.ExportTraceServiceResponse),
    "/v1/metrics": ("metrics", metrics_service_pb2.ExportMetricsServiceRequest, metrics_service_pb2.ExportMetricsServiceResponse),
    "/v1/logs": ("logs", logs_service_pb2.ExportLogsServiceRequest, logs_service_pb2.ExportLogsServiceResponse),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    out = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path not in SIGNALS:
            return self.answer(404, b"")
        if self.headers["content-type"] != "application/x-protobuf":
            return self.answer(415, b"")
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        signal, asked, answered = SIGNALS[self.path]
        try:
            request = asked.FromString(body)
        except DecodeError:
            return self.answer(400, b"")
        headers = {name.lower(): value for name, value in self.headers.items()}
        line = json.dumps({"signal": signal, "headers": headers, "request": MessageToDict(request)})
        with self.lock:
            self.out.write(line + "\n")
            self.out.flush()
        self.answer(200, answered().SerializeToString())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--address", default="127.0.0.1:0")
    options = parser.parse_args()
    host, port = options.address.rsplit(":", 1)
    Handler.out = open(options.out, "a", encoding="utf-8")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
