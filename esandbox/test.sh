#!/bin/sh
# Tests of esandbox, without a sandbox: under each shell a function `test' takes the place of the builtin and notes what it
# is asked, so that every path that esandbox says, every status and every message can be compared.
#
#   test.sh                 under dash, bash, zsh and busybox ash, under several options each
#
# The outer half chooses shells and options, the inner half (test.sh --inner OPTIONS FILE) is run by each of them.
# shellcheck disable=SC2016,SC2034  # programs in quotes are for the shells under test; esandbox reads SYDBOX_ACTIVE

if [ "${1-}" != --inner ]; then
	set -eu
	here=$(cd "$(dirname "$0")" && pwd)
	file=$here/esandbox
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	passed=0 failed=0

	pass() { passed=$((passed + 1)); }
	fail() {
		failed=$((failed + 1))
		printf 'FAILED: %s\n' "$*"
	}
	# is WHAT EXPECTED GOT
	is() {
		if [ "$2" = "$3" ]; then pass; else fail "$1: expected <$2>, got <$3>"; fi
	}
	# run SHELL ARG...: SHELL may be two words
	run() {
		case $1 in
		'busybox ash')
			shift
			busybox ash "$@"
			;;
		*) "$@" ;;
		esac
	}

	unset SYDBOX_ACTIVE
	copy=$tmp/copy
	cp "$file" "$copy" # under a name that says nothing
	nl='
'
	for shell in dash bash zsh 'busybox ash'; do
		if ! command -v "${shell%% *}" >/dev/null; then
			fail "$shell is not installed"
			continue
		fi

		# The table, under the options that callers set. zsh runs it as zsh, not as sh.
		for options in '' eu f ifs-slash ifs-letters ifs-empty eu,f,ifs-slash; do
			last=$(run "$shell" "$0" --inner "$options" "$file" "$tmp" | {
				last=''
				while IFS= read -r line; do
					case $line in FAILED*) printf '%s\n' "$shell ($options) $line" >&2 ;; esac
					last=$line
				done
				printf '%s\n' "$last"
			}) || :
			case $last in
			'done '*' '*)
				last=${last#done }
				passed=$((passed + ${last% *}))
				failed=$((failed + ${last#* }))
				;;
			*) fail "$shell ($options): the tests did not end: $last" ;;
			esac
		done

		# Sourced in every way there is: nothing happens, and no argument of the caller is touched.
		printf '. "$file" && echo "sourced $#"\n' >"$tmp/sources"
		export file copy
		is "$shell: sourced by -c" 'sourced 1' "$(run "$shell" -c '. "$file" && echo "sourced $#"' sh lock 2>&1)"
		is "$shell: sourced under -eu" 'sourced 1' "$(run "$shell" -euc '. "$file" && echo "sourced $#"' sh lock 2>&1)"
		is "$shell: sourced by a script" 'sourced 2' "$(run "$shell" "$tmp/sources" lock lock 2>&1)"
		is "$shell: sourced by a function" 'sourced 1' \
			"$(run "$shell" -c 'f() { . "$file" && echo "sourced $#"; }; f lock' 2>&1)"
		is "$shell: sourced from standard input" 'sourced 0' "$(run "$shell" <"$tmp/sources" 2>&1)"
		is "$shell: sourced twice" 'sourced 0' "$(run "$shell" -c '. "$file"; . "$file" && echo "sourced $#"' 2>&1)"
		is "$shell: sourced under another name" 'sourced 0' \
			"$(run "$shell" -c '. "$copy" && echo "sourced $#"' 2>&1)"

		# Run as a program. There is no sandbox here, so a question is answered with no.
		for args in check api enabled enabled_net; do
			status=0
			out=$(run "$shell" "$file" "$args" 2>"$tmp/err") || status=$?
			is "$shell: program $args" '1:' "$status:$out"
			case $args in
			check) is "$shell: program check is silent" '' "$(cat "$tmp/err")" ;;
			*) case $(cat "$tmp/err") in
				"esandbox: $args: not in a sandbox"*) pass ;;
				*) fail "$shell: program $args: $(cat "$tmp/err")" ;;
				esac ;;
			esac
		done
		for args in lock exec_lock enable disable_net 'allow /tmp' 'allow_net LOOPBACK' wait_all 'kill /x' 'addfilter /x'; do
			status=0
			# shellcheck disable=SC2086  # the words of args
			out=$(run "$shell" "$file" $args 2>&1) || status=$?
			is "$shell: program $args" 2 "$status"
			case $out in *'source it'*) pass ;; *) fail "$shell: program $args: $out" ;; esac
		done
		for args in '' nonsense --nonsense; do
			status=0
			# shellcheck disable=SC2086
			out=$(run "$shell" "$file" $args 2>&1) || status=$?
			is "$shell: program '$args'" 2 "$status"
			case $out in *'source it'*) fail "$shell: program '$args': $out" ;; *) pass ;; esac
		done
		is "$shell: program --help" "usage: esandbox VERB [ARG...]" "$(run "$shell" "$file" --help | sed 1q)"

		# A script under set -e ends where esandbox says no, and only there.
		is "$shell: set -e, yes" "1${nl}2${nl}3" \
			"$(run "$shell" -euc 'test() { return 0; }; . "$file"
				esandbox lock; echo 1; esandbox allow /a /b; echo 2; esandbox exec a b; echo 3' 2>&1)"
		status=0
		out=$(run "$shell" -euc '. "$file"; esandbox check || echo no; esandbox lock; echo not reached' 2>/dev/null) || status=$?
		is "$shell: set -e, no" 1:no "$status:$out"
		status=0
		out=$(run "$shell" -euc '. "$file"; esandbox allow relative; echo not reached' 2>/dev/null) || status=$?
		is "$shell: set -e, usage" 2: "$status:$out"
	done

	# The completions know the verbs that the function knows.
	known=$(sed -n '/^_esandbox_lookup/,/^}/p' "$file" | tr -s ' |()\\\t' '\n' | grep -E '^[a-z]+(_[a-z]+)*$' |
		grep -Evx 'case|in|esac|return' | sort -u)
	if command -v bash >/dev/null; then
			in_bash=$(bash -c '. "$1/completion/esandbox.bash"; COMP_WORDS=(esandbox "") COMP_CWORD=1; _esandbox_completion
			printf "%s\n" "${COMPREPLY[@]}"' bash "$here" | grep -v '^--help$' | sort)
		is 'verbs of the bash completion' "$known" "$in_bash"
			is 'bash completes paths' "$here/esandbox" "$(bash -c '. "$1/completion/esandbox.bash"; compopt() { :; }
			COMP_WORDS=(esandbox allow "$1/esandb") COMP_CWORD=2; _esandbox_completion
			printf "%s\n" "${COMPREPLY[@]}"' bash "$here")"
	fi
	if command -v zsh >/dev/null; then
			in_zsh=$(zsh -fc '_describe() { print -rl -- ${(P)4%%:*} }; compadd() { : }; CURRENT=2
			f() { source "$1/completion/_esandbox" }; f "$1"' zsh "$here" | sort)
		is 'verbs of the zsh completion' "$known" "$in_zsh"
	fi
	help=$(sh "$file" --help)
	for verb in $known; do
		case $verb in *_path) base="${verb%_path}[_path]" ;; *) base=$verb ;; esac
		case $help in *" $base"[!a-z]*) pass ;; *" ${base}["*) pass ;; *) fail "--help does not name $verb" ;; esac
	done

	printf '%s passed, %s failed\n' "$passed" "$failed"
	[ "$failed" -eq 0 ]
	exit
fi

# --- the inner half: plain sh, but also read by zsh as zsh ------------------------------------------------------------------------

settings=$2
file=$3
tmp=$4
# shellcheck disable=SC2123  # on purpose
PATH=/nonexistent # whatever is not a builtin fails
passed=0 failed=0
unset SYDBOX_ACTIVE || :
nl='
'
us=$(printf '\037')

calls='' refuse='' answer=0
test() {
	case $#:$1:${ZSH_VERSION:+zsh} in
	2:-e: | 2:-c:zsh) calls="$calls<$2>" ;;
	*) calls="$calls<BAD $*>" ;;
	esac
	case $refuse in *"<$2>"*) return 1 ;; esac
	return "$answer"
}

case $settings in *eu*) set -eu ;; esac
case ,$settings, in *,f,*) set -f ;; esac
# shellcheck disable=SC2141  # letters on purpose
case $settings in
*ifs-slash*) IFS=/ ;;
*ifs-letters*) IFS='abcdefghijklmnopqrstuvwxyz_012' ;;
*ifs-empty*) IFS='' ;;
esac
ifs=$IFS flags=$-

# shellcheck source=/dev/null
. "$file"

fail() {
	failed=$((failed + 1))
	printf 'FAILED: %s\n' "$1"
}

# slurp FILE: its text goes to $text
slurp() {
	text=''
	while IFS= read -r line; do
		text=$text$line$nl
	done <"$1"
	text=${text%"$nl"}
}

# expect STATUS CALLS OUT ERR COMMAND [ARG...]; ERR is a pattern
expect() {
	want_status=$1 want_calls=$2 want_out=$3 want_err=$4
	shift 4
	calls=''
	code=0
	"$@" >"$tmp/out" 2>"$tmp/err" || code=$?
	got=$calls
	slurp "$tmp/out"
	out=$text
	slurp "$tmp/err"
	err=$text
	ok=1
	case $code in "$want_status") ;; *) ok=0 ;; esac
	case $got in "$want_calls") ;; *) ok=0 ;; esac
	case $out in "$want_out") ;; *) ok=0 ;; esac
	case $want_err in
	'') case $err in ?*) ok=0 ;; esac ;;
	*) case $err in "esandbox: "*"$want_err"* | "sydboxcmd: "*"$want_err"*) ;; *) ok=0 ;; esac ;;
	esac
	case $ok in
	1) passed=$((passed + 1)) ;;
	*) fail "expected $want_status $want_calls <$want_out> <$want_err>, got $code $got <$out> <$err> from: $(printf '<%s>' "$@")" ;;
	esac
	case $IFS:$- in
	"$ifs:$flags") ;;
	*) fail "options or IFS changed by: $(printf '<%s>' "$@")" ;;
	esac
}

# verb SAID TAKES: what every verb does with good and bad arguments
m=/dev/sydbox
verb() {
	case $2 in
	question)
		expect 0 "<$m/$1>" '' '' esandbox "$1"
		answer=1
		SYDBOX_ACTIVE=1
		expect 1 "<$m/$1>" '' '' esandbox "$1"
		unset SYDBOX_ACTIVE
		case $1 in
		check) expect 1 "<$m/$1>" '' '' esandbox "$1" ;;
		*) expect 1 "<$m/$1>" '' "$1: not in a sandbox" esandbox "$1" ;;
		esac
		answer=0
		expect 2 '' '' "$1: takes no argument" esandbox "$1" /x
		;;
	nothing)
		expect 0 "<$m/$1>" '' '' esandbox "$1"
		answer=1
		expect 1 "<$m/$1>" '' "$1: not in a sandbox" esandbox "$1"
		SYDBOX_ACTIVE=1
		expect 1 "<$m/$1>" '' "$1: refused" esandbox "$1"
		unset SYDBOX_ACTIVE
		answer=0
		expect 2 '' '' "$1: takes no argument" esandbox "$1" ''
		expect 2 '' '' "$1: takes no argument" esandbox "$1" /x /y
		;;
	path | pattern)
		expect 0 "<$m/$1//a>" '' '' esandbox "$1" /a
		expect 0 "<$m/$1//a b><$m/$1//*><$m/$1//c${nl}d><$m/$1//-e><$m/$1//\$f\\g><$m/$1//>" '' '' \
			esandbox "$1" '/a b' '/*' "/c${nl}d" /-e '/$f\g' /
		refuse="<$m/$1//b c>"
		expect 1 "<$m/$1//a><$m/$1//b c><$m/$1//d>" '' "/b c" esandbox "$1" /a '/b c' /d
		case $err in *"$nl"*) fail "$1: more than the refused argument is named: $err" ;; esac
		refuse=''
		answer=1
		expect 1 "<$m/$1//a>" '' "/a': not in a sandbox" esandbox "$1" /a
		answer=0
		expect 2 '' '' "$1: which $2" esandbox "$1"
		expect 2 '' '' "$1: empty $2" esandbox "$1" ''
		expect 2 '' '' "$1: empty $2" esandbox "$1" /a ''
		expect 2 '' '' "relative" esandbox "$1" /a relative
		expect 2 '' '' "-n" esandbox "$1" -n /a
		;;
	address)
		expect 0 "<$m/$1/LOOPBACK@0><$m/$1/inet6:::1@80><$m/$1/unix:/run/*>" '' '' \
			esandbox "$1" LOOPBACK@0 inet6:::1@80 'unix:/run/*'
		refuse="<$m/$1/nonsense>"
		expect 1 "<$m/$1/nonsense><$m/$1/ANY>" '' nonsense esandbox "$1" nonsense ANY
		refuse=''
		expect 2 '' '' "$1: which address" esandbox "$1"
		expect 2 '' '' "$1: empty address" esandbox "$1" ANY ''
		expect 2 '' '' "--bind" esandbox "$1" --bind ANY
		expect 2 '' '' "--connect" esandbox "$1" ANY --connect
		;;
	esac
}

verb check question
for kind in '' _path _exec _net _read; do
	verb "enabled$kind" question
	verb "enable$kind" nothing
	verb "disable$kind" nothing
done
for kind in '' _path _exec _read; do
	verb "allow$kind" path
	verb "disallow$kind" path
	verb "deny$kind" path
	verb "undeny$kind" path
done
verb allow_net address
verb disallow_net address
for kind in '' _path _exec; do
	verb "addfilter$kind" pattern
	verb "rmfilter$kind" pattern
done
verb addfilter_net address
verb rmfilter_net address
verb kill pattern
verb resume pattern
verb lock nothing
verb exec_lock nothing
verb wait_all nothing
verb wait_eldest nothing

expect 0 "<$m/addfilter/**/*.pyc>" '' '' esandbox addfilter '**/*.pyc'
expect 2 '' '' '*.pyc' esandbox addfilter '*.pyc'

expect 0 "<$m/allow_net_connect/LOOPBACK@5432><$m/allow_net_connect/unix:/run/nscd/socket>" '' '' \
	esandbox allow_net --connect LOOPBACK@5432 unix:/run/nscd/socket
expect 0 "<$m/disallow_net_connect/ANY>" '' '' esandbox disallow_net --connect ANY
expect 2 '' '' 'which address' esandbox allow_net --connect
expect 2 '' '' 'empty address' esandbox allow_net --connect ''

expect 0 "<$m/2>" 2 '' esandbox api
refuse="<$m/2>"
expect 0 "<$m/2><$m/1>" 1 '' esandbox api
answer=1
expect 1 "<$m/2><$m/1>" '' 'api: not in a sandbox' esandbox api
answer=0 refuse=''
expect 2 '' '' 'takes no argument' esandbox api 2

expect 0 "<$m/exec!true>" '' '' esandbox exec true
expect 0 "<$m/exec!/bin/echo${us}-n${us}a b${us}${us}*${us}c${nl}d>" '' '' esandbox exec /bin/echo -n 'a b' '' '*' "c${nl}d"
expect 2 '' '' 'which command' esandbox exec
expect 2 '' '' 'which command' esandbox exec '' a
expect 2 '' '' '037' esandbox exec echo "a${us}b"
answer=1
expect 1 "<$m/exec!echo${us}a>" '' "exec: \`echo': not in a sandbox" esandbox exec echo a
answer=0

expect 2 '' '' 'which verb' esandbox
expect 2 '' '' 'which verb' esandbox ''
expect 2 '' '' 'no such verb' esandbox nonsense
expect 2 '' '' 'no such verb' esandbox --nonsense
expect 2 '' '' 'no such verb' esandbox '*'
expect 2 '' '' 'no such verb' esandbox allow_net_connect ANY
expect 2 '' '' 'no such verb' esandbox enabled_ /x

expect 0 "<$m>" '' '' sydboxcheck
expect 0 "<$m/net/local>" '' '' sydboxcmd net/local
expect 0 "<$m/write//a b*>" '' '' sydboxcmd 'write//a b*'
expect 2 '' '' usage sydboxcmd
expect 2 '' '' usage sydboxcmd ''
expect 2 '' '' usage sydboxcmd a b
answer=1
expect 1 "<$m>" '' '' sydboxcheck
expect 1 "<$m/on>" '' 'not in a sandbox' sydboxcmd on
answer=0

# Nothing of ours stays behind in the caller's variables. (bash lists functions as well, unless it is told to be POSIX.)
vars=$(
	# shellcheck disable=SC3040
	case ${BASH_VERSION-} in ?*) set -o posix ;; esac
	set
)
case $vars in
*"${nl}_esandbox_"* | _esandbox_*) fail "variables left behind" ;;
*) passed=$((passed + 1)) ;;
esac

IFS=' '
printf 'done %s %s\n' "$passed" "$failed"
