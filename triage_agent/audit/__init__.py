"""The audit record: a chain of hashes, signed anchors of it, DICOM audit messages, syslog."""
