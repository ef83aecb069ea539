#!/bin/bash
# InfluxDB as compose.yaml starts it. Whoever comes first may set up a new server, so until that is
# done it listens on its own loopback alone, which the service `setup` shares and nobody else.
if [ ! -e /set-up/done ]; then
    /entrypoint.sh influxd --http-bind-address=127.0.0.1:8086 &
    server=$!
    trap 'kill "$server"; wait "$server"; exit' TERM INT
    until [ -e /set-up/done ]; do
        kill -0 "$server" || exit 1
        sleep 0.5
    done
    kill "$server"
    wait "$server"
    trap - TERM INT
fi
exec /entrypoint.sh influxd
