"""hosts.py COMMAND...: runs a command on one of two hosts that are made for it, each a network namespace with loopback.

192.0.2.1 and 2001:db8::1 are here. 192.0.2.2 and 2001:db8::2 are there: port 80 says one line to who connects, port 53
answers DNS questions for the name there.test (over UDP and TCP), port 7 gives datagrams back. Nobody answers at 192.0.2.9. The
status is 77 if namespaces cannot be made. The resolver of the C library asks there.
"""
import ctypes, os, signal, socket, struct, subprocess, sys, tempfile, threading

CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWNS, PR_SET_PDEATHSIG = 0x40000000, 0x10000000, 0x20000, 1
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)


def give_up(why):
    print(f"skipped: {why}", file=sys.stderr)
    os._exit(77)


def unshare(flags):
    if libc.unshare(flags) != 0:
        give_up(f"unshare: {os.strerror(ctypes.get_errno())}: network namespaces cannot be made")


def ip(command):
    done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
    if done.returncode != 0:
        give_up(f"ip {command}: {done.stderr.strip()}")


def serve_lines(family, address):
    server = socket.create_server((address, 80), family=family)
    def run():
        while True:
            client = server.accept()[0]
            with client:
                client.sendall(b"there\n")
    threading.Thread(target=run, daemon=True).start()


def answer(question):
    """What a DNS server says to this: an A or AAAA record for there.test, else that there is no such name."""
    end = question.index(b"\0", 12)
    name, kind = question[12:end], struct.unpack_from("!H", question, end + 1)[0]
    known = name.lower() == b"\x05there\x04test"
    data = {1: socket.inet_aton("192.0.2.2"), 28: socket.inet_pton(socket.AF_INET6, "2001:db8::2")}.get(kind)
    record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data if known and data else b""
    head = question[:2] + struct.pack("!HHHHH", 0x8580 if known else 0x8583, 1, 1 if record else 0, 0, 0)
    return head + question[12 : end + 5] + record


def serve_datagrams(port, reply):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("192.0.2.2", port))
    def run():
        while True:
            data, peer = server.recvfrom(2048)
            server.sendto(reply(data), peer)
    threading.Thread(target=run, daemon=True).start()


def there(ready, go):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    unshare(CLONE_NEWNET)
    os.write(ready, b"x")
    os.read(go, 1)
    for command in ("link set lo up", "addr add 192.0.2.2/24 dev b0", "addr add 2001:db8::2/64 dev b0 nodad", "link set b0 up"):
        ip(command)
    serve_lines(socket.AF_INET, "192.0.2.2")
    serve_lines(socket.AF_INET6, "2001:db8::2")
    serve_datagrams(7, lambda data: data)
    serve_datagrams(53, answer)
    os.write(ready, b"x")
    signal.pause()


def is_reached():
    try:
        socket.create_connection(("192.0.2.2", 80), 0.05).close()
        return True
    except TimeoutError:
        return False


def main():
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWNET | CLONE_NEWNS | (CLONE_NEWUSER if uid else 0))
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    (ready, tell), (go, start) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        there(tell, go)
    os.close(tell)
    if not os.read(ready, 1):
        os._exit(77)
    ip("link set lo up")
    ip(f"link add a0 type veth peer name b0 netns {child}")
    for command in ("addr add 192.0.2.1/24 dev a0", "addr add 2001:db8::1/64 dev a0 nodad", "link set a0 up",
                    "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev a0 nud permanent"):
        ip(command)
    os.write(start, b"x")
    if not os.read(ready, 1):
        os._exit(77)
    # Interfaces drop what is sent until the kernel has seen that they are connected.
    while not is_reached():
        pass
    # Only for what runs here.
    libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("nameserver 192.0.2.2\noptions timeout:10 attempts:3\n")
        file.flush()
        os.chmod(file.name, 0o644)
        libc.mount(file.name.encode(), b"/etc/resolv.conf", None, MS_BIND, None)
    status = subprocess.run(sys.argv[1:]).returncode
    os.kill(child, signal.SIGKILL)
    sys.exit(status if status >= 0 else 128 - status)


main()
