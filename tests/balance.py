#!/usr/bin/env python3
"""Several machines behind HAProxy and nginx, with the configurations of docs/deploy: does each get a
share by what it can do, does a rolling restart lose anything, what does a dead machine cost?

    tests/balance.py BINARY OPEN_LOOP [--nodes 2,4] [--balancers haproxy,nginx] [--seconds S]
                     [--port P] [IMAGE|FOLDER...]

A machine is a process with one engine thread in a control group of its own, which gets a part of a
core. No weights are set anywhere. Loads are open (tests/load/open_loop.c); what arrived where is
asked of the nodes. Prints a line per promise, kept or broken; root only, for the control groups:
SKIPPED otherwise. MODEL=[NAME=]PATH may name another model than the embedded one.

SPDX-License-Identifier: MIT
"""
import argparse
import csv
import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from deploy_config import rewrite

SHARES = {1: [0.3], 2: [0.6, 0.3], 4: [0.35, 0.25, 0.2, 0.15]}  # of a core each
PERIOD_US = 10000
DRAIN_DELAY_MS = 1500  # HAProxy asks every 0.5 s
broken = 0
running = []


def row(promise, measured, kept):
    global broken
    broken += not kept
    print(f"balance  {'kept' if kept else 'BROKEN':6}  {promise:56}  {measured}", flush=True)


def say(text):
    print(f"balance          {text}", flush=True)


def wait_for(what, whom, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if what():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    raise RuntimeError(f"{whom} does not answer")


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


# ---- machines --------------------------------------------------------------------------------

class Group:
    """A control group, version 1 or 2, with so much of a core, and before others in getting it."""

    def __init__(self, name, share):
        quota = int(share * PERIOD_US)
        if os.path.isdir("/sys/fs/cgroup/cpu"):
            self.path = f"/sys/fs/cgroup/cpu/{name}"
            files = {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": quota,
                     "cpu.shares": 100000}
        else:
            self.path = f"/sys/fs/cgroup/{name}"
            files = {"cpu.max": f"{quota} {PERIOD_US}", "cpu.weight": 10000}
        os.mkdir(self.path)
        try:
            for file, value in files.items():
                with open(f"{self.path}/{file}", "w") as f:
                    f.write(str(value))
        except OSError:
            os.rmdir(self.path)
            raise

    def inside(self, words):
        # chrt, because a real-time process cannot be put into such a group
        return ["chrt", "--other", "0", "sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', self.path, *words]

    def remove(self):
        for _ in range(100):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.02)


class Node:
    def __init__(self, index, share, port):
        self.index, self.share, self.port, self.agent_port = index, share, port, port + 40
        self.group = Group(f"resnetd-balance-{os.getpid()}-{index}", share)
        running.append(self)
        self.process = None
        self.capacity = 0
        self.start()

    def start(self):
        options = ["--listen", f"127.0.0.1:{self.port}", "--access-log=", "--threads", "1",
                   "--decode-workers", "1", "--agent-listen", f"127.0.0.1:{self.agent_port}",
                   "--drain-delay-ms", str(DRAIN_DELAY_MS), "--log-level", "error"]
        if os.environ.get("MODEL"):
            options += ["--model", os.environ["MODEL"]]
        self.process = subprocess.Popen(self.group.inside([arguments.binary, "serve", *options]),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: get(self.port, "/readyz")[0] == 200, f"node {self.index}", 60)

    def answered(self):
        return sum(float(n) for n in re.findall(
            r'^resnetd_http_requests_total\{path="/classify",method="\w+",code="200"\} (\S+)',
            get(self.port, "/metrics")[1], re.M))

    def restart(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        self.start()
        return code

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.group.remove()


# ---- balancers, as documented -------------------------------------------------------------------

class Balancer:
    def __init__(self, kind, nodes, port):
        self.kind, self.port, self.throughput = kind, port, 0
        self.folder = tempfile.mkdtemp(prefix="resnetd-balance-")
        os.chmod(self.folder, 0o755)
        words = self.haproxy(nodes) if kind == "haproxy" else self.nginx(nodes)
        self.log = open(f"{self.folder}/log", "w+")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log)
        running.append(self)
        try:
            wait_for(lambda: get(port, "/readyz")[0] == 200, kind)
        except RuntimeError:
            self.log.seek(0)
            raise RuntimeError(f"{kind} does not answer: {self.log.read()}") from None

    def haproxy(self, nodes):
        servers = "\n".join(f"    server {n.index} 127.0.0.1:{n.port} agent-port {n.agent_port}"
                            for n in nodes)
        text = rewrite("haproxy.cfg", (r"bind :80$", f"bind 127.0.0.1:{self.port}"),
                       (r"bind 127.0.0.1:8404$", f"bind 127.0.0.1:{self.port + 1}"),
                       (r"/run/haproxy/admin.sock", f"{self.folder}/admin"),
                       (r"^ *log .*\n", ""), (r"^ *option httplog\n", ""),
                       # parts of a core want a finer scale, the same for all
                       (r"default-server check", "default-server weight 10 check"),
                       (r"^ *server a .*\n", servers + "\n"), (r"^ *server b .*\n", ""))
        open(f"{self.folder}/haproxy.cfg", "w").write(text)
        return ["haproxy", "-db", "-f", f"{self.folder}/haproxy.cfg"]

    def nginx(self, nodes):
        servers = "\n".join(f"        server 127.0.0.1:{n.port} max_fails=0;" for n in nodes)
        text = rewrite("nginx.conf", (r"listen 80;", f"listen 127.0.0.1:{self.port};"),
                       (r"^http \{", "http {\n    access_log off;"),
                       (r"^ *server 10\.0\.0\.1.*\n", servers + "\n"),
                       (r"^ *server 10\.0\.0\.2.*\n", ""))
        open(f"{self.folder}/nginx.conf", "w").write(text)
        return ["nginx", "-e", "stderr", "-c", f"{self.folder}/nginx.conf",
                "-g", f"daemon off; pid {self.folder}/pid;"]

    def states(self):
        """HAProxy's view: {node: row of "show stat"}."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.folder}/admin")
            s.sendall(b"show stat\n")
            text = s.makefile().read()
        rows = csv.DictReader(text.lstrip("# ").splitlines())
        return {r["svname"]: r for r in rows if r["pxname"] == "resnetd" and r["svname"].isdigit()}

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


# ---- loads -----------------------------------------------------------------------------------

def offer(port, rate, seconds, meanwhile=None):
    process = subprocess.Popen([arguments.open_loop, "--url", f"http://127.0.0.1:{port}/classify",
                                "--rate", f"{rate:.2f}", "--seconds", str(seconds), *images],
                               stdout=subprocess.PIPE, text=True)
    failure = []
    thread = None
    if meanwhile:
        def guarded():
            try:
                meanwhile()
            except Exception as wrong:
                failure.append(wrong)
        thread = threading.Thread(target=guarded)
        thread.start()
    result = json.loads(process.communicate()[0])
    if thread:
        thread.join()
    if failure:
        raise failure[0]
    return result


def not_ok(result):
    return result["errors"] + sum(n for code, n in result["statuses"].items() if code != "200")


def told(result):
    return f"{result['statuses']}, {result['errors']} errors, p99 {result['ok_ms']['p99']:.0f} ms"


def saturate(port, connections, seconds):
    """Images a second and the p99 in ms with so many clients that each wait for their answer."""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s",
                          "tests/load/post.lua", f"http://127.0.0.1:{port}", "--", *images],
                         capture_output=True, text=True, check=True).stdout
    values = dict(line.split()[:2] for line in out.splitlines() if len(line.split()) >= 2)
    return float(values["throughput"]), out


# ---- the promises ------------------------------------------------------------------------------

def shares(balancer, nodes, load):
    """Near capacity, that is: with less to do an idle machine is asked before a busy one, whoever is
    larger, and that is as it should be."""
    total = sum(n.capacity for n in nodes)
    rate = load * max(total, balancer.throughput)
    offer(balancer.port, rate, 4)  # the nodes learn what they can do under load
    before = [n.answered() for n in nodes]
    result = offer(balancer.port, rate, arguments.seconds)
    after = [n.answered() for n in nodes]
    got = [b - a for a, b in zip(before, after)]
    ratios = [g / sum(got) / (n.capacity / total) for g, n in zip(got, nodes)]
    row(f"{balancer.kind}, {len(nodes)} nodes at {load:.0%}: share by capacity, +-10 %",
        " ".join(f"{r - 1:+.1%}" for r in ratios) + f" of {rate:.0f}/s; {told(result)}",
        all(abs(r - 1) <= 0.10 for r in ratios))


def rolling_restart(balancer, nodes):
    codes = []

    def restart_all():
        time.sleep(0.5)
        for node in nodes:
            codes.append(node.restart())
            if balancer.kind == "haproxy":  # as an operator waits for a machine to be back
                wait_for(lambda: balancer.states()[str(node.index)]["status"] == "UP", "HAProxy")

    rate = 0.6 * (sum(n.capacity for n in nodes) - max(n.capacity for n in nodes))
    result = offer(balancer.port, rate, max(12, 4 * len(nodes)), restart_all)
    row(f"{balancer.kind}, {len(nodes)} nodes restarted in turn: all 200", f"{told(result)}, exit "
        f"{codes}", not_ok(result) == 0 and codes == [0] * len(nodes))


def killed(balancer, nodes):
    victim = nodes[0]
    within = []

    def kill():
        time.sleep(2)
        victim.process.send_signal(signal.SIGSTOP)  # so that what is in it can be counted
        time.sleep(0.05)
        if balancer.kind == "haproxy":
            then = balancer.states()[str(victim.index)]
            within.append(int(then["scur"]))
        victim.process.kill()
        victim.process.wait()
        if balancer.kind == "haproxy":  # and what came in after the look
            time.sleep(0.2)
            now = balancer.states()[str(victim.index)]
            within[0] += int(now["stot"]) - int(then["stot"])

    rate = 0.6 * (sum(n.capacity for n in nodes) - victim.capacity)
    result = offer(balancer.port, rate, 6, kill)
    lost = not_ok(result)
    if balancer.kind == "haproxy":
        row(f"haproxy, {len(nodes)} nodes, one killed: costs what was in it",
            f"{lost} lost, {within[0]} in it; {told(result)}", lost <= within[0])
    else:
        row(f"nginx, {len(nodes)} nodes, one killed: costs nothing", f"{lost} lost; {told(result)}",
            lost == 0)
    victim.start()


def measure(balancer, nodes):
    total = sum(n.capacity for n in nodes)
    throughput = balancer.throughput = saturate(balancer.port, 16 * len(nodes), arguments.seconds)[0]
    result = offer(balancer.port, 0.8 * total, arguments.seconds)
    row(f"{balancer.kind}, {len(nodes)} node(s): >= 90 % of what they do directly",
        f"{throughput:.0f} of {total:.0f} images/s with {16 * len(nodes)} waiting clients; "
        f"at 80 %: p50 {result['ok_ms']['p50']:.0f}, p99 {result['ok_ms']['p99']:.0f} ms, "
        f"{not_ok(result)} not 200", throughput >= 0.9 * total)


def ask_all(nodes, seconds):
    """What each does at best when all are asked directly, at the same time."""
    def ask(node):
        node.capacity = max(node.capacity, saturate(node.port, 8, seconds)[0])

    threads = [threading.Thread(target=ask, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(n_nodes):
    nodes = [Node(i, share, arguments.port + i) for i, share in enumerate(SHARES[n_nodes])]
    for _ in range(3):  # or a neighbour would decide
        ask_all(nodes, 3)
    say(f"{n_nodes} node(s) of " + ", ".join(f"{n.share:.2f} cores: {n.capacity:.0f}/s"
                                             for n in nodes))
    for kind in arguments.balancers.split(","):
        balancer = Balancer(kind, nodes, arguments.port + 80)
        measure(balancer, nodes)
        if n_nodes > 1:
            shares(balancer, nodes, 0.95)
            rolling_restart(balancer, nodes)
            killed(balancer, nodes)
        running.remove(balancer)
        balancer.close()
    for node in nodes:
        running.remove(node)
        node.close()


parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("open_loop")
parser.add_argument("--nodes", default="1,2,4")
parser.add_argument("--balancers", default="haproxy,nginx")
parser.add_argument("--seconds", type=int, default=10)
parser.add_argument("--port", type=int, default=21200)
parser.add_argument("images", nargs="*", default=sorted(glob.glob("tests/golden/images/baseline-*.jpg")))
arguments = parser.parse_intermixed_args()
images = [file for given in arguments.images for file in
          (sorted(glob.glob(f"{given}/*.[jJ]*")) if os.path.isdir(given) else [given])][:100]
for tool in ("wrk", *arguments.balancers.split(",")):
    if not shutil.which(tool):
        print(f"balance: SKIPPED, {tool} is not installed")
        sys.exit(0)
try:
    Group(f"resnetd-balance-{os.getpid()}", 1).remove()
except OSError as failure:
    print(f"balance: SKIPPED, no control group can be made: {failure}")
    sys.exit(0)
try:
    for n in arguments.nodes.split(","):
        run(int(n))
finally:
    for one in running:
        one.close()
sys.exit(broken > 0)
