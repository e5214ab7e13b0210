"""An S3 server (moto) on loopback: prints its port, and serves until its input ends.

Run by the Python of moto's own environment.
"""

from __future__ import annotations

import sys

from moto.server import ThreadedMotoServer  # type: ignore[import-not-found]  # not beside prodlensd


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    sys.stdin.read()  # whoever started this is gone, however it ended


if __name__ == "__main__":
    main()
