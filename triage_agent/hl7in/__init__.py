"""HL7 v2 messages as they come in: orders, and what becomes of patients. Everything here is a stranger's."""
