#!/bin/sh
# Makes the secrets that compose.yaml names, in the folder `secrets` beside this file (or in the one that is named): once, each at
# random. What is there already stays. The folder is this user's alone; the files in it can be read by whoever is given one, since
# each container has a user of its own and sees none but its own.
set -eu
folder=${1:-$(dirname -- "$0")/secrets}
umask 077
mkdir -p -- "$folder"
chmod 0700 -- "$folder"

keep() { # keep NAME CONTENT: unless it is there
    [ -e "$folder/$1" ] && return
    printf '%s\n' "$2" > "$folder/$1.new"
    chmod 0444 "$folder/$1.new"
    mv -- "$folder/$1.new" "$folder/$1"
    echo "made $folder/$1"
}

random() { # 48 hexadecimal digits
    od -An -v -tx1 -N24 /dev/urandom | tr -d ' \n'
}

keep postgres-password "$(random)"
keep owner-password "$(random)"
keep agent-password "$(random)"
keep grafana-password "$(random)"
keep orthanc-password "$(random)"
keep owner-url "postgresql+psycopg://triage_owner:$(cat "$folder/owner-password")@postgres/triage"
keep agent-url "postgresql+psycopg://triage_agent:$(cat "$folder/agent-password")@postgres/triage"
keep orthanc-users.json "{\"RegisteredUsers\": {\"admin\": \"$(cat "$folder/orthanc-password")\"}}"
