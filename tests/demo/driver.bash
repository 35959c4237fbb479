#!/usr/bin/env bash
# Builds a package the way a package manager does, phase by phase, and gives each phase its own permissions. Runs inside the
# sandbox: sydbox --profile paludis -- bash driver.bash
#
# From the environment (tests/demo/run sets all of it):
#   DEMO_WORK      the build directory, which profile paludis knows nothing of
#   DEMO_OUTSIDE   a directory next to it that no build has any business in
#   DEMO_URL       the source tarball; DEMO_SERVER the HOST:PORT it comes from
#   ESANDBOX       the shell helper
#
# What was seen goes to $DEMO_WORK/results, one "NAME VALUE" a line; what the phases print goes to $DEMO_WORK/NAME.log.
# shellcheck disable=SC2016,SC2034,SC2317  # phases and probes are called by name

set -euo pipefail
shopt -s inherit_errexit

# shellcheck source=/dev/null
. "$ESANDBOX"

die() {
	printf 'driver: %s\n' "$*" >&2
	exit 1
}
say() { printf '    %s\n' "$*"; }

# Everything below that tries something does so in this bash or in a fork of it: nothing is executed, so nothing is locked.
# `2>/dev/null' hides what bash says about a refused redirection; sydbox reports it anyway.
can_write() { (: >"$1") 2>/dev/null; }
can_connect() { (exec 3<>"/dev/tcp/${DEMO_SERVER%:*}/${DEMO_SERVER#*:}") 2>/dev/null; }

# seen NAME COMMAND [ARG...]: note whether COMMAND was possible
results=()
seen() {
	local name=$1 answer=refused
	shift
	if "$@"; then answer=allowed; fi
	results+=("$name $answer")
	say "$name: $answer"
}

# --- before the first phase ---------------------------------------------------------------------------------------------------

esandbox check || die 'this is not a sandbox'
[[ $(esandbox api) == 2 ]] || die 'the sandbox does not speak API 2'
say "in a sandbox that speaks API $(esandbox api)"

# From here on every program that is started is locked, while this bash can go on changing permissions for the next phase.
esandbox exec_lock || die 'exec_lock was refused'

seen work-before can_write "$DEMO_WORK/probe"
esandbox allow "$DEMO_WORK" || die 'allow was refused'
seen work-after can_write "$DEMO_WORK/probe"
cd "$DEMO_WORK"

# --- the phases ---------------------------------------------------------------------------------------------------------------

# Reading the metadata runs the package's shell code. It may start the helpers of the package manager and nothing else.
phase_metadata() {
	local helper other
	helper=$(readlink -f "$(type -P expr)")
	other=$(readlink -f "$(type -P uname)")
	esandbox enable_exec
	esandbox allow_exec "$helper"
	seen exec-helper eval '[[ $("$helper" 6 "*" 7) == 42 ]]'
	seen exec-other eval '("$other") >/dev/null 2>&1'
	esandbox disallow_exec "$helper"
	esandbox disable_exec
	seen exec-later eval '("$other") >/dev/null 2>&1'
}

phase_fetch() {
	seen net-before-fetch can_connect
	esandbox disable_net
	python3 - "$DEMO_URL" "${DEMO_URL##*/}" <<-'PY' || die 'cannot fetch'
		import sys, urllib.request
		url, name = sys.argv[1:]
		# No proxy: the server is on this machine.
		opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
		with opener.open(url, timeout=30) as source, open(name, "wb") as file:
		    file.write(source.read())
	PY
	esandbox enable_net
	seen net-after-fetch can_connect
}

phase_unpack() {
	tar -xzf "${DEMO_URL##*/}"
}

phase_configure() {
	cd "$DEMO_WORK"/greet-*/
	./configure --prefix=/usr
}

phase_compile() {
	cd "$DEMO_WORK"/greet-*/
	make -j2
}

phase_test() {
	cd "$DEMO_WORK"/greet-*/
	make check
}

phase_install() {
	cd "$DEMO_WORK"/greet-*/
	make install DESTDIR="$DEMO_WORK/image"
}

# --- hooks --------------------------------------------------------------------------------------------------------------------

# Hooks belong to the administrator and run with write sandboxing off, and what they start inherits that. The package's own code
# cannot do the same: it runs in programs that exec_lock has locked.
run_hooks() {
	esandbox disable || die 'disable was refused'
	echo "$1" >>"$DEMO_OUTSIDE/hooks"
	esandbox enable || die 'enable was refused'
	seen "hook-after-$1" can_write "$DEMO_OUTSIDE/after-$1"
}

for phase in metadata fetch unpack configure compile test install; do
	printf '  %s\n' "$phase"
	# metadata and fetch change the sandbox of this bash; the others are the package's code and get a subshell.
	case $phase in
	metadata | fetch) "phase_$phase" ;;
	*)
		# Not `if ! (...)': that would switch set -e off in the phase.
		set +e
		(
			set -e
			"phase_$phase"
		) >"$DEMO_WORK/$phase.log" 2>&1
		status=$?
		set -e
		if ((status)); then
			while IFS= read -r line; do say "$line"; done <"$DEMO_WORK/$phase.log"
			die "phase $phase failed with status $status"
		fi
		say 'done'
		;;
	esac
	case $phase in unpack | compile | install) run_hooks "$phase" ;; esac
done

seen end-outside can_write "$DEMO_OUTSIDE/end"
seen end-network can_connect
printf '%s\n' "${results[@]}" >"$DEMO_WORK/results"

esandbox lock || die 'lock was refused'
if esandbox check; then die 'still listening after lock'; fi
say 'locked'
exit 7 # to see that the status of the sandbox is ours
