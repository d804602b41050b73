"""Stand-ins for a hospital: simulated radiographs, a PACS and a RIS."""
