"""Rows about load: leaving, clients that leave, idle ones, refusals.

SPDX-License-Identifier: MIT
"""
import ctypes
import glob
import http.client
import json
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time

from promises_images import png
from promises_support import BINARY, IMAGES, Server, cpu_seconds, image, row, skip, status_kib

ROUNDS = int(os.environ.get("ROUNDS", "20"))


def metric(server, name):
    for line in server.ask("GET", "/metrics")[1].decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0.0


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def row_1():
    lost, answered, codes, slowest, random_waits = [0], [0], set(), 0.0, random.Random(1)
    for _ in range(ROUNDS):
        server, stop = Server(), threading.Event()
        photo = image("baseline-420.jpg")

        def client(mark):
            n = 0
            while not stop.is_set():
                n += 1
                body = photo + b"%d %d" % (mark, n)
                try:
                    s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
                except OSError:
                    return  # not connected, hence not accepted
                try:
                    s.sendall(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    answer = http.client.HTTPResponse(s)
                    answer.begin()
                    answer.read()
                    codes.add(answer.status)
                    answered[0] += 1
                except (OSError, http.client.HTTPException):
                    lost[0] += 1
                finally:
                    s.close()
        threads = [threading.Thread(target=client, args=(i,)) for i in range(32)]
        for thread in threads:
            thread.start()
        time.sleep(0.1 + 0.2 * random_waits.random())
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        codes.add(("exit", server.process.wait(30)))
        slowest = max(slowest, time.monotonic() - start)
        stop.set()
        for thread in threads:
            thread.join()
    row(1, f"SIGTERM among 32 clients, {ROUNDS} times: none accepted is lost", f"{lost[0]} lost of "
        f"{answered[0] + lost[0]}, {sorted(map(str, codes))}", lost[0] == 0 and codes <= {200, 503, ("exit", 0)})
    row(1, "exit within 2 s", f"{slowest:.2f} s at most", slowest <= 2)


def overload(server, factor, seconds):
    """Starts open_loop with that times what the server can do; photographs of the tests, 200 ms."""
    photos = sorted(glob.glob(IMAGES + "baseline-*.jpg"))
    command = [os.path.join(os.path.dirname(BINARY), "open_loop"), "--url",
               f"http://127.0.0.1:{server.port}/classify", "--deadline-ms", "200"]

    def run(rate, for_seconds):
        return subprocess.Popen([*command, "--rate", str(rate), "--seconds", str(for_seconds), *photos],
                                stdout=subprocess.PIPE)
    full = json.loads(run(6000, 2).communicate()[0])  # more than any machine of this kind can do
    return run(factor * full["good_per_second"], seconds)


def row_4():
    """Refused at the header, under three times the load: nothing of a body is on its way."""
    server, times, codes, waits = Server(), [], [], random.Random(4)
    try:  # clients of other machines do not wait for this one's cores; the load inherits it
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        pass
    load = overload(server, 3, 8)
    end = time.monotonic() + 7
    time.sleep(1)
    while time.monotonic() < end:
        time.sleep(0.02 * waits.random())
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"POST /classify?timeout_ms=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n"
                      b"Expect: 100-continue\r\n\r\n")
            codes.append(int(s.recv(4096).split()[1]))
        times.append(time.monotonic() - start)
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        pass
    good = json.loads(load.communicate()[0])
    refused = [t for t, code in zip(times, codes) if code == 503]
    row(4, "503 at the header under 3x load, no body in flight: p99 within 5 ms", f"{len(refused)} of {len(codes)} "
        f"refused, p50 {percentile(refused, 0.5) * 1e3:.2f}, p99 {percentile(refused, 0.99) * 1e3:.2f} ms; meanwhile "
        f"{good['good_per_second']:.0f} of {good['offered']:.0f}/s in time", len(refused) > 300 and
        percentile(refused, 0.99) <= 0.005 and good["statuses"].get("503", 0) > good["statuses"].get("200", 0))
    server.stop()


def row_6():
    server = Server("--queue-limit", "1000", "--timeout-ms", "600000")
    slow = png(2000, 2000, 2000 * 2000 * 3 + 2000)  # some 100 ms to decode
    server.ask("POST", "/classify", slow)
    sockets = []
    for i in range(200):
        s = socket.create_connection(("127.0.0.1", server.port))
        body = slow + b"%d" % i
        s.sendall(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sockets.append(s)
    time.sleep(0.3)
    before = metric(server, 'resnetd_images_total{outcome="ok",reason=""}')
    queued = metric(server, "resnetd_queue_images")
    for i, s in enumerate(sockets):
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST, not FIN
        s.close()
    start = time.monotonic()
    while metric(server, "resnetd_in_flight_requests") > 0 and time.monotonic() < start + 20:
        pass
    seconds = time.monotonic() - start
    ran = metric(server, 'resnetd_images_total{outcome="ok",reason=""}') - before
    row(6, "200 clients leave: nothing in flight after 200 ms", f"{seconds * 1e3:.0f} ms, {queued:.0f} were queued",
        seconds <= 0.2 and queued > 100)
    row(6, "at most 5 % of what was queued still runs", f"{ran:.0f} of {queued:.0f}", ran <= 0.05 * queued)
    server.stop()


def row_7():
    n = 9000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * n + 2000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError):
        n = (soft - 500) // 2
    server = Server()
    server.ask("POST", "/classify", image("coarse.jpg"))
    base, idle, last = status_kib(server.process.pid, "VmRSS"), [], None
    for _ in range(n):
        idle.append(socket.create_connection(("127.0.0.1", server.port)))
    server.ask("GET", "/livez")
    each = (status_kib(server.process.pid, "VmRSS") - base) / n
    row(7, f"{n} idle connections before a request: 8 KiB each", f"{each:.1f} KiB", each <= 8)
    while idle:
        idle.pop().close()
    server.ask("GET", "/livez")
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        idle.append(s)
        if last:
            last.recv(1000)
        last = s
    last.recv(1000)
    time.sleep(12)  # a second of silence, and 1000 connections in each second after it
    each = (status_kib(server.process.pid, "VmRSS") - base) / n
    cpu = cpu_seconds(server.process.pid)
    time.sleep(5)
    cpu = (cpu_seconds(server.process.pid) - cpu) / 5
    start = time.monotonic()
    code, _ = server.ask("POST", "/classify", image("coarse.jpg"))
    fresh = time.monotonic() - start
    row(7, f"{n} connections kept alive after a request: 8 KiB each, 1 % of a core", f"{each:.1f} KiB, "
        f"{cpu * 100:.1f} %", each <= 8 and cpu <= 0.01)
    row(7, "a new client among them is served", f"{code} after {fresh * 1e3:.1f} ms", code == 200 and fresh <= 0.1)
    start = time.monotonic()
    idle[-1].settimeout(40)
    closed = idle[-1].recv(1) == b""
    row(7, "closed at the idle time-out of 30 s", f"{time.monotonic() - start + 17:.0f} s after the last byte", closed)
    for s in idle:
        s.close()
    server.stop()


def row_9():
    """One address against another, both of this machine."""
    server, limit = Server("--max-connections-per-address", "64"), 64

    def others():
        times = []
        for _ in range(200):
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=("127.0.0.2", 0)) as s:
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                if s.recv(12) == b"HTTP/1.1 200":
                    times.append(time.monotonic() - start)
        return times
    rest = percentile(others(), 0.99)
    held, slowest = [], 0.0
    for _ in range(500):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        start = time.monotonic()
        try:
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            answered = s.recv(1000) != b""
        except OSError:
            answered = False
        if answered:
            held.append(s)
        else:
            slowest = max(slowest, time.monotonic() - start)
    times = others()
    row(9, f"500 connections of one address, {limit} allowed: the others closed within 50 ms",
        f"{len(held)} held, closed after {slowest * 1e3:.1f} ms", len(held) == limit and slowest <= 0.05)
    row(9, "another address meanwhile: all served, p99 at most twice (or 5 ms)", f"{len(times)} of 200, p99 {rest * 1e3:.2f} -> "
        f"{percentile(times, 0.99) * 1e3:.2f} ms", len(times) == 200 and percentile(times, 0.99) <= max(2 * rest, 0.005))
    server.stop()


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def sockets_in(namespace, n):
    """A socket stays in the network namespace that it was made in."""
    def enter(path):
        with open(path) as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), 0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), path)
    with open("/proc/self/ns/net") as own:
        enter(f"/run/netns/{namespace}")
        try:
            return [socket.socket() for _ in range(n)]
        finally:
            enter(f"/proc/self/fd/{own.fileno()}")


def row_23():
    """The network goes away: the clients' ends of 200 connections are never heard of again."""
    promise = "the network of 200 connections goes away: all are closed within 45 s"
    here, there, address = "resnetd-row-23-a", "resnetd-row-23-b", "198.51.100.1"
    try:
        for name in (here, there):
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as failure:
        skip(23, promise, f"no network namespace can be made: {failure}")
        return
    try:
        ip("-n", here, "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", there)
        for name, end in ((here, address), (there, "198.51.100.2")):
            ip("-n", name, "address", "add", end + "/30", "dev", "veth")
            ip("-n", name, "link", "set", "veth", "up")
        server = Server(address=address, within=("ip", "netns", "exec", here))
        descriptors = f"/proc/{server.process.pid}/fd"
        slow, before = png(2000, 2000, 2000 * 2000 * 3 + 2000), len(os.listdir(descriptors))
        *clients, late = sockets_in(there, 201)
        for i, client in enumerate(clients):  # idle ones, half uploads, and some that wait for their answers
            client.settimeout(10)
            client.connect((address, server.port))
            if i % 4 < 2:
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                client.recv(1000)
        for i, client in enumerate(clients):
            if i % 4 >= 2:
                client.sendall(b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(slow) +
                               (slow if i % 4 == 2 else slow[:1000]))
        ip("-n", there, "link", "set", "veth", "down")
        start, held = time.monotonic(), len(os.listdir(descriptors)) - before
        while len(os.listdir(descriptors)) > before and time.monotonic() < start + 90:
            time.sleep(0.1)
        seconds = time.monotonic() - start
        ip("-n", there, "link", "set", "veth", "up")
        late.settimeout(10)
        late.connect((address, server.port))
        late.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        row(23, promise, f"{held} were open, the last for {seconds:.1f} s; then {late.recv(12)[9:].decode()}",
            held > 150 and seconds <= 45)
    finally:
        for name in (here, there):
            ip("netns", "delete", name)


ROWS = {"1": row_1, "4": row_4, "6": row_6, "7": row_7, "9": row_9, "23": row_23}
