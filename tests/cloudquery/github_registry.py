"""Plays github.com for the CloudQuery CLI: an HTTPS proxy that gives out one release's files and nothing else.

`github_registry.py FOLDER BINARY VERSION` packs the binary as a release does, serves it, writes `ca.pem` to the folder, and
prints the proxy's port. The CLI makes the address itself; what it asks for goes to `requests.txt`.
"""

import contextlib
import platform
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / ".ci"))
import release  # noqa: E402

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "AMD64": "amd64"}


def read_head(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        if not data:
            return ""
        head += data
    return head.decode().splitlines()[0]


def serve(connection, context, files, log):
    # The CLI closes a connection in the middle of an answer that it only wanted the head of.
    with contextlib.suppress(OSError), connection:
        first = read_head(connection)
        if first != "CONNECT github.com:443 HTTP/1.1":
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secured:
            while request := read_head(secured):
                method, path, _ = request.split(" ")
                with log.open("a") as lines:
                    lines.write(f"{method} https://github.com{path}\n")
                found = f"https://github.com{path}" in files
                data = files.get(f"https://github.com{path}", b"")
                secured.sendall(f"HTTP/1.1 {200 if found else 404} Answer\r\nContent-Length: {len(data)}\r\n\r\n".encode())
                if method == "GET":
                    secured.sendall(data)


def main():
    folder, binary, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    goos, goarch = platform.system().lower(), ARCHITECTURES[platform.machine()]
    packed = folder / release.registry_zip_name(goos, goarch)
    release.write_archive(packed, [(release.NAME, binary.read_bytes(), 0o755)], 0)
    # The release page has the zip under its own name; release.py must have given it the one that the CLI asks for.
    files = {f"https://github.com/acme/cq-source-s3/releases/download/{version}/{packed.name}": packed.read_bytes()}
    key, certificate = folder / "key.pem", folder / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=github.com",
         "-addext", "subjectAltName=DNS:github.com", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context, files, folder / "requests.txt"), daemon=True).start()


if __name__ == "__main__":
    main()
