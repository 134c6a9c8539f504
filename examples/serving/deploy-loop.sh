#!/usr/bin/env bash
# Deploys whatever enters production, and records it:   deploy-loop.sh MODEL ENVIRONMENT COMMAND...
# COMMAND gets the verified bytes (a file or folder) as its last argument, and must fail where they are not served after it.
# The loop ends with an error when COMMAND or ifp fails: let what runs it (systemd, a container) start it again.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 MODEL ENVIRONMENT COMMAND..." >&2; exit 2; }
model=$1 environment=$2
shift 2
served=

deploy() {
  local said place
  said=$(ifp resolve "$model@production" --shell) || { [ $? -eq 3 ] && return 0; return 1; } # 3: nothing is in production
  eval "$said"
  [ "$IFP_DIGEST" != "$served" ] || return 0
  place=$(mktemp -d)/model
  ifp checkout "$IFP_MODEL@$IFP_DIGEST" "$place" >&2
  "$@" "$place" || return 1
  ifp deployed "$IFP_MODEL@$IFP_DIGEST" --environment "$environment"
  served=$IFP_DIGEST
}

since=$(date -u +%Y-%m-%dT%H:%M:%SZ) # from before the first look, so that nothing falls in between
deploy "$@"
exec 3< <(ifp events --follow --json --model "$model" --since "$since")
trap "kill $! 2> /dev/null" EXIT
while read -r _ <&3; do deploy "$@"; done
exit 1 # following has ended
