{{- define "tenantwave.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 50 characters, so that every suffix of ours still makes a name. */}}
{{- define "tenantwave.fullname" -}}
{{- $name := include "tenantwave.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tenantwave.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tenantwave.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tenantwave.labels" -}}
{{ include "tenantwave.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tenantwave.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "tenantwave.fullname" . -}}
{{- else -}}
{{- fail "serviceAccount.name must name an existing ServiceAccount when serviceAccount.create is false" -}}
{{- end -}}
{{- end -}}

{{/* How the API server names the operator in an admission request. */}}
{{- define "tenantwave.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "tenantwave.serviceAccountName" . }}
{{- end -}}

{{/* What the operator may do with the Secrets of tenants: None, Read or ReadWrite. */}}
{{- define "tenantwave.tenantSecrets" -}}
{{- $said := toString .Values.rbac.tenantSecrets -}}
{{- if eq $said "true" }}ReadWrite{{ else if eq $said "false" }}None{{ else }}{{ $said }}{{ end -}}
{{- end -}}

{{- define "tenantwave.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* "true" where objects of the Prometheus operator are to be rendered; metrics.renderMode says what to do where the cluster lacks them. */}}
{{- define "tenantwave.renderMonitoring" -}}
{{- $there := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if or $there (eq .Values.metrics.renderMode "alwaysRender") -}}
true
{{- else if eq .Values.metrics.renderMode "failIfMissing" -}}
{{- fail "the cluster does not serve monitoring.coreos.com/v1: install the Prometheus operator, or set metrics.renderMode to skipIfMissing" -}}
{{- end -}}
{{- end -}}
