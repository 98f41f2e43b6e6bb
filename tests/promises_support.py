"""What the rows of promises.py share: a daemon of their own, a line per row.

SPDX-License-Identifier: MIT
"""
import glob
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

BINARY, LIBRARY = sys.argv[1], sys.argv[2]
IMAGES = "tests/golden/images/"
MIB = 1 << 20
broken = 0


def row(number, promise, measured, kept):
    global broken
    broken += not kept
    print(f"{number:>3}  {'kept' if kept else 'BROKEN':6}  {promise:58}  {measured}", flush=True)


def skip(number, promise, why):
    print(f"{number:>3}  {'SKIPPED':7} {promise:58}  {why}", flush=True)


class Server:
    running = []

    def __init__(self, *options, address="127.0.0.1", within=(), **spawn):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*within, BINARY, "serve", "--listen", f"{address}:0", "--access-log", "", *options],
            stdout=subprocess.DEVNULL, stderr=self.log, **spawn)
        Server.running.append(self)
        deadline = time.monotonic() + 30
        while b"is serving on" not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.text().decode())
            time.sleep(0.005)
        self.port = int(re.findall(rb"is serving on http://[0-9.]+:([0-9]+)", self.text())[-1])

    def text(self):
        return os.pread(self.log.fileno(), 1 << 20, 0)

    def ask(self, method, path, body=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def helpers(self):
        return children(children(self.process.pid)[0])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def children(pid, zombies=False):
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            rest = open(path).read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if rest[1] == str(pid) and (rest[0] == "Z") == zombies:
            found.append(int(path.split("/")[2]))
    return sorted(found)


def quietly(function, *arguments):
    try:
        function(*arguments)
    except (OSError, http.client.HTTPException):
        pass


def status_kib(pid, key):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def image(name):
    return open(IMAGES + name, "rb").read()
