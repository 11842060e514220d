{{- define "qdrant-backup.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* A CronJob's name has at most 52 characters: 40 for this, the rest for the task's. */}}
{{- define "qdrant-backup.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "qdrant-backup.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "qdrant-backup.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of the pods of one task: {root, task, app}. */}}
{{- define "qdrant-backup.podLabels" -}}
app: {{ .app }}
app.kubernetes.io/name: {{ include "qdrant-backup.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "qdrant-backup.image" -}}
{{- if eq .Values.component.runtime "wasmtime" }}
{{- .Values.component.wasmtime.image }}
{{- else if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "qdrant-backup.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "qdrant-backup.fullname" .) }}
{{- end }}

{{/* Whether wasmtime gets a component of the ConfigMap, which it can't read. */}}
{{- define "qdrant-backup.unpacks" -}}
{{- if and (eq .Values.component.runtime "wasmtime") (eq .Values.component.source "configMap") }}yes{{ end }}
{{- end }}

{{/* Settings that contradict each other, told before anything is installed. */}}
{{- define "qdrant-backup.check" -}}
{{- if and (eq .Values.component.runtime "wasmtime") (eq .Values.component.source "image") }}
{{- fail "component.runtime is wasmtime, which has no component inside: set component.source to configMap or imageVolume" }}
{{- end }}
{{- if and .Values.image.tag .Values.image.digest }}
{{- fail "image.tag and image.digest are both set: set one" }}
{{- end }}
{{- range $name := list "QDRANT_API_KEY" "QDRANT_RESTORE_API_KEY" "QDRANT_S3_ACCESS_KEY_ID" "QDRANT_S3_SECRET_ACCESS_KEY" "QDRANT_S3_SESSION_TOKEN" "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" }}
{{- if hasKey $.Values.settings $name }}
{{- fail (printf "settings.%s is a secret, and settings are no place for it: put it into the Secret that existingSecret names" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The spec of a Job: {root, task, component, app, deadline, env, extraEnv}. */}}
{{- define "qdrant-backup.job" -}}
{{- $values := .root.Values }}
{{- $restore := eq .app "qdrant-restore" }}
{{- $mounted := ne $values.component.source "image" }}
{{- $wasmtime := eq $values.component.runtime "wasmtime" }}
{{- $unpacks := include "qdrant-backup.unpacks" .root }}
{{- $file := ternary "/component/qdrant-backup.wasm.xz" "/component/qdrant-backup.wasm" (and (eq $values.component.source "configMap") (not $unpacks)) }}
backoffLimit: {{ ternary 0 2 $restore }}
podFailurePolicy:
  rules:
    - action: FailJob
      onExitCodes:
        operator: In
        values: {{ ternary (list 2) (list 2 3 124) $restore | toJson }}
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
activeDeadlineSeconds: {{ .deadline }}
{{- if not $restore }}
ttlSecondsAfterFinished: {{ $values.ttlSecondsAfterFinished }}
{{- end }}
template:
  metadata:
    labels:
      {{- include "qdrant-backup.podLabels" . | nindent 6 }}
      {{- with $values.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $values.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    restartPolicy: Never
    automountServiceAccountToken: false
    enableServiceLinks: false
    terminationGracePeriodSeconds: 10
    {{- if $values.serviceAccount.create }}
    serviceAccountName: {{ include "qdrant-backup.serviceAccountName" .root }}
    {{- else if $values.serviceAccount.name }}
    serviceAccountName: {{ $values.serviceAccount.name }}
    {{- end }}
    {{- with $values.imagePullSecrets }}
    imagePullSecrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.priorityClassName }}
    priorityClassName: {{ . }}
    {{- end }}
    {{- with $values.nodeSelector }}
    nodeSelector:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.affinity }}
    affinity:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- toYaml $values.podSecurityContext | nindent 6 }}
    {{- if $unpacks }}
    initContainers:
      - name: unpack
        image: {{ $values.component.unpack.image }}
        imagePullPolicy: {{ $values.image.pullPolicy }}
        command: [sh, -c, unxz -c /packed/qdrant-backup.wasm.xz > /component/qdrant-backup.wasm]
        terminationMessagePolicy: FallbackToLogsOnError
        securityContext:
          {{- toYaml $values.securityContext | nindent 10 }}
          {{- with $values.component.unpack.runAsUser }}
          runAsUser: {{ int64 . }}
          {{- end }}
        resources:
          requests:
            cpu: 10m
            memory: 16Mi
          limits:
            cpu: "1"
            memory: 32Mi
        volumeMounts:
          - name: packed
            mountPath: /packed
            readOnly: true
          - name: component
            mountPath: /component
    {{- end }}
    containers:
      - name: {{ .app }}
        image: {{ include "qdrant-backup.image" .root }}
        imagePullPolicy: {{ $values.image.pullPolicy }}
        {{- if $wasmtime }}
        command: [/wasmtime, run, -S, "http,inherit-env", -C, cache=n, --dir, ".::/work"]
        args: [{{ $file }}, {{ .task }}]
        {{- else if $mounted }}
        args: [--component, {{ $file }}, {{ .task }}]
        {{- else }}
        args: [{{ .task }}]
        {{- end }}
        workingDir: /scripts
        envFrom:
          - configMapRef:
              name: {{ include "qdrant-backup.fullname" .root }}-settings
          - secretRef:
              name: {{ $values.existingSecret }}
          {{- with $values.extraEnvFrom }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        env:
          - name: QDRANT_RUN_DEADLINE
            value: {{ sub (int64 .deadline) 300 }}s
          {{- if $restore }}
          - name: QDRANT_RESTORE_ID
            valueFrom:
              fieldRef:
                fieldPath: metadata.labels['batch.kubernetes.io/controller-uid']
          {{- end }}
          {{- range .env }}
          - name: {{ .name }}
            value: {{ .value | quote }}
          {{- end }}
          {{- if $values.privateCA.configMap }}
          - name: QDRANT_EXTRA_CA_FILE
            value: /ca/ca.crt
          {{- end }}
          {{- with $values.extraEnv }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
          {{- with .extraEnv }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        terminationMessagePolicy: FallbackToLogsOnError
        {{- if and $restore $values.restartKilledRestores }}
        restartPolicy: Never
        restartPolicyRules:
          - action: Restart
            exitCodes:
              operator: In
              values: [137]
        {{- end }}
        securityContext:
          {{- toYaml $values.securityContext | nindent 10 }}
          {{- if $wasmtime }}
          {{- with $values.component.wasmtime.runAsUser }}
          runAsUser: {{ int64 . }}
          {{- end }}
          {{- end }}
        resources:
          {{- toYaml $values.resources | nindent 10 }}
        volumeMounts:
          - name: scripts
            mountPath: /scripts
          {{- if $mounted }}
          - name: component
            mountPath: /component
            readOnly: true
          {{- end }}
          {{- if $values.privateCA.configMap }}
          - name: ca
            mountPath: /ca
            readOnly: true
          {{- end }}
          {{- with $values.extraVolumeMounts }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
    volumes:
      {{- if eq $values.component.source "configMap" }}
      - name: {{ ternary "packed" "component" (ne $unpacks "") }}
        configMap:
          name: {{ $values.component.configMap.name }}
          defaultMode: 0444
          items:
            - key: {{ $values.component.configMap.key }}
              path: qdrant-backup.wasm.xz
      {{- end }}
      {{- if eq $values.component.source "imageVolume" }}
      - name: component
        image:
          reference: {{ $values.component.imageVolume.reference }}
          pullPolicy: {{ $values.component.imageVolume.pullPolicy }}
      {{- end }}
      - name: scripts
        emptyDir:
          sizeLimit: 100Mi
      {{- if $unpacks }}
      - name: component
        emptyDir:
          sizeLimit: 64Mi
      {{- end }}
      {{- if $values.privateCA.configMap }}
      - name: ca
        configMap:
          name: {{ $values.privateCA.configMap }}
          defaultMode: 0444
          items:
            - key: {{ $values.privateCA.key }}
              path: ca.crt
      {{- end }}
      {{- with $values.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}

{{/* A CronJob: what "job" takes, and {suffix, schedule, suspend}. */}}
{{- define "qdrant-backup.cronJob" -}}
{{- $restore := eq .app "qdrant-restore" }}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "qdrant-backup.fullname" .root }}{{ .suffix }}
  labels:
    {{- include "qdrant-backup.labels" .root | nindent 4 }}
    app: {{ .app }}
    app.kubernetes.io/component: {{ .component }}
spec:
  schedule: {{ .schedule | quote }}
  timeZone: {{ .root.Values.timeZone }}
  {{- if $restore }}
  suspend: true
  {{- end }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: {{ ternary 100 2 $restore }}
  failedJobsHistoryLimit: {{ ternary 100 3 $restore }}
  jobTemplate:
    metadata:
      labels:
        {{- include "qdrant-backup.podLabels" . | nindent 8 }}
    spec:
      {{- include "qdrant-backup.job" . | nindent 6 }}
{{- end }}
