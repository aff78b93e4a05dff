"""A store that counts what is read from it."""

import threading

from alexnet.telemetry import s3_usage


class CountingStore:
    """Counts reads and bytes; each read is one GET if the store is S3, for none is larger."""

    def __init__(self, store):
        self.store, self.url = store, store.url
        self.reads, self.num_bytes, self._lock = 0, 0, threading.Lock()

    def read(self, name, offset=0, length=None):
        return self.count(self.store.read(name, offset, length))

    def open(self, name, **known):
        return CountingFile(self, self.store.open(name, **known))

    def count(self, data):
        with self._lock:
            self.reads += 1
            self.num_bytes += len(data)
        return data


class CountingFile:
    def __init__(self, counter, file):
        self.counter, self.file = counter, file

    def read(self, offset, length):
        return self.counter.count(self.file.read(offset, length))


class LikeS3:
    """A store whose reads count as S3's do; it can be sent to loader processes."""

    def __init__(self, store):
        self.store, self.url = store, store.url

    def read(self, name, offset=0, length=None):
        s3_usage.OF_PROCESS.add("get", "requests")
        return self.store.read(name, offset, length)

    def open(self, name, **known):
        file = self.store.open(name, **known)
        return LikeS3File(file)


class LikeS3File:
    def __init__(self, file):
        self.file = file

    def read(self, offset, length):
        s3_usage.OF_PROCESS.add("get", "requests")
        return self.file.read(offset, length)
