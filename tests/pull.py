#!/usr/bin/env python3
"""`resnetd pull` against a hub on this machine: the layout of huggingface.co, with redirects to a
store, transfers that break off, wrong hashes, wrong ranges and files that are none.

    tests/pull.py BINARY

Only the standard library and loopback. A line per check.

SPDX-License-Identifier: MIT
"""
import hashlib
import http.server
import json
import os
import pty
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY = os.path.abspath(sys.argv[1])
# Without a name in it, so that it is called after its folder.
WEIGHTS = open("config/models/cifar10-resnet20.safetensors", "rb").read().replace(
    b'"resnetd.name"', b'"resnetd.none"')
PHOTO = open("tests/golden/images/baseline-420.jpg", "rb").read()
CONFIG = json.dumps({"num_classes": 10, "num_features": 64}).encode()
root = tempfile.mkdtemp()
failed = 0


def check(what, holds, detail=""):
    global failed
    failed += not holds
    print(f"{'ok' if holds else 'WRONG':6}{what}  {detail if not holds else ''}".rstrip(), flush=True)


class Hub(http.server.ThreadingHTTPServer):
    """What one test wants of it is in `rules`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that goes in the middle is what several tests are about."""

    def reset(self, **rules):
        self.rules = rules
        self.files = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
        self.log, self.sent = [], 0


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        hub, rules = self.server, self.server.rules
        name = self.path.split("/")[-1]
        asked = self.headers.get("Range")
        hub.log.append((self.path, asked))
        if rules.get("fail") and rules["fail"].pop(0):
            return self.answer(503, body=b"not now")
        if "status" in rules:
            return self.answer(rules["status"], body=b"no")
        if name not in hub.files:
            return self.answer(404, body=b"Entry not found")
        data = hub.files[name]
        sha = hashlib.sha256(data).hexdigest()
        if self.path.startswith("/someone/"):
            if "/resolve/main/" not in self.path and "/resolve/v1/" not in self.path:
                return self.answer(404)
            if name == "config.json":
                git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                return self.answer(200, [("ETag", f'"{git}"')], data)
            target = rules.get("redirect", f"{hub.url}/store/{name}")
            return self.answer(302, [("Location", target), ("X-Linked-Size", str(len(data))),
                                     ("X-Linked-Etag", f'"{rules.get("sha", sha)}"')], b"x" * 300)
        self.store(hub, rules, data, sha, asked)

    def store(self, hub, rules, data, sha, asked):
        etag = rules.get("etag", f'"{sha[:32]}"')
        start, status = 0, 200
        if asked and self.headers.get("If-Range") == etag and not rules.get("no_ranges"):
            start, status = int(asked[6:].rstrip("-")), 206
        if status == 206 and rules.get("lie"):
            start -= 1000
        if start >= len(data):
            return self.answer(416)
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        piece = data[start:]
        if rules.get("cut"):
            piece = piece[:rules["cut"].pop(0)]
        for i in range(0, len(piece), 65536):
            self.wfile.write(piece[i:i + 65536])
            hub.sent += len(piece[i:i + 65536])
            time.sleep(rules.get("pause", 0))
        if len(piece) < len(data) - start:
            self.close_connection = True
            self.connection.close()


hub = Hub()
n = 0


def folder():
    global n
    n += 1
    return os.path.join(root, str(n))


def pull(where, *words, repository="someone/net.v1", **more):
    return subprocess.run([BINARY, "pull", "--model-dir", where, "--hub", more.pop("hub", hub.url),
                           *words, repository], capture_output=True, text=True, timeout=120, **more)


def weights(where, name="net.v1"):
    try:
        return open(f"{where}/{name}/model.safetensors", "rb").read()
    except OSError:
        return None


def left(where):
    return sorted(os.listdir(where)) if os.path.isdir(where) else []


def serves(where, name):
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--access-log", "",
                                   "--model", name], stderr=log,
                                  env={**os.environ, "RESNETD_MODEL_DIR": where})
        try:
            deadline = time.monotonic() + 60
            while b"is serving on" not in os.pread(log.fileno(), 1 << 16, 0):
                if server.poll() is not None or time.monotonic() > deadline:
                    return os.pread(log.fileno(), 1 << 16, 0).decode()
                time.sleep(0.01)
            text = os.pread(log.fileno(), 1 << 16, 0).decode()
            address = re.search(r"http://127\.0\.0\.1:(\d+)", text)[1]
            answer = json.load(urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{address}/classify", PHOTO)))
            return answer["model"]["name"]
        finally:
            server.terminate()
            server.wait(30)


# ---- as it should be -----------------------------------------------------------------------------

where = folder()
done = pull(where)
check("a model is pulled", done.returncode == 0 and weights(where) == WEIGHTS, done.stderr)
check("with its config.json, and nothing else is left",
      left(where) == ["net.v1"] and left(f"{where}/net.v1") == ["config.json", "model.safetensors"])
check("the hub's SHA-256 was held against it", "as the hub says" in done.stderr, done.stderr)
check("--model NAME finds and serves it", serves(where, "net.v1") == "net.v1",
      serves(where, "net.v1"))
hub.reset()
done = pull(where)
check("what is here already is not fetched again", done.returncode == 0 and hub.sent == 0 and
      "here already" in done.stderr, done.stderr)
hub.reset(etag='"new"')
changed = WEIGHTS.replace(b'"resnetd.version":"1"', b'"resnetd.version":"2"')
hub.files["model.safetensors"] = changed
done = pull(where, "--revision", "v1")
check("a newer one takes its place", done.returncode == 0 and weights(where) == changed != WEIGHTS
      and left(where) == ["net.v1"], done.stderr)
hub.reset()
done = pull(folder(), "--name", "other")
check("--name names it", done.returncode == 0 and done.stdout.startswith("other:"), done.stderr)

# ---- transfers that break off --------------------------------------------------------------------

where = folder()
hub.reset(cut=[300000, 400000])
done = pull(where)
ranges = [asked for path, asked in hub.log if path.startswith("/store/")]
check("what breaks off is gone on with", done.returncode == 0 and weights(where) == WEIGHTS and
      ranges == [None, "bytes=300000-", "bytes=700000-"] and hub.sent == len(WEIGHTS),
      f"{ranges} {hub.sent} {done.stderr}")
where = folder()
hub.reset(pause=0.2)
process = subprocess.Popen([BINARY, "pull", "--model-dir", where, "--hub", hub.url,
                            "someone/net.v1"], stderr=subprocess.DEVNULL)
while hub.sent < 300000:
    time.sleep(0.01)
busy = pull(where)
check("two at a time are refused", busy.returncode == 1 and "another process" in busy.stderr,
      busy.stderr)
process.send_signal(signal.SIGKILL)
process.wait()
check("a killed one leaves nothing that could be served", weights(where) is None)
hub.reset()
done = pull(where)
check("and the next goes on where it was", done.returncode == 0 and weights(where) == WEIGHTS and
      0 < hub.sent < len(WEIGHTS), f"{hub.sent} {done.stderr}")
where = folder()
hub.reset(cut=[300000] + [0] * 9)
done = pull(where)
check("what goes on breaking off is given up", done.returncode == 1 and weights(where) is None,
      done.stderr)
hub.reset(etag='"another"')
done = pull(where)
check("of a file that changed meanwhile nothing old is kept",
      done.returncode == 0 and weights(where) == WEIGHTS and hub.sent == len(WEIGHTS), done.stderr)
for rule, what in (("no_ranges", "knows no ranges"), ("lie", "sends another range")):
    where = folder()
    hub.reset(cut=[300000, 10 ** 9], **{rule: True})
    done = pull(where)
    check(f"a store that {what}", (done.returncode == 0 and weights(where) == WEIGHTS)
          if rule == "no_ranges" else (done.returncode == 1 and "another range" in done.stderr),
          done.stderr)
where = folder()
hub.reset(etag='W/"weak"', cut=[300000])
done = pull(where)
check("a weak ETag is nothing to go on from", done.returncode == 0 and weights(where) == WEIGHTS and
      all(asked is None for _, asked in hub.log), done.stderr)

# ---- errors and lies -----------------------------------------------------------------------------

where = folder()
hub.reset(sha="0" * 64)
done = pull(where)
check("a wrong SHA-256 is refused", done.returncode == 1 and "SHA-256" in done.stderr and
      weights(where) is None and
      "model.safetensors.part" not in left(f"{where}/.pull-net.v1"), done.stderr)
hub.reset(fail=[1, 0, 0, 1])
done = pull(folder())
check("503 is tried again", done.returncode == 0, done.stderr)
for status in (401, 503):
    hub.reset(status=status)
    done = pull(folder())
    check(f"{status} for good is an error", done.returncode == 1 and str(status) in done.stderr,
          done.stderr)
hub.reset()
del hub.files["model.safetensors"]
done = pull(folder())
check("no weights is an error", done.returncode == 1 and "no such file" in done.stderr, done.stderr)
for target in ("http://192.0.2.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd"):
    hub.reset(redirect=target)
    done = pull(folder())
    check(f"no redirect to {target}", done.returncode == 1 and "not HTTPS" in done.stderr,
          done.stderr)
hub.reset(redirect=f"{hub.url}/someone/net.v1/resolve/main/model.safetensors")
done = pull(folder())
check("no endless redirects", done.returncode == 1 and "redirects" in done.stderr, done.stderr)
hub.reset()
for url in ("http://192.0.2.1", "ftp://127.0.0.1", "file:///etc", "huggingface.co"):
    done = pull(folder(), hub=url)
    check(f"no hub at {url}", done.returncode == 1 and "https" in done.stderr, done.stderr)
for word in ("../x", "a/b/c", "/etc", ".x/y", "a/.x", "a b", "", "a/../b", "a//b"):
    done = pull(folder(), repository=word)
    check(f"no repository {word!r}", done.returncode == 2, done.stderr)
done = pull(folder(), "--revision", "../../x")
check("no revision that leads elsewhere", done.returncode == 2, done.stderr)
hub.files["config.json"] = b" " * (2 << 20)
done = pull(folder())
check("no config.json of two megabytes", done.returncode == 1 and "larger than" in done.stderr,
      done.stderr)
where = folder()
hub.reset()
pull(where)
hub.files["model.safetensors"] = os.urandom(100000)
done = pull(where)
check("what is no model is not kept, and the older one stays", done.returncode == 3 and
      weights(where) == WEIGHTS and left(where) == ["net.v1"], done.stderr)
hub.reset()
done = pull("/proc/nowhere")
check("a folder that cannot be made", done.returncode == 1 and "/proc/nowhere" in done.stderr,
      done.stderr)

# ---- HTTPS, terminal -----------------------------------------------------------------------------

key = os.path.join(root, "key.pem")
if shutil.which("openssl"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", key + ".crt"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key + ".crt", key)
    secure = Hub()
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    secure.url = secure.url.replace("http:", "https:")
    done = pull(folder(), hub=secure.url)
    check("HTTPS with a certificate that nobody knows is refused",
          done.returncode == 1 and "certificate" in done.stderr.lower(), done.stderr)
    where = folder()
    done = pull(where, hub=secure.url, env={**os.environ, "SSL_CERT_FILE": key + ".crt"})
    check("HTTPS with one that is known works", done.returncode == 0 and weights(where) == WEIGHTS,
          done.stderr)
else:
    print("SKIPPED HTTPS: there is no openssl")
hub.reset(pause=0.03)
pid, terminal = pty.fork()
if pid == 0:
    os.execv(BINARY, [BINARY, "pull", "--model-dir", folder(), "--hub", hub.url, "someone/net.v1"])
shown = b""
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    shown += more
check("a terminal sees how far it is", os.waitpid(pid, 0)[1] == 0 and b"#" in shown and
      b" % of 1.1 MB" in shown, repr(shown[-300:]))

shutil.rmtree(root)
print("pull: all well" if not failed else f"pull: {failed} wrong")
sys.exit(1 if failed else 0)
