{{- define "callgate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "callgate.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "callgate.labels" -}}
{{ include "callgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: callgate
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "callgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "callgate.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "callgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "callgate.tlsSecret" -}}
{{- default (printf "%s-tls" (include "callgate.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{/* How many pods there may be at once. */}}
{{- define "callgate.mostReplicas" -}}
{{- if .Values.autoscaling.enabled -}}{{ .Values.autoscaling.maxReplicas }}{{- else -}}{{ .Values.replicas }}{{- end -}}
{{- end -}}

{{/* One database in a file has one server, a Deployment of one. Replicas over PostgreSQL each keep a decision log of their own, on a
     volume that comes back with the pod's name: a StatefulSet. */}}
{{- define "callgate.workload" -}}
{{- if eq .Values.state.kind "sqlite" }}Deployment{{ else }}StatefulSet{{ end -}}
{{- end -}}

{{- define "callgate.claimSpec" -}}
accessModes: {{ toJson .Values.storage.accessModes }}
{{- with .Values.storage.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: {storage: {{ .Values.storage.size }}}
{{- end -}}

{{- define "callgate.claim" -}}
{{- default (printf "%s-state" (include "callgate.fullname" .)) .Values.storage.existingClaim -}}
{{- end -}}

{{- define "callgate.bundleSources" -}}
{{- $n := 0 -}}
{{- if .Values.bundle.files }}{{ $n = add1 $n }}{{ end -}}
{{- if .Values.bundle.existingConfigMap.name }}{{ $n = add1 $n }}{{ end -}}
{{- if .Values.bundle.volume }}{{ $n = add1 $n }}{{ end -}}
{{- if .Values.bundle.git.repository }}{{ $n = add1 $n }}{{ end -}}
{{- if .Values.bundle.archive.url }}{{ $n = add1 $n }}{{ end -}}
{{ $n }}
{{- end -}}

{{/* Whether files of a bundle's server or signers are mounted. */}}
{{- define "callgate.bundleFiles" -}}
{{- with .Values.bundle -}}
{{- if or .archive.tokenSecret.name .archive.caSecret.name .publicKeys.existingSecret }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The directory that is served. git-sync switches the link `current`. */}}
{{- define "callgate.policies" -}}
{{- $inside := .Values.bundle.path -}}
{{- if .Values.bundle.git.repository }}{{ $inside = printf "current/%s" .Values.bundle.git.path }}{{ end -}}
{{ printf "/etc/callgate/policies/%s" $inside | trimSuffix "/" }}
{{- end -}}

{{/* What cannot be installed says so, and by which value. */}}
{{- define "callgate.check" -}}
{{- if not .Values.callers -}}
{{- fail "callers: say who may ask; a server without callers would be open to all" -}}
{{- end -}}
{{- if and (not .Values.tls.existingSecret) (not .Values.tls.certManager.enabled) -}}
{{- fail "tls: set tls.existingSecret, or tls.certManager.enabled; other machines are answered over TLS only" -}}
{{- end -}}
{{- if and .Values.tls.existingSecret .Values.tls.certManager.enabled -}}
{{- fail "tls: existingSecret and certManager.enabled exclude each other" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name: name the issuer" -}}
{{- end -}}
{{- if ne (include "callgate.bundleSources" .) "1" -}}
{{- fail "bundle: set exactly one of files, existingConfigMap.name, volume, git.repository and archive.url" -}}
{{- end -}}
{{- with .Values.bundle -}}
{{- if and .publicKeys.existingSecret (not (or .archive.url .published)) -}}
{{- fail "bundle.publicKeys: only archives and published bundles are signed" -}}
{{- end -}}
{{- if and .publicKeys.existingSecret (not .publicKeys.keys) -}}
{{- fail "bundle.publicKeys.keys: name the keys in the secret" -}}
{{- end -}}
{{- if and (not .archive.url) (or .archive.tokenSecret.name .archive.caSecret.name) -}}
{{- fail "bundle.archive: tokenSecret and caSecret mean nothing without url" -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.state.kind "sqlite" -}}
{{- if gt (int (include "callgate.mostReplicas" .)) 1 -}}
{{- fail "replicas: one SQLite database has one server; more replicas need state.kind: postgresql" -}}
{{- end -}}
{{- else if not .Values.state.postgresql.url -}}
{{- fail "state.postgresql.url: say where the database is" -}}
{{- else if regexMatch "^[a-z]+://[^/@]*:[^/@]*@" .Values.state.postgresql.url -}}
{{- fail "state.postgresql.url: a password belongs into a secret: state.postgresql.existingSecret" -}}
{{- end -}}
{{- if and (ne .Values.state.kind "sqlite") .Values.storage.existingClaim -}}
{{- fail "storage.existingClaim: with postgresql each replica has a claim of its own" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.admin.enabled) -}}
{{- fail "serviceMonitor: only the admin listener can be scraped: set admin.enabled" -}}
{{- end -}}
{{- end -}}

{{/* The name of a file as the key of a ConfigMap, which has no slashes. */}}
{{- define "callgate.key" -}}
{{- if not (regexMatch "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$" .) -}}
{{- fail (printf "bundle.files: `%s` is no path of a file: letters, digits, `.`, `_`, `-` and `/`" .) -}}
{{- end -}}
{{ . | replace "/" "__" }}
{{- end -}}
