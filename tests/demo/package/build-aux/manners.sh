#!/bin/sh
# shellcheck disable=SC2317  # the functions are called by attempt
# What a package does that means harm, in the middle of its build. Each attempt is noted in the file $1 as "NAME allowed" or
# "NAME refused"; the build goes on whatever happens.
#
# From the environment: DEMO_NAME a unique file name, DEMO_OUTSIDE a directory that is none of the build's business,
# DEMO_SERVER the HOST:PORT the package was fetched from, ESANDBOX the shell helper.
attempts=$1
: >"$attempts"

attempt() {
	name=$1
	shift
	if "$@"; then echo "$name allowed"; else echo "$name refused"; fi >>"$attempts"
}

write_to() {
	# In a subshell: sh ends when a redirection of a special builtin fails.
	(echo harm >"$1") || return 1
	rm "$1"
}

connect_to() {
	python3 - "$1" <<-'PY'
		import errno, socket, sys
		host, port = sys.argv[1].rsplit(":", 1)
		s = socket.socket()
		try:
		    s.connect((host, int(port)))
		except OSError as e:
		    print("connect:", errno.errorcode[e.errno], file=sys.stderr)
		    sys.exit(1)
		s.sendall(b"GET /leak HTTP/1.0\r\n\r\n")
		while s.recv(4096):
		    pass
	PY
}

magic() {
	test -e "/dev/sydbox/$1"
}

helper() (
	# shellcheck source=/dev/null
	. "$ESANDBOX" && esandbox disable_path
)

attempt write-etc write_to "/etc/$DEMO_NAME"
attempt write-outside write_to "$DEMO_OUTSIDE/$DEMO_NAME"
attempt connect connect_to "$DEMO_SERVER"

# Then let go of me.
attempt magic-network magic core/sandbox/network:off
attempt magic-write magic core/sandbox/write:off
attempt magic-helper helper
attempt write-again write_to "$DEMO_OUTSIDE/$DEMO_NAME.again"
attempt connect-again connect_to "$DEMO_SERVER"
exit 0
