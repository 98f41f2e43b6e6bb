#!/usr/bin/env python3
"""The promises about hostile input and failure, measured on the real daemon.

    tests/promises.py BINARY FAIL.SO [ROW...]

Prints a line per row: what is promised, what was measured, kept or broken. The numbers of the rows
are those of SECURITY.md. Only the standard library and, where a row names them, tools of Debian;
nothing but loopback and, in row 23, network namespaces of its own; images are made here or taken from tests/golden/images.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import email.utils
import glob
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import promises_http
import promises_images
import promises_load
import promises_models
import promises_proxy
import promises_support
from promises_support import BINARY, LIBRARY, Server, children, cpu_seconds, image, quietly, row, skip

KILLS = int(os.environ.get("KILLS", "120"))  # of helpers, two a second


# ---- processes that die --------------------------------------------------------------------------

def load_until(stop, server, codes, mark):
    """Photographs of which none is like another, one after the other."""
    photo, n = image("crop-wide.png"), 0
    while not stop.is_set():
        n += 1
        start = time.monotonic()
        try:
            code = server.ask("POST", "/classify", photo + b"%d %d" % (mark, n))[0]
        except (OSError, http.client.HTTPException):
            code = 0
        codes.append((code, time.monotonic() - start))


def wait_for_helpers(server, n, victims):
    start = time.monotonic()
    while time.monotonic() < start + 5:
        try:
            if len(set(server.helpers()) - set(victims)) >= n:
                break
        except IndexError:  # no zygote
            pass
    return time.monotonic() - start


def kill_zygote(server):
    """Who forks the helpers, and they with it; seconds until there are others."""
    zygote, victims = children(server.process.pid)[0], server.helpers()
    os.kill(zygote, signal.SIGKILL)
    return wait_for_helpers(server, 2, victims)


def row_14():
    server, codes, stop = Server("--decode-workers", "2", "--timeout-ms", "5000"), [], threading.Event()
    threads = [threading.Thread(target=load_until, args=(stop, server, codes, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    descriptors, delays = len(os.listdir(f"/proc/{server.process.pid}/fd")), []
    for i in range(KILLS):
        time.sleep(0.5)
        before = server.helpers()
        victim = before[i % len(before)]
        os.kill(victim, [signal.SIGKILL, signal.SIGABRT][i % 2])
        delays.append(wait_for_helpers(server, 2, [victim]))
    time.sleep(0.5)
    failed = [seconds for code, seconds in codes if code != 200]
    row(14, f"{KILLS} helpers killed in {KILLS / 2:.0f} s of load: one request each at most, answered within 1 s",
        f"{len(failed)} of {len(codes)} failed: {sorted(set(code for code, _ in codes))}, the slowest of them after "
        f"{max(failed, default=0) * 1e3:.0f} ms, of all {max(s for _, s in codes) * 1e3:.0f} ms",
        len(failed) <= KILLS and max(s for _, s in codes) <= 1 and 0 not in dict(codes))
    usual = sorted(delays)[len(delays) * 98 // 100]
    row(14, "a new helper within 100 ms, 98 times of 100 (as /proc shows it)",
        f"{usual * 1e3:.0f} ms, the slowest {max(delays) * 1e3:.0f} ms", usual <= 0.1)
    n, seconds = len(codes), kill_zygote(server)
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    lost = sum(code != 200 for code, _ in codes[n:])
    row(14, "so is who forks them: two requests at most, helpers again within 1 s", f"{lost} of {len(codes) - n} "
        f"failed, {seconds * 1e3:.0f} ms", lost <= 2 and seconds <= 1)
    time.sleep(1)  # one that has not lived so long waits for a decode
    seconds = kill_zygote(server)
    row(14, "in an idle daemon: helpers again within 1 s", f"{seconds * 1e3:.0f} ms", seconds <= 1)
    zombies = [pid for parent in (server.process.pid, *children(server.process.pid))
               for pid in children(parent, zombies=True)]
    growth = len(os.listdir(f"/proc/{server.process.pid}/fd")) - descriptors
    row(14, "no zombie is left, descriptors flat, exit status 0", f"{len(zombies)}, {growth:+d}, {server.stop()}",
        not zombies and growth <= 8 and server.process.returncode == 0)


def lose_worker(kind):
    """A decode that does not come back, in a daemon of its own; what /readyz says meanwhile."""
    server = Server("--decode-isolation", "thread",
                    env=dict(os.environ, FAIL=f"{kind}:1+", LD_PRELOAD=os.path.abspath(LIBRARY)))
    thread = threading.Thread(target=lambda: quietly(server.ask, "POST", "/classify", image("coarse.jpg")))
    start, unready = time.monotonic(), None
    thread.start()
    while server.process.poll() is None and time.monotonic() < start + 30:
        try:
            if unready is None and server.ask("GET", "/readyz")[0] == 503:
                unready = time.monotonic() - start
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    seconds = time.monotonic() - start
    thread.join()
    return server.process.poll(), b"a worker is stuck" in server.text(), unready, seconds


def row_15():
    kinds = {"stall": "a worker that hangs", "spin": "one that computes for ever", "quit": "one whose thread is gone"}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(lose_worker, kinds))
    for what, (code, told, unready, seconds) in zip(kinds.values(), results):
        row(15, f"{what}: 503 at /readyz within 10 s, exit within 12 s", f"503 after "
            f"{unready or float('inf'):.1f} s, exit {code} after {seconds:.1f} s",
            code == 1 and told and (unready or 99) <= 10 and seconds <= 12)
    server = Server("--stuck-after-ms", "2000")
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    server.process.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    code, _ = server.ask("POST", "/classify", image("coarse.jpg"))
    row(15, "a daemon that was stopped and goes on is not stuck", str(code), code == 200)
    server.stop()


# ---- failing calls -----------------------------------------------------------------------------

def sweep(number, kind, step, promise):
    done = subprocess.run(["tests/faults/sweep.sh", BINARY, LIBRARY, kind, str(step)],
                          capture_output=True, text=True)
    row(number, promise, done.stdout.strip().splitlines()[-1], done.returncode == 0)


def chance(number, kind, per_cent):
    done = subprocess.run(["tests/faults/chance.sh", BINARY, LIBRARY, kind, str(per_cent), "10"],
                          capture_output=True, text=True)
    row(number, f"{per_cent} % of {kind} fails under load, 10 s: afterwards 100 of 100 answered",
        done.stdout.strip(), done.returncode == 0)


def row_18():
    sweep(18, "malloc", 29, "failing allocation: answer, 5xx, or a clean exit")
    chance(18, "malloc", 1)


def row_19():
    for kind in ("read", "write", "accept", "mmap", "thread"):
        sweep(19, kind, 1, f"failing {kind}: the same")
    for kind, per_cent in (("read", 1), ("write", 1), ("accept", 1), ("thread", 30)):
        chance(19, kind, per_cent)


def spoken(path, request):
    """All that comes back on a connection to a socket of the file system."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(request)
        return b"".join(iter(lambda: s.recv(65536), b""))


def is_ready(path):
    try:
        return spoken(path, b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def without_streams(what, **streams):
    """A daemon whose standard streams are closed, or lead nowhere."""
    request = b"POST /classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    photo = image("coarse.jpg")
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([BINARY, "serve", "--listen", f"unix:{folder}/socket", "--access-log", "-"],
                                   **streams)
        deadline = time.monotonic() + 10
        while not is_ready(f"{folder}/socket") and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.stderr:
            process.stderr.close()
        answers = [spoken(f"{folder}/socket", request % len(photo) + photo) for _ in range(20)]
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    good = sum(answer.startswith(b"HTTP/1.1 200 ") and answer.rstrip().endswith(b"}") for answer in answers)
    row(20, f"{what}: answers, and nothing but them; exit status 0", f"{good} of {len(answers)}, {code}",
        good == len(answers) and code == 0)


def small_disk():
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder],
                          capture_output=True).returncode != 0:
            skip(20, "a disk that fills and is emptied", "only root may mount one")
            return
        try:
            server = Server("--access-log", f"{folder}/log")
            good = sum(server.ask("GET", "/livez")[0] == 200 for _ in range(1000))
            full = os.path.getsize(f"{folder}/log")
            os.truncate(f"{folder}/log", 0)
            server.ask("GET", "/livez")
            after = os.path.getsize(f"{folder}/log")
            row(20, "a disk that fills and is emptied: logged again at once", f"{good} of 1000, {full} bytes, then "
                f"{after}", good == 1000 and full == 65536 and after > 0)
            server.stop()
        finally:
            subprocess.run(["umount", folder], check=True)


def row_20():
    small_disk()
    without_streams("standard streams closed", preexec_fn=lambda: os.closerange(0, 3))
    without_streams("nobody reads standard error", stderr=subprocess.PIPE)
    server = Server("--access-log", "/dev/full")
    good = sum(server.ask("POST", "/classify", image("coarse.jpg"))[0] == 200 for _ in range(500))
    dropped = [line for line in server.ask("GET", "/metrics")[1].decode().splitlines()
               if line.startswith("resnetd_log_lines_dropped_total ")][0].split()[1]
    row(20, "no space for the log: every answer 200, drops counted", f"{good} of 500, {dropped} dropped",
        good == 500 and float(dropped) > 0)
    row(20, "exit status afterwards 0", str(server.stop()), True)


def row_21():
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

    admin = promises_proxy.free_port()
    server = Server("--admin-listen", f"127.0.0.1:{admin}", preexec_fn=limit)
    sockets = []
    for _ in range(300):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", server.port))
        sockets.append(s)
    time.sleep(0.5)
    before = cpu_seconds(server.process.pid)
    time.sleep(5)
    used = (cpu_seconds(server.process.pid) - before) / 5
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", admin), timeout=5) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = s.recv(15)
    seconds = time.monotonic() - start
    row(21, "meanwhile an operator is answered within 100 ms", f"{answer}, {seconds * 1e3:.0f} ms",
        answer == b"HTTP/1.1 200 OK" and seconds <= 0.1)
    for s in sockets:
        s.close()
    start = time.monotonic()
    code, _ = server.ask("POST", "/classify", image("coarse.jpg"))
    seconds = time.monotonic() - start
    row(21, "128 descriptors, 300 connections: 5 % of a core over 5 s", f"{used * 100:.1f} %", used <= 0.05)
    row(21, "served again within 1 s", f"{code} after {seconds * 1e3:.0f} ms", code == 200 and seconds <= 1)
    server.stop()


def row_22():
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not library:
        skip(22, "jumps of the wall clock", "libfaketime is missing")
        return
    with tempfile.NamedTemporaryFile("w") as clock:
        def jump(days):
            clock.seek(0)
            clock.truncate()
            clock.write(f"{days:+d}d\n")
            clock.flush()
        jump(0)
        server = Server("--stuck-after-ms", "2000", "--idle-timeout-ms", "3000", env=dict(
            os.environ, LD_PRELOAD=library[0], FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_NO_CACHE="1",
            DONT_FAKE_MONOTONIC="1", FAKETIME_TIMESTAMP_FILE=clock.name))
        codes, dates, n = [], [], 0
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for days in (0, 1, -1, 400, -400, 0):
            jump(days)
            for _ in range(20):
                n += 1
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
                connection.request("POST", "/classify?timeout_ms=2000", image("coarse.jpg") + b"%d" % n)
                answer = connection.getresponse()
                codes.append(answer.status)
                answer.read()
                told = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
                connection.close()
            dates.append(abs(told - time.time() - days * 86400) <= 2)
            idle.request("GET", "/livez")  # a connection kept over the jump
            codes.append(idle.getresponse().read() and 200)
            time.sleep(0.5)
        negative = [line for line in server.ask("GET", "/metrics")[1].decode().splitlines()
                    if "seconds" in line and " -" in line]
        row(22, "clock 1 and 400 days back and forth: all answered in time", f"{codes.count(200)} of {len(codes)}, "
            f"{len(negative)} negative times", set(codes) == {200} and not negative)
        row(22, "Date follows; no watchdog, exit status 0", f"{dates.count(True)} of {len(dates)}, {server.stop()}",
            all(dates))


def row_26():
    busy = socket.socket()
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    port = busy.getsockname()[1]
    for what, options in (("port in use", ["--listen", f"127.0.0.1:{port}"]),
                          ("no such model", ["--listen", "127.0.0.1:0", "--model", "/no/model"]),
                          ("unwritable log", ["--listen", "127.0.0.1:0", "--access-log", "/no/log"]),
                          ("unknown setting", ["--max-bach", "3"])):
        start = time.monotonic()
        done = subprocess.run([BINARY, "serve", *options], capture_output=True, text=True)
        seconds = time.monotonic() - start
        line = [x for x in done.stderr.splitlines() if x.startswith("resnetd:")]
        row(26, f"{what}: a line and exit within 1 s", f"exit {done.returncode}, {seconds * 1e3:.0f} ms",
            done.returncode in (1, 2, 3) and len(line) == 1 and seconds <= 1)
    promises_models.ready_after_self_test()


def run(name):
    try:
        ROWS[name]()
    except Exception as failure:  # a row that cannot be measured is not kept
        row(name, "the row could be measured", repr(failure), False)
    finally:
        while Server.running:
            Server.running.pop().process.kill()


ROWS = {**promises_load.ROWS, "8": promises_http.row_8, "10": promises_http.row_10, "11": promises_images.row_11,
        "11-beside": promises_images.row_11_beside, "13": promises_images.row_13, "14": row_14, "15": row_15, "17": promises_models.row_17, "18": row_18, "19": row_19, "20": row_20,
        "21": row_21, "22": row_22, "24": promises_images.row_24, "25": promises_http.row_25, "26": row_26}
for name in sys.argv[3:] or ROWS:
    run(name)
print(f"promises: {promises_support.broken} broken")
sys.exit(promises_support.broken > 0)
