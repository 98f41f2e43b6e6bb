#!/bin/bash
# Runs a command that must not hang. Over the limit, the threads of all its processes are printed
# with where in the kernel they wait, the processes are killed, and the status is 124. What a command
# that ends in time has left running is printed and killed, too. May be nested.
#   tests/limit.sh SECONDS COMMAND...
# Processes are known by a mark in their environment, because tests move to sessions of their own.
# SPDX-License-Identifier: MIT
set -uo pipefail
limit=$1
shift
mark=$$.$RANDOM

left() {
    grep -slzE "^LIMITED=.*:$mark(:|\$)" /proc/[0-9]*/environ | cut -d/ -f3
}

end() { # TITLE; more than once, for those that were being forked
    local pids title=$1
    for _ in 1 2 3; do
        mapfile -t pids < <(left)
        [[ ${#pids[@]} -gt 0 ]] || return 0
        [[ -z $title ]] || echo "limit: $title"
        title=
        ps -L -o pid,ppid,lwp,stat,etime,time,wchan:24,args -p "${pids[*]}" | cut -c1-200
        kill -KILL "${pids[@]}" 2>/dev/null
        sleep 0.2
    done
}

watch() {
    read -rt "$limit" <> <(:) # waits without a process that could be left over
    trap '' TERM
    end "over $limit s: $command"
}

command=$*
watch &
watchdog=$!
LIMITED=${LIMITED-}:$mark "$@"
status=$?
kill $watchdog 2>/dev/null
wait $watchdog 2>/dev/null && status=124
end "left running by: $command"
exit $status
