"""The server that the demonstration fetches from: python3 server.py DIRECTORY LOG

Serves DIRECTORY on a free port of 127.0.0.1, prints the port, and writes the path of each request to LOG.
"""

import functools
import http.server
import sys

directory, log = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_request(self, code="-", size="-"):
        with open(log, "a", encoding="utf-8") as file:
            print(int(code), self.path, file=file)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), functools.partial(Handler, directory=directory)
)
print(server.server_address[1], flush=True)
server.serve_forever()
