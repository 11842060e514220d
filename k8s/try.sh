#!/usr/bin/env bash
# What only a cluster can show: a backup, everything wiped, a restore, and every count compared; then that a failed restore
# leaves its log, that a restore is done once, and that deleting one folder takes nothing from the others. It works in a
# namespace of its own, which it makes and removes again.
#
# usage: k8s/try.sh IMAGE          the program, as the nodes can pull it: NAME:TAG
#   KUBECONFIG, --context          as kubectl takes them: KUBECTL="kubectl --context mine"
#   TRY_NAMESPACE                  qdrant-backup-try
#   TRY_QDRANT, TRY_MINIO          images: qdrant/qdrant:v1.18.3, minio/minio:latest
#   TRY_PEERS                      3
#   TRY_KEEP=1                     leaves the namespace there
set -euo pipefail

image=${1:?usage: k8s/try.sh IMAGE}
namespace=${TRY_NAMESPACE:-qdrant-backup-try}
peers=${TRY_PEERS:-3}
qdrant_image=${TRY_QDRANT:-qdrant/qdrant:v1.18.3}
minio_image=${TRY_MINIO:-minio/minio:latest}
read -ra kubectl <<<"${KUBECTL:-kubectl}"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)

k() { "${kubectl[@]}" -n "$namespace" "$@"; }
step() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

clean_up() {
    cd /
    rm -rf "$work"
    if [ -z "${TRY_KEEP:-}" ]; then
        "${kubectl[@]}" delete namespace "$namespace" --ignore-not-found --wait=false
    fi
}

# A namespace that was there before is somebody's.
"${kubectl[@]}" get namespace "$namespace" >/dev/null 2>&1 && fail "the namespace $namespace is there already; set TRY_NAMESPACE"
trap clean_up EXIT

step "the namespace, where Pod Security enforces \`restricted\`"
"${kubectl[@]}" create namespace "$namespace"
"${kubectl[@]}" label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted

step "MinIO and $peers peers of Qdrant"
k create secret generic qdrant-credentials --from-literal=QDRANT_API_KEY=try-key \
    --from-literal=QDRANT_S3_ACCESS_KEY_ID=try-access --from-literal=QDRANT_S3_SECRET_ACCESS_KEY=try-secret-key \
    --from-literal=QDRANT_S3_BUCKET_NAME=try
k apply -f - <<MANIFESTS
apiVersion: v1
kind: Service
metadata: {name: minio}
spec:
  selector: {app: minio}
  ports: [{port: 9000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: minio}
spec:
  selector: {matchLabels: {app: minio}}
  template:
    metadata: {labels: {app: minio}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: minio
          image: $minio_image
          # A folder is a bucket.
          command: [sh, -c, "mkdir -p /data/try && exec minio server /data"]
          env:
            - {name: MINIO_ROOT_USER, value: try-access}
            - {name: MINIO_ROOT_PASSWORD, value: try-secret-key}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          readinessProbe: {httpGet: {path: /minio/health/ready, port: 9000}}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: qdrant-headless}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: qdrant}
  ports: [{name: http, port: 6333}, {name: p2p, port: 6335}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: qdrant}
spec:
  serviceName: qdrant-headless
  replicas: $peers
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: qdrant}}
  template:
    metadata: {labels: {app: qdrant}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: qdrant
          image: $qdrant_image
          command:
            - bash
            - -c
            - |
              cd /qdrant
              own=http://\$HOSTNAME.qdrant-headless:6335
              if [ "\$HOSTNAME" = qdrant-0 ]; then exec ./qdrant --uri "\$own"; fi
              exec ./qdrant --bootstrap http://qdrant-0.qdrant-headless:6335 --uri "\$own"
          env:
            - {name: QDRANT_INIT_FILE_PATH, value: /data/.qdrant-initialized}
            - {name: QDRANT__CLUSTER__ENABLED, value: "true"}
            - {name: QDRANT__SERVICE__API_KEY, valueFrom: {secretKeyRef: {name: qdrant-credentials, key: QDRANT_API_KEY}}}
            - {name: QDRANT__STORAGE__STORAGE_PATH, value: /data/storage}
            - {name: QDRANT__STORAGE__SNAPSHOTS_PATH, value: ./snapshots}
            - {name: QDRANT__STORAGE__TEMP_PATH, value: /data/temp}
            - {name: QDRANT__STORAGE__SNAPSHOTS_CONFIG__SNAPSHOTS_STORAGE, value: s3}
            - {name: QDRANT__STORAGE__SNAPSHOTS_CONFIG__S3_CONFIG__ENDPOINT_URL, value: "http://minio:9000"}
$(sed 's/^/            /' "$here/qdrant-env.yaml" | grep -v '# ')
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          readinessProbe: {httpGet: {path: /readyz, port: 6333}}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: snapshots, mountPath: /qdrant/snapshots}
      volumes: [{name: data, emptyDir: {}}, {name: snapshots, emptyDir: {}}]
MANIFESTS
k rollout status deployment/minio --timeout=5m
k rollout status statefulset/qdrant --timeout=5m

step "the settings, once"
cp -r "$here" "$work/k8s"
cd "$work"
sed -i 's#^\(  QDRANT_S3_ENDPOINT_URL:\).*#\1 http://minio:9000#' k8s/shared/settings.yaml
repository=${image%:*} tag=${image##*:}
sed -i "s#newName: qdrant-backup\$#newName: $repository#; 0,/newTag: .*/s##newTag: \"$tag\"#" k8s/common/kustomization.yaml
sed -i 's/^  - restore-job.yaml/  # - restore-job.yaml/; s/^  # - sets-restore-job.yaml/  - sets-restore-job.yaml/' k8s/restore/kustomization.yaml
k apply --server-side -k k8s/shared
k apply --server-side -k k8s/sets
k apply --server-side -k k8s/backup

# Asks Qdrant from within its own pod: METHOD PATH [BODY].
qdrant() {
    k exec qdrant-0 -c qdrant -- bash -c '
        exec 3<>/dev/tcp/127.0.0.1/6333
        printf "%s %s HTTP/1.1\r\nHost: qdrant\r\napi-key: try-key\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s" \
            "$1" "$2" "${#3}" "$3" >&3
        cat <&3' - "$1" "$2" "${3:-}" | tr -d '\r' | sed '1,/^$/d'
}
count() { qdrant POST "/collections/$1/points/count" '{"exact":true}' | grep -o '"count":[0-9]*' | cut -d: -f2; }
points() { for i in $(seq 1 "$1"); do printf '{"id":%s,"vector":[0.1,0.2,0.3,0.%s],"payload":{"n":%s}},' "$i" "$i" "$i"; done; }
# Waits until a Job is `complete` or `failed`, as expected, and prints its log.
job() {
    state="at work after 15 minutes"
    for _ in $(seq 180); do
        case $(k get job "$1" -o jsonpath='{.status.conditions[?(@.status=="True")].type}') in
            *Complete*) state=complete && break ;;
            *Failed*) state=failed && break ;;
        esac
        sleep 5
    done
    k logs "job/$1" --tail=20
    [ "$state" = "$2" ] || fail "job $1 is $state, expected was $2"
}

step "two collections, 2 replicas each"
for collection in docs midlib; do
    qdrant PUT "/collections/$collection" '{"vectors":{"size":4,"distance":"Dot"},"shard_number":3,"replication_factor":2}'
    all=$(points 300)
    qdrant PUT "/collections/$collection/points?wait=true" "{\"points\":[${all%,}]}" >/dev/null
done
[ "$(count docs)" = 300 ] || fail "docs has $(count docs) points, not 300"

step "a backup, made of the CronJob"
k create job backup-1 --from=cronjob/qdrant-backup-sets
job backup-1 complete
message=$(k get pods -l job-name=backup-1 -o jsonpath='{.items[0].status.containerStatuses[0].state.terminated.message}')
case $message in *"all done"*) ;; *) fail "the pod's status says: $message" ;; esac

step "a restore over collections with points is refused, and leaves its pod and log"
k create -k k8s/restore
job qdrant-restore-sets failed
[ "$(k get pods -l job-name=qdrant-restore-sets -o name | wc -l)" = 1 ] || fail "there is not one pod of the failed restore"
k delete job qdrant-restore-sets

step "everything wiped, and restored"
for collection in docs midlib; do qdrant DELETE "/collections/$collection"; done
k create -k k8s/restore
job qdrant-restore-sets complete
for collection in docs midlib; do
    [ "$(count $collection)" = 300 ] || fail "$collection has $(count $collection) points, not 300"
done

step "the same restore twice is an error and does nothing"
if k create -k k8s/restore; then fail "the same Job was made twice"; fi

step "an evicted backup does not count"
k create job backup-2 --from=cronjob/qdrant-backup-sets
k wait pod -l job-name=backup-2 --for=condition=PodScheduled --timeout=2m
pod=$(k get pods -l job-name=backup-2 -o jsonpath='{.items[0].metadata.name}')
"${kubectl[@]}" create --raw "/api/v1/namespaces/$namespace/pods/$pod/eviction" -f - <<EVICTION || true
{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "$pod", "namespace": "$namespace"}}
EVICTION
job backup-2 complete

step "deleting one folder takes nothing from the others"
k delete -k k8s/restore
k create job verify-1 --from=cronjob/qdrant-backup-verify
job verify-1 complete

step "nothing differs from what was applied"
for folder in shared sets backup; do
    k diff --server-side -k "k8s/$folder" || fail "k8s/$folder does not settle"
done

step "all of it went well"
