{{- define "callgate.environment" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: RUST_LOG, value: {{ .Values.telemetry.logLevel | quote }}}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: "k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE),service.instance.id=$(POD_UID)"}
{{- with .Values.telemetry.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .Values.telemetry.hmacKey }}
{{- if .existingSecret }}
- {name: CALLGATE_TELEMETRY_KEY, valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}}}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without the admin listener the server is asked through its socket: kubelet's gRPC probes know no TLS. */}}
{{- define "callgate.probe" -}}
{{- if .admin.enabled -}}
httpGet: {path: {{ .path }}, port: admin}
{{- else -}}
exec:
  command: [/usr/bin/callgate, health, --endpoint, "unix:/run/callgate/callgate.sock"{{ if eq .path "/livez" }}, --live{{ end }}]
{{- end -}}
{{- end -}}

{{- define "callgate.probes" -}}
{{- $ready := dict "admin" .Values.admin "path" "/readyz" -}}
{{- $live := dict "admin" .Values.admin "path" "/livez" -}}
# Until the first load has ended: `reload.deadline_ms` is 60 s.
startupProbe:
  {{- include "callgate.probe" $ready | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 6
  failureThreshold: 60
readinessProbe:
  {{- include "callgate.probe" $ready | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 6
  failureThreshold: 2
# A minute without an answer. A directory with faults, a store that does not write and a database that is away are no reason to
# start again.
livenessProbe:
  {{- include "callgate.probe" $live | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 6
  failureThreshold: 6
{{- end -}}

{{- define "callgate.policiesVolume" -}}
{{- if .Values.bundle.files -}}
configMap:
  name: {{ include "callgate.fullname" . }}-policies
  items:
    {{- range $path := keys .Values.bundle.files | sortAlpha }}
    - {key: {{ include "callgate.key" $path }}, path: {{ $path }}}
    {{- end }}
{{- else if .Values.bundle.existingConfigMap.name -}}
configMap:
  name: {{ .Values.bundle.existingConfigMap.name }}
  {{- with .Values.bundle.existingConfigMap.items }}
  items: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else if .Values.bundle.volume -}}
{{ toYaml .Values.bundle.volume }}
{{- else -}}
emptyDir: {sizeLimit: 1Gi}
{{- end -}}
{{- end -}}

{{- define "callgate.gitSync" -}}
{{- $git := .Values.bundle.git -}}
- name: git-sync
  image: {{ $git.image | quote }}
  restartPolicy: Always
  args:
    - --repo={{ $git.repository }}
    - --ref={{ $git.ref }}
    - --root=/git
    - --link=current
    - --period={{ $git.period }}
    - --depth=1
    - --max-failures=-1
    {{- if and $git.existingSecret (not $git.ssh) }}
    - --username=$(GIT_USERNAME)
    - --password-file=/etc/git-secret/password
    {{- end }}
    {{- if and $git.existingSecret $git.ssh }}
    - --ssh-key-file=/etc/git-secret/ssh
    - --ssh-known-hosts-file=/etc/git-secret/known_hosts
    {{- end }}
    - --touch-file=/git/.synced
  {{- if and $git.existingSecret (not $git.ssh) }}
  env:
    - {name: GIT_USERNAME, valueFrom: {secretKeyRef: {name: {{ $git.existingSecret }}, key: username}}}
  {{- end }}
  startupProbe:
    exec: {command: [test, -e, /git/.synced]}
    periodSeconds: 2
    failureThreshold: 90
  resources: {{- toYaml $git.resources | nindent 4 }}
  # The user that its image has a name for: Git asks for one.
  securityContext: {{- mustMergeOverwrite (deepCopy .Values.securityContext) (dict "runAsUser" 65533) | toYaml | nindent 4 }}
  volumeMounts:
    - {name: policies, mountPath: /git}
    - {name: tmp, mountPath: /tmp}
    {{- if $git.existingSecret }}
    - {name: git-secret, mountPath: /etc/git-secret, readOnly: true}
    {{- end }}
{{- end -}}
