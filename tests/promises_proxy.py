"""Row 10 behind nginx and HAProxy, with the configurations of docs/deploy: whatever clients send, the
daemon sees no request that its proxy did not mean to send.

The proxies give each request an id that begins with a word nobody else knows; the daemon logs it. A
request that was smuggled has an id of the daemon's own, or the one of another.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

from deploy_config import rewrite
from promises_support import Server, row, skip

MARK = f"proxy-{os.urandom(8).hex()}-"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx(folder, port, behind):
    text = rewrite(
        "nginx.conf", (r"listen 80;", f"listen 127.0.0.1:{port};"),
        (r" *server 10\.0\.0\.2.*\n", ""), (r"10\.0\.0\.1:8080", f"127.0.0.1:{behind}"),
        (r"X-Request-Id ", f"X-Request-Id {MARK}"),
        (r"^    server \{\n", "    access_log off;\n"
         f"    client_body_temp_path {folder}/body;\n    proxy_temp_path {folder}/proxy;\n    server {{\n"))
    with open(f"{folder}/conf", "w") as f:
        f.write(text)
    return ["nginx", "-e", "stderr", "-c", f"{folder}/conf", "-g", f"daemon off; pid {folder}/pid; user root;"]


def haproxy(folder, port, behind):
    text = rewrite(
        "haproxy.cfg", (r"bind :80$", f"bind 127.0.0.1:{port}"),
        (r" *stats socket.*\n", ""), (r"bind 127.0.0.1:8404$", f"bind {folder}/stats"),
        (r"option httplog", f"unique-id-format {MARK}%[uuid]\n    unique-id-header X-Request-Id"),
        (r"^ *log .*\n", ""),
        (r" *server b .*\n", ""), (r"10\.0\.0\.1:8080", f"127.0.0.1:{behind}"),
        (r" *default-server check.*\n", ""))  # checks would be requests without an id
    with open(f"{folder}/conf", "w") as f:
        f.write(text)
    return ["haproxy", "-db", "-f", f"{folder}/conf"]


def exchange(port, data):
    """Sends, and reads until the proxy closes or says nothing more."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(data)
            s.settimeout(0.5)
            while s.recv(65536):
                pass
    except OSError:
        pass


def wait_for(port):
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                s.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if s.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the proxy does not answer")


def behind(make, streams):
    """The ids of the requests that the daemon saw."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server("--access-log", f"{folder}/access")
        port = free_port()
        proxy = subprocess.Popen(make(folder, port, server.port), stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda data: exchange(port, data), streams))
        finally:
            proxy.terminate()
            proxy.wait(30)
        server.stop()
        with open(f"{folder}/access") as f:
            return re.findall(r" id=(\S+)", f.read())


def smuggling(streams):
    for make in (nginx, haproxy):
        name = make.__name__
        if not shutil.which(name):
            skip(10, f"behind {name}", f"{name} is missing")
            continue
        seen = behind(make, streams)
        strange = [one for one in seen if not one.startswith(MARK)]
        row(10, f"{len(streams)} streams through {name}: no request that it did not send",
            f"{len(seen)} seen, {len(strange)} of them smuggled, {len(seen) - len(set(seen))} twice",
            not strange and len(seen) == len(set(seen)))
