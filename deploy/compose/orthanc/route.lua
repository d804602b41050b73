-- Each radiograph goes to the agent as it comes; what the agent sends back stays.
function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin['RemoteAet'] == 'TRIAGE' then
    return
  end
  local modality = tags['Modality']
  if modality == 'CR' or modality == 'DX' or modality == 'RF' then
    SendToModality(instanceId, 'triage')
  end
end
