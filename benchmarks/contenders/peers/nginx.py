"""curl, which puts a file to nginx with its module for WebDAV."""

import os
import pwd
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.contenders import AbsentError, Contender
from benchmarks.processes import ending, free_port

from . import FILE, RUN_S, check_copy, needs_program, spent_by_children, synced

CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/coming;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            root {folder};
            dav_methods PUT;
        }}
    }}
}}
"""


@contextmanager
def serve(folder):
    """One worker, on the loopback interface."""
    program, port = needs_program("nginx"), free_port()
    needs_program("curl")
    about = subprocess.run([program, "-V"], check=True, capture_output=True, text=True)  # noqa: S603  # what is compared
    if "http_dav_module" not in about.stderr:
        raise AbsentError("nginx has no module http_dav_module")
    user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(user=user, folder=folder, port=port))
    command = [program, "-p", str(folder), "-e", str(folder / "errors"), "-c", str(config)]
    with ending(command, port, {"port": port, "path": str(folder / FILE)}) as running:
        yield running


def send(pipe, url, sounds, *, durable):
    """Curl's own time, without its start; nginx never syncs, so the benchmark does it."""
    command = [needs_program("curl"), "-sSf", "--noproxy", "*", "-w", "%{time_total}"]
    command += ["-T", str(sounds[0].path), f"http://127.0.0.1:{url['port']}/{FILE}"]
    pipe.send("ready")
    pipe.recv()
    said = subprocess.run(  # noqa: S603  # what is compared
        command, check=True, timeout=RUN_S, capture_output=True, text=True
    )
    more = synced(Path(url["path"])) if durable else (0, 0)
    spent = spent_by_children() + more[1]
    pipe.send({"seconds": float(said.stdout) + more[0], "cpu_seconds": spent})
    pipe.recv()


NGINX = Contender("curl PUT to nginx", serve, partial(send, durable=False), check_copy)
NGINX_SYNCED = Contender(
    "curl PUT to nginx, synced afterwards", serve, partial(send, durable=True), check_copy
)
