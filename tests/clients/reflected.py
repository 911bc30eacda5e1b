"""A gRPC client without generated stubs: it learns the services from the server's reflection."""

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2


class Reflected:
    """The services of one server.

    `version` chooses the reflection protocol, `v1` or `v1alpha`: their messages are the same.
    """

    def __init__(self, channel, version="v1", metadata=()):
        self._channel = channel
        self._metadata = tuple(metadata)
        self._ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        self._pool = descriptor_pool.DescriptorPool()
        self._known = set()

    def services(self):
        """The names of all services."""
        answer = self._reflect(list_services="")
        return sorted(service.name for service in answer.list_services_response.service)

    def call(self, path, request, timeout=10):
        """Calls `package.Service/Method` with a JSON object; gives a JSON object back."""
        method = self._method(path)
        stub = self._channel.unary_unary(f"/{path}", **self._codec(method))
        message = json_format.ParseDict(request, self._new(method.input_type))
        return self._shown(stub(message, timeout=timeout, metadata=self._metadata))

    def stream(self, path, requests, timeout=30):
        """Calls a bidirectional method with JSON objects; gives all answers back."""
        method = self._method(path)
        stub = self._channel.stream_stream(f"/{path}", **self._codec(method))
        messages = (json_format.ParseDict(one, self._new(method.input_type)) for one in requests)
        answers = stub(messages, timeout=timeout, metadata=self._metadata)
        return [self._shown(answer) for answer in answers]

    def _reflect(self, **question):
        request = reflection_pb2.ServerReflectionRequest(**question)
        answer = next(iter(self._ask(iter([request]), timeout=10, metadata=self._metadata)))
        if answer.HasField("error_response"):
            raise LookupError(answer.error_response.error_message)
        return answer

    def _learn(self, **question):
        files = self._reflect(**question).file_descriptor_response.file_descriptor_proto
        parsed = [descriptor_pb2.FileDescriptorProto.FromString(one) for one in files]
        for file in parsed:
            if file.name in self._known:
                continue
            self._known.add(file.name)
            for dependency in file.dependency:
                if dependency not in self._known:
                    self._learn(file_by_filename=dependency)
            self._pool.Add(file)

    def _method(self, path):
        service, name = path.rsplit("/", 1)
        try:
            found = self._pool.FindServiceByName(service)
        except KeyError:
            self._learn(file_containing_symbol=service)
            found = self._pool.FindServiceByName(service)
        return found.methods_by_name[name]

    def _new(self, descriptor):
        return message_factory.GetMessageClass(descriptor)()

    def _codec(self, method):
        return {
            "request_serializer": lambda message: message.SerializeToString(),
            "response_deserializer": message_factory.GetMessageClass(method.output_type).FromString,
        }

    @staticmethod
    def _shown(message):
        return json_format.MessageToDict(message, preserving_proto_field_name=True)
