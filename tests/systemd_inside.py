"""What the units do, checked inside a booted systemd: see systemd.sh. Writes a line per promise.

SPDX-License-Identifier: MIT
"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

PHOTO = open("/drive/golden/images/baseline-420.jpg", "rb").read()
PORT, AGENT_PORT = 8080, 8081
SERVICES = ("resnetd.service", "resnetd-activated.service")


def row(promise, measured, kept):
    print(f"systemd  {'kept' if kept else 'BROKEN':6}  {promise:63}  {measured}", flush=True)


def ctl(*words, check=True):
    return subprocess.run(["systemctl", *words], check=check, capture_output=True, text=True)


def show(unit, name):
    return ctl("show", "-P", name, unit).stdout.strip()


def journal(unit, start):
    return subprocess.run(["journalctl", "-u", unit, "-o", "cat", "--since", f"@{start}"],
                          capture_output=True, text=True).stdout


def ask(method="GET", path="/readyz", body=None, timeout=20, connection=None):
    c = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
    try:
        c.request(method, path, body)
        answer = c.getresponse()
        return answer.status, answer.read()
    finally:
        c.close()


def classify():
    return ask("POST", "/classify?top_k=1", PHOTO)


def wait_for(what, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if what():
                return True
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    return False


def dropin(unit, text):
    folder = f"/run/systemd/system/{unit}.d"
    os.makedirs(folder, exist_ok=True)
    open(f"{folder}/test.conf", "w").write(text)
    ctl("daemon-reload")


def verifies():
    units = sorted(os.listdir("/usr/local/lib/systemd/system"))
    done = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=no", *units],
                          capture_output=True, text=True)
    row(f"systemd-analyze verify of {len(units)} installed units has nothing to say",
        done.stderr.strip() or "nothing", done.returncode == 0 and not done.stderr.strip())


# ---- the unit that listens by itself -------------------------------------------------------------

def starts():
    began = time.time()
    clock = time.monotonic()
    ctl("start", "resnetd.service")
    took = time.monotonic() - clock
    row("systemctl start returns when an image can be classified", f"{took:.2f} s",
        show("resnetd.service", "ActiveState") == "active")
    code, body = classify()
    top = json.loads(body)["predictions"][0]
    row("an image is classified", f"{code} {top['label']} {top['score']:.3f}", code == 200)
    pid = int(show("resnetd.service", "MainPID"))
    uid = os.stat(f"/proc/{pid}").st_uid
    row("as a user of its own (DynamicUser)", f"uid {uid}", 61184 <= uid <= 65519)
    status = open(f"/proc/{pid}/status").read()
    row("without capabilities, with a system call filter",
        re.sub(r"\s+", " ", " ".join(re.findall(r"(?:CapBnd|Seccomp):\s+\w+", status))),
        bool(re.search(r"CapBnd:\s+0+\n", status)) and bool(re.search(r"Seccomp:\s+2", status)))
    text = journal("resnetd.service", began)
    row("decode helpers are confined inside it", "helpers" if "confined processes" in text else text,
        "images are decoded in confined processes" in text)
    time.sleep(1.2)
    said = show("resnetd.service", "StatusText")
    row("STATUS tells requests and queue depth", said,
        said == "0 requests in flight, 0 images queued")


def reloads():
    pid = show("resnetd.service", "MainPID")
    began = time.time()
    states = set()
    for _ in range(5):
        ctl("reload", "resnetd.service")
        wait_for(lambda: states.add(show("resnetd.service", "ActiveState")) or
                 show("resnetd.service", "SubState") == "running")
    n = journal("resnetd.service", began).count('msg="reloaded"')
    row("systemctl reload, five times, in the same process", f"{n} reloads, states {sorted(states)}",
        n >= 1 and show("resnetd.service", "MainPID") == pid and classify()[0] == 200)
    os.makedirs("/etc/default", exist_ok=True)
    dropin("resnetd.service", "[Service]\nExecStart=\n"
           "ExecStart=/usr/local/bin/resnetd serve --config /run/settings.json\n")
    open("/run/settings.json", "w").write('{"top_k": 2}')
    ctl("restart", "resnetd.service")
    open("/run/settings.json", "w").write('{"top_q": 2}')
    began = time.time()
    ctl("reload", "resnetd.service")
    settled = wait_for(lambda: "not reloaded" in journal("resnetd.service", began) and
                       show("resnetd.service", "SubState") == "running", 5)
    row("a reload of bad settings changes nothing and ends", show("resnetd.service", "SubState"),
        settled and classify()[0] == 200)


def watchdog_of_the_loop():
    dropin("resnetd.service", "[Service]\nWatchdogSec=2s\n")
    ctl("restart", "resnetd.service")
    before = int(show("resnetd.service", "NRestarts"))
    pid = int(show("resnetd.service", "MainPID"))
    os.kill(pid, signal.SIGSTOP)
    clock = time.monotonic()
    back = wait_for(lambda: show("resnetd.service", "MainPID") not in ("0", str(pid)) and
                    classify()[0] == 200)
    row("a loop that stands still: killed by the watchdog (2 s here), back",
        f"{time.monotonic() - clock:.1f} s, {int(show('resnetd.service', 'NRestarts')) - before} restart",
        back and int(show("resnetd.service", "NRestarts")) == before + 1)


def watchdog_of_a_worker():
    dropin("resnetd.service", "[Service]\nWatchdogSec=2s\nEnvironment=LD_PRELOAD=/fail.so "
           "FAIL=stall:1 RESNETD_DECODE_ISOLATION=thread RESNETD_STUCK_AFTER_MS=0\n")
    ctl("restart", "resnetd.service")
    pid = show("resnetd.service", "MainPID")
    thread = threading.Thread(target=lambda: quietly(classify))
    began, clock = time.time(), time.monotonic()
    thread.start()
    wait_for(lambda: "overdue" in show("resnetd.service", "StatusText"), 5)
    said, alive = show("resnetd.service", "StatusText"), ask(path="/livez")[0]
    back = wait_for(lambda: show("resnetd.service", "MainPID") not in ("0", pid) and
                    ask()[0] == 200)
    took = time.monotonic() - clock
    thread.join()
    row("a worker that hangs while the loop turns: not fed any more", f"{said}; /livez {alive}",
        "overdue" in said and alive == 200)
    row("killed by the watchdog, back", f"{took:.1f} s",
        back and "Watchdog timeout" in journal("resnetd.service", began))
    dropin("resnetd.service", "")


def quietly(function):
    try:
        return function()
    except (OSError, http.client.HTTPException):
        return None


def stops():
    ctl("restart", "resnetd.service")
    header = (f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(PHOTO)}\r\n"
              "Connection: close\r\n\r\n").encode()
    half = len(PHOTO) // 2
    sockets = []
    for i in range(64):
        s = socket.create_connection(("127.0.0.1", PORT))
        s.sendall(header + PHOTO[:half if i % 2 else None])
        sockets.append(s)
    time.sleep(0.1)
    began, clock = time.time(), time.monotonic()
    stop = subprocess.Popen(["systemctl", "stop", "resnetd.service"])
    time.sleep(0.3)
    codes = {}
    for i, s in enumerate(sockets):
        s.settimeout(20)
        if i % 2:
            s.sendall(PHOTO[half:])
        line = s.makefile("rb").readline().split()
        code = line[1].decode() if len(line) > 1 else "none"
        codes[code] = codes.get(code, 0) + 1
        s.close()
    stop.wait()
    row("systemctl stop with 64 requests in it, half of them half sent", f"{codes}, stopped after "
        f"{time.monotonic() - clock:.1f} s", codes == {"200": 64})
    text = journal("resnetd.service", began)
    row("it exits with 0 by itself", show("resnetd.service", "Result"),
        show("resnetd.service", "Result") == "success" and "exit_code=0" in text)


# ---- the unit that systemd listens for -----------------------------------------------------------

def activates():
    ctl("start", "resnetd.socket", "resnetd-admin.socket", "resnetd-agent.socket")
    idle = show("resnetd-activated.service", "ActiveState")
    clock = time.monotonic()
    code, _ = classify()
    row("the first request starts the daemon and is answered", f"{idle}, then {code} after "
        f"{time.monotonic() - clock:.2f} s", idle == "inactive" and code == 200)
    pid = int(show("resnetd-activated.service", "MainPID"))
    devices = re.findall(r"(\w+):", open(f"/proc/{pid}/net/dev").read())
    row("in a network of its own, with nothing in it", ",".join(devices),
        devices == ["lo"] and os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/1/ns/net"))
    public = ask(path="/debug/requests")[0]
    c = http.client.HTTPConnection("localhost")
    c.sock = socket.socket(socket.AF_UNIX)
    c.sock.connect("/run/resnetd-admin.sock")
    private = ask(path="/debug/requests", connection=c)[0]
    row("operators have their socket, and only that", f"{private} there, {public} on the public one",
        (private, public) == (200, 403))
    with socket.create_connection(("127.0.0.1", AGENT_PORT)) as s:
        said = s.makefile().read().strip()
    row("the agent's port answers", said, bool(re.fullmatch(r"ready up \d+% maxconn:\d+", said)))
    healthy = subprocess.run(["/usr/local/bin/resnetd", "health"]).returncode
    row("resnetd health", f"exit {healthy}", healthy == 0)


def restarts_under_load():
    outcomes, latencies, threads = {}, [], []

    def one():
        start = time.monotonic()
        try:
            code = str(classify()[0])
        except ConnectionRefusedError:
            code = "refused"
        except (OSError, http.client.HTTPException) as failure:
            code = repr(failure)
        outcomes[code] = outcomes.get(code, 0) + 1
        latencies.append(time.monotonic() - start)

    done = threading.Event()

    def load():
        due = time.monotonic()
        while not done.is_set():
            thread = threading.Thread(target=one)
            thread.start()
            threads.append(thread)
            due += 0.02
            time.sleep(max(0, due - time.monotonic()))

    pids = set()
    loader = threading.Thread(target=load)
    loader.start()
    for _ in range(20):
        time.sleep(0.2)
        ctl("restart", "resnetd-activated.service")
        pids.add(show("resnetd-activated.service", "MainPID"))
    done.set()
    loader.join()
    for thread in threads:
        thread.join()
    row("20 restarts under 50 new connections a second: 0 refused, 0 lost",
        f"{outcomes} from {len(pids)} processes", list(outcomes) == ["200"] and len(pids) == 20)
    busy = float(open("/proc/loadavg").read().split()[0]) / os.cpu_count()
    row("the longest wait at most 1.5 s, where nobody else wants the cores",
        f"{max(latencies) * 1e3:.0f} ms, {busy:.1f} processes a core", max(latencies) <= 1.5 or busy > 2)


def crashes():
    pid = int(show("resnetd-activated.service", "MainPID"))
    os.kill(pid, signal.SIGKILL)
    clock = time.monotonic()
    code, _ = classify()
    row("after kill -9 the next connection waits and is answered", f"{code} after "
        f"{time.monotonic() - clock:.2f} s", code == 200)
    ctl("stop", "resnetd.socket", "resnetd-admin.socket", "resnetd-agent.socket",
        "resnetd-activated.service")
    states = [show(unit, "ActiveState") for unit in SERVICES]
    row("stopped, nothing is left", f"{states}, {show('resnetd-activated.service', 'Result')}",
        states == ["inactive", "inactive"])


for check in (verifies, starts, reloads, watchdog_of_the_loop, watchdog_of_a_worker, stops, activates,
              restarts_under_load, crashes):
    try:
        check()
    except Exception as failure:  # what cannot be measured is not kept
        row(f"{check.__name__} could be measured", repr(failure), False)
open("/out/journal", "w").write("".join(journal(unit, 0) for unit in SERVICES))
print("systemd  done", flush=True)
