# shellcheck shell=bash
# Completion of esandbox for bash: verbs first, then paths where the verb takes them.

_esandbox_completion() {
	local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]-}
	local verbs='
		check api
		enabled enabled_path enabled_exec enabled_net enabled_read
		enable enable_path enable_exec enable_net enable_read
		disable disable_path disable_exec disable_net disable_read
		allow allow_path allow_exec allow_read allow_net
		disallow disallow_path disallow_exec disallow_read disallow_net
		deny deny_path deny_exec deny_read
		undeny undeny_path undeny_exec undeny_read
		addfilter addfilter_path addfilter_exec addfilter_net
		rmfilter rmfilter_path rmfilter_exec rmfilter_net
		exec kill resume
		lock exec_lock wait_all wait_eldest
	'
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$verbs --help" -- "$cur")
		return
	fi
	case $verb in
	allow_net | disallow_net)
		# Readline takes a word apart at colons, so only what has none can be offered.
		local words='LOOPBACK LOOPBACK6 LOCAL LOCAL6 ANY ANY6'
		((COMP_CWORD == 2)) && words+=' --connect'
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		;;
	addfilter_net | rmfilter_net)
		mapfile -t COMPREPLY < <(compgen -W 'LOOPBACK LOOPBACK6 LOCAL LOCAL6 ANY ANY6' -- "$cur")
		;;
	exec)
		if ((COMP_CWORD == 2)); then
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		else
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	allow* | disallow* | deny* | undeny* | addfilter* | rmfilter* | kill | resume)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
}
complete -F _esandbox_completion esandbox
