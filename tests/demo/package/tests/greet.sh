#!/bin/sh
# The package's own tests.
set -eu
greet=$1

is() {
	if [ "$1" != "$2" ]; then
		echo "FAIL: expected '$1', got '$2'" >&2
		exit 1
	fi
	echo "PASS: $1"
}

is 'good morning, world!' "$("$greet" 8 world)"
is 'hello, world!' "$("$greet" 15 world)"
is 'good evening, build!' "$("$greet" 22 build)"

tmp=$(mktemp) # tests write to the temporary directory
"$greet" 8 file >"$tmp"
is 'good morning, file!' "$(cat "$tmp")"
rm "$tmp"
