{{/* callgate.toml. A JSON string is a TOML string. */}}
{{- define "callgate.config" -}}
require_delegation = {{ .Values.requireDelegation }}

[listen]
grpc = [{{ printf "%s:%d" .Values.listen.address (int .Values.listen.grpc) | toJson }}]
{{- if .Values.listen.http.enabled }}
http = [{{ printf "%s:%d" .Values.listen.address (int .Values.listen.http.port) | toJson }}]
{{- else }}
http = []
{{- end }}
{{- if .Values.admin.enabled }}
admin = {{ printf "%s:%d" .Values.listen.address (int .Values.admin.port) | toJson }}
{{- end }}
unix = "/run/callgate/callgate.sock"
unix_mode = "0600"

[tls]
cert = "/etc/callgate/tls/tls.crt"
key = "/etc/callgate/tls/tls.key"
{{- if .Values.tls.clientCa.existingSecret }}
client_ca = {{ printf "/etc/callgate/client-ca/%s" .Values.tls.clientCa.key | toJson }}
client_certificate = {{ .Values.tls.clientCertificate | toJson }}
{{- end }}
{{- if eq .Values.state.kind "postgresql" }}

[state]
url = {{ .Values.state.postgresql.url | toJson }}
{{- if .Values.state.postgresql.existingSecret }}
password_file = "/etc/callgate/database/password"
{{- end }}
max_staleness_ms = {{ int .Values.state.postgresql.maxStalenessMs }}
{{- else if .Values.state.config }}

[state]
{{- end }}
{{- with .Values.state.config }}
{{ . | trim }}
{{- end }}

{{- with .Values.bundle }}
{{- if or .archive.url .published .publicKeys.existingSecret .strict .apart }}

[bundle]
{{- if .archive.url }}
url = {{ .archive.url | toJson }}
poll_seconds = {{ int .archive.pollSeconds }}
cache_file = "/var/lib/callgate/bundle"
{{- if .archive.tokenSecret.name }}
token_file = "/etc/callgate/bundle/token"
{{- end }}
{{- if .archive.caSecret.name }}
ca_file = "/etc/callgate/bundle/ca.crt"
{{- end }}
{{- end }}
{{- if .published }}
published = true
{{- end }}
{{- if .publicKeys.existingSecret }}
public_key_files = [
{{- range $n, $key := .publicKeys.keys }}{{ if $n }}, {{ end }}{{ printf "/etc/callgate/bundle/keys/%s" $key | toJson }}{{ end -}}
]
{{- end }}
{{- if .strict }}
strict = true
{{- end }}
{{- if .apart }}
apart = {{ toJson .apart }}
{{- end }}
{{- end }}
{{- end }}

[audit]
mode = {{ .Values.audit.mode | toJson }}
on_failure = {{ .Values.audit.onFailure | toJson }}
directory = "/var/lib/callgate/audit"
keep_days = {{ int .Values.audit.keepDays }}
keep_mib = {{ int .Values.audit.keepMib }}
keep_capsules_days = {{ int .Values.audit.keepCapsulesDays }}
keep_capsules_mib = {{ int .Values.audit.keepCapsulesMib }}
{{- with .Values.audit.config }}
{{ . | trim }}
{{- end }}
{{ range .Values.callers }}
[[callers]]
id = {{ .id | toJson }}
{{- with .token_sha256 }}
token_sha256 = {{ toJson . }}
{{- end }}
{{- with .spiffe }}
spiffe = {{ toJson . }}
{{- end }}
{{- with .tls_san }}
tls_san = {{ toJson . }}
{{- end }}
{{- if hasKey . "require_delegation" }}
require_delegation = {{ .require_delegation }}
{{- end }}
{{- with .toolhive_agent }}
toolhive_agent = {{ toJson . }}
{{- end }}
{{- with .rights }}

[callers.rights]
{{- range $name, $value := . }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{ end }}
{{- with .Values.config }}
{{ . | trim }}
{{ end }}
{{- end -}}
