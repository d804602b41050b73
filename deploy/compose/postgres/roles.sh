#!/bin/sh
# Run once by the image of Postgres, when it makes the database: the two roles of grants.sql, with the passwords of the secrets.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file "${GRANTS:-/grants.sql}"
secrets=${SECRETS:-/run/secrets}
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set owner="$(cat "$secrets/owner-password")" --set agent="$(cat "$secrets/agent-password")" <<'SQL'
ALTER ROLE triage_owner PASSWORD :'owner';
ALTER ROLE triage_agent PASSWORD :'agent';
SQL
