"""A gRPC server and a gRPC client, both of the real library (grpcio), for tests.

    grpc_peer.py server            prints its port, and serves until its standard input closes
    grpc_peer.py client HOST:PORT  makes a call for each line of its standard input, a JSON object, and prints how it ended

Messages are plain bytes, so nothing has to be generated. The service is shop.Cart. Beside it stands shop.Load of
load.proto, for load generators that want messages of protobuf.
"""

import json
import sys
import threading
import time
from concurrent import futures

import grpc


def plain(message):
    return message


def get(request, context):
    return request


def fail(request, context):
    """Ends with the status that the message names. The library answers with trailers only."""
    context.abort(status_of(request), "as asked")


def fail_late(request, context):
    """As `fail`, but after the response's headers and a message."""
    context.send_initial_metadata(())
    yield b"first"
    context.abort(status_of(request), "as asked")


def sleep(request, context):
    """Answers when the caller is gone, or after as many seconds as the message says."""
    end = time.monotonic() + float(request)
    while context.is_active() and time.monotonic() < end:
        time.sleep(0.01)
    return b""


def upload(requests, context):
    return str(sum(1 for _ in requests)).encode()


def watch(request, context):
    """So many messages, and none after the caller has left. Fewer than none: without an end."""
    left = int(request)
    while left != 0 and context.is_active():
        yield b"message"
        left -= 1
        if left < 0:
            time.sleep(0.01)


def hold(request, context):
    """A message, and then nothing until the caller is gone."""
    yield b"message"
    while context.is_active():
        time.sleep(0.01)


def chat(requests, context):
    yield from requests


def end(request, context):
    """Ends with the status in the message's one field, `int32 status = 1`: absent, or its key and one byte."""
    if request:
        context.abort(status_of(request[1]), "as asked")
    return b""


def status_of(request):
    number = int(request)
    return next(code for code in grpc.StatusCode if code.value[0] == number)


METHODS = {
    "Get": grpc.unary_unary_rpc_method_handler(get),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Watch": grpc.unary_stream_rpc_method_handler(watch),
    "Hold": grpc.unary_stream_rpc_method_handler(hold),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}

LOAD = {"End": grpc.unary_unary_rpc_method_handler(end)}


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    services = {"shop.Cart": METHODS, "shop.Load": LOAD}
    handlers = (grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())
    server.add_generic_rpc_handlers(tuple(handlers))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(grace=None)


def call(channel, asked):
    """Makes one call. `cancel_after`: so many messages of the answer are read before the client leaves."""
    streams = asked.get("kind", "unary_unary")
    messages = [text.encode() for text in asked.get("messages", [""])]
    wanted = asked.get("cancel_after")
    make = getattr(channel, streams)(asked["method"], request_serializer=plain, response_deserializer=plain)
    metadata = [tuple(pair) for pair in asked.get("metadata", [])]
    request = iter(messages) if streams.startswith("stream") else messages[0]
    received = []
    try:
        if streams.endswith("stream"):
            answer = make(request, timeout=asked.get("timeout"), metadata=metadata)
            if wanted == 0:
                answer.initial_metadata()
            while wanted is None or len(received) < wanted:
                try:
                    received.append(next(answer).decode())
                except StopIteration:
                    break
            if wanted is not None:
                answer.cancel()
            code, details = answer.code(), answer.details()
        else:
            answer = make.future(request, timeout=asked.get("timeout"), metadata=metadata)
            if wanted is not None:
                threading.Timer(asked["leave_after"], answer.cancel).start()
            received.append(answer.result().decode())
            code, details = answer.code(), answer.details()
    except grpc.FutureCancelledError:
        code, details = grpc.StatusCode.CANCELLED, "left"
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
    return {"status": code.name, "details": details, "messages": received}


def make_calls(address):
    with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        for line in sys.stdin:
            print(json.dumps(call(channel, json.loads(line))), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve()
    else:
        make_calls(sys.argv[2])
