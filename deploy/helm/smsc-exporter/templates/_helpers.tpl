{{- define "smsc-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "smsc-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "smsc-exporter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "smsc-exporter.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "smsc-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "smsc-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "smsc-exporter.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "smsc-exporter.labels" -}}
{{ include "smsc-exporter.selectorLabels" . }}
{{ include "smsc-exporter.commonLabels" . }}
{{- end -}}

{{- define "smsc-exporter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* config.yaml: what the values say, and the storage that follows from them. */}}
{{- define "smsc-exporter.config" -}}
{{- $storage := ternary (dict "url_file" "storage-url") (dict "url" "sqlite:/data/exporter.db") .Values.redis.enabled -}}
{{- toYaml (merge (dict "storage" $storage) .Values.config) -}}
{{- end -}}

{{/* The path before all others, without a slash at its end: routePrefix, else the path of externalUrl. */}}
{{- define "smsc-exporter.routePrefix" -}}
{{- $path := .Values.web.routePrefix | default (get (urlParse .Values.web.externalUrl) "path") -}}
{{- $path | trimSuffix "/" -}}
{{- end -}}

{{- define "smsc-exporter.validate" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.redis.enabled) -}}
{{- fail "replicaCount: several replicas need Redis. Set redis.enabled and redis.url or redis.existingSecret, or write 1." -}}
{{- end -}}
{{- if and .Values.redis.enabled (not .Values.redis.url) (not .Values.redis.existingSecret) -}}
{{- fail "redis: it is not said where Redis is. Set redis.url or redis.existingSecret." -}}
{{- end -}}
{{- if or (hasKey (default dict .Values.configFiles) "config.yaml") (hasKey (default dict .Values.secret.data) "config.yaml") -}}
{{- fail "configFiles and secret.data: config.yaml comes from `config`. Write it there, or give the file another name." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress: it has no hosts. Set ingress.hosts, or ingress.enabled to false." -}}
{{- end -}}
{{- end -}}

{{- define "smsc-exporter.testLabels" -}}
app.kubernetes.io/name: {{ include "smsc-exporter.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
