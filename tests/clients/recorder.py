"""Stands between a gateway and Callgate, passes everything on as it is, and keeps it.

    recorder.py grpc PORT TARGET FILE     any RPC, as the bytes of its messages
    recorder.py http PORT TARGET FILE     any POST

Each exchange is a line of JSON in FILE: {"rpc", "metadata", "steps": [[WHO, BASE64]...]} or {"path", "body", "answer"},
WHO being `gateway` or `callgate`, in the order in which they spoke.
"""

import base64
import http.client
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc


class Keeper:
    def __init__(self, path):
        self._file = open(path, "w")
        self._lock = threading.Lock()

    def keep(self, exchange):
        with self._lock:
            print(json.dumps(exchange), file=self._file, flush=True)


class Relay(grpc.GenericRpcHandler):
    """Every method is a stream of bytes in both directions; one message is a short stream."""

    def __init__(self, target, keeper):
        self._channel = grpc.insecure_channel(target)
        self._keeper = keeper

    def service(self, details):
        metadata = [(k, v) for k, v in details.invocation_metadata if k == "callgate-server"]

        def relay(said, context):
            steps = []

            def passed_on():
                for message in said:
                    steps.append(["gateway", base64.b64encode(message).decode()])
                    yield message

            try:
                for message in self._channel.stream_stream(details.method)(passed_on(), metadata=metadata):
                    steps.append(["callgate", base64.b64encode(message).decode()])
                    yield message
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            finally:
                self._keeper.keep({"rpc": details.method, "metadata": dict(metadata), "steps": steps})

        return grpc.stream_stream_rpc_method_handler(relay)


def posts(target, keeper):
    class Posts(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            connection = http.client.HTTPConnection(target)
            connection.request("POST", self.path, body, {"content-type": self.headers["content-type"]})
            answer = connection.getresponse()
            text = answer.read()
            keeper.keep({"path": self.path, "body": body.decode(), "answer": text.decode()})
            self.send_response(answer.status)
            self.send_header("content-type", answer.getheader("content-type"))
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    return Posts


def main():
    protocol, port, target, path = sys.argv[1:]
    keeper = Keeper(path)
    if protocol == "http":
        ThreadingHTTPServer(("127.0.0.1", int(port)), posts(target, keeper)).serve_forever()
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([Relay(target, keeper)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


main()
