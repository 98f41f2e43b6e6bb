"""The row about model files: damaged ones, and one that changes on disk while it is served.

FLIPS in the environment: how many random bits to flip.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import itertools
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from promises_support import BINARY, Server, cpu_seconds, image, row

MODEL = "config/models/cifar10-resnet20.safetensors"
FLIPS = int(os.environ.get("FLIPS", "2000"))
RELOADS_FAILED = 'resnetd_model_reloads_total{result="failed"}'


def original():
    with open(MODEL, "rb") as f:
        return f.read()


def write(path, content):
    """In place, as cp does: who has the file open, or mapped, sees it change."""
    with open(path, "wb") as f:
        f.write(content)


def flipped(model, at, bit):
    content = bytearray(model)
    content[at] ^= 1 << bit
    return bytes(content)


# ---- damaged files -------------------------------------------------------------------------------

def damaged(model):
    """Cut at every 4 KiB, each byte of the header changed by one bit, sizes that cannot be."""
    n_header = 8 + struct.unpack("<Q", model[:8])[0]
    randoms = random.Random(17)
    for n in range(0, len(model), 4096):
        yield model[:n]
    for at in range(n_header):
        yield flipped(model, at, randoms.randrange(8))
    for size in (1 << 31, 1 << 40, 1 << 63, (1 << 64) - 1):
        yield struct.pack("<Q", size) + model[8:]


def inspect(case):
    """The exit status, whether a refusal says of which file, memory in KiB, seconds of CPU."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as f:
        f.write(case)
        f.flush()
        process = subprocess.Popen([BINARY, "inspect", f.name], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        with process.stderr:
            text = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return (process.returncode, process.returncode != 3 or f.name.encode() in text, usage.ru_maxrss,
                usage.ru_utime + usage.ru_stime)


def damaged_files():
    cases, results = damaged(original()), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        while some := list(itertools.islice(cases, 8)):  # memory of ours counts as a child's, until its exec
            results += pool.map(inspect, some)
    codes, named, memory, seconds = zip(*results)
    crashed = sum(code not in (0, 3) for code in codes)
    row(17, "model files cut at each 4 KiB, or with any header byte changed: refused by name, or no effect",
        f"{len(codes)} files: {codes.count(3)} refused, {codes.count(0)} harmless (names, labels), {crashed} "
        f"crashed, {named.count(False)} not named", crashed == 0 and all(named))
    row(17, "never more than 100 MiB and 2 s of CPU", f"{max(memory) / 1024:.0f} MiB, {max(seconds) * 1e3:.0f} ms",
        max(memory) <= 100 * 1024 and max(seconds) <= 2)


def flipped_anywhere():
    """Put to a server, which tries what can be opened: weights that matter miss the golden logits."""
    model, randoms, codes, wordless = original(), random.Random(2000), [], 0
    server, most = Server(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/flipped.safetensors"
        body = json.dumps({"path": path})
        for _ in range(FLIPS):
            write(path, flipped(model, randoms.randrange(len(model)), randoms.randrange(8)))
            before = cpu_seconds(server.process.pid)
            code, answer = server.ask("PUT", "/models/flipped", body)
            most = max(most, cpu_seconds(server.process.pid) - before)
            codes.append(code)
            wordless += code != 200 and "flipped" not in json.loads(answer)["detail"]
    after, _ = server.ask("POST", "/classify", image("coarse.jpg"))
    row(17, f"{FLIPS} random bits flipped in a file that is put: refused, or within the golden logits' tolerance; 2 s of CPU",
        f"{codes.count(422)} refused, {codes.count(200)} harmless, {wordless} without a word, {most * 1e3:.0f} ms; "
        f"afterwards {after}, exit {server.stop()}", set(codes) <= {200, 422} and wordless == 0 and after == 200 and
        most <= 2)


# ---- a file that changes while it is served ------------------------------------------------------

class Watch:
    """Clients that ask all the time; a mark makes each upload one that no cache has seen."""

    def __init__(self, server):
        self.server, self.stop, self.answers, self.n = server, threading.Event(), [], itertools.count()
        self.expected = self.classify()
        self.threads = [threading.Thread(target=self.run) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def classify(self):
        code, answer = self.server.ask("POST", "/classify?top_k=10", image("coarse.jpg") + b"%d" % next(self.n))
        return code, json.loads(answer).get("predictions")

    def run(self):
        while not self.stop.is_set():
            try:
                self.answers.append(self.classify())
            except (OSError, ValueError) as failure:
                self.answers.append(failure)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return len(self.answers), sum(answer != self.expected for answer in self.answers)


def failed_reloads(server):
    text = server.ask("GET", "/metrics")[1].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(RELOADS_FAILED))


def hang_up(server):
    """A reload that must fail: what the log says of it; nothing if it never says so."""
    before, read = failed_reloads(server), len(server.text())
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while failed_reloads(server) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    said = [line for line in server.text()[read:].decode().splitlines() if "not reloaded" in line]
    return said[0] if failed_reloads(server) == before + 1 and len(said) == 1 else ""


def file_changes_while_served():
    model = original()
    n_header = 8 + struct.unpack("<Q", model[:8])[0]
    weights = model[:n_header + 4096] + b"\xbf" * 4096 + model[n_header + 8192:]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/served.safetensors"
        write(path, model)
        server = Server("--model", path)
        watch, sentences = Watch(server), []
        for content in (model[:len(model) // 2], b"", os.urandom(len(model)), weights):
            write(path, content)
            time.sleep(0.3)
            sentences.append(hang_up(server))
        write(f"{path}.new", model[:4096])
        os.replace(f"{path}.new", path)
        sentences.append(hang_up(server))
        os.unlink(path)
        sentences.append(hang_up(server))
        time.sleep(0.3)
        asked, wrong = watch.end()
        told = sum(bool(re.search(r"served(\.safetensors|: its golden logits)", line)) for line in sentences)
        row(17, "a file cut, emptied, overwritten, replaced, removed while served: the same answers",
            f"{wrong} of {asked} others", wrong == 0 and asked > 100 and watch.expected[0] == 200)
        row(17, "a reload of each is refused in a sentence that names it", f"{told} of {len(sentences)}",
            told == len(sentences))
        code = server.stop()
        row(17, "exit status afterwards 0", str(code), code == 0)


# ---- a start that waits for the self-test --------------------------------------------------------

def notified(model):
    """Starts with that model as systemd would: whether READY=1 came within 2 s, the status, what the log says."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"{folder}/notify")
        notify.settimeout(0.1)
        write(f"{folder}/tried.safetensors", model)
        process = subprocess.Popen(
            [BINARY, "serve", "--listen", "127.0.0.1:0", "--model", f"{folder}/tried.safetensors"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, NOTIFY_SOCKET=f"{folder}/notify"))
        said, deadline = b"", time.monotonic() + 2
        while b"READY=1" not in said and time.monotonic() < deadline:
            try:
                said += notify.recv(4096) + b"\n"
            except TimeoutError:
                continue
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)[1].decode()
        return b"READY=1" in said, process.returncode, log


def ready_after_self_test():
    model = original()
    n_header = 8 + struct.unpack("<Q", model[:8])[0]
    sound, other = notified(model), notified(model[:n_header + 256] + b"\xbf" * 400 + model[n_header + 656:])
    told = re.findall(r"its golden logits.*", other[2])
    row(26, "ready is told after the self-test only: a sound model, then one of other weights",
        f"READY=1 {sound[0]}, then {other[0]}; exit {other[1]}, {told}", sound[:2] == (True, 0) and
        other[:2] == (False, 3) and len(told) == 1)


def row_17():
    damaged_files()
    flipped_anywhere()
    file_changes_while_served()
