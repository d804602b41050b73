"""The pages: the worklist that radiologists read, and the console that admins audit. Server-rendered, no build step."""
