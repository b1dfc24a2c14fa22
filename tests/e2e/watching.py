# SPDX-License-Identifier: Apache-2.0
"""
watching.py: a Watch stream from Python: requests out, responses into a queue that a test waits on, or,
for a client that does not read, into nothing.
"""
import queue
import threading

import grpc

import cluster as e2e
import rpc

CREATE, CANCEL = "create_request", "cancel_request"


class Stream:
    """One Watch RPC. `reading=False`: responses are left where they are, so that the window fills up."""

    def __init__(self, client, metadata=None, reading=True):
        self.rpc = rpc.proto("rpc")
        self.requests = queue.Queue()
        self.responses = queue.Queue()
        self.error = None
        self.ended = threading.Event()
        call = client.channel.stream_stream("/etcdserverpb.Watch/Watch",
                                            request_serializer=lambda m: m.SerializeToString(),
                                            response_deserializer=self.rpc.WatchResponse.FromString)
        self.call = call(iter(self.requests.get, None), metadata=metadata)
        if reading:
            self.start_reading()

    def start_reading(self):
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            for response in self.call:
                self.responses.put(response)
        except grpc.RpcError as error:
            self.error = error
        self.ended.set()
        self.responses.put(None)

    # ---- requests

    def send(self, **fields):
        self.requests.put(self.rpc.WatchRequest(**fields))

    def send_create(self, key, range_end=b"", **fields):
        self.send(create_request=self.rpc.WatchCreateRequest(key=_octets(key), range_end=_octets(range_end), **fields))

    def create(self, key, range_end=b"", **fields):
        """Create a watch and return its `created` response."""
        self.send_create(key, range_end, **fields)
        return self.take()

    def prefix(self, key, **fields):
        return self.create(key, rpc.prefix_end(_octets(key)), **fields)

    def cancel(self, watch_id):
        self.send(cancel_request=self.rpc.WatchCancelRequest(watch_id=watch_id))

    def progress(self):
        self.send(progress_request=self.rpc.WatchProgressRequest())

    def half_close(self):
        self.requests.put(None)

    def close(self):
        self.call.cancel()

    # ---- responses

    def take(self, limit_s=e2e.LIMIT_S):
        response = self.responses.get(timeout=limit_s)
        if response is None:
            raise AssertionError(f"the stream ended: {self.error}")
        return response

    def take_events(self, count, limit_s=e2e.LIMIT_S):
        """The next `count` events, whatever responses they come in."""
        events = []
        while len(events) < count:
            events += self.take(limit_s).events
        if len(events) != count:
            raise AssertionError(f"{len(events)} events instead of {count}")
        return events

    def is_quiet(self):
        return self.responses.empty()


def _octets(text):
    return text.encode() if isinstance(text, str) else text
