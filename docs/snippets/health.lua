-- Health of a TenantUpgrade for Argo CD: resource.customizations.health.tenantwave.io_TenantUpgrade in argocd-cm.
-- Only the bare language: Argo CD runs it without the standard libraries.
local hs = { status = "Progressing", message = "Waiting for the operator to observe the spec" }
local st, c = obj.status, {}
if st == nil or st.observedGeneration ~= obj.metadata.generation then return hs end
for _, x in ipairs(st.conditions or {}) do c[x.type] = x end
local ready, stalled = c["Ready"], c["Stalled"]
if ready ~= nil then hs.message = (ready.reason or "") .. ": " .. (ready.message or "") end
-- Time, another upgrade or a person ends these; nothing is wrong.
local waits = {
  WaitingForWindow = true, NoticePeriod = true, AwaitingConsent = true, TenantBusy = true,
  AwaitingApproval = true, Paused = true, Suspended = true,
}
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = (stalled.reason or "") .. ": " .. (stalled.message or "")
elseif ready ~= nil and ready.status == "True" then
  hs.status = "Healthy"
elseif ready ~= nil and waits[ready.reason] then
  hs.status = "Suspended"
end
return hs
