"""Rows about HTTP: slow clients, malformed requests, and the form of every answer.

Suites that others wrote are used where SUITES names a folder that has them: h1spec/http_test.ts
(github.com/uNetworking/h1spec), Http11Probe/*.cs (the suites of github.com/MDA2AV/Http11Probe) and
http1-corpus/ (github.com/h2o/h2o, fuzz/). Their requests and verdicts are read out of their source.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import email.utils
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import http11probe
import promises_proxy
from promises_support import Server, image, row, skip

SUITES = os.environ.get("SUITES", "")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")
END = b"\r\n\r\n"


# ---- slow clients --------------------------------------------------------------------------------

ATTACKS = (  # what, options of slowhttptest, the second in which the last must be gone
    ("headers that never end", ["-H", "-i", "2"], 10),
    ("bodies of a byte now and then", ["-B", "-i", "4", "-s", "60000", "-t", "POST"], 30),
    ("answers read at 10 bytes/s", ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "10", "-k", "3"], 30),
)


def connections(server):
    """Sockets of the daemon, its listener and its helpers among them."""
    folder = f"/proc/{server.process.pid}/fd"
    n = 0
    for name in os.listdir(folder):
        try:
            n += os.readlink(f"{folder}/{name}").startswith("socket:")
        except OSError:
            pass
    return n


def attack(what, options, gone_by):
    server = Server()
    photo, times, codes, stop = image("coarse.jpg"), [], [], threading.Event()

    def classify():
        start = time.monotonic()
        codes.append(server.ask("POST", "/classify", photo)[0])
        times.append(time.monotonic() - start)
    for _ in range(50):
        classify()
    calm = sorted(times)[-1]
    times.clear()
    at_rest = connections(server)

    def user():
        while not stop.is_set():
            classify()
            time.sleep(0.05)
    url = f"http://127.0.0.1:{server.port}" + ("/classify" if "-B" in options else "/")
    folder = tempfile.mkdtemp()
    start = time.monotonic()
    tool = subprocess.Popen(["slowhttptest", "-c", "1000", "-r", "500", "-l", str(gone_by + 20), "-u", url,
                             "-x", "10", "-p", "3", *options], cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(tool.stdout))
    reader.start()
    client = threading.Thread(target=user)
    client.start()
    most, last_seen = 0, 0.0
    while tool.poll() is None and time.monotonic() - start < gone_by + 15:
        n = connections(server) - at_rest
        most = max(most, n)
        if n > 3:  # the user's own, and a helper's
            last_seen = time.monotonic() - start
        elif most > 100 and time.monotonic() - start > last_seen + 2:
            break
        time.sleep(0.1)
    stop.set()
    client.join()
    if tool.poll() is None:
        tool.terminate()
    reader.join()
    shutil.rmtree(folder)
    text = re.sub(rb"\x1b\[[0-9;]*m", b"", b"".join(lines))
    refused = len(re.findall(rb"service available:\s+NO", text))
    available = len(re.findall(rb"service available:\s+YES", text))
    # The last of 1000 connects after two seconds or more; the sweep may be a second late.
    row(8, f"{what}: 1000 connections gone by {gone_by} s, + 5 s", f"at most {most} at once, gone after "
        f"{last_seen:.1f} s", 100 < most and last_seen <= gone_by + 5)
    p99 = sorted(times)[len(times) * 99 // 100]
    row(8, "meanwhile: available to the tool and to users, 200 within 0.5 s", f"YES {available}, NO "
        f"{refused}; {len(codes)} users' requests, p99 {p99 * 1e3:.1f} ms (slowest at rest {calm * 1e3:.1f})",
        refused == 0 and set(codes) == {200} and p99 <= 0.5)
    server.stop()


def row_8():
    if not shutil.which("slowhttptest"):
        skip(8, "slow headers, bodies and readers", "slowhttptest is missing")
        return
    for one in ATTACKS:
        attack(*one)


# ---- malformed requests --------------------------------------------------------------------------

def send(port, pieces, silence=0.6):
    """What comes back for some bytes, and whether the server closed the connection then."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        try:
            for piece in pieces:
                s.sendall(piece)
            s.settimeout(silence)
            while True:
                more = s.recv(65536)
                if not more:
                    return got, True
                got += more
        except TimeoutError:
            return got, False
        except OSError:
            return got, True


H = b"Host: a\r\n"
CHUNKED = b"POST /classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {  # each must be refused, or the connection closed without an answer
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two lengths": b"POST /classify HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "lengths in one": b"POST /classify HTTP/1.1\r\n" + H + b"Content-Length: 1, 2\r\n\r\nab",
    "length and chunked": b"POST /classify HTTP/1.1\r\n" + H +
                          b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST /classify HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n",
    "length +5": b"POST /classify HTTP/1.1\r\n" + H + b"Content-Length: +5\r\n\r\nhello",
    "length 0x5": b"POST /classify HTTP/1.1\r\n" + H + b"Content-Length: 0x5\r\n\r\nhello",
    "length of 30 digits": b"POST /classify HTTP/1.1\r\n" + H + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "encoding gzip": b"POST /classify HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip\r\n\r\n",
    "encoding xchunked": b"POST /classify HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST /classify HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST /classify HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size xyz": CHUNKED + b"xyz\r\n",
    "chunk size -1": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "chunk size of 20 digits": CHUNKED + b"f" * 20 + b"\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\n" + H + b"X : y\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\n" + H + b"X: y\r\n z\r\n\r\n",
    "header without name": b"GET / HTTP/1.1\r\n" + H + b": y\r\n\r\n",
    "name with brackets": b"GET / HTTP/1.1\r\n" + H + b"X[]: y\r\n\r\n",
    "bell in a value": b"GET / HTTP/1.1\r\n" + H + b"X: \x07\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\n" + H + b"X: a\0b\r\n\r\n",
    "NUL in the target": b"GET /\0a HTTP/1.1\r\n" + H + b"\r\n",
    "%00 in the target": b"GET /%00 HTTP/1.1\r\n" + H + b"\r\n",
    "fragment in the target": b"GET /#a HTTP/1.1\r\n" + H + b"\r\n",
    "target *": b"GET * HTTP/1.1\r\n" + H + b"\r\n",
    "target without slash": b"GET a HTTP/1.1\r\n" + H + b"\r\n",
    "version 9.9": b"GET / HTTP/9.9\r\n" + H + b"\r\n",
    "no version": b"GET /\r\n" + H + b"\r\n",
    "garbage": bytes(range(128, 256)) + b"\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    "target of 100 kB": b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n" + H + b"\r\n",
    "header of 100 kB": b"GET / HTTP/1.1\r\n" + H + b"X: " + b"a" * 100000 + b"\r\n\r\n",
    "10,000 headers": b"GET / HTTP/1.1\r\n" + H + b"X: y\r\n" * 10000 + b"\r\n",
}
# libmicrohttpd 0.9.75 answers these twice, in its own parser and before any code of ours: it queues
# its 400 for the length and runs into the same length again when it cleans up.
ANSWERED_TWICE = {"negative length", "length +5", "length 0x5", "length of 30 digits", "lengths in one"}


def row_10():
    server = Server()
    accepted, twice, open_ended = [], [], []
    for name, request in BROKEN.items():
        got, closed = send(server.port, [request])
        codes = [int(code) for code in STATUS_LINE.findall(got)]
        if any(code < 400 for code in codes):
            accepted.append(name)
        if len(codes) > 1 and name not in ANSWERED_TWICE:
            twice.append(name)
        if not closed:
            open_ended.append(name)
    row(10, f"{len(BROKEN)} malformed requests: none is accepted", ", ".join(accepted) or "all refused",
        not accepted)
    row(10, "one answer each (but for libmicrohttpd's own, see source)", ", ".join(twice) or "one", not twice)
    row(10, "the connection is closed after each", ", ".join(open_ended) or "closed", not open_ended)
    for check, found in ((h1spec, "h1spec/http_test.ts"), (probe, "Http11Probe"),
                         (replay, "http1-corpus")):
        if SUITES and os.path.exists(f"{SUITES}/{found}"):
            check(server, f"{SUITES}/{found}")
        else:
            skip(10, f"{found}", "SUITES names no folder that has it")
    promises_proxy.smuggling(list(streams()))
    code, _ = server.ask("POST", "/classify", image("coarse.jpg"))
    row(10, "the daemon serves afterwards, exit status 0", f"{code}, {server.stop()}", code == 200)


def unescape(text):
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def first_status(got):
    """Of the answer, not of a 100 before it; 0 for none."""
    codes = [int(code) for code in STATUS_LINE.findall(got)]
    return next((code for code in codes if code >= 200), codes[0] if codes else 0)


def h1spec(server, path):
    source, failed, n = open(path).read(), [], 0
    cases = source[source.index("const testCases"):source.index("const [host, port]")]
    for case in re.findall(r"\{\s*request: (.*?)\n    \}", cases, re.DOTALL):
        request = unescape(re.match(r'"((?:[^"\\]|\\.)*)"', case).group(1))
        name = re.search(r'description: "(.*?)"', case).group(1)
        ranges = [(int(a), int(b)) for a, b in re.findall(r"\[(-?\d+), (-?\d+)\]", case)]
        body = re.search(r'expectedBody: "(.*?)"', case)
        got, closed = send(server.port, [request], 0.5)
        n += 1
        if "expectedTimeout" in case:
            good = got == b"" and not closed
        else:
            code = first_status(got)
            good = any(low <= code <= high for low, high in ranges)
            if code == 200 and body:
                good = good and got.split(END, 1)[-1] == body.group(1).encode()
        if not good:
            failed.append(f"{name} ({first_status(got)})")
    row(10, f"h1spec: {n} cases, but for echoes of a POST to /", f"{n - len(failed)} pass; "
        + "; ".join(failed), all("(405)" in name for name in failed))


# The MUST cases that fail, each with its reason; all but one are libmicrohttpd's doing.
PROBE_EXCEPTIONS = {
    "MAL-CL-OVERFLOW": "413 where 400 is asked: libmicrohttpd reads it as a length that is too large",
    "MAL-CHUNK-SIZE-OVERFLOW": "the same",
    "MAL-POST-CL-HUGE-NO-BODY": "413, as RFC 9110 15.5.14 says; the case wants 400 or silence",
    "SMUG-CHUNK-BARE-SEMICOLON": "libmicrohttpd skips chunk extensions, whatever is in them",
    "SMUG-CHUNK-EXT-INVALID-TOKEN": "the same",
    "SMUG-CHUNK-EXT-CTRL": "the same",
    "SMUG-CHUNK-EXT-CR": "the same",
}


def probe_step(port, sent):
    # they post to /, which takes nothing here, and what they post is no image
    got, closed = send(port, [sent.replace(b"POST / ", b"POST /classify ", 1)], 1.0)
    code = first_status(got)
    return got, closed, 200 if re.search(rb"/problems/(unsupported-format|empty-body)", got) else code


def probe_good(source, got, closed, code):
    """By a case's own rules. Those of several steps want the first one refused or closed, and answered
    once; the others are sent only to who does not do that, which a MUST forbids."""
    if source.startswith("Sequence"):
        return len(STATUS_LINE.findall(got)) <= 1 and (code == 400 or closed)
    codes, ok, close, silence = http11probe.verdicts(source)
    return code in codes or (ok and 200 <= code < 300) or (not got and closed and close) or \
        (not got and not closed and silence)


def probe(server, folder):
    passed, failed, skipped = {True: 0, False: 0}, [], 0
    for name, source, must, steps in http11probe.cases(folder, f"127.0.0.1:{server.port}"):
        if steps is None:
            skipped += 1
            continue
        got, closed, code = probe_step(server.port, steps[0])
        if probe_good(source, got, closed, code):
            passed[must] += 1
        elif must:
            failed.append(f"{name} ({code or ('closed' if closed else 'silent')})")
    other = [name for name in failed if name.split()[0] not in PROBE_EXCEPTIONS]
    row(10, f"Http11Probe: MUST cases, but for the {len(PROBE_EXCEPTIONS)} of a written list", 
        f"{passed[True]} of {passed[True] + len(failed)} pass, {len(failed) - len(other)} of the list fail, beside "
        f"them {passed[False]} that are no MUST; {skipped} made by code are not run; fail: "
        + (", ".join(other) or "none"), not other)


def replay(server, folder):
    def one(path):
        data = open(path, "rb").read()
        got, _ = send(server.port, [data], 0.3)
        heads = len(STATUS_LINE.findall(got))
        # how many requests a stream can hold at most: every one ends a header
        return heads > data.count(b"\n\n") + data.count(b"\n\r\n") + 1, heads
    paths = glob.glob(folder + "/*")
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        results = list(pool.map(one, paths))
    more = sum(r[0] for r in results)
    deadline = time.monotonic() + 15
    while len(connections_of(server)) > 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    left = len(connections_of(server))
    row(10, f"h2o's corpus: {len(paths)} streams; no crash, none left open", f"{sum(r[1] for r in results)} answers, "
        f"{more} streams with more answers than headers, {left} open", server.process.poll() is None and
        left == 0)


def streams():
    """What was sent to the daemon itself, each as one stream."""
    yield from BROKEN.values()
    for _, _, _, steps in http11probe.cases(f"{SUITES}/Http11Probe", "127.0.0.1"):
        if steps:
            yield b"".join(steps)
    for path in glob.glob(f"{SUITES}/http1-corpus/*"):
        with open(path, "rb") as f:
            yield f.read()


def connections_of(server):
    port = f":{server.port:04X} "
    return [line for line in open("/proc/net/tcp") if port in line.split(" 0")[0] + " " and
            re.search(rf"^\s*\d+: \w+:{server.port:04X} \w+:\w+ 01 ", line)]


# ---- the form of answers -------------------------------------------------------------------------

def multipart(*files):
    parts = b"".join(b'--B\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + data +
                     b"\r\n" for data in files)
    return parts + b"--B--\r\n"


def faults(method, got):
    """What is wrong with an answer; the bytes must be nothing but that answer."""
    head, _, body = got.partition(END)
    lines = head.split(b"\r\n")
    found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z -]+", lines[0])
    if not found:
        yield f"status line {lines[0][:60]!r}"
        return
    status, headers = int(found.group(1)), {}
    for line in lines[1:]:
        name, colon, value = line.partition(b": ")
        if not colon or not re.fullmatch(rb"[A-Za-z0-9-]+", name):
            yield f"header line {line!r}"
        headers.setdefault(name.decode().lower(), []).append(value.decode())
    for name in ("date", "content-type", "content-length", "x-request-id", "retry-after"):
        if len(headers.get(name, [])) > 1:
            yield f"{name} twice"
    first = {name: values[0] for name, values in headers.items()}
    try:
        date = email.utils.parsedate_to_datetime(first.get("date", ""))
        if not first["date"].endswith(" GMT") or abs(date.timestamp() - time.time()) > 2:
            yield f"Date {first['date']}"
    except (TypeError, ValueError):
        yield f"Date {first.get('date')}"
    bare = method == "HEAD" or status in (204, 304) or status < 200
    if "transfer-encoding" in first:
        yield "Transfer-Encoding"
    if status == 204 and "content-length" in first and first["content-length"] != "0":
        yield "204 with a length"
    if not bare and first.get("content-length") != str(len(body)):
        yield f"Content-Length {first.get('content-length')} for {len(body)} bytes"
    if bare and body:
        yield f"{len(body)} bytes behind the header"
    if body and "content-type" not in first:
        yield "no Content-Type"
    if "x-request-id" not in first:
        yield "no X-Request-Id"
    if status == 405 and not first.get("allow"):
        yield "405 without Allow"
    if status in (429, 503) and not re.fullmatch(r"[1-9]\d*", first.get("retry-after", "")):
        yield f"{status} with Retry-After {first.get('retry-after')}"
    if status == 401 and "www-authenticate" not in first:
        yield "401 without WWW-Authenticate"
    if body and "json" in first.get("content-type", ""):
        try:
            value = json.loads(body)
        except ValueError as fault:
            yield f"JSON: {fault}"
            return
        if "problem" in first["content-type"]:
            missing = [key for key in ("type", "title", "status", "detail", "instance") if key not in value]
            if missing or value["status"] != status or first["x-request-id"] not in value["instance"]:
                yield f"problem {value}"
    elif status >= 400 and not bare:
        yield f"{status} as {first.get('content-type')}"


def questions():
    """(what, method, target, headers, body, status)"""
    photo = image("coarse.jpg")
    form = "Content-Type: multipart/form-data; boundary=B\r\n"
    as_json = "Content-Type: application/json\r\n"
    for path in ("/", "/livez", "/readyz", "/healthz", "/ping", "/models", "/metrics", "/problems",
                 "/problems/queue-full", "/debug/requests"):
        yield "GET", path, "", b"", 200
        yield "HEAD", path, "", b"", 200
        yield "PATCH", path, "", b"", 405
    yield "OPTIONS", "/classify", "", b"", 204
    yield "OPTIONS", "*", "", b"", 204
    yield "OPTIONS", "*?a", "", b"", 400
    yield "PATCH", "*", "", b"", 400
    yield "DELETE", "/classify", "", b"", 405
    yield "POST", "/livez", "", b"x", 405
    yield "GET", "/nothing", "", b"", 404
    yield "GET", "/problems/nothing", "", b"", 404
    yield "DELETE", "/models/nothing", "", b"", 404
    yield "PUT", "/models/x", "", b'{"path":"/no/model"}', 422
    yield "PUT", "/models/x", "", b"{", 400
    yield "GET", "/debug/requests", "X-Forwarded-For: 192.0.2.1\r\n", b"", 403
    yield "POST", "/classify", "", photo, 200
    yield "PUT", "/classify?top_k=1&timings=0", "", photo, 200
    yield "POST", "/classify?debug=input", "", photo, 200
    yield "POST", "/classify", form, multipart(photo), 200
    yield "POST", "/classify", form, multipart(photo, b"no image"), 200
    yield "POST", "/classify", form, multipart(b"no image", b"no image"), 422
    yield "POST", "/classify", form, multipart(*[photo] * 17), 400
    yield "POST", "/classify", form, multipart(*[photo] * 9), 503
    yield "POST", "/classify", form, b"--X", 400
    yield "POST", "/classify", as_json, b"{", 400
    yield "POST", "/classify", as_json, b'{"image":"?"}', 400
    yield "POST", "/classify", "", b"", 400
    yield "POST", "/classify?top_k=none", "", photo, 400
    yield "POST", "/classify?model=none", "", photo, 404
    yield "POST", "/classify", "", b"GIF89a", 415
    yield "POST", "/classify", "Content-Encoding: gzip\r\n", photo, 415
    yield "POST", "/classify", "", photo[:-40], 422
    yield "POST", "/classify", "Host: b\r\n", photo, 400
    yield "POST", "/classify", "Content-Length: 20000000\r\n", None, 413


def ask_raw(port, method, target, headers, body):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}{headers}\r\n"
    return send(port, [head.encode() + (body or b"")], 20)[0]


def row_25():
    wrong, n = [], 0

    def check(port, method, target, headers, body, status):
        nonlocal n
        n += 1
        got = ask_raw(port, method, target, headers, body)
        problems = list(faults(method, got))
        if first_status(got) != status:
            problems.append(f"status {first_status(got)}, not {status}")
        wrong.extend(f"{method} {target}: {problem}" for problem in problems)
    server = Server("--queue-limit", "8")
    for question in questions():
        check(server.port, *question)
    server.stop()
    with tempfile.NamedTemporaryFile("w") as keys:
        keys.write("me " + hashlib.sha256(b"secret").hexdigest() + "\n")
        keys.flush()
        server = Server("--api-keys", keys.name)
        photo = image("coarse.jpg")
        check(server.port, "POST", "/classify", "", photo, 401)
        check(server.port, "POST", "/classify", "Authorization: Bearer no\r\n", photo, 403)
        check(server.port, "POST", "/classify", "Authorization: Bearer secret\r\n", photo, 200)
        server.stop()
    for line in wrong:
        print("     ", line)
    row(25, f"{n} kinds of answer: each well-formed", f"{len(wrong)} faults", not wrong)
    server = Server()
    got, _ = send(server.port, [b"GET /livez HTTP/1.1\r\n" + H + b"\r\n"] * 3, 1)
    lengths = [int(x) for x in re.findall(rb"Content-Length: (\d+)", got)]
    whole = sum(len(h) + len(END) for h in re.findall(rb"HTTP/1\.1 200 .*?(?=\r\n\r\n)", got, re.DOTALL))
    row(25, "three in one go: three answers and nothing between", f"{len(lengths)} answers",
        len(lengths) == 3 and whole + sum(lengths) == len(got))
    server.stop()
