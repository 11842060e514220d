#!/bin/sh
# Restores the newest backup sets into a throw-away Qdrant, runs checks against it, and fails where anything is missing,
# damaged or not verified. What CI systems around it do is give the variables and show the summary.
#
#   QDRANT_S3_...          the bucket, as everywhere
#   QDRANT_RESTORE_HOSTS   the throw-away Qdrant
#   QDRANT_BACKUP          the program; qdrant-backup by default
#   QDRANT_BACKUP_URL      where the program is fetched from, with its SHA-256 in QDRANT_BACKUP_SHA256
#   RESTORE_CHECK          a command that is run after the restore, with RESTORE_CHECK_URL; what it fails with fails the job
#   RESTORE_CHECK_FOLDER   where summary.md, metrics.prom and run.log are left; restore-check by default
#   RESTORE_CHECK_SUMMARY  a file to which the summary is added, such as GITHUB_STEP_SUMMARY
set -eu

folder=${RESTORE_CHECK_FOLDER:-restore-check}
: "${QDRANT_RESTORE_HOSTS:?is not set; it has to be the address of the throw-away Qdrant}"
mkdir -p "$folder"
url=${QDRANT_RESTORE_HOSTS%%,*}
case $url in
*://*) ;;
*) url=http://$url ;;
esac

if [ -n "${QDRANT_BACKUP_URL:-}" ]; then
    QDRANT_BACKUP=$PWD/qdrant-backup
    curl --silent --show-error --fail --location --retry 3 --output "$QDRANT_BACKUP" "$QDRANT_BACKUP_URL"
    echo "${QDRANT_BACKUP_SHA256:?is not set; it has to be that of QDRANT_BACKUP_URL}  $QDRANT_BACKUP" | sha256sum -c
    chmod 755 "$QDRANT_BACKUP"
fi
# The program knows no such settings.
unset QDRANT_BACKUP_URL QDRANT_BACKUP_SHA256
program=${QDRANT_BACKUP:-qdrant-backup}
unset QDRANT_BACKUP

# A service container may take a while to start.
waited=0
until curl --silent --fail --output /dev/null "$url/readyz"; do
    waited=$((waited + 1))
    if [ "$waited" -gt "${RESTORE_CHECK_WAIT:-60}" ]; then
        echo "Qdrant at $url is not ready" >&2
        exit 1
    fi
    sleep 1
done

# Only what was compared with what was recorded at the backup counts.
export QDRANT_REQUIRE_VERIFIED="${QDRANT_REQUIRE_VERIFIED:-true}"
export QDRANT_WORK_DIR="$folder" QDRANT_METRICS_FILE=metrics.prom
export QDRANT_REPORT_FILE=summary.md QDRANT_REPORT_FORMAT=markdown

code=0
"$program" recover_snap_shards 2>"$folder/run.log" || code=$?
cat "$folder/run.log" >&2

# Nothing to restore is no proof of anything.
if [ "$code" -eq 0 ] && ! grep -q '| verified, done | collection |' "$folder/summary.md"; then
    echo "no collection was restored and verified" >&2
    echo "**No collection was restored and verified.**" >>"$folder/summary.md"
    code=1
fi

if [ "$code" -eq 0 ] && [ -n "${RESTORE_CHECK:-}" ]; then
    if RESTORE_CHECK_URL=$url sh -c "$RESTORE_CHECK"; then
        printf '\nThe check passed.\n' >>"$folder/summary.md"
    else
        code=$?
        printf '\n**The check failed (exit code %s).**\n' "$code" >>"$folder/summary.md"
    fi
fi

if [ -n "${RESTORE_CHECK_SUMMARY:-}" ] && [ -f "$folder/summary.md" ]; then
    cat "$folder/summary.md" >>"$RESTORE_CHECK_SUMMARY"
fi
exit "$code"
