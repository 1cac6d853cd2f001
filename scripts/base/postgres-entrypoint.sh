#!/bin/sh
# Makes the database cluster at the first start, then runs the command.
set -e
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
  user=${POSTGRES_USER:-postgres}
  umask 077 && printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  initdb --no-sync --auth=scram-sha-256 --username="$user" --pwfile=/tmp/password >/dev/null
  rm /tmp/password
  printf "listen_addresses = '*'\nfsync = off\njit = off\n" >>"$PGDATA/postgresql.conf"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  if [ "${POSTGRES_DB:-$user}" != postgres ]; then
    printf 'CREATE DATABASE "%s";\n' "${POSTGRES_DB:-$user}" | postgres --single -j postgres >/dev/null
  fi
fi
exec "$@"
