"""What scripts about sockets begin with."""
import array, ctypes, errno, os, random, signal, socket, struct, sys, threading, time
A = sys.argv[1:]
def word(f, *args):
    try:
        r = f(*args)
        return 'ok' if r is None else str(r)
    except OSError as e:
        return errno.errorcode[e.errno]
def say(f, *args): print(word(f, *args), flush=True)
def tcp(addr, family=socket.AF_INET):
    s = socket.socket(family); s.settimeout(60); s.connect(addr)
def udp(family=socket.AF_INET): return socket.socket(family, socket.SOCK_DGRAM)
libc = ctypes.CDLL(None, use_errno=True)
def call_of(tid):
    """The number of the system call that a thread of this process waits in."""
    return open('/proc/self/task/%d/syscall' % tid).read().split()[0]
def connecting():
    """How many connections of IPv4 are being made on this host."""
    return sum(line.split()[3] == '02' for line in open('/proc/net/tcp').readlines()[1:])
def check(r):
    if r < 0: raise OSError(ctypes.get_errno(), 'call')
    return r
def raw_sendto(s, addr, flags=0, data=b'raw'):
    return check(libc.sendto(s.fileno(), data, len(data), flags, addr, len(addr)))
def raw_connect(s, addr): return check(libc.connect(s.fileno(), addr, len(addr)))
def raw_bind(s, addr): return check(libc.bind(s.fileno(), addr, len(addr)))
def sin(ip, port, family=socket.AF_INET):
    return struct.pack('=H', family) + struct.pack('!H', port) + socket.inet_aton(ip) + bytes(8)
class iovec(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
class msghdr(ctypes.Structure):
    _fields_ = [('name', ctypes.c_void_p), ('namelen', ctypes.c_uint), ('iov', ctypes.c_void_p),
        ('iovlen', ctypes.c_size_t), ('control', ctypes.c_void_p), ('controllen', ctypes.c_size_t), ('flags', ctypes.c_int)]
class mmsghdr(ctypes.Structure): _fields_ = [('hdr', msghdr), ('len', ctypes.c_uint)]
def sendmmsg(s, messages):
    keep, m = [], (mmsghdr * len(messages))()
    for i, (data, addr) in enumerate(messages):
        b, n = ctypes.create_string_buffer(data, len(data)), ctypes.create_string_buffer(addr, len(addr))
        v = iovec(ctypes.addressof(b), len(data))
        keep += [b, n, v]
        m[i].hdr = msghdr(ctypes.addressof(n), len(addr), ctypes.addressof(v), 1, None, 0, 0)
    r = check(libc.sendmmsg(s.fileno(), m, len(messages), 0))
    return r, [x.len for x in m]
class sigaction(ctypes.Structure):
    _fields_ = [('handler', ctypes.c_void_p), ('mask', ctypes.c_byte * 128), ('flags', ctypes.c_int), ('restorer', ctypes.c_void_p)]
def on_alarm(handler, flags):
    """Python's own handlers never restart a call."""
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler); on_alarm.keep = handler
    check(libc.sigaction(signal.SIGALRM, ctypes.byref(sigaction(ctypes.cast(handler, ctypes.c_void_p), flags=flags)), None))
